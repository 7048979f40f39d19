"""A model whose every stage takes a stated time, on a clock that is told what passes.

What it says is the real model's; when it says it is what the pace states. So a schedule can be
followed to the nanosecond with a tiny model that keeps the hours of a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from crossdraft.base.clock import Spans
from crossdraft.base.stated_time import StatedTime
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer, Session, States, Step
from crossdraft.vlm.target import Target

_NONE = DraftTree.empty()


def same_cost(_: int) -> float:
    """Every pass costs what a single token does."""
    return 1.0


@dataclass(frozen=True)
class Pace:
    """What a model's stages take.

    Attributes:
        read_ms: reading the scene's files and making pixels of them.
        vision_ms: pixels to what the decoder reads.
        prefill_ms: the decoder over the picture prefix.
        question_ms: the pass over the question without a tail, the last of the prefill.
        token_ms: a pass over one token, T(1).
        cost: T(n)/T(1) of a pass over n tokens. A tail of n nodes costs what n tokens do beside
            the first: (cost(1 + n) - 1) * token_ms.
    """

    read_ms: float
    vision_ms: float
    prefill_ms: float
    question_ms: float
    token_ms: float
    cost: Callable[[int], float] = same_cost

    @classmethod
    def published_target(cls, share: float = 1.0) -> Pace:
        """Video-LLaVA's pace: averages of the seed study's five-stage runs on 1 s clips.

        Source: as `decoding.arrival.PUBLISHED_1S` (RTX 4090, 4-bit).

        Args:
            share: part of the prefill's 315.5 ms that is the question's pass; all of it is one
                pass, as it was measured.
        """
        return cls(79.3, 62.3, 315.5 * (1 - share), 315.5 * share, 14.5)

    @classmethod
    def published_drafter(cls, share: float = 1.0) -> Pace:
        """EventGPT's pace by the same runs: 1.8 + 3.6 ms of reading, 8.1 of vision, a prefill of
        83.2, 10 a token. `share` as of `published_target`."""
        return cls(1.8 + 3.6, 8.1, 83.2 * (1 - share), 83.2 * share, 10.0)

    def pass_ms(self, tokens: int) -> float:
        """A pass over so many tokens."""
        return self.token_ms * self.cost(tokens)

    def ask_ms(self, tail: int) -> float:
        """The question's pass with so many nodes behind it."""
        return self.question_ms + self.pass_ms(1 + tail) - self.token_ms


class PacedTarget:
    """Stands for a target: what is opened keeps the pace, all else is the target's.

    Args:
        time: what `told_by` was given.
    """

    def __init__(self, target: Target, pace: Pace, time: StatedTime) -> None:
        self._target, self._pace, self._time = target, pace, time

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies ask before there is a target
            raise AttributeError(name)
        return getattr(self._target, name)

    def with_layers(self, layers: Sequence[int]) -> PacedTarget:
        """See `Target.with_layers`."""
        return PacedTarget(self._target.with_layers(layers), self._pace, self._time)

    def open(self, scene: Any, *, spans: Spans | None = None) -> PacedSession:
        """See `Target.open`. What is refused takes no time."""
        spans = spans or Spans()
        inner = self._target.open(scene)
        pace, device = self._pace, str(self._target.device)
        for stage, ms in (
            ("read", pace.read_ms),
            ("vision", pace.vision_ms),
            ("prefill", pace.prefill_ms),
        ):
            with spans.measure(stage, device):
                self._time.pass_ms(ms)
        return PacedSession(inner, pace, self._time, spans, device)


class PacedSession(Session):
    """See `Session`. Made by `PacedTarget.open`.

    The real pass is run when it is called for, then its time passes: the tokens that it reads are
    those of its start, its step is there at its end.

    Args:
        inner: the session that does the work, whose own spans nobody reads.
        device: what the spans say.
    """

    def __init__(
        self, inner: Session, pace: Pace, time: StatedTime, spans: Spans, device: str
    ) -> None:
        self._inner, self._pace, self._time = inner, pace, time
        self._spans, self._device = spans, device

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies ask before there is a session
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def spans(self) -> Spans:
        """See `Session.spans`."""
        return self._spans

    @property
    def tokens(self) -> tuple[int, ...]:
        """See `Session.tokens`."""
        return self._inner.tokens

    @property
    def room(self) -> int | None:
        """See `Session.room`."""
        return self._inner.room

    def fork(self, spans: Spans | None = None) -> PacedSession:
        """See `Session.fork`."""
        inner = self._inner.fork(Spans())
        return PacedSession(inner, self._pace, self._time, spans or self._spans, self._device)

    def ask(self, question: str | Prompt, tail: DraftTree = _NONE) -> Step:
        """See `Session.ask`."""
        step = self._inner.ask(question, tail)
        return self._after(step, "prefill", self._pace.ask_ms(len(tail)))

    def extend(self, token: int, tree: DraftTree = _NONE) -> Step:
        """See `Session.extend`."""
        step = self._inner.extend(token, tree)
        stage = "verify" if len(tree) else "decode"
        return self._after(step, stage, self._pace.pass_ms(1 + len(tree)))

    def read(self, tokens: Sequence[int]) -> Step:
        """See `Session.read`."""
        step = self._inner.read(tokens)
        return self._after(step, "decode", self._pace.pass_ms(len(tokens)))

    def keep(self, path: Sequence[int]) -> None:
        """See `Session.keep`. Takes no time."""
        self._inner.keep(path)

    def rollback(self, count: int) -> None:
        """See `Session.rollback`. Takes no time."""
        self._inner.rollback(count)

    def answer_many(
        self,
        questions: Sequence[str | Prompt],
        max_new_tokens: int = 50,
        *,
        states: bool = False,
        top: int = 0,
    ) -> list[Answer]:
        """No pace is stated for batches.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("no pace is stated for batches; ask the target that was paced")

    def read_many(
        self,
        questions: Sequence[str | Prompt],
        answers: Sequence[Sequence[int]],
        *,
        top: int = 0,
    ) -> list[States]:
        """No pace is stated for batches.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("no pace is stated for batches; ask the target that was paced")

    def _after(self, step: Step, stage: str, ms: float) -> Step:
        """What a stage gave, when its time has passed."""
        with self._spans.measure(stage, self._device):
            self._time.pass_ms(ms)
        return step
