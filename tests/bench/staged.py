"""Measured stages that nobody has measured, for what is done with them; a clock for real ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossdraft.bench.stages_clip import Memory, Staged, StagedClip
from crossdraft.scenes.scene import Scene

FACTS: Any = {
    role: {
        "model": f"the-{role}", "architecture": "Llama", "parameters": 1000, "dtype": "float32",
        "device": "cpu", "frames": frames, "memory_bytes": None,
    }
    for role, frames in (("target", 8), ("drafter", 5))
}  # fmt: skip


class Ticking:
    """A clock that goes on by 1 ms whenever somebody looks."""

    def __init__(self) -> None:
        self.at_ms = 0.0

    def now_ms(self) -> float:
        self.at_ms += 1
        return self.at_ms

    @contextmanager
    def beside(self) -> Iterator[None]:
        yield

    waiting = beside


def staged(*stages_ms: float, tokens: tuple[int, ...], last_pass_ms: float = 0.0) -> Staged:
    assert len(stages_ms) == 5
    load, preprocess, vision, prefill, decode = stages_ms
    return Staged(
        tokens, "said", 40, (load, preprocess, vision, prefill, decode), 0.5, last_pass_ms, None
    )


def on_gpu(answer: Staged, before: int, after: int, peak: int) -> Staged:
    """The same answer, given by a GPU."""
    return Staged(**{**vars(answer), "memory": Memory(before, after, peak)})


def clip(number: int, *, simulated: bool = False, slower: float = 1.0) -> StagedClip:
    """The drafter's first token after 10 ms, then one every 2 ms, 5 in all; the target's last pass
    begins after 14 and ends after 20 ms. Times `slower`."""
    drafter = staged(*(slower * ms for ms in (1, 2, 3, 4, 8)), tokens=(5, 6, 7, 8, 2))
    target = staged(
        *(slower * ms for ms in (2, 3, 5, 10, 40)), tokens=(9, 2), last_pass_ms=slower * 14
    )
    scene = Scene("drive", number, Path("world"), simulated=simulated)
    return StagedClip(scene, number, "target", drafter, target)
