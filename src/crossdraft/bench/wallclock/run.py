"""The whole benchmark: what is asked, measured, compared and predicted, as one result.

A folder holds it while it runs: `plan.json` says what is being measured, `runs.jsonl` what was.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.base.result import machine, package_versions
from crossdraft.bench.wallclock.answering import Ground
from crossdraft.bench.wallclock.measure import LINES, Lines, measure
from crossdraft.bench.wallclock.outcome import Outcome, outcome
from crossdraft.bench.wallclock.placing import curves_of, placed
from crossdraft.bench.wallclock.plan import WallclockConfig, mixed, planned, refuse_sizes
from crossdraft.decoding.width import cost_of
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.vlm.cost_store import Note
from crossdraft.vlm.pair_models import PairModels

PLAN = "plan.json"


def run(
    config: WallclockConfig,
    folder: Path,
    sink: ProgressSink = silent,
    note: Note = lambda _: None,
) -> Outcome:
    """Measure what is not measured yet in this folder, and say what came out.

    Raises:
        InputError: something that is asked for is not there or cannot be, or the folder holds
            another benchmark.
    """
    refuse_sizes(config)
    plan = planned(config)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(config, folder)
    lines = Lines(folder / LINES)
    with placed(config) as cores, PairModels(config.pair) as models:
        curves = curves_of(models, plan, folder, note)
        ground = Ground(
            models, config.max_new_tokens, config.picture, cost_of(curves), curves.step_ms,
            plan.learned, cores=cores,
        )  # fmt: skip
        try:
            order = mixed(plan.test, plan.validation)
            measure(ground, plan.configurations, order, config.rounds, config.warmup, lines, sink)
            return outcome(config, plan, ground, curves, lines.runs, sink)
        finally:
            ground.close()


def _claim(config: WallclockConfig, folder: Path) -> None:
    """Say in the folder what is measured there.

    Raises:
        InputError: it holds another benchmark.
    """
    threads = torch.get_num_threads()
    here = {"machine": machine(), "packages": package_versions(), "threads": threads}
    scenes = SceneDataset.open(config.scenes).fingerprint
    plan = {**config.to_json(), "scenes_fingerprint": scenes, "here": here}
    path = folder / PLAN
    if not path.exists():
        write_json(path, plan)
        return
    kept = parse_json(read_text(path), path)
    plain = json.loads(json.dumps(plan))
    if kept != plain:
        keys = sorted(
            key for key in plain if not isinstance(kept, dict) or kept.get(key) != plain[key]
        )
        raise InputError(
            f"this folder holds a benchmark with other {', '.join(keys)}",
            where=folder,
            hint="name another folder, or call as before to go on",
        )
