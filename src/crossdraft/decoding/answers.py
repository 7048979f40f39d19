"""Recorded answers as decoding leaves them: nothing behind the first end-of-sequence token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.record import PairSet


def until_eos(answer: Sequence[int], eos: int) -> tuple[int, ...]:
    """The answer up to and including its first EOS, where decoding stops."""
    tokens = tuple(answer)
    return tokens[: tokens.index(eos) + 1] if eos in tokens else tokens


def read_answers(path: Path, eos: int, head_file: Path | None = None) -> PairSet:
    """Pairs of a file, target answers ended by their first EOS as decoding ends them.

    Args:
        head_file: the target's head, where a pair store does not hold it.

    Raises:
        InputError: as `read_pairs`.
    """
    found = read_pairs(path, head_file)
    ended = tuple(
        replace(pair, target_tokens=until_eos(pair.target_tokens, eos)) for pair in found.pairs
    )
    cut = sum(a.target_tokens != b.target_tokens for a, b in zip(found.pairs, ended, strict=True))
    skipped = found.skipped + Counter({"tokens after EOS, left out of their pair": cut})
    return PairSet(ended, found.format, found.header, skipped, found.path)
