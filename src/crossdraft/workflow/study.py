"""A study: several data sets, each trained, evaluated and summarised, as resumable steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from crossdraft import __version__
from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, write_json, write_text
from crossdraft.base.lock import locked
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.base.result import Result
from crossdraft.decoding.answers import read_answers
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.pairs.leak import check_leak, without_neighbours
from crossdraft.report.study import study_markdown
from crossdraft.training.loop import BEST, STATE
from crossdraft.training.settings import TrainConfig
from crossdraft.workflow import steps as work
from crossdraft.workflow.config import Dataset, Setting, StudyConfig
from crossdraft.workflow.engine import RESULT, Engine, Report, Step, StepState
from crossdraft.workflow.files import InputFiles
from crossdraft.workflow.journal import Journal, Listener
from crossdraft.workflow.marker import digest_of, set_aside

SUMMARY = "SUMMARY.md"
#: Fields of the configurations that name files or follow from the step's place.
_PATHS = {"pairs", "val_pairs", "train_pairs", "cost_curve", "drafters"}
#: Metrics that are one number with its interval; curves stay in the steps' own results.
_CURVES = {"by_position", "by_depth"}


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
        payload = {
            "study": self.config.name,
            "fingerprint": made_from,
            "datasets": [self._dataset(dataset) for dataset in self.config.datasets],
        }
        inputs = sorted({path for step in self.steps for path in step.inputs.values()})
        resolved = self.config.model_dump(mode="json")
        warnings = [w for dataset in self.config.datasets for w in self._neighbours(dataset)]
        result = Result("study", payload, resolved, inputs, warnings).to_json()
        write_text(self.out / SUMMARY, study_markdown(result))
        write_json(self.out / RESULT, result)
        return result

    def _set_aside(self) -> None:
        """Keep what was said about earlier results under another name."""
        for path in (self.out / RESULT, self.out / SUMMARY):
            if path.exists():
                set_aside(path)

    def _dataset(self, dataset: Dataset) -> dict[str, Any]:
        trained = self.config.networks if dataset.test is not None else ()
        return {
            "name": dataset.name,
            "train": dataset.train.name,
            "test": dataset.test.name if dataset.test else None,
            "trainings": [self._training(dataset, drafter) for drafter in trained],
            "evaluations": [self._evaluation(dataset, s) for s in self.config.evaluate],
        }

    def _training(self, dataset: Dataset, drafter: str) -> dict[str, Any]:
        folder = training_folder(dataset, drafter)
        result = read_result(self.out / folder)
        return {
            "drafter": drafter,
            "folder": folder,
            "best_epoch": result["best_epoch"],
            "epochs": len(result["history"]),
            "stopped_early": result["stopped_early"],
            "validation": _numbers(result["validation"][drafter]),
        }

    def _evaluation(self, dataset: Dataset, setting: Setting) -> dict[str, Any]:
        folder = f"{dataset.name}/{setting.folder}"
        result = read_result(self.out / folder)
        return {
            "setting": setting.name,
            "folder": folder,
            "proposal": result["data"]["proposal"],
            "split": result["data"]["split"],
            "online": result["config"]["online"],
            "drafters": {label: _numbers(m) for label, m in result["drafters"].items()},
            "differences": result.get("differences", {}),
            "warnings": result["warnings"],
        }

    def _neighbours(self, dataset: Dataset) -> list[str]:
        """What the networks may have learned from the test without a shared clip."""
        if dataset.test is None or not self.config.networks:
            return []
        asked = self.config.evaluation(dataset, self.config.evaluate[0])
        train, test = (read_answers(p, asked.eos).pairs for p in (dataset.train, dataset.test))
        _, near = without_neighbours(train, test, asked.gap)
        if not near:
            return []
        return [
            f"{dataset.name}: {near} training clips stand within {asked.gap} places of a test "
            "clip; the trained networks have learned from them"
        ]

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


def plan(config: StudyConfig, out: Path) -> list[Step]:
    """The steps of a study, data set by data set, each behind those that it needs."""
    made: list[Step] = []
    for dataset in config.datasets:
        trained = config.networks if dataset.test is not None else ()
        made += [_train_step(config, dataset, drafter) for drafter in trained]
        needs = tuple(training_folder(dataset, drafter) for drafter in trained)
        models = {name: out / training_folder(dataset, name) / BEST for name in trained}
        made += [_evaluate_step(config, dataset, s, needs, models) for s in config.evaluate]
    return made


def training_folder(dataset: Dataset, drafter: str) -> str:
    """Where a drafter is trained, below the study's folder."""
    return f"{dataset.name}/train-{drafter}"


def read_result(folder: Path) -> dict[str, Any]:
    """The result.json of a folder.

    Raises:
        InputError: missing or damaged.
    """
    path = folder / RESULT
    value = parse_json(read_text(path), path)
    if not isinstance(value, dict):
        raise InputError("not a result", where=path, expected="an object")
    return value


def _train_step(config: StudyConfig, dataset: Dataset, drafter: str) -> Step:
    resolved = config.training(dataset, drafter)
    return Step(
        name=training_folder(dataset, drafter),
        kind="train",
        options=resolved.model_dump(mode="json", exclude=_PATHS),
        inputs=_present(train=dataset.train, val=dataset.val),
        needs=(),
        run=partial(_train, resolved, dataset),
        outputs=(RESULT, BEST),
        leftovers=(STATE,),
    )


def _evaluate_step(
    config: StudyConfig,
    dataset: Dataset,
    setting: Setting,
    needs: tuple[str, ...],
    models: Mapping[str, Path],
) -> Step:
    resolved = config.evaluation(dataset, setting)
    options = resolved.model_dump(mode="json", exclude=_PATHS)
    return Step(
        name=f"{dataset.name}/{setting.folder}",
        kind="evaluate",
        options={**options, "drafters": list(config.drafters)},
        inputs=_present(train=dataset.train, test=dataset.test, cost_curve=resolved.cost_curve),
        needs=needs,
        # The checkpoints exist only when the step runs, and the configuration asks for them.
        run=partial(_evaluate, lambda: config.evaluation(dataset, setting, models)),
        leftovers=(work.FOLD_STATES,),
    )


def _train(
    config: TrainConfig, dataset: Dataset, folder: Path, sink: ProgressSink, report: Report
) -> None:
    # The evaluation refuses a leak too, but only after the training's hours.
    if dataset.test is not None and InputFiles().fault(dataset.test) is None:
        train, test = (read_answers(p, config.eos).pairs for p in (dataset.train, dataset.test))
        kept, _ = without_neighbours(train, test, config.settings.gap)
        check_leak(kept, test, config.settings.gap)
    work.run_training(config, folder, sink, report)


def _evaluate(
    config: Callable[[], EvaluateConfig], folder: Path, sink: ProgressSink, report: Report
) -> None:
    work.run_evaluation(config(), folder, sink)


def _present(**files: Path | None) -> dict[str, Path]:
    return {role: path for role, path in files.items() if path is not None}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in _CURVES}
