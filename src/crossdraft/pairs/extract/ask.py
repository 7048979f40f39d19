"""Both models on some clips: each reads a picture once, all questions are answered side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store.kinds import Kind, Reading
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Packed, Row, Said, Top
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.causal import CausalSession, answer_scenes
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair_models import tokenizer_of
from crossdraft.vlm.session import Answer, States, TopLogits
from crossdraft.vlm.target import Target
from crossdraft.vlm.text_stream import TextStream


@dataclass(frozen=True, eq=False)
class Speaker:
    """A model, and the text of what it says.

    Attributes:
        text: of an answer's ids; None where the model has no tokenizer.
    """

    model: Target
    text: Callable[[Sequence[int]], str] | None

    @classmethod
    def of(cls, plan: Plan, role: Role, model: Target) -> Speaker:
        """A loaded model as the plan asks it."""
        tokenizer: Any = tokenizer_of(plan.pair.spec(role), role)
        layers = plan.keep.of(role)
        return cls(
            model.with_layers(layers) if layers else model,
            None if tokenizer is None else TextStream(tokenizer).whole,
        )

    def wording(self, tokens: Sequence[int]) -> str | None:
        """The text of an answer."""
        return None if self.text is None else self.text(tokens)


def target_rows(plan: Plan, target: Speaker, scenes: Sequence[Scene]) -> list[list[Row]]:
    """The target's halves of some clips' pairs.

    Returns:
        [scenes][questions].

    Raises:
        InputError: a scene cannot be read, or a prompt is too long.
        ValueError: a state is not finite, or does not fit the numbers it is stored in.
    """
    _, answers = _answers(plan, target, scenes, "target")
    return [_halves(plan, target, scene, said) for scene, said in zip(scenes, answers, strict=True)]


def _halves(plan: Plan, target: Speaker, scene: Scene, said: Sequence[Answer]) -> list[Row]:
    """One clip's, one row per question."""
    return [
        Row(
            Pair(
                clip=scene.id,
                index=scene.clip,
                question=question,
                question_index=number,
                draft_tokens=(),
                target_tokens=answer.tokens,
                target_text=target.wording(answer.tokens),
                drive=scene.drive,
                dataset=plan.dataset,
            ),
            {"target": _said(answer)},
            _packed(plan, "target", answer),
            _top(plan, "target", answer.top),
        )
        for number, (question, answer) in enumerate(zip(plan.questions, said, strict=True))
    ]


def drafter_rows(
    plan: Plan, drafter: Speaker, scenes: Sequence[Scene], halves: Sequence[Sequence[Row]]
) -> list[list[Row]]:
    """Whole pairs of some clips: the drafter's own answers, and its states over the target's.

    Args:
        scenes: with the events that the drafter reads.
        halves: from `target_rows`.

    Raises:
        InputError, ValueError: as `target_rows`; ids of the target that the drafter does not know.
    """
    sessions, answers = _answers(plan, drafter, scenes, "own")
    return [
        _pairs(plan, drafter, *one) for one in zip(scenes, sessions, halves, answers, strict=True)
    ]


def _pairs(
    plan: Plan,
    drafter: Speaker,
    scene: Scene,
    session: CausalSession,
    halves: Sequence[Row],
    answers: Sequence[Answer],
) -> list[Row]:
    """One clip's."""
    forced: Sequence[States | None] = [None] * len(halves)
    if "forced" in plan.keep.states:
        said = [half.pair.target_tokens for half in halves]
        forced = session.read_many(plan.questions, said, top=plan.tops("forced"))
    rows = []
    for half, own, read in zip(halves, answers, forced, strict=True):
        pair = replace(
            half.pair,
            draft_tokens=own.tokens,
            draft_text=drafter.wording(own.tokens),
            simulated=scene.simulated,
        )
        states = {**half.states, **_packed(plan, "own", own)}
        tops = {**half.top, **_top(plan, "own", own.top)}
        if read is not None:
            states |= _packed(plan, "forced", read)
            tops |= _top(plan, "forced", read.top)
        rows.append(Row(pair, {**half.said, "own": _said(own)}, states, tops))
    return rows


def _answers(
    plan: Plan, speaker: Speaker, scenes: Sequence[Scene], reading: Reading
) -> tuple[list[CausalSession], list[list[Answer]]]:
    """Sessions of some scenes, and the answers to all questions, decoded together."""
    sessions = [speaker.model.open(scene) for scene in scenes]
    answers = answer_scenes(
        sessions,
        [plan.questions] * len(sessions),
        plan.max_new_tokens,
        states=reading in plan.keep.states,
        top=plan.tops(reading),
    )
    return sessions, answers


def _said(answer: Answer) -> Said:
    return Said(answer.end, answer.prompt_hash, len(answer.tokens))


def _packed(plan: Plan, reading: Reading, said: Answer | States) -> dict[str, Packed]:
    """States by the name of their kind, as they are stored."""
    if reading not in plan.keep.states or said.hidden is None:
        return {}
    parts: list[tuple[int | None, Tensor]] = [(None, said.hidden), *said.layers.items()]
    return {
        Kind(reading, layer).name: pack(states.detach().to("cpu"), plan.keep.dtype)
        for layer, states in parts
    }


def _top(plan: Plan, reading: Reading, top: TopLogits | None) -> dict[str, Top]:
    if top is None or not plan.tops(reading):
        return {}
    ids = top.ids.to("cpu", torch.int32)
    return {reading: Top(ids, top.logits.to("cpu"), top.total.to("cpu"))}
