"""Make a dataset of the procedural drive: videos, events, ground truth, answers in two voices.

Every clip follows from the settings and its place alone, so drives and clips can be added later
and made in any order. How a run survives being killed stands in `making.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.scenes import making
from crossdraft.scenes.answers import write_answers
from crossdraft.scenes.disk import check_room
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.traffic import Split
from crossdraft.scenes.drive.voices import answers
from crossdraft.scenes.drive.world import Clip as World
from crossdraft.scenes.folder_note import FolderNote
from crossdraft.scenes.manifest import write_manifest
from crossdraft.scenes.records import Known, has_files
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.synth_clip import SynthClip, make_clip
from crossdraft.scenes.synth_estimate import clip_bytes
from crossdraft.scenes.synth_settings import SynthSettings

_MAX_DRIVES, _MAX_CLIPS = 10_000, 1_000_000  # what names of drives and clips have digits for
#: Of all drives together: they are planned at once and stay in memory, about 4 kB each.
_MAX_PLANNED = 1_000_000


@dataclass(frozen=True)
class SynthPlan:
    """All clips that are to be there in the end, as `making` wants them."""

    folder: Path
    settings: SynthSettings
    clips: Sequence[SynthClip]

    @property
    def note(self) -> FolderNote:
        return self.settings.note

    def check_record(self, scene: Scene) -> None:
        world = World.from_truth(scene.truth, scene.id)
        if (world.drive, world.number) != (scene.drive, scene.clip) or not scene.simulated:
            raise InputError("its ground truth is another clip's", where=scene.id)

    def is_done(self, clip: SynthClip, known: Known) -> bool:
        record = known["record"]
        told = (record.get("start_us"), record.get("end_us"), record.get("split"))
        same = told == (*clip.window_us, clip.split)
        return (
            same
            and record.get("truth") == _plain(clip.world.to_truth())
            and has_files(self.folder, known, clip.files)
        )

    def prepare(self) -> None:
        """Nothing beside the note."""

    def write_manifest(self, records: list[dict[str, Any]]) -> None:
        worlds = (World.from_truth(record["truth"], record["drive"]) for record in records)
        # First: whoever finds a scene in the manifest then finds its answers, too.
        write_answers(self.folder, (said for world in worlds for said in answers(world)))
        write_manifest(self.folder, records, self.settings.to_json())


def plan_synth(
    out: Path, settings: SynthSettings, *, drives: int, clips_per_drive: int, split: Split
) -> SynthPlan:
    """Plan the clips of some drives; nothing is written.

    Args:
        out: the dataset's folder.
        drives: how many, beginning with the first.
        clips_per_drive: seconds of each, beginning with the first.

    Raises:
        InputError: a number out of range, too many clips in all, or no such split.
    """
    for value, most, where in (
        (drives, _MAX_DRIVES, "drives"), (clips_per_drive, _MAX_CLIPS, "clips-per-drive"),
    ):  # fmt: skip
        if not 1 <= value <= most:
            raise InputError(f"{value}", where=where, expected=f"from 1 to {most:,}")
    if drives * clips_per_drive > _MAX_PLANNED:
        raise InputError(
            f"{drives:,} drives of {clips_per_drive:,} clips",
            where="clips-per-drive",
            expected=f"{_MAX_PLANNED:,} clips in all, or fewer",
            hint="make several datasets, each with its own seed",
        )
    if split not in get_args(Split):
        raise InputError(f"{split!r}", where="split", expected=" or ".join(get_args(Split)))
    clips = tuple(
        SynthClip(out, world, split, settings)
        for number in range(drives)
        for world in plan_drive(settings.seed, split, number, clips_per_drive)
    )
    return SynthPlan(out, settings, clips)


def pending(plan: SynthPlan) -> list[SynthClip]:
    """Clips that are still to be made.

    Raises:
        InputError: the folder holds clips of other settings, or a record is damaged.
    """
    return making.pending([plan])


def run_synth(
    plan: SynthPlan, *, workers: int = 1, force: bool = False, progress: ProgressSink = silent
) -> making.Report:
    """Make what is still to be made, then write answers and manifest.

    Args:
        workers: processes.
        force: go on although the disk seems too small.

    Raises:
        InputError: as `pending`; too little room; another process works in the folder.
    """
    todo = pending(plan)
    if not force:
        needed = len(todo) * clip_bytes(plan.settings)
        check_room(plan.folder, needed, "make fewer or smaller clips")
    return making.make_clips(
        plan.folder, [plan], make_clip, making.Report(), workers=workers, progress=progress
    )


def _plain(value: Mapping[str, Any]) -> Any:
    """The value as it comes back from JSON."""
    return json.loads(json.dumps(value))
