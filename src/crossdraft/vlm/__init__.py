"""The two ends: prompts, prefill, extend, roll back; loading; the cost of a verification.

`session.py` is the contract, `causal.py` its implementation on any transformers decoder,
`target.py` the door: a model and how its prompts are built.
"""
