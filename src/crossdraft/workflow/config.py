"""What a study is asked to do, read from YAML and checked before anything runs.

Every fault names the key of the file that holds it, down to the options of single drafters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from crossdraft.base.errors import InputError
from crossdraft.base.yaml_file import read_yaml
from crossdraft.drafters.checkpoint import is_trainable, trainable_class
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.registry import create
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.training.settings import TrainConfig, TrainSettings, training_config

#: Names become names of folders.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
_NAME_RULE = "letters, digits, dots, hyphens and underscores, a letter or digit first"
#: Files of the study itself, beside the folders of the data sets.
_RESERVED = ("summary.md", "result.json", "study.jsonl")
#: What the study itself says to a training and an evaluation.
_OF_TRAINING = {"pairs", "val_pairs", "drafter", "settings", "options"}
_OF_EVALUATION = {"pairs", "drafters", "train_pairs", "train"}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Dataset(_Strict):
    """Recorded answers that belong together."""

    name: Name
    train: Path
    """Answers to learn from."""
    test: Path | None = None
    """Answers of other drives; without them `train` is split into folds."""
    val: Path | None = None
    """Answers for the validation of trainings, instead of a part of `train`."""

    @field_validator("train", "test", "val", mode="before")
    @classmethod
    def _beside_the_file(cls, value: Any, info: ValidationInfo) -> Any:
        return _path(value, info) if isinstance(value, str) else value


class Setting(_Strict):
    """One evaluation of every data set."""

    name: Name | None = None
    options: dict[str, Any] = {}

    @property
    def folder(self) -> str:
        return "evaluate" if self.name is None else f"evaluate-{self.name}"


class StudyConfig(_Strict):
    """A whole study, as its YAML file says it."""

    name: Name
    datasets: Annotated[list[Dataset], Field(min_length=1)]
    drafters: list[str] = []
    train: dict[str, Any] = {}
    """Options of `crossdraft train`, for all drafters."""
    train_options: dict[str, dict[str, Any]] = {}
    """The same for single drafters, by name."""
    evaluate: list[Setting] = [Setting()]
    """Options of `crossdraft evaluate`: one set, or several with names."""
    wait_minutes: Annotated[float, Field(ge=0)] = 0
    """How long to wait for files that are missing or still written, with nothing else to do."""

    @field_validator("evaluate", mode="before")
    @classmethod
    def _settings(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Mapping):
            return [_setting(value, info)]
        if not isinstance(value, list) or not value:
            raise ValueError("expected options, or a list of named sets of options")
        for place, entry in enumerate(value):
            if not isinstance(entry, Mapping) or "name" not in entry:
                raise ValueError(f"set {place + 1} of the list has no name")
        return [_setting(entry, info) for entry in value]

    @field_validator("datasets", "evaluate")
    @classmethod
    def _names_differ(cls, entries: list[Any]) -> list[Any]:
        _refuse_twice(entry.name for entry in entries if entry.name is not None)
        for entry in entries:
            if isinstance(entry, Dataset) and entry.name.lower() in _RESERVED:
                raise ValueError(f"{entry.name} is a file of the study itself")
        return entries

    @field_validator("drafters")
    @classmethod
    def _drafters_known(cls, names: list[str]) -> list[str]:
        for name in names:
            try:
                create(name)
            except InputError as error:
                raise ValueError(f"{error.found} (expected: {error.expected})") from error
        _refuse_twice(names)
        return names

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """The drafters that are trained before they are evaluated, where a test file is named."""
        return tuple(name for name in self.drafters if is_trainable(name))

    def parts_trained_inside(self, dataset: Dataset) -> tuple[str, ...]:
        """Networks that are trained inside the evaluations of a data set: all of them in folds,
        those of ensembles otherwise."""
        ensembles = [name for name in self.drafters if name not in self.networks]
        parts = [part for name in ensembles for part in _parts(name) if is_trainable(part)]
        return tuple(dict.fromkeys([*(() if dataset.test else self.networks), *parts]))

    def training(self, dataset: Dataset, drafter: str) -> TrainConfig:
        """The training of one drafter on one data set.

        Raises:
            InputError: as `training_config`.
        """
        own = self.train_options.get(drafter, {})
        # Named after the data set: a name derived from the file would change with the file's.
        named = {"task_name": dataset.name, **self.train, **own}
        return training_config(drafter, {**named, "pairs": dataset.train, "val_pairs": dataset.val})

    def evaluation(
        self, dataset: Dataset, setting: Setting, models: Mapping[str, Path] | None = None
    ) -> EvaluateConfig:
        """One evaluation of one data set.

        Args:
            models: checkpoints to run instead of the drafters of these names.

        Raises:
            InputError: as `EvaluateConfig.parse`.
        """
        runs = tuple(str((models or {}).get(name, name)) for name in self.drafters)
        given = {key: value for key, value in setting.options.items() if value is not None}
        inside = self.parts_trained_inside(dataset)
        if inside:
            own = {name: self.train_options[name] for name in inside if name in self.train_options}
            given["train"] = {**self.train, **own}
        if dataset.test is None:
            return EvaluateConfig.parse(pairs=dataset.train, drafters=runs, **given)
        given.pop("folds", None)
        return EvaluateConfig.parse(
            pairs=dataset.test, train_pairs=dataset.train, drafters=runs, **given
        )


def read_study(path: Path) -> StudyConfig:
    """Read and check a study; files of recorded answers need not exist yet.

    Raises:
        InputError: no YAML, or a key that is unknown, missing or wrong; the key is named.
    """
    raw = read_yaml(path, expected="a study: name, datasets, drafters, …")
    try:
        config = StudyConfig.model_validate(raw, context={"folder": path.parent})
    except ValidationError as error:
        raise _named(error, path) from error
    _check_options(config, path)
    return config


def _path(text: str, info: ValidationInfo) -> Path:
    """A path of the file: relative ones start at the file's own folder."""
    if not text.strip() or "\0" in text:
        raise ValueError("expected a path")
    folder = (info.context or {}).get("folder", Path())
    try:
        return Path(folder) / Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError(str(error)) from error


