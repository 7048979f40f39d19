"""training: fits any trainable drafter to recorded pairs.

The loop only loops: network, loss and rollouts belong to the drafter.
"""
