"""evaluation: what a drafter would give, measured on recorded answers.

Metrics with intervals, the controls that stand beside every number, and the run that ties them
together.
"""