def _setting(entry: Mapping[Any, Any], info: ValidationInfo) -> dict[str, Any]:
    options = {str(key): value for key, value in entry.items() if key != "name"}
    if isinstance(options.get("cost_curve"), str):
        options["cost_curve"] = _path(options["cost_curve"], info)
    return {"name": entry.get("name"), "options": options}


def _refuse_twice(names: Iterable[str]) -> None:
    # Folders that differ in case alone are one folder on some file systems.
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:
            raise ValueError(f"{name} stands twice")


def _parts(name: str) -> tuple[str, ...]:
    """Registered names of an ensemble's parts, or the name itself."""
    drafter = create(name)
    return drafter.sources if isinstance(drafter, EnsembleDrafter) else (name,)


def _named(error: ValidationError, path: Path) -> InputError:
    """The first fault of a study, with the key as one writes it."""
    first = error.errors()[0]
    key = ""
    for part in first["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    kind, value = first["type"], first.get("input")
    if kind == "missing":
        return InputError(f"{key} is missing", where=path)
    if kind == "extra_forbidden":
        model = Dataset if key.startswith("datasets[") else StudyConfig
        return InputError(
            f"{key} is no key of a study", where=path, expected=", ".join(model.model_fields)
        )
    expected = str(first["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        expected = _NAME_RULE
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return InputError(f"{key} is {shown}", where=path, expected=expected[:1].lower() + expected[1:])


def _check_options(config: StudyConfig, path: Path) -> None:
    """Check every training and evaluation that will run, without reading their files."""
    for key, dataset in _keyed(config):
        if dataset.val is not None and (dataset.test is None or not config.networks):
            raise InputError(
                f"{key}.val has no effect: nothing is trained before the evaluation",
                where=path,
                expected="a network among the drafters, and a test file beside the val file",
            )
    inside = {part for dataset in config.datasets for part in config.parts_trained_inside(dataset)}
    trained = {*config.networks, *inside}
    for name in sorted(config.train_options.keys() - trained):
        raise InputError(
            f"train_options.{name} is no drafter that this study trains",
            where=path,
            expected=", ".join(sorted(trained)) or "no train_options",
        )
    for name in sorted(trained):
        _check_training(config, name, path)
    for place, setting in enumerate(config.evaluate):
        _check_evaluation(config, place, setting, path)


def _keyed(config: StudyConfig) -> list[tuple[str, Dataset]]:
    return [(f"datasets[{place}]", dataset) for place, dataset in enumerate(config.datasets)]


def _check_training(config: StudyConfig, drafter: str, path: Path) -> None:
    """Names, types and ranges of one drafter's options; the key at fault is named."""
    types = get_type_hints(trainable_class(drafter).Config)
    run = {*TrainConfig.model_fields, *TrainSettings.model_fields} - _OF_TRAINING
    own = config.train_options.get(drafter, {})
    keys = {
        **dict.fromkeys(config.train, "train"),
        **dict.fromkeys(own, f"train_options.{drafter}"),
    }
    for name, value in {**config.train, **own}.items():
        key = f"{keys[name]}.{name}"
        if name not in run and name not in types:
            raise InputError(
                f"{key} is no option of {drafter}",
                where=path,
                expected=", ".join(sorted({*run, *types})),
                hint=f"options of one drafter belong under train_options.{drafter}"
                if keys[name] == "train"
                else None,
            )
        if name in types and value is not None:
            try:
                TypeAdapter(types[name]).validate_python(value, strict=True)
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                raise InputError(f"{key} is {value!r}: {message}", where=path) from error
    try:
        config.training(config.datasets[0], drafter)
    except InputError as error:
        raise _rekeyed(error, keys, "train", path) from error


def _check_evaluation(config: StudyConfig, place: int, setting: Setting, path: Path) -> None:
    key = "evaluate" if setting.name is None else f"evaluate[{place}]"
    known = EvaluateConfig.model_fields.keys() - _OF_EVALUATION
    for name in setting.options:
        if name not in known:
            raise InputError(
                f"{key}.{name} is no option of an evaluation",
                where=path,
                expected=", ".join(sorted(known)),
            )
    for dataset in config.datasets:
        try:
            config.evaluation(dataset, setting)
        except InputError as error:
            raise _rekeyed(error, dict.fromkeys(setting.options, key), key, path) from error


def _rekeyed(error: InputError, keys: Mapping[str, str], key: str, path: Path) -> InputError:
    """The error of a command's option as that of a key in the file."""
    name = str(error.where or "").removeprefix("--").replace("-", "_")
    place = f"{keys[name]}.{name}" if name in keys else key
    return InputError(f"{place}: {error.found}", where=path, expected=error.expected)
