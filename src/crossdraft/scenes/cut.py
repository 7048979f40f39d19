"""Cut DSEC into clips: resumable after any kill, the same bytes however it was run.

A clip is done when its record is there and its files have the size that the record says. The
manifest is written anew from the records at the end of every run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text, sweep
from crossdraft.base.lock import locked
from crossdraft.base.progress import Progress, ProgressSink, silent
from crossdraft.scenes.cut_clip import RECORDS, Clip, close_recording, cut_clip
from crossdraft.scenes.cut_plan import CutPlan, DatasetPlan
from crossdraft.scenes.cut_settings import check_folder, note_settings
from crossdraft.scenes.disk import check_room
from crossdraft.scenes.frame_note import note_settings as note_frames
from crossdraft.scenes.manifest import from_record, write_manifest
from crossdraft.scenes.seed_writer import write_seed_manifest
from crossdraft.scenes.workers import Failure, run_jobs


@dataclass
class CutReport:
    """What a run did.

    Attributes:
        cut: clips cut now.
        kept: clips that were there already.
        failed: clip and reason, sorted.
        clips: clips in each dataset's manifest, by folder.
        seconds: wall-clock time.
    """

    cut: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    clips: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        failed = [{"clip": clip, "reason": reason} for clip, reason in self.failed]
        return {**self.__dict__, "failed": failed}


def pending(plan: CutPlan) -> list[Clip]:
    """Clips that are still to be cut.

    Raises:
        InputError: a folder holds clips of other settings, or a record is damaged.
    """
    todo = []
    for dataset in plan.datasets:
        check_folder(dataset.folder, dataset.settings, dataset.duration_us)
        # All of them, also of clips that are not planned now: the manifest will need them.
        records = _read_records(dataset.folder)
        todo += [clip for clip in dataset.clips if not _is_done(clip, records.get(clip.id))]
    return todo


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
        check_room(plan.out, sum(clip.size_bytes for clip in todo))
    with locked(plan.out):
        todo = pending(plan)
        for dataset in plan.datasets:
            _prepare(dataset)
        report = CutReport(kept=len(plan.clips) - len(todo))
        try:
            _cut_all(plan, todo, workers, progress, report)
        finally:
            close_recording()
            # Workers that were ended in the middle of a file.
            for dataset in plan.datasets:
                sweep(dataset.folder)
        for dataset in plan.datasets:
            report.clips[str(dataset.folder)] = _write_manifest(dataset)
    report.failed.sort()
    report.seconds = round((now_ms() - began_ms) / 1e3, 3)
    return report


def _cut_all(
    plan: CutPlan, todo: list[Clip], workers: int, progress: ProgressSink, report: CutReport
) -> None:
    totals = {dataset.folder: len(dataset.clips) for dataset in plan.datasets}
    done = dict(totals)
    for clip in todo:
        done[clip.folder] -= 1
    for folder, total in totals.items():
        progress(Progress(folder.name, done[folder], total))
    with closing(run_jobs(cut_clip, todo, workers, plan.out)) as outcomes:
        for place, outcome in outcomes:
            clip = todo[place]
            if isinstance(outcome, Failure):
                report.failed.append((f"{clip.folder.name}/{clip.id}", outcome.reason))
            else:
                report.cut += 1
            done[clip.folder] += 1
            progress(Progress(clip.folder.name, done[clip.folder], totals[clip.folder]))


def _prepare(dataset: DatasetPlan) -> None:
    """Make a folder ready: swept, and its settings written down before any clip."""
    folder = dataset.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        note_settings(folder, dataset.settings, dataset.duration_us)
        for clip in dataset.clips[:1]:
            for name, (settings, _) in clip.files().frames.items():
                (folder / name).mkdir(exist_ok=True)
                note_frames(folder / name, settings)
    except OSError as error:
        raise InputError(f"cannot write here ({error.strerror})", where=folder) from error


def _is_done(clip: Clip, known: dict[str, Any] | None) -> bool:
    """Whether a clip has a record of this very window, and all its files."""
    if known is None:
        return False
    window, record = clip.window, known["record"]
    same = (record.get("start_us"), record.get("end_us"), record.get("first_frame")) == (
        window.start_us, window.end_us, window.first_frame,
    )  # fmt: skip
    return same and _has_files(clip.folder, known, clip.files().all())


def _has_files(folder: Path, known: dict[str, Any], expected: Iterable[str]) -> bool:
    sizes = known["bytes"]
    if set(sizes) != set(expected):
        return False
    return all(_size(folder / file) == size for file, size in sizes.items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Records of a dataset by clip, in order."""
    # A killed run leaves half-written ones, whose names begin with a dot.
    paths = sorted((folder / RECORDS).glob("*/[!.]*.json"))
    return {f"{path.parent.name}/{path.stem}": _read_record(path, folder) for path in paths}


def _read_record(path: Path, folder: Path) -> dict[str, Any]:
    try:
        known = parse_json(read_text(path), path)
        json.dumps(known, allow_nan=False)
        return _checked_record(Item(known, path, "record"), path, folder)
    except (InputError, ValueError) as error:
        raise InputError(
            f"no record of this clip ({error.found if isinstance(error, InputError) else error})",
            where=path,
            expected="what this command wrote when the clip was done",
            hint="delete this file: its clip is cut again",
        ) from error


def _checked_record(whole: Item, path: Path, folder: Path) -> dict[str, Any]:
    """The record, if it is of the clip that its place says, and of the files that it counts."""
    record, sizes = whole.sub("record"), whole.mapping("bytes")
    scene = from_record(record, folder)
    if scene.id != f"{path.parent.name}/{path.stem}":
        raise whole.error(f"names clip {scene.id}")
    sets = record.mapping("event_frames")
    named = [scene.events_file, scene.video_file]
    for name, files in sets.items():
        if not isinstance(files, list):
            raise record.error(f"{name} is no list of files")
        named += files
        if any(not isinstance(file, str) or not file.startswith(f"{name}/") for file in files):
            raise record.error(f"a file of {name} lies elsewhere")
    if {file for file in named if file} != set(sizes):
        raise whole.error("other files than it counts the bytes of")
    return dict(whole.value)


def _write_manifest(dataset: DatasetPlan) -> int:
    """Write the manifest of all clips that are whole, of this run and of earlier ones."""
    folder = dataset.folder
    records = []
    for known in _read_records(folder).values():
        if _has_files(folder, known, known["bytes"]):
            records.append(known["record"])
    if dataset.settings.layout == "seed":
        write_seed_manifest(folder, records)
    else:
        frames_found_by_name = [
            {key: value for key, value in record.items() if key != "event_frames"}
            for record in records
        ]
        made_with = dataset.settings.to_json(dataset.duration_us)
        write_manifest(folder, frames_found_by_name, made_with)
    return len(records)
