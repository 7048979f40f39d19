"""What `crossdraft doctor` proves and measures: one file per check.

A check says in one line, with numbers, what it found; `case.py` is what it is handed. Where a check
compares a session with the truth, the truth comes from `reference.py`, which uses none.
"""
