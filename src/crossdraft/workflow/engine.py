"""Steps that survive a kill at any moment.

Every step owns a folder with a marker, `step.json`, that holds its fingerprint: a digest of what
the step does, with which options, on which contents, after which steps, by which version. A
finished step with an unchanged fingerprint is skipped; one with another fingerprint runs anew after
its folder was moved aside. Nothing is ever deleted but leftovers of interrupted writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crossdraft import __version__
from crossdraft.base.clock import now_ms
from crossdraft.base.errors import CrossdraftError, InputError
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.workflow.files import InputFiles
from crossdraft.workflow.journal import Journal
from crossdraft.workflow.marker import (
    digest_of,
    discarded_if_empty,
    has_content,
    make_clean,
    read_marker,
    remove,
    set_aside,
    write_marker,
)

RESULT = "result.json"

#: Called with what a step reports while it runs, an epoch's record for example.
Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Step:
    """One piece of work that ends with a result.json in its folder.

    Attributes:
        name: path of its folder below the study's, `1s/train-translator`.
        kind: what it does.
        options: everything that decides its result but files, as plain JSON.
        inputs: files that it reads, by role.
        needs: names of steps whose results it reads.
        run: the work; given its folder, it goes on with what an interrupted call left there.
        outputs: files that stand in the folder when it is finished.
        leftovers: what a kill right after the result may leave in the folder, to be removed.
    """

    name: str
    kind: str
    options: Mapping[str, Any]
    inputs: Mapping[str, Path]
    needs: tuple[str, ...]
    run: Callable[[Path, ProgressSink, Report], Any]
    outputs: tuple[str, ...] = (RESULT,)
    leftovers: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepState:
    """How a step stands before a study runs."""

    step: Step
    state: Literal["done", "to do", "waiting"]
    detail: str = ""


class StudyError(InputError):
    """Steps that could not run, each with its reason (exit code 2)."""


@dataclass
class Engine:
    """Runs steps in order, those first that have what they need.

    Attributes:
        out: the study's folder.
        steps: each behind the steps that it needs.
        wait_minutes: how long to wait for files when nothing else is left to do.
        on_change: called once, before the first step that is not merely skipped.
        progress: makes the sink of one step.
        poll_s: seconds between two looks at a file.
    """

    out: Path
    steps: Sequence[Step]
    wait_minutes: float = 0
    on_change: Callable[[], None] = lambda: None
    progress: Callable[[], AbstractContextManager[ProgressSink]] = lambda: nullcontext(silent)
    poll_s: float = 5.0
    fingerprints: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    _files: InputFiles = field(default_factory=InputFiles)
    _failed: dict[str, str] = field(default_factory=dict)
    _changed: bool = False

    def states(self) -> list[StepState]:
        """How every step stands; nothing is written."""
        found: list[StepState] = []
        unknown: dict[str, str] = {}
        for step in self.steps:
            blocking = [unknown[name] for name in step.needs if name in unknown]
            blocking += [f"{p}: {fault}" for p in _distinct(step) if (fault := self._fault(p))]
            if blocking:
                unknown[step.name] = blocking[0]
                found.append(StepState(step, "waiting", blocking[0]))
            else:
                self.fingerprints[step.name] = self._fingerprint(step)
                found.append(self._state(step))
        return found

    def refuse_unready(self) -> None:
        """Ask for every file at once, where a study is not to wait.

        Raises:
            InputError: a file is missing or unfinished.
        """
        if self.wait_minutes == 0:
            for path in dict.fromkeys(p for step in self.steps for p in _distinct(step)):
                if fault := self._fault(path):
                    raise _unready(path, fault)

    def run(self, journal: Journal) -> None:
        """Run what is not done yet.

        Raises:
            StudyError: steps failed; all that do not need them have run.
            InputError: files did not come in time; all that do not need them have run.
        """
        pending = list(self.steps)
        while pending:
            step = self._next(pending) or self._wait(pending, journal)
            if step is None:
                break
            pending.remove(step)
            lost = [name for name in step.needs if name in self._failed]
            if lost:
                self._failed[step.name] = f"needs {lost[0]}"
                journal.write("blocked", step=step.name, reason=f"needs {lost[0]}")
                continue
            try:
                self._do(step, journal)
            except CrossdraftError as error:
                self._failed[step.name] = str(error)
                journal.write("failed", step=step.name, reason=str(error))
        if self._failed:
            raise StudyError(self._explain())

    def _next(self, pending: Sequence[Step]) -> Step | None:
        """The first step that needs no unfinished step and has its files."""
        waiting = {step.name for step in pending}
        for step in pending:
            if any(name in self._failed for name in step.needs):
                return step
            if not waiting.intersection(step.needs) and self._ready(step):
                return step
        return None

    def _ready(self, step: Step) -> bool:
        if self.wait_minutes == 0:
            return not any(self._fault(path) for path in _distinct(step))
        # All files are looked at, also behind one that is not ready: a look is what counts.
        looks = [self._files.settled(path, self.poll_s) for path in _distinct(step)]
        return all(looks)

    def _wait(self, pending: Sequence[Step], journal: Journal) -> Step | None:
        """Look at the files until a step can run; None when the time is over."""
        deadline_ms = now_ms() + self.wait_minutes * 60_000
        said: str | None = None
        while True:
            missing = self._missing(pending)
            if missing and missing[0] != said:
                said = missing[0]
                journal.write("waiting", reason=said)
            left_s = (deadline_ms - now_ms()) / 1000
            if left_s <= 0:
                break
            time.sleep(min(self.poll_s, left_s))
            if step := self._next(pending):
                return step
        for step in pending:
            faults = [str(_unready(p, f)) for p in _distinct(step) if (f := self._fault(p))]
            blocked = faults or [f"needs {name}" for name in step.needs] or [_CHANGING]
            self._failed[step.name] = blocked[0]
            journal.write("failed", step=step.name, reason=blocked[0])
        return None

    def _missing(self, pending: Sequence[Step]) -> list[str]:
        paths = dict.fromkeys(path for step in pending for path in _distinct(step))
        return [f"{path}: {fault}" for path in paths if (fault := self._fault(path))]

    def _do(self, step: Step, journal: Journal) -> None:
        """Run one step, or skip it."""
        fingerprint = self.fingerprints[step.name] = self._fingerprint(step)
        state = self._state(step)
        if state.state == "done":
            journal.write("skip", step=step.name, fingerprint=fingerprint)
            return
        if not self._changed:
            self._changed = True
            self.on_change()
        folder = self.out / step.name
        adopted = self._prepare(step, folder, fingerprint, journal)
        started_ms = now_ms()
        if not adopted:
            self.ran.append(step.name)
            journal.write("start", step=step.name, fingerprint=fingerprint)
            with discarded_if_empty(folder), self.progress() as sink:
                step.run(folder, sink, lambda record: journal.write("epoch", step.name, **record))
        if self._fingerprint(step) != fingerprint:
            write_marker(folder, step.name, fingerprint, "spoiled")
            raise InputError(
                "an input file has changed while the step ran",
                where=folder,
                hint="call again: the step then runs anew on the files as they are",
            )
        for name in step.leftovers:
            remove(folder / name)
        seconds = round((now_ms() - started_ms) / 1000, 3)
        write_marker(folder, step.name, fingerprint, "done", seconds=seconds)
        journal.write("end", step=step.name, seconds=seconds)

    def _prepare(self, step: Step, folder: Path, fingerprint: str, journal: Journal) -> bool:
        """Make the folder ready; whether it holds the step's result already.

        That happens when the process died between the result and the marker.
        """
        marker = read_marker(folder)
        finished = _complete(step, folder)
        begun = marker.get("fingerprint") == fingerprint and marker.get("state") == "started"
        # A result without its other outputs is of no use, and commands refuse to write beside it.
        begun = begun and (finished or not (folder / RESULT).exists())
        if not begun and has_content(folder):
            aside = set_aside(folder)
            journal.write("aside", step=step.name, kept=aside.name)
        make_clean(folder)
        if begun and finished:
            return True
        write_marker(folder, step.name, fingerprint, "started")
        return False

    def _state(self, step: Step) -> StepState:
        """How a step stands whose files are there."""
        folder = self.out / step.name
        marker = read_marker(folder)
        if marker.get("fingerprint") != self.fingerprints[step.name]:
            changed = "something it depends on has changed" if marker else ""
            return StepState(step, "to do", changed)
        if marker.get("state") != "done":
            return StepState(step, "to do", "begun")
        if not _complete(step, folder):
            return StepState(step, "to do", "its result is gone")
        return StepState(step, "done")

    def _fingerprint(self, step: Step) -> str:
        """Digest of everything that decides the step's result."""
        content = {
            "kind": step.kind,
            "options": step.options,
            "inputs": {role: self._files.digest(path) for role, path in step.inputs.items()},
            "needs": [self.fingerprints[name] for name in step.needs],
            "version": __version__,
        }
        return digest_of(content)

    def _fault(self, path: Path) -> str | None:
        return self._files.fault(path)

    def _explain(self) -> str:
        head = f"{len(self._failed)} of {len(self.steps)} steps could not run"
        return "\n".join([head, *(f"{name}: {reason}" for name, reason in self._failed.items())])


_CHANGING = "its files were still changing when the time to wait was over"


def _complete(step: Step, folder: Path) -> bool:
    return all((folder / name).is_file() for name in step.outputs)


def _distinct(step: Step) -> list[Path]:
    return list(dict.fromkeys(step.inputs.values()))


def _unready(path: Path, fault: str) -> InputError:
    return InputError(
        fault,
        where=path,
        expected="a complete file",
        hint="correct the path in the study, finish the extraction, or let the study wait with "
        "wait_minutes",
    )
