"""decoding: how drafts become tokens.

`replay.py` counts acceptance against recorded answers; it is the one count that training,
evaluation and benchmarks share.
"""
