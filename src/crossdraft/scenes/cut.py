"""Cut DSEC into clips: resumable after any kill, the same bytes however it was run.

How that is done stands in `making.py`; here is what is particular to DSEC's clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from crossdraft.base.clock import now_ms
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.scenes import making
from crossdraft.scenes.cut_clip import Clip, close_recording, cut_clip
from crossdraft.scenes.cut_plan import CutPlan, DatasetPlan
from crossdraft.scenes.disk import check_room
from crossdraft.scenes.dsec import CUT_NOTE
from crossdraft.scenes.folder_note import FolderNote
from crossdraft.scenes.frame_note import note_settings as note_frames
from crossdraft.scenes.manifest import write_manifest
from crossdraft.scenes.records import Known, has_files
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.seed_writer import write_seed_manifest

_FORMAT = "crossdraft-cut/1"


class CutReport(making.Report):
    """What a run did."""

    VERB: ClassVar[str] = "cut"

    @property
    def cut(self) -> int:
        """Clips cut now."""
        return self.done


def pending(plan: CutPlan) -> list[Clip]:
    """Clips that are still to be cut.

    Raises:
        InputError: a folder holds clips of other settings, or a record is damaged.
    """
    return making.pending(_folders(plan))


def run_cut(
    plan: CutPlan, *, workers: int = 1, force: bool = False, progress: ProgressSink = silent
) -> CutReport:
    """Cut what is still to be cut, then write the manifests.

    Args:
        workers: processes.
        force: go on although the disk seems too small.

    Raises:
        InputError: as `pending`; too little room; another process works in the folder.
    """
    began_ms = now_ms()
    todo = pending(plan)
    if not force:
        needed = sum(clip.size_bytes for clip in todo)
        check_room(plan.out, needed, "cut less (--sequences, --max-clips, --no-video)")
    report = making.make_clips(
        plan.out, _folders(plan), cut_clip, CutReport(),
        workers=workers, progress=progress, close=close_recording,
    )  # fmt: skip
    report.seconds = round((now_ms() - began_ms) / 1e3, 3)
    return report


@dataclass(frozen=True)
class _Folder:
    """One duration's clips, as `making` wants them."""

    plan: DatasetPlan

    @property
    def folder(self) -> Path:
        return self.plan.folder

    @property
    def clips(self) -> Sequence[Clip]:
        return self.plan.clips

    @property
    def _made_with(self) -> dict[str, Any]:
        return self.plan.settings.to_json(self.plan.duration_us)

    @property
    def note(self) -> FolderNote:
        return FolderNote(CUT_NOTE, {"format": _FORMAT, **self._made_with}, "cut")

    def check_record(self, scene: Scene) -> None:
        """Nothing more than that it is one."""

    def is_done(self, clip: Clip, known: Known) -> bool:
        window, record = clip.window, known["record"]
        same = (record.get("start_us"), record.get("end_us"), record.get("first_frame")) == (
            window.start_us, window.end_us, window.first_frame,
        )  # fmt: skip
        return same and has_files(self.folder, known, clip.files().all())

    def prepare(self) -> None:
        for clip in self.clips[:1]:
            for name, (settings, _) in clip.files().frames.items():
                (self.folder / name).mkdir(exist_ok=True)
                note_frames(self.folder / name, settings)

    def write_manifest(self, records: list[dict[str, Any]]) -> None:
        if self.plan.settings.layout == "seed":
            write_seed_manifest(self.folder, records)
            return
        frames_found_by_name = [
            {key: value for key, value in record.items() if key != "event_frames"}
            for record in records
        ]
        write_manifest(self.folder, frames_found_by_name, self._made_with)


def _folders(plan: CutPlan) -> list[_Folder]:
    return [_Folder(dataset) for dataset in plan.datasets]
