"""tuning: train the event model of a pair toward the target's recorded answers.

What comes out is a pair like any other, with the same target.
"""
