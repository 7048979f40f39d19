"""drafters: everything that proposes tokens, one file each, one registry line each.

`base.py` is the contract, `registry.py` the list. CONTRIBUTING.md walks through adding one.
"""
