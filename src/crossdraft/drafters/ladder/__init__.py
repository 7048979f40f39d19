"""The adapter ladder: networks that translate hidden states into the target's state space.

`options.py`, `learning.py` and `drafting.py` are what they share; `bottleneck.py`, `attention.py`,
`eagle.py` and `eagle_fusion.py` are the levels, each with its network, sizes and drafter;
`seed_checkpoints.py` reads the seed study's. docs/adapters.md draws them.
"""
