"""Making the clips of datasets: resumable after any kill, the same bytes however it was run.

A clip is done when its record is there and its files have the size that the record says. The
manifests are written anew from the records at the end of every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.files import sweep
from crossdraft.base.lock import locked
from crossdraft.base.progress import Progress, ProgressSink
from crossdraft.scenes.folder_note import FolderNote
from crossdraft.scenes.records import Known, has_files, read_records
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.workers import Failure, run_jobs


class Clip(Protocol):
    """A clip to make: `folder` is its dataset, `id` is `<drive>/<clip>`."""

    @property
    def folder(self) -> Path: ...
    @property
    def id(self) -> str: ...


C = TypeVar("C", bound=Clip)


class Dataset(Protocol[C]):
    """A folder of clips, planned."""

    @property
    def folder(self) -> Path: ...
    @property
    def clips(self) -> Sequence[C]: ...
    @property
    def note(self) -> FolderNote: ...

    def check_record(self, scene: Scene) -> None:
        """Refuse a record that another program wrote; all records, also of other runs."""

    def is_done(self, clip: C, known: Known) -> bool:
        """Whether the record is of this very clip, and its files are there."""

    def prepare(self) -> None:
        """Write what must lie in the folder, which exists and has its note, before any clip."""

    def write_manifest(self, records: list[dict[str, Any]]) -> None:
        """Write the manifest of all clips, which come in the order of drive and number."""


@dataclass
class Report:
    """What a run did.

    Attributes:
        done: clips made now.
        kept: clips that were there already.
        failed: clip and reason, sorted.
        clips: clips in each dataset's manifest, by folder.
        seconds: wall-clock time.
    """

    #: What is done to clips: `12 clips made`.
    VERB: ClassVar[str] = "made"

    done: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    clips: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        failed = [{"clip": clip, "reason": reason} for clip, reason in self.failed]
        rest = {"kept": self.kept, "failed": failed, "clips": self.clips, "seconds": self.seconds}
        return {self.VERB: self.done, **rest}


R = TypeVar("R", bound=Report)


def pending(datasets: Sequence[Dataset[C]]) -> list[C]:
    """Clips that are still to be made.

    Raises:
        InputError: a folder holds clips of other settings, or a record is damaged.
    """
    todo = []
    for dataset in datasets:
        dataset.note.check(dataset.folder)
        # All of them, also of clips that are not planned now: the manifest will need them.
        records = _records(dataset)
        for clip in dataset.clips:
            known = records.get(clip.id)
            if known is None or not dataset.is_done(clip, known):
                todo.append(clip)
    return todo


def make_clips(
    out: Path,
    datasets: Sequence[Dataset[C]],
    work: Callable[[C], None],
    report: R,
    *,
    workers: int,
    progress: ProgressSink,
    close: Callable[[], None] = lambda: None,
) -> R:
    """Make what is still to be made, then write the manifests.

    Args:
        out: folder that is locked meanwhile; the datasets lie in it, or are it.
        work: makes one clip, the record last; a function of a module.
        report: an empty one, to be filled.
        workers: processes.
        close: lets go of what `work` keeps open where it ran in this process.

    Raises:
        InputError: as `pending`; another process works in the folder; the disk is full.
    """
    began_ms = now_ms()
    with locked(out):
        todo = pending(datasets)
        for dataset in datasets:
            _prepare(dataset)
        report.kept = sum(len(dataset.clips) for dataset in datasets) - len(todo)
        try:
            _make_all(out, datasets, todo, work, workers, progress, report)
        finally:
            close()
            # Workers that were ended in the middle of a file.
            for dataset in datasets:
                sweep(dataset.folder)
        for dataset in datasets:
            whole = [
                known["record"]
                for known in _records(dataset).values()
                if has_files(dataset.folder, known, known["bytes"])
            ]
            dataset.write_manifest(whole)
            report.clips[str(dataset.folder)] = len(whole)
    report.failed.sort()
    report.seconds = round((now_ms() - began_ms) / 1e3, 3)
    return report


def _records(dataset: Dataset[C]) -> dict[str, Known]:
    return read_records(dataset.folder, dataset.note.verb, dataset.check_record)


def _prepare(dataset: Dataset[C]) -> None:
    """Make a folder ready: swept, and its settings written down before any clip."""
    try:
        dataset.folder.mkdir(parents=True, exist_ok=True)
        sweep(dataset.folder)
        dataset.note.write(dataset.folder)
        dataset.prepare()
    except OSError as error:
        raise InputError(f"cannot write here ({error.strerror})", where=dataset.folder) from error


def _make_all(
    out: Path,
    datasets: Sequence[Dataset[C]],
    todo: Sequence[C],
    work: Callable[[C], None],
    workers: int,
    progress: ProgressSink,
    report: Report,
) -> None:
    totals = {dataset.folder: len(dataset.clips) for dataset in datasets}
    done = dict(totals)
    for clip in todo:
        done[clip.folder] -= 1
    for folder, total in totals.items():
        progress(Progress(folder.name, done[folder], total))
    with closing(run_jobs(work, todo, workers, out)) as outcomes:
        for place, outcome in outcomes:
            clip = todo[place]
            if isinstance(outcome, Failure):
                report.failed.append((f"{clip.folder.name}/{clip.id}", outcome.reason))
            else:
                report.done += 1
            done[clip.folder] += 1
            progress(Progress(clip.folder.name, done[clip.folder], totals[clip.folder]))
