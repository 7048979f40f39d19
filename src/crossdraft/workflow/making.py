"""What a study makes before it learns: scenes of the procedural drive, and pair stores.

Both go on where a killed call stood, by themselves; `result.json` beside them says that they are
whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.device import usable_cores
from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress, ProgressSink, silent
from crossdraft.base.result import Result, RunFolder
from crossdraft.pairs.extract.events import Event
from crossdraft.pairs.extract.plan import Plan, make_plan
from crossdraft.pairs.extract.run import extract
from crossdraft.pairs.extract.settings import Keep
from crossdraft.pairs.extract.team import threads_of, workers_here
from crossdraft.pairs.extract.work import How
from crossdraft.pairs.store.kinds import SIDES
from crossdraft.pairs.store.manifest import Manifest
from crossdraft.scenes.scene import SIMULATED
from crossdraft.scenes.synth import plan_synth, run_synth
from crossdraft.workflow.sections import SHUFFLED, WORLD, Extract, Scenes

#: Processes that draw clips, where nobody says how many: more are no quicker.
_MOST_PAINTERS = 4


def run_scenes(asked: Scenes, folder: Path, sink: ProgressSink = silent) -> dict[str, Any]:
    """Make what is missing of a dataset in `folder`/world.

    Returns:
        The content of result.json.

    Raises:
        InputError: clips that failed, too little room, another process at work.
    """
    clips: dict[str, int] = {}
    for split, part in asked.parts:
        plan = plan_synth(
            folder / WORLD, asked.settings(),
            drives=part.drives, clips_per_drive=part.clips_per_drive, split=split,
        )  # fmt: skip
        workers = asked.workers or min(_MOST_PAINTERS, usable_cores())
        report = run_synth(plan, workers=workers, progress=sink)
        _refuse_failed([f"{clip}: {reason}" for clip, reason in report.failed], folder)
        clips[split] = len(plan.clips)
    config = asked.model_dump(mode="json")
    result = Result("scenes synth", {"clips": clips}, config, warnings=[SIMULATED]).to_json()
    RunFolder(folder).write_result(result)
    return result


def run_extraction(
    asked: Extract, split: str, scenes: Path, folder: Path, sink: ProgressSink = silent
) -> dict[str, Any]:
    """Extract what is missing of a split's answers into the pair store `folder`/SPLIT.

    Returns:
        The content of result.json.

    Raises:
        InputError: as `make_plan` and `extract`; clips that failed.
    """
    plan = extraction_plan(asked, split, scenes, folder / split)
    workers = min(asked.workers or workers_here(plan.pair, usable_cores()), plan.shards)
    how = How(
        asked.save_interval, asked.retries, asked.sequential,
        threads=threads_of(plan, usable_cores(), workers),
    )  # fmt: skip
    # Alone it works in this process, which goes on with trainings.
    before = torch.get_num_threads()
    try:
        outcome = extract(plan, how, workers=workers, tell=_Clips(plan, sink))
    finally:
        torch.set_num_threads(before)
    if outcome.manifest is None:
        raise InputError(
            "other processes hold what is left to extract", where=folder, hint="call again later"
        )
    missing = [f"{one.clip}: {one.reason}" for one in outcome.manifest.missing]
    _refuse_failed(missing, folder)
    config = {**asked.model_dump(mode="json"), "split": split, "pair": plan.pair.to_json()}
    result = Result("extract", _counted(outcome.manifest), config).to_json()
    RunFolder(folder).write_result(result)
    return result


def extraction_plan(asked: Extract, split: str, scenes: Path, out: Path) -> Plan:
    """The extraction of one split.

    Raises:
        InputError: as `make_plan`.
    """
    return make_plan(
        out, asked.chosen_pair(), scenes,
        split=split.removeprefix(SHUFFLED), shuffled=split.startswith(SHUFFLED),
        questions=asked.texts(),
        keep=Keep.parse(asked.alignment, asked.states, asked.dtype, asked.top_logits),
        max_new_tokens=asked.max_new_tokens, max_samples=asked.max_samples,
        chunk_size=asked.chunk_size, batch_clips=asked.batch_clips,
    )  # fmt: skip


class _Clips:
    """Turns what an extraction tells into progress."""

    def __init__(self, plan: Plan, sink: ProgressSink) -> None:
        self._sink, self._done, self._total = sink, 0, len(plan.scenes)

    def __call__(self, event: Event) -> None:
        if event.what in ("clip", "failure") and event.role == "both":
            self._done = min(self._done + 1, self._total)
            self._sink(Progress("clips", self._done, self._total))


def _counted(manifest: Manifest) -> dict[str, Any]:
    return {
        "pairs": manifest.pairs,
        "tokens": {side: sum(info.positions[side] for info in manifest.shards) for side in SIDES},
        "states": [kind.name for kind in manifest.schema.kinds],
        "bytes": sum(info.bytes for info in manifest.shards),
    }


def _refuse_failed(failed: Sequence[str], folder: Path) -> None:
    """A study of fewer clips than it says would be another one."""
    if failed:
        raise InputError(
            f"{len(failed):,} clips failed; the first, {failed[0]}",
            where=folder,
            hint="the same call tries them again",
        )
