"""One model, one scene, one question, and what the checks of them share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import Reference
from crossdraft.bench.checks.wanted import Wanted, reads_events
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.picture import placed
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session, Step
from crossdraft.vlm.target import Target

#: Greedy tokens that proofs with drafts take, and nodes of their largest tree.
DRAFTED, TREE = 9, 8


@dataclass(frozen=True, eq=False)
class Opened:
    """A session, and what the model was given when the scene was opened.

    Attributes:
        session: at the picture.
        inputs: pixels, as they entered the model.
        embeddings: [prefix, hidden] as they entered the decoder; None where it embedded ids itself.
    """

    session: Session
    inputs: Mapping[str, Tensor]
    embeddings: Tensor | None


@dataclass(frozen=True)
class Seen:
    """The stretch of a clip that a model was shown, in microseconds from the clip's start.

    Attributes:
        sensor: `video` or `events`.
        clip_us: how long the clip is for its sensor.
    """

    sensor: str
    start_us: int
    end_us: int
    clip_us: int


class Case:
    """What a check is handed.

    Args:
        role: `target` or `drafter`.
        count: tokens of an answer.
        pair: whose model it is.

    Raises:
        InputError: the scene or the question is not for this model, or cannot be read, or question
            and answer are longer than the model reads.
    """

    def __init__(
        self,
        role: Role,
        target: Target,
        scene: Any,
        question: str,
        count: int,
        pair: ModelPair,
    ) -> None:
        self.role, self.target, self.scene, self.question = role, target, scene, question
        self.count, self.pair = count, pair
        #: Set by the check of the frames.
        self.seen: Seen | None = None
        assert target.prompts is not None
        self.prompts: Any = target.prompts
        self.wanted = Wanted.of(pair.spec(role), events=reads_events(self.prompts))
        prompt: Prompt = self.prompts(scene, question)
        self._refuse_too_long(prompt)
        pixels = prompt.inputs()
        #: Straight from the builder; its picture is read once.
        self.prompt = replace(prompt, inputs=lambda: pixels)
        self.inputs = self.placed(pixels)

    def check(self, name: str, ok: bool | None, line: str, **numbers: Any) -> Check:
        """What a check of this model has found."""
        return Check(name, self.role, ok, line, numbers)

    def skipped(self, name: str, why: str) -> Check:
        """A check that this model has no use for."""
        return Check.skipped(name, self.role, why)

    @cached_property
    def reference(self) -> Reference:
        """What the model says by itself."""
        return Reference.of(self.target.model, self.prompt, self.inputs, self.count)

    @cached_property
    def other_prompt(self) -> Prompt:
        """Another question about the scene: half of the words, so it fits where the question does.

        It shows the pixels of the first.
        """
        words = self.question.split()
        other: Prompt = self.prompts(self.scene, " ".join(words[: len(words) // 2]))
        return replace(other, inputs=self.prompt.inputs)

    @cached_property
    def other_reference(self) -> Reference:
        """What the model says to the other question."""
        return Reference.of(self.target.model, self.other_prompt, self.inputs, self.count)

    @cached_property
    def shown(self) -> Any:
        """The frames that the builder chooses, with their times."""
        return self.prompts.frames_of(self.scene)

    @cached_property
    def opened(self) -> Opened:
        """The scene, opened once."""
        return open_scene(self.target, self.scene, self.inputs)

    def ask(self, tail: DraftTree | None = None) -> tuple[Session, Step]:
        """A fork that was asked the question, and its first step."""
        session = self.opened.session.fork()
        return session, session.ask(self.question, *(() if tail is None else (tail,)))

    def placed(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A prompt's inputs as the model takes them."""
        return {name: placed(value, self.target.decoder) for name, value in inputs.items()}

    @cached_property
    def plain(self) -> Step:
        """Row t emits token t: one pass for each token, no drafts, nothing taken back."""
        session, first = self.ask()
        steps = [first, *(session.extend(token) for token in self.tokens[:-1])]
        return joined(steps)

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """The reference's tokens, up to one that must not be drafted."""
        tokens = self.reference.tokens
        allowed = self.target.may_draft(np.array(tokens))
        return tokens if allowed.all() else tokens[: int(np.argmin(allowed))]

    @cached_property
    def undraftable(self) -> str | None:
        """Why proofs with drafts cannot be made of this answer; None where they can."""
        if len(self.tokens) < DRAFTED:
            return (
                f"token {len(self.tokens)} of the answer may not be drafted, and this proof drafts "
                f"the first {DRAFTED}"
            )
        count = int(self.target.may_draft(np.arange(self.target.decoder.vocabulary)).sum())
        return f"no more than {count} ids may be drafted" if count < TREE else None

    def _refuse_too_long(self, prompt: Prompt) -> None:
        """The model reads no further than its longest sequence."""
        longest = self.target.decoder.longest(prompt.cut)
        if longest is None or len(prompt.ids) + self.count + TREE <= longest:
            return
        raise InputError(
            f"{self.count} tokens behind a prompt of {len(prompt.ids):,}, and drafts behind them",
            where=f"--max-new-tokens ({self.role})",
            expected=f"at most {longest:,} together, the longest sequence of the model",
            hint="take fewer tokens, or ask a shorter question",
        )

    def wrong(self, place: int, count: int = 1) -> list[int]:
        """Draftable tokens that are not the one at this place, all different."""
        known = np.flatnonzero(self.target.may_draft(np.arange(self.target.decoder.vocabulary)))
        right = self.tokens[place]
        first = int(np.searchsorted(known, right, side="right"))
        nearby = (int(known[(first + i) % len(known)]) for i in range(count + 1))
        return [token for token in nearby if token != right][:count]

    def bushy(self, place: int) -> tuple[DraftTree, tuple[int, ...]]:
        """A tree whose right nodes stand among wrong ones, and the path of the right ones.

        Args:
            place: of the token that the root's right child carries; three of them are drafted.
        """
        first, second, third = self.tokens[place : place + 3]
        tokens = [*self.wrong(place, 2), first, self.wrong(place + 1)[0], second]
        tokens += [self.wrong(place + 2)[0], third]
        return DraftTree.from_parents(tokens, [-1, 0, -1, 2, 2, 4, 4]), (2, 4, 6)


def joined(steps: Sequence[Step]) -> Step:
    """The rows of several steps."""
    return Step(
        torch.cat([step.logits for step in steps]), torch.cat([step.hidden for step in steps])
    )


def open_scene(target: Target, scene: Any, inputs: Collection[str]) -> Opened:
    """Open a scene and note what the model is given.

    Args:
        inputs: names of the pixels.
    """
    model: Any = target.model
    with _arguments(model.base_model) as given, _arguments(model.get_decoder()) as decoded:
        session = target.open(scene)
    embeddings = decoded.get("inputs_embeds")
    return Opened(
        session,
        {name: given[name].clone() for name in inputs if name in given},
        None if embeddings is None else embeddings[0].clone(),
    )


@contextmanager
def _arguments(module: torch.nn.Module) -> Iterator[dict[str, Any]]:
    """The keyword arguments of the module's next call."""
    found: dict[str, Any] = {}

    def note(_: Any, __: Any, arguments: dict[str, Any]) -> None:
        if not found:
            found.update(arguments)

    hook = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield found
    finally:
        hook.remove()
