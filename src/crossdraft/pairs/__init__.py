"""pairs: what both models said about the same scene.

Records, the formats they are stored in, and splits that do not leak.
"""
