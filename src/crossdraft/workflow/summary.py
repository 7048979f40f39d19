"""What a finished study has come to, out of the results of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text
from crossdraft.decoding.answers import read_answers
from crossdraft.drafters.checkpoint import trainable_class
from crossdraft.evaluation.state_summary import meant
from crossdraft.pairs.leak import without_neighbours
from crossdraft.workflow.config import StudyConfig
from crossdraft.workflow.engine import RESULT
from crossdraft.workflow.plan import training_folder
from crossdraft.workflow.sections import SCENES, WALLCLOCK, Dataset, Setting, extract_folder

#: Metrics that are one number with its interval; curves stay in the steps' own results.
_CURVES = {"by_position", "by_depth"}
#: What of the state metrics stands in the table, as `evaluation.state_summary` names it.
_OF_STATES = ("cosine", "accept_90", "token_top1")


def payload(config: StudyConfig, out: Path) -> dict[str, Any]:
    """What the steps have come to, as plain JSON.

    Raises:
        InputError: the result of a step is missing or damaged.
    """
    found: dict[str, Any] = {"study": config.name}
    if config.scenes is not None:
        found["scenes"] = {"folder": SCENES, "clips": read_result(out / SCENES)["clips"]}
    if config.extract is not None:
        found["extracted"] = [_extracted(out, split) for split in config.extract.splits]
    found["datasets"] = [_dataset(config, out, dataset) for dataset in config.datasets]
    if config.wallclock is not None:
        found["wallclock"] = _timed(out)
    return found


def neighbours(config: StudyConfig, out: Path) -> list[str]:
    """What the networks may have learned from the test without a shared clip."""
    if not config.networks:
        return []
    return [said for dataset in config.datasets for said in _near(config, dataset, out)]


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


def _near(config: StudyConfig, dataset: Dataset, out: Path) -> list[str]:
    here = dataset.located(out)
    if here.test is None:
        return []
    asked = config.evaluation(here, config.evaluate[0])
    train, test = (read_answers(p, asked.eos).pairs for p in (here.train, here.test))
    _, near = without_neighbours(train, test, asked.gap)
    if not near:
        return []
    return [
        f"{dataset.name}: {near} training clips stand within {asked.gap} places of a test "
        "clip; the trained networks have learned from them"
    ]


def _extracted(out: Path, split: str) -> dict[str, Any]:
    folder = extract_folder(split)
    result = read_result(out / folder)
    return {"split": split, "folder": folder, "pairs": result["pairs"], "tokens": result["tokens"]}


def _dataset(config: StudyConfig, out: Path, dataset: Dataset) -> dict[str, Any]:
    trained = config.networks if dataset.test is not None else ()
    return {
        "name": dataset.name,
        "train": dataset.train.name,
        "test": dataset.test.name if dataset.test else None,
        "trainings": [_training(config, out, dataset, name) for name in trained],
        "evaluations": [_evaluation(out, dataset, s) for s in config.evaluate],
    }


def _training(config: StudyConfig, out: Path, dataset: Dataset, name: str) -> dict[str, Any]:
    folder = training_folder(dataset, name)
    result = read_result(out / folder)
    own = config.variant(name)
    sizes: Any = trainable_class(own.drafter).config_from(result["config"]["options"])
    return {
        "drafter": name,
        "network": own.drafter,
        "options": own.options,
        # As it follows from the options where they do not say it.
        "alignment": getattr(sizes, "aligned", None),
        "loss": getattr(sizes, "loss", None),
        "folder": folder,
        "parameters": result["model"]["trained_parameters"],
        "best_epoch": result["best_epoch"],
        "epochs": len(result["history"]),
        "stopped_early": result["stopped_early"],
        "validation": _numbers(result["validation"][result["drafter"]]),
    }


def _evaluation(out: Path, dataset: Dataset, setting: Setting) -> dict[str, Any]:
    folder = f"{dataset.name}/{setting.folder}"
    result = read_result(out / folder)
    return {
        "setting": setting.name,
        "folder": folder,
        "proposal": result["data"]["proposal"],
        "split": result["data"]["split"],
        "online": result["config"]["online"],
        "drafters": {label: _numbers(m) for label, m in result["drafters"].items()},
        "differences": result.get("differences", {}),
        "states": [_states(row) for row in result.get("states", {}).get("rows", ())],
        "warnings": result["warnings"],
    }


def _states(row: Mapping[str, Any]) -> dict[str, Any]:
    """The state metrics of a drafter or control, of the comparison that it is for."""
    metrics = meant(row)["metrics"]
    about = {key: row[key] for key in ("source", "alignment", "control")}
    return {**about, **{key: metrics[key] for key in _OF_STATES if key in metrics}}


def _timed(out: Path) -> dict[str, Any]:
    result = read_result(out / WALLCLOCK)
    keys = ("name", "kind", "tau", "first_window", "speedup", "total_ms", "equality")
    rows = [{key: row.get(key) for key in keys} for row in result["configurations"]]
    return {
        "folder": WALLCLOCK,
        "setting": result["setting"],
        "configurations": rows,
        "warnings": result["warnings"],
    }


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in _CURVES}
