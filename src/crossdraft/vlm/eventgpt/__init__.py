"""EventGPT (Liu et al., 2024) as a native transformers model: the event drafter.

`configuration.py` and `modeling.py` are the model, `conversion.py` the published names of its
weights, `processing.py` its prompts and event frames, `load.py` a checkpoint out of a folder.
"""
