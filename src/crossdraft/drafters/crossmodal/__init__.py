"""`crossmodal`: predicts the target's next states, knows each token that is fixed, and reads the
event model's whole answer wherever its words stand.

`network.py` is the model, `learning.py` its loss and rollouts, `drafter.py` how it drafts.
"""
