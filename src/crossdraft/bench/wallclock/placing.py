"""Where the models compute while they are timed: threads and cores on a CPU, and what a pass costs
there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from crossdraft.base.errors import InputError
from crossdraft.base.files import write_json
from crossdraft.bench.wallclock.plan import Plan, WallclockConfig
from crossdraft.vlm.cost_curve import CostCurves, read_cost_curves
from crossdraft.vlm.cost_store import Note, measured
from crossdraft.vlm.pair_models import PairModels

#: Widths whose cost decides how much is drafted, and rounds of measuring them.
_WIDTHS, _TAILS, _REPEATS = (1, 2, 4, 6, 8, 12, 16, 24, 33), (4, 8, 16, 32), 30

#: Measurements at most, where the machine is busy.
_TRIES = 3


@contextmanager
def placed(config: WallclockConfig) -> Iterator[tuple[int, ...] | None]:
    """Threads and cores of this process as asked; the cores for the event model's."""
    threads = torch.get_num_threads()
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    theirs: tuple[int, ...] | None = None
    if config.cores == "apart":
        if (config.threads or 1) > 1:
            raise InputError(
                f"{config.threads} threads on one core", where="--threads", expected="1, or none"
            )
        if before is None or len(before) < 2:
            raise InputError(
                "one core", where="--cores apart", expected="two cores, and a system that pins"
            )
        ours, other = sorted(before)[:2]
        os.sched_setaffinity(0, {ours})
        theirs = (other,)
        torch.set_num_threads(1)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    try:
        yield theirs
    finally:
        torch.set_num_threads(threads)
        if before is not None:
            os.sched_setaffinity(0, before)


def curves_of(models: PairModels, plan: Plan, folder: Path, note: Note) -> CostCurves:
    """The target's costs at the length of these prompts, kept with the benchmark."""
    path = folder / "cost_curves.json"
    if path.exists():
        return read_cost_curves(path)
    prompt = models.target.prompt(plan.test[0].scene, plan.test[0].question)
    curves = None
    for _ in range(_TRIES):
        found = measured(
            models.target,
            context=len(prompt.ids),
            widths=_WIDTHS,
            tail_widths=_TAILS,
            repeats=_REPEATS,
            question=len(prompt.question),
            fresh=True,
            note=note,
        )
        if curves is None or found.noisy < curves.noisy:
            curves = found
        if not curves.noisy:
            break
        note("the machine was busy while they were measured")
    assert curves is not None
    write_json(path, curves.to_json())
    return curves
