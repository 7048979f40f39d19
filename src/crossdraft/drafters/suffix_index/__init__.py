"""Longest-suffix lookup over earlier answers, fast enough to run between two forwards.

``automaton`` holds every substring of the history with its counts, ``propose`` blends what
followed into a tree of continuations, ``index`` is the class that a drafter uses.
"""

from crossdraft.drafters.suffix_index.index import SuffixConfig, SuffixIndex, warm_up

__all__ = ["SuffixConfig", "SuffixIndex", "warm_up"]
