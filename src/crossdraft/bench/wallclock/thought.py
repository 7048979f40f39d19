"""What both models thought behind the answers of the benchmark, for the replays of predictions.

Nothing of it is timed: the models go over the answers once more, behind the measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, track
from crossdraft.bench.wallclock.answering import Ground, Place
from crossdraft.decoding.models import prompt_of
from crossdraft.pairs.record import Head
from crossdraft.pairs.store.rows import Top


@dataclass(frozen=True, eq=False)
class Thought:
    """States behind one question's answers; see `pairs.record.Thoughts`.

    Attributes:
        target: [n, hidden] float32, those that emitted the target's answer.
        own: [m, draft_hidden] those of the event model's; None where nobody reads them.
    """

    target: Tensor
    own: Tensor | None
    question_ids: tuple[int, ...]
    head: Head

    @property
    def kinds(self) -> frozenset[str]:
        """Of states that are there."""
        return frozenset({"target"} if self.own is None else {"target", "own"})

    def states(self, kind: str) -> Tensor:
        """See `Thoughts.states`."""
        found = {"target": self.target, "own": self.own}.get(kind)
        if found is None:
            raise InputError(f"no {kind} states here", expected=", ".join(sorted(self.kinds)))
        return found

    def unasked(self) -> Thought:
        """The same where the event model says nothing."""
        return self if self.own is None else replace(self, own=self.own[:0])

    def top(self) -> Top:
        """Nobody keeps logits here."""
        raise InputError("no logits here", expected="a pair store with --top-logits")


@dataclass(frozen=True, eq=False)
class Read:
    """The target's side of one question.

    Attributes:
        states: [n, hidden] float32 that emitted its answer.
        question_ids: its ids of the prompt behind the picture.
    """

    states: Tensor
    question_ids: tuple[int, ...]


def read_again(
    ground: Ground,
    places: Sequence[Place],
    answers: Sequence[Sequence[int]],
    sink: ProgressSink,
) -> list[Read]:
    """The target's states over answers that it gave, a scene's questions side by side.

    Args:
        answers: [places].
    """
    target, found = ground.models.target, []
    scenes = [list(group) for _, group in groupby(range(len(places)), lambda i: places[i].scene.id)]
    for numbers in track(scenes, "the target's states", len(scenes), sink):
        here = [places[i] for i in numbers]
        session = target.open(here[0].scene)
        texts = [place.question for place in here]
        read = session.read_many(texts, [answers[i] for i in numbers])
        for place, states in zip(here, read, strict=True):
            asked = prompt_of(target, place.scene, place.question).question
            found.append(Read(states.hidden.detach().to("cpu").float(), asked))
    return found
