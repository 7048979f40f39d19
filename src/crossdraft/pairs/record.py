"""One pair: the drafter's and the target's answer to one question about one clip.

Everything downstream (drafters, replay, evaluation) reads pairs and never a file format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from crossdraft.scenes.scene import SIMULATED

if TYPE_CHECKING:
    from torch import Tensor

    from crossdraft.pairs.store.rows import Top

#: load, preprocess, vision, prefill, decode
StagesMs = tuple[float, float, float, float, float]


class Head(Protocol):
    """The target's head, as drafters in its space need it.

    Attributes:
        hidden: width of a state.
        draftable: ids from here on are never drafted.
    """

    @property
    def hidden(self) -> int: ...

    @property
    def draftable(self) -> int: ...

    def logits(self, states: Tensor) -> Tensor:
        """[..., vocab] of post-final-norm states [..., hidden]."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """[n, hidden] that the target reads in place of ids [n].

        Raises:
            InputError: the input embedding is not known.
        """
        ...

    def only(self, ids: Tensor) -> Head:
        """The head of some ids alone: its row i says `ids[i]`."""
        ...

    def to(self, target: Any) -> Head:
        """The same head in another number format or place."""
        ...


class Thoughts(Protocol):
    """What both models thought behind a pair's answers; read from disk when it is asked for."""

    @property
    def kinds(self) -> frozenset[str]:
        """Which states are there: `own`, `forced`, `target`, or one of them with a layer."""
        ...

    def states(self, kind: str) -> Tensor:
        """States [n, hidden] float32: of `own` one to each token of the drafter's answer, else one
        to each token of the target's; state t emits token t.

        Raises:
            InputError: no such kind, or damaged.
        """
        ...

    def top(self) -> Top:
        """The target's largest logits at each token of its answer.

        Raises:
            InputError: none are kept, or damaged.
        """
        ...

    @property
    def question_ids(self) -> tuple[int, ...]:
        """The target's ids of its prompt behind the picture; empty where nobody kept them."""
        ...

    @property
    def head(self) -> Head:
        """The target's head.

        Raises:
            InputError: there is none beside the states.
        """
        ...


@dataclass(frozen=True)
class Pair:
    """Both answers to one question about one clip.

    Attributes:
        clip: identity of the clip; equal clips show the same sensor data.
        index: place of the clip in the recording order of its drive (or of its file).
        question: the question as asked; empty where the file does not say.
        question_index: the file's own number for the question.
        draft_tokens, target_tokens: generated ids only; EOS included when produced, no BOS.
        draft_text, target_text: the same answers as text, None where the file has none.
        drive: driving sequence, None where the file does not name it.
        dataset: the data set or folder the clip comes from.
        draft_stages_ms, target_stages_ms: measured load, preprocess, vision, prefill and decode
            times; prefill ends with the first token, decode covers the rest.
        extra: fields of the source that have no place above, kept for the way back.
        simulated: the events behind the drafter's answer were computed, not recorded.
        thoughts: the states behind the answers, None where only words are known.
    """

    clip: str
    index: int
    question: str
    question_index: int
    draft_tokens: tuple[int, ...]
    target_tokens: tuple[int, ...]
    draft_text: str | None = None
    target_text: str | None = None
    drive: str | None = None
    dataset: str = ""
    draft_stages_ms: StagesMs | None = None
    target_stages_ms: StagesMs | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False
    thoughts: Thoughts | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, int, str]:
        """Identity of the pair: the clip and what was asked about it."""
        return (self.clip, self.question_index, self.question)


@dataclass(frozen=True)
class PairSet:
    """Pairs of one file, with what the file said about itself.

    Attributes:
        pairs: in file order.
        format: name of the format that was recognised.
        header: the file's own fields beside the pairs.
        skipped: reason -> how many items could not become pairs.
        path: where they came from.
    """

    pairs: tuple[Pair, ...]
    format: str
    header: Mapping[str, Any] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.pairs)


def warnings_about_pairs(pairs: Iterable[Pair]) -> list[str]:
    """What a reader of a result must know about the answers that it was made from."""
    return [SIMULATED] if any(pair.simulated for pair in pairs) else []
