"""The stages of the GPU benchmark: what each measures, with one model in memory at a time.

The drafter comes before the target and is freed again; the target stays for all that follows.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from gpu_7b_meter import Meter, bandwidth, spread, step_bytes
from gpu_7b_models import (
    SIZES,
    drafter_of,
    event_prompt,
    target_of,
    text_prompt,
    video_prompt,
)
from gpu_7b_paths import (
    PATHS,
    WIDTHS,
    DecodePath,
    reason,
    skipped_graphs,
    times_in_turn,
    warmed,
)

from crossdraft.base.clock import now_ms
from crossdraft.vlm.cost_measure import measure
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target

#: Tokens of the measured passes, the root counted.
VERIFIED = (1, 2, 4, 6, 8, 12, 16, 24, 32, 61)


@dataclass(frozen=True)
class Settings:
    """One run.

    Attributes:
        repeats: measurements that count.
        seconds: no stage and no path begins later than this.
    """

    size: str
    device: torch.device
    dtype: torch.dtype
    stages: tuple[str, ...]
    paths: tuple[str, ...]
    repeats: int = 20
    seconds: float = 300.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {**asdict(self), "device": str(self.device), "dtype": dtype}


@dataclass
class Run:
    """What is measured with, and what is in memory."""

    settings: Settings
    began_ms: float = field(default_factory=now_ms)
    #: The target's network and its prompt, from the first stage that needs them.
    held: tuple[Any, Prompt] | None = None

    def __post_init__(self) -> None:
        self.meter = Meter(self.settings.device, self.settings.repeats)

    def target(self) -> tuple[Any, Prompt]:
        """The target's network and its prompt."""
        if self.held is None:
            one = self.settings
            model = target_of(SIZES[one.size], one.device, one.dtype)
            self.held = model, video_prompt(model)
        return self.held

    def attempt(self, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a stage measured, or why it did not."""
        began_ms = now_ms()
        if began_ms - self.began_ms > self.settings.seconds * 1e3:
            return {"status": "skipped", "reason": f"{self.settings.seconds:g} s were used up"}
        try:
            found = {"status": "done", **measured()}
        except Exception as error:  # compilers, drivers and allocators fail in their own ways
            found = {"status": "failed", "reason": reason(error)}
        # The frames of an error hold what it was raised over.
        gc.collect()
        if self.settings.device.type == "cuda":
            with suppress(RuntimeError):  # after some errors every further call raises too
                torch.cuda.empty_cache()
        return {**found, "seconds": round((now_ms() - began_ms) / 1e3, 2)}


def memory_speed(run: Run) -> dict[str, Any]:
    """How fast the device reads."""
    one = run.settings
    return bandwidth(run.meter, one.dtype, SIZES[one.size].read_bytes[one.device.type])


def target_stages(run: Run) -> dict[str, Any]:
    """Video-LLaVA: tower, projector, language model, first token, step."""
    model, prompt = run.target()
    inner = model.model
    layer = model.config.vision_feature_layer
    frames = prompt.inputs()["pixel_values_videos"].flatten(0, 1)

    def tower() -> torch.Tensor:
        states: torch.Tensor = inner.video_tower(
            frames, output_hidden_states=True, return_dict=True
        ).hidden_states[layer]
        return states

    with torch.no_grad():
        states = tower()
        vision = {
            "tower": run.meter.stage(tower),
            "projector": run.meter.stage(lambda: inner.multi_modal_projector(states)),
        }
    return _model_stages(run, Target(model), prompt, vision)


def drafter_stages(run: Run) -> dict[str, Any]:
    """EventGPT: tower, projector with adaptor and pooling, language model, first token, step."""
    one = run.settings
    model = drafter_of(SIZES[one.size], one.device, one.dtype)
    prompt = event_prompt(model)
    inner = model.model
    frames = prompt.inputs()["pixel_values"].flatten(0, 1)
    with torch.no_grad():
        states = inner.tower_states(frames)[None]
        vision = {
            "tower": run.meter.stage(lambda: inner.tower_states(frames)),
            "features": run.meter.stage(lambda: inner.features_of(states)),
        }
    return _model_stages(run, Target(model), prompt, vision)


def _model_stages(
    run: Run, target: Target, prompt: Prompt, vision: dict[str, Any]
) -> dict[str, Any]:
    """What both models have: the language model alone, and all of it up to the first token."""
    plain = text_prompt(target.model, prompt, len(prompt.ids) - prompt.cut)

    def first(asked: Prompt) -> int:
        # The id on the host is when a user could read it.
        return int(target.open(asked).ask(asked).logits[0].argmax())

    session = target.open(prompt)
    token = int(session.ask(prompt).logits[0].argmax())

    def step() -> int:
        said = int(session.extend(token).logits[0].argmax())
        session.rollback(1)
        return said

    return {
        "parameters": int(target.model.num_parameters()),
        "prompt_tokens": len(prompt.ids),
        "stages": {
            **vision,
            "llm_prefill": run.meter.stage(lambda: first(plain)),
            "first_token": run.meter.stage(lambda: first(prompt)),
            "decode_step": run.meter.stage(step),
        },
        "step_bytes": step_bytes(target.decoder, len(prompt.ids)),
    }


def verify_cost(run: Run) -> dict[str, Any]:
    """T(k)/T(1) with the growing cache, behind the whole prompt."""
    model, prompt = run.target()
    run.meter.reset_peak()
    curves = measure(
        Target(model),
        context=len(prompt.ids),
        widths=VERIFIED,
        tail_widths=(),
        repeats=run.settings.repeats,
        question=len(prompt.ids) - prompt.cut,
    )
    return {
        "context": len(prompt.ids),
        "step_ms": curves.step_ms,
        "chain": [asdict(cost) for cost in curves.chain],
        "tree": [asdict(cost) for cost in curves.tree],
        "peak_memory_bytes": run.meter.peak_bytes(),
    }


def decode_paths(run: Run) -> dict[str, Any]:
    """A step and a chain of eight by every path, in turn.

    Raises:
        RuntimeError: no path could be timed; with the reason of each.
    """
    model, like = run.target()
    # One token behind the picture, so that a compiled question needs no graph of its own.
    prompt = text_prompt(model, like, question=1)
    chains = {width: prompt.ids[-width:] for width in WIDTHS}
    read = step_bytes(Target(model).decoder, len(prompt.ids))
    weights = sum(part.nbytes for part in model.parameters())
    ready: dict[str, DecodePath] = {}
    said: dict[str, dict[int, list[int]]] = {}
    found: dict[str, Any] = {}

    for name in run.settings.paths:

        def prepare(name: str = name) -> dict[str, Any]:
            before, skipped = run.meter.allocated_bytes(), skipped_graphs()
            run.meter.reset_peak()
            path = PATHS[name](model, prompt)
            words = warmed(path, chains)
            if skipped_graphs() > skipped:
                raise RuntimeError("torch's compiler recorded no CUDA graph")
            peak = run.meter.peak_bytes()
            said[name], ready[name] = words, path
            # Caches of the paths before this one are still in memory; they are not its own.
            own = None if peak is None or before is None else weights + peak - before
            return {"peak_memory_bytes": own}

        found[name] = run.attempt(prepare)
    times_ms, lost = times_in_turn(ready, chains, run.settings.repeats)
    found |= {name: {"status": "failed", "reason": why} for name, why in lost.items()}
    if not times_ms:
        reasons = "; ".join(f"{name}: {path['reason']}" for name, path in found.items())
        raise RuntimeError(f"no path ran: {reasons}")
    for name in times_ms:
        ratios = [b / a for a, b in zip(*(times_ms[name][width] for width in WIDTHS), strict=True)]
        found[name] |= {
            "step": spread(times_ms[name][WIDTHS[0]]),
            "chain_of_8": spread(times_ms[name][WIDTHS[1]]),
            "t8_over_t1": spread(ratios)["median_ms"],
            "same_tokens_as_first_path": said[name] == said[next(iter(times_ms))],
        }
    return {"context": len(prompt.ids), "step_bytes": read, "paths": found}


#: By name, in the order in which they run.
STAGES: dict[str, Callable[[Run], dict[str, Any]]] = {
    "bandwidth": memory_speed,
    "drafter": drafter_stages,
    "target": target_stages,
    "verify": verify_cost,
    "paths": decode_paths,
}
