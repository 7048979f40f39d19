"""A study: scenes, answers, trainings, evaluations, times and their summary, as resumable steps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from crossdraft import __version__
from crossdraft.base.errors import InputError
from crossdraft.base.files import write_json, write_text
from crossdraft.base.lock import locked
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.base.result import Result
from crossdraft.pairs.stored import fingerprinted
from crossdraft.report.study import study_markdown
from crossdraft.workflow.config import StudyConfig
from crossdraft.workflow.engine import RESULT, Engine, StepState
from crossdraft.workflow.journal import Journal, Listener
from crossdraft.workflow.marker import digest_of, set_aside
from crossdraft.workflow.plan import plan
from crossdraft.workflow.summary import neighbours, payload, read_result

SUMMARY = "SUMMARY.md"


class Study:
    """One study and its folder.

    Attributes:
        steps: what there is to do, in order of preference.
    """

    def __init__(
        self,
        config: StudyConfig,
        out: Path,
        *,
        listen: Listener = lambda _: None,
        progress: Callable[[], AbstractContextManager[ProgressSink]] = lambda: nullcontext(silent),
        poll_s: float = 5.0,
    ) -> None:
        """
        Args:
            out: where everything goes; a study begun there is gone on with.
            listen: called with every record of the log.
            progress: makes the progress sink of one step.
            poll_s: seconds between two looks at a file that is still written.
        """
        self.config, self.out, self._listen = config, out, listen
        self.steps = plan(config, out)
        self.engine = Engine(
            out, self.steps, config.wait_minutes, self._set_aside, progress, poll_s
        )

    def states(self) -> list[StepState]:
        """How every step stands; nothing is written.

        Raises:
            InputError: the folder belongs to something else.
        """
        self._refuse_foreign()
        return self.engine.states()

    def run(self) -> dict[str, Any]:
        """Do what is not done yet, then summarise.

        Returns:
            The content of result.json.

        Raises:
            InputError: a file that is missing or unfinished where the study is not to wait, a
                folder of something else, or another process at work in it.
            StudyError: steps that failed; all others are done.
        """
        self._refuse_foreign()
        self.engine.refuse_unready()
        with locked(self.out):
            journal = Journal(self.out, self._listen)
            journal.write("study", study=self.config.name, version=__version__)
            try:
                self.engine.run(journal)
                result = self._summarise()
            except BaseException as error:
                journal.write("stopped", reason=type(error).__name__)
                raise
            journal.write("finished", ran=len(self.engine.ran))
            return result

    def _summarise(self) -> dict[str, Any]:
        """Write SUMMARY.md and result.json, unless they are already about these results."""
        made_from = digest_of([self.config.name, *self.engine.fingerprints.items()])
        if (self.out / RESULT).exists():
            result = read_result(self.out)
            if result.get("fingerprint") == made_from:
                if not (self.out / SUMMARY).exists():
                    write_text(self.out / SUMMARY, study_markdown(result))
                return result
            self._set_aside()
        content = {"fingerprint": made_from, **payload(self.config, self.out)}
        inputs = sorted(
            {fingerprinted(path) for step in self.steps for path in step.inputs.values()}
        )
        resolved = self.config.model_dump(mode="json")
        warnings = neighbours(self.config, self.out)
        result = Result("study", content, resolved, inputs, warnings).to_json()
        write_text(self.out / SUMMARY, study_markdown(result))
        write_json(self.out / RESULT, result)
        return result

    def _set_aside(self) -> None:
        """Keep what was said about earlier results under another name."""
        for path in (self.out / RESULT, self.out / SUMMARY):
            if path.exists():
                set_aside(path)

    def _refuse_foreign(self) -> None:
        """Keep out of the folder of another command."""
        path = self.out / RESULT
        if path.exists() and read_result(self.out).get("command") != "study":
            raise InputError(
                "this folder holds the result of another command",
                where=self.out,
                expected="a new folder, or that of a study",
                hint="name another folder with --out",
            )
