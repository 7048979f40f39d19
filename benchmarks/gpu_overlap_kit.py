"""Both models at 7B shapes as the loop drives them, the target saying answers that were recorded.

A session runs every pass for real and lays the recorded answer over its logits, so that drafts are
accepted as the real model would have accepted them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from decode_loop import Timed
from gpu_7b_models import SIZES, drafter_of, event_prompt, target_of, video_prompt

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.answers import read_answers
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.loop import Drafting, decode
from crossdraft.decoding.overlap import EventSide, InThread, InTurn
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Fixed
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session, Step
from crossdraft.vlm.target import Target

EOS = 2


class Way(NamedTuple):
    """One configuration.

    Attributes:
        suffix: whether the suffix drafter drafts, learning from answer to answer; else nobody.
        event: when the event model works: `none`, `sequential` or `thread`.
    """

    suffix: bool
    event: str

    def __str__(self) -> str:
        return f"{'suffix' if self.suffix else 'none'}, event model {self.event}"


PLAIN, ALONE = Way(False, "none"), Way(True, "none")
BEFORE, BESIDE = Way(True, "sequential"), Way(True, "thread")
WAYS = (PLAIN, ALONE, BEFORE, BESIDE)


class Imposed:
    """A session that runs every pass and then says a recorded answer.

    Row r of a pass says the token that follows as many tokens as stand above it. Off the answer's
    path that is no better than any other token: verification never asks there.

    Args:
        answer: ids of the target, those of its whole answer.
    """

    def __init__(self, inner: Session, prompt: Prompt, answer: Sequence[int]) -> None:
        self._inner, self._prompt, self._answer = inner, len(prompt.ids), answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def ask(self, question: str | Prompt, tail: DraftTree) -> Step:
        """See `Session.ask`."""
        return self._says(self._inner.ask(question, tail), tail)

    def extend(self, token: int, tree: DraftTree) -> Step:
        """See `Session.extend`."""
        return self._says(self._inner.extend(token, tree), tree)

    def _says(self, step: Step, tree: DraftTree) -> Step:
        said, last = len(self._inner.tokens) - self._prompt, len(self._answer) - 1
        wanted = [self._answer[min(said + depth, last)] for depth in (0, *tree.depth.tolist())]
        at = torch.tensor(wanted, device=step.logits.device)[:, None]
        step.logits.scatter_(1, at, torch.inf)
        return step


class Took(NamedTuple):
    """One answer.

    Attributes:
        total_ms: until both models are done.
        own_ms: the loop's own time of a pass.
        step_ms: a plain decoding step; 0 where there was none.
        answer: what was said, and how.
    """

    total_ms: float
    own_ms: float
    step_ms: float
    answer: Generation


@dataclass
class Kit:
    """Both models and what they are asked.

    Attributes:
        budget: of every proposal.
        event_tokens: that the event model says, whichever way it works.
    """

    target: Target
    prompt: Prompt
    event: Target
    budget: Budget
    event_tokens: int

    def __post_init__(self) -> None:
        model = self.event
        sides = (InTurn(lambda: model), InThread(lambda: model))
        self.sides: dict[str, EventSide] = {side.mode: side for side in sides}

    def run(self, way: Way, drafter: Drafter, answer: Sequence[int]) -> Took:
        """Answer one question, both pictures read anew.

        Raises:
            RuntimeError: another answer than the recorded one, or the event model failed.
        """
        side, own, stream = self.sides.get(way.event), None, AnswerStream()
        began_ms = now_ms()
        if side is not None:
            own = side.begin("scene", "question", self.event_tokens, stream, began_ms)
        session = Timed(
            Imposed(self.target.open(self.prompt, spans=Spans(began_ms)), self.prompt, answer),
            ("ask", "extend", "keep"),
        )
        timed: Any = Timed(drafter, ("begin", "propose", "observe", "finish"))
        loop_ms = now_ms()
        found = decode(
            session, self.prompt, Context("question", stream),
            Drafting(timed, Fixed(self.budget), self.target.may_draft),
            StopAt(frozenset({EOS}), len(answer)),
        )  # fmt: skip
        own_ms = (now_ms() - loop_ms - session.ms - timed.ms) / len(found.passes)
        total_ms = now_ms() - began_ms
        if side is not None:
            side.close()  # waits for the thread, and forgets the picture
            total_ms = max((total_ms, *stream.arrival_ms))
        if own is not None and (own.warning or len(stream.own) != self.event_tokens):
            raise RuntimeError(own.warning or f"the event model said {len(stream.own)} tokens")
        if found.tokens != tuple(answer):
            raise RuntimeError(f"{way}: another answer than the recorded one")
        steps_ms = [span.duration_ms for span in found.spans.spans if span.name == "decode"]
        return Took(total_ms, own_ms, median(steps_ms) if steps_ms else 0.0, found)


def kit_of(size: str, device: torch.device, budget: Budget, event_tokens: int) -> Kit:
    """Both models of a size, bfloat16 on a GPU.

    Raises:
        InputError: they do not fit.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    target = target_of(SIZES[size], device, dtype)
    event = drafter_of(SIZES[size], device, dtype)
    asked = event_prompt(event)
    model = Target(event, lambda scene, question: asked)
    model.eos_ids = frozenset()  # random weights may say an end at any time
    return Kit(Target(target), video_prompt(target), model, budget, event_tokens)


def answers_of(path: Path, kit: Kit) -> list[tuple[int, ...]]:
    """Recorded answers of two tokens or more, in ids that the target may say.

    Raises:
        InputError: as `read_pairs`, or no such answer.
    """
    words = kit.target.model.config.image_token_id
    found = [pair.target_tokens for pair in read_answers(path, EOS).pairs]
    kept = [tuple(_folded(one, words) for one in answer) for answer in found if len(answer) > 1]
    if not kept:
        raise InputError("no answer of two tokens or more", where=path)
    return kept


def _folded(token: int, words: int) -> int:
    """An id as a model of fewer words has it; all of the 7B shapes stay as they are."""
    return token if token < words else 3 + token % (words - 3)
