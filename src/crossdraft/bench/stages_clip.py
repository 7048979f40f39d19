"""Five stages of one answer, from the raw sensor file to the last token, on one clock.

The stages stand end to end, so that their sum is the time of the answer and none is lost between
them: what is neither reading the sensor's file nor the tower lies in the stage before the next.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import StageTimes
from crossdraft.decoding.models import tokenizer_of
from crossdraft.pairs.record import StagesMs
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.drafting import own_answer
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.target import Target
from crossdraft.vlm.text_stream import TextStream


@dataclass(frozen=True)
class Memory:
    """Memory of one GPU around one answer, in bytes; both models' weights are part of it."""

    before: int
    after: int
    peak: int


@dataclass(frozen=True)
class Staged:
    """One model's answer, and what it took.

    Attributes:
        tokens: ids, the end token included.
        text: None of a model without a tokenizer.
        prompt_tokens: ids of the prompt, picture slots included.
        stages_ms: load (the sensor's file read), preprocess (events drawn, pixels made), vision,
            prefill (until the first token) and decode (the other tokens).
        render_ms: of the preprocessing, drawing events; 0 of a model that reads video.
        last_pass_ms: from the beginning until the last pass of the prefill, that of the question,
            starts.
        memory: None on a CPU.
    """

    tokens: tuple[int, ...]
    text: str | None
    prompt_tokens: int
    stages_ms: StagesMs
    render_ms: float
    last_pass_ms: float
    memory: Memory | None

    @property
    def first_ms(self) -> float:
        """When the first token was there: the prefill is complete."""
        return sum(self.stages_ms[:4])

    @property
    def total_ms(self) -> float:
        """When the last token was there."""
        return sum(self.stages_ms)

    @property
    def token_ms(self) -> float:
        """Each token behind the first; 0 where there is none."""
        return self.stages_ms[4] / max(1, len(self.tokens) - 1)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)


@dataclass(frozen=True)
class StagedClip:
    """One clip, seen by both models.

    Attributes:
        number: its place among the clips of its length.
        first: who was asked first.
    """

    scene: Scene
    number: int
    first: Role
    drafter: Staged
    target: Staged

    @property
    def times(self) -> StageTimes:
        """The clock of the free window. The last pass of the target's prefill is the question's:
        its start is measured, and drafts could ride on that pass."""
        return StageTimes(
            draft_first_ms=self.drafter.first_ms,
            draft_token_ms=self.drafter.token_ms,
            target_prefill_start_ms=self.target.last_pass_ms,
            target_prefill_end_ms=self.target.first_ms,
            target_token_ms=self.target.token_ms,
            source="measured stages of each clip",
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "scene": self.scene.id,
            "folder": str(self.scene.folder),
            "first": self.first,
            "drafter": self.drafter.to_json(),
            "target": self.target.to_json(),
        }


def answered(model: Target, scene: Scene, question: str, max_new_tokens: int) -> Staged:
    """Ask a model that has seen nothing of the scene yet.

    Raises:
        InputError: a file is missing or damaged, the prompt has no picture, or it is too long.
    """
    device = model.device
    before = _used(device)
    spans = Spans()
    session = model.open(scene, spans=spans)
    answer = own_answer(session, question, max_new_tokens, model.eos_ids, origin_ms=spans.origin_ms)
    prompt_tokens = len(session.tokens)
    arrivals = list(answer)
    tokens = tuple(one.token for one in arrivals)
    first_ms, last_ms = arrivals[0].arrival_ms, arrivals[-1].arrival_ms
    return Staged(
        tokens,
        _text(model, tokens),
        prompt_tokens,
        _stages(spans, first_ms, last_ms),
        spans.total_ms("render"),
        max(span.start_ms for span in spans.spans if span.name == "prefill"),
        None if before is None else _peak(device, before),
    )


def _stages(spans: Spans, first_ms: float, last_ms: float) -> StagesMs:
    vision = next((span for span in spans.spans if span.name == "vision"), None)
    if vision is None:
        raise InputError(
            "the prompt shows no picture", expected="a model that looks at the sensor's data"
        )
    load_ms = spans.total_ms("sensor")
    return (
        load_ms,
        vision.start_ms - load_ms,
        vision.duration_ms,
        first_ms - vision.end_ms,
        last_ms - first_ms,
    )


def _text(model: Target, tokens: tuple[int, ...]) -> str | None:
    tokenizer = tokenizer_of(model)
    return None if tokenizer is None else TextStream(tokenizer).whole(tokens)


def _used(device: torch.device) -> int | None:
    """Bytes in use on a GPU, whose peak counts anew from here; None of a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.memory_allocated(device))


def _peak(device: torch.device, before: int) -> Memory:
    after = int(torch.cuda.memory_allocated(device))
    return Memory(before, after, int(torch.cuda.max_memory_allocated(device)))
