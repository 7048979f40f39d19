"""`suffix`: what earlier answers said after the words that stand here now.

Longest-suffix lookup with counts and recency over a suffix automaton of target answers; built
offline, and it goes on learning from every finished answer. Proposes a chain or a best-first tree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path
from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.suffix_index import SuffixConfig, SuffixIndex
from crossdraft.pairs.record import Pair

#: Stands for a position without a token; no answer contains it, so no suffix crosses it.
_NO_TOKEN = np.iinfo(np.int32).max
_FORMAT = "crossdraft.suffix/1"


class SuffixDrafter(Drafter):
    """Proposes the continuations of the longest suffixes that earlier answers share."""

    name = "suffix"
    stops = True

    def __init__(self, config: SuffixConfig | None = None) -> None:
        self.index = SuffixIndex(config or SuffixConfig())
        self._questions: dict[str, int] = {}
        self._question = 0
        self._learns_online = False

    def fit(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            self.index.absorb(_row(pair.target_tokens), self._number(pair.question))

    def begin(self, context: Context) -> None:
        self._question = self._number(context.question)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        # Recency means something only where answers are learned as they come: the last training
        # answers are no closer to this one than the first.
        tokens, parents, logq = self.index.propose(
            _row(prefix),
            budget.nodes,
            budget.depth,
            budget.branch,
            self._question,
            recency=self._learns_online,
        )
        return DraftTree.from_parents(tokens, parents, logq, self.name)

    def finish(self, answer: Sequence[int]) -> None:
        self._learn(answer, self._question)

    def remember(self, question: str, answer: Sequence[int] | NDArray[np.int32]) -> None:
        """Learn an answer of an earlier run, as if it had just been finished here."""
        self._learn(answer, self._number(question))

    def _learn(self, answer: Sequence[int] | NDArray[np.int32], question: int) -> None:
        self._learns_online = True
        self.index.absorb(_row(answer), question)

    def save(self, path: Path) -> None:
        """Write everything learned to one safetensors file, atomically."""
        from safetensors.numpy import save_file

        about = {
            "format": _FORMAT,
            "questions": json.dumps(list(self._questions)),
            "learns_online": json.dumps(self._learns_online),
        }
        with atomic_path(path) as temporary:
            save_file(self.index.to_arrays(), temporary, metadata=about)

    @classmethod
    def load(cls, path: Path) -> SuffixDrafter:
        """Read what `save` wrote.

        Raises:
            InputError: missing, damaged, or not a file of this drafter.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise InputError("no such file", where=path)
        try:
            with safe_open(path, framework="numpy") as stored:
                about = stored.metadata() or {}
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            if about.get("format") != _FORMAT:
                raise ValueError(f"its format is {about.get('format')!r}")
            drafter = cls()
            drafter.index = SuffixIndex.from_arrays(arrays)
            drafter._questions = {text: n for n, text in enumerate(json.loads(about["questions"]))}
            # Files of before this was kept hold recorded answers.
            drafter._learns_online = json.loads(about.get("learns_online", "false")) is True
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"not a readable suffix file ({error})",
                where=path,
                expected="a file written by SuffixDrafter.save",
            ) from error
        return drafter

    def _number(self, question: str) -> int:
        return self._questions.setdefault(question, len(self._questions))


def _row(tokens: Sequence[int] | NDArray[np.int32]) -> NDArray[np.int32]:
    """Tokens as the index wants them: [n] int32, negative ids (no token) out of the way."""
    row = np.asarray(tokens, dtype=np.int32)
    return np.where(row < 0, np.int32(_NO_TOKEN), row)
