"""A study's file, read and checked: every fault names its key, and nothing has run yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from crossdraft.base.errors import InputError
from crossdraft.base.yaml_file import read_yaml
from crossdraft.bench.wallclock.configuration import configurations
from crossdraft.drafters.checkpoint import is_trainable, trainable_class
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.pairs.extract.settings import Keep
from crossdraft.training.settings import TrainConfig, TrainSettings
from crossdraft.workflow.config import StudyConfig
from crossdraft.workflow.sections import (
    NAME_RULE,
    Dataset,
    Drives,
    Extract,
    Scenes,
    Setting,
    Strict,
    Variant,
    Wallclock,
    made_split,
    words_of,
)

#: What the study itself says to a training and an evaluation.
_OF_TRAINING = {"pairs", "val_pairs", "drafter", "settings", "options", "lm_head"}
_OF_EVALUATION = {"pairs", "shuffled_pairs", "drafters", "named", "train_pairs", "train", "lm_head"}
#: Whose keys stand where, for errors.
_SECTIONS: dict[str, type[Strict]] = {
    "datasets[": Dataset, "scenes.train.": Drives, "scenes.test.": Drives, "scenes.": Scenes,
    "extract.": Extract, "wallclock.": Wallclock,
}  # fmt: skip


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
    _check_making(config, path)
    _check_datasets(config, path)
    _check_options(config, path)
    _check_wallclock(config, path)
    return config


def _named(error: ValidationError, path: Path) -> InputError:
    """The first fault of a study, with the key as one writes it."""
    first = error.errors()[0]
    key = ""
    for part in first["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    kind, value = first["type"], first.get("input")
    expected = str(first["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return InputError(f"{key} is missing", where=path)
    if not key:  # about the study as a whole
        return InputError(expected, where=path)
    if kind == "extra_forbidden":
        model = next((m for begin, m in _SECTIONS.items() if key.startswith(begin)), StudyConfig)
        return InputError(
            f"{key} is no key of a study", where=path, expected=", ".join(model.model_fields)
        )
    if kind == "string_pattern_mismatch":
        expected = NAME_RULE
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return InputError(f"{key} is {shown}", where=path, expected=expected[:1].lower() + expected[1:])


def _check_making(config: StudyConfig, path: Path) -> None:
    """Scenes and extraction: values in range, and scenes for whoever needs some."""
    if config.scenes is not None:
        if not config.scenes.parts:
            raise InputError("scenes: no drives", where=path, expected="train, test, or both")
        try:
            config.scenes.settings()
        except InputError as error:
            where = str(error.where or "threshold")
            raise InputError(
                f"scenes.{where} is {error.found}", where=path, expected=error.expected
            ) from error
    if config.extract is not None:
        asked = config.extract
        try:
            Keep.parse(asked.alignment, asked.states, asked.dtype, asked.top_logits)
        except InputError as error:
            key = str(error.where).removeprefix("--").replace("-", "_")
            raise InputError(
                f"extract.{key} is {error.found}", where=path, expected=error.expected
            ) from error
    for key in ("extract", "wallclock"):
        section = getattr(config, key)
        if section is not None and section.scenes is None and config.scenes is None:
            raise InputError(
                f"{key}.scenes is missing",
                where=path,
                expected="a dataset, or a section scenes that makes one",
            )


def _check_datasets(config: StudyConfig, path: Path) -> None:
    """Stores that the study is to make: those that are named must be among them."""
    made = set(config.extract.splits) if config.extract else set()
    named = [(f"{key}.{role}", s) for key, d in _keyed(config) for role, s in d.made.items()]
    if config.wallclock is not None and config.wallclock.learn_from is not None:
        split = made_split(config.wallclock.learn_from)
        named += [("wallclock.learn_from", split)] if split is not None else []
    for key, split in named:
        if split not in made:
            listed = ", ".join(f"extract:{one}" for one in sorted(made))
            raise InputError(
                f"{key} is extract:{split}, which this study does not extract",
                where=path,
                expected=listed or "a section extract",
            )


def _check_options(config: StudyConfig, path: Path) -> None:
    """Check every training and evaluation that will run, without reading their files."""
    variants = [one for one in config.drafters if one.name != one.drafter]
    for key, dataset in _keyed(config):
        if dataset.val is not None and (dataset.test is None or not config.networks):
            raise InputError(
                f"{key}.val has no effect: nothing is trained before the evaluation",
                where=path,
                expected="a network among the drafters, and a test file beside the val file",
            )
        if variants and dataset.test is None:
            raise InputError(
                f"{key} has no test file, and {variants[0].name} cannot be trained in folds",
                where=path,
                expected="a test file, or drafters by their own names",
            )
    inside = {part for dataset in config.datasets for part in config.parts_trained_inside(dataset)}
    trained = {*(config.variant(name).drafter for name in config.networks), *inside}
    for name in sorted(config.train_options.keys() - trained):
        raise InputError(
            f"train_options.{name} is no drafter that this study trains",
            where=path,
            expected=", ".join(sorted(trained)) or "no train_options",
        )
    if not config.datasets:
        return
    for name in sorted({*config.networks, *inside}):
        _check_training(config, config.variant(name), path)
    for place, setting in enumerate(config.evaluate):
        _check_evaluation(config, place, setting, path)


def _keyed(config: StudyConfig) -> Iterator[tuple[str, Dataset]]:
    for place, dataset in enumerate(config.datasets):
        yield f"datasets[{place}]", dataset


def _check_training(config: StudyConfig, one: Variant, path: Path) -> None:
    """Names, types and ranges of one drafter's options; the key at fault is named."""
    types = get_type_hints(trainable_class(one.drafter).Config)
    run = {*TrainConfig.model_fields, *TrainSettings.model_fields} - _OF_TRAINING
    given: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for section, options in (
        ("train", config.train),
        (f"train_options.{one.drafter}", config.train_options.get(one.drafter, {})),
        (f"drafters.{one.name}", one.options),
    ):
        given |= options
        keys |= dict.fromkeys(options, section)
    for name, value in given.items():
        key = f"{keys[name]}.{name}"
        if name not in run and name not in types:
            raise InputError(
                f"{key} is no option of {one.drafter}",
                where=path,
                expected=", ".join(sorted({*run, *types})),
                hint=f"options of one drafter belong under train_options.{one.drafter}"
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
        config.training(config.datasets[0], one.name)
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
                expected=", ".join(sorted({*known, "drafters"})),
            )
    for name in setting.drafters or ():
        if name not in config.names:
            raise InputError(
                f"{key}.drafters: {name} is not among the study's",
                where=path,
                expected=", ".join(config.names) or "a section drafters",
            )
    for dataset in config.datasets:
        try:
            config.evaluation(dataset, setting)
        except InputError as error:
            raise _rekeyed(error, dict.fromkeys(setting.options, key), key, path) from error


def _check_wallclock(config: StudyConfig, path: Path) -> None:
    """Ways of answering that can be read, with drafters that are there by then."""
    asked = config.wallclock
    if asked is None:
        return
    tested = [dataset.name for dataset in config.datasets if dataset.test is not None]
    if asked.dataset is not None and asked.dataset not in tested:
        raise InputError(
            f"wallclock.dataset is {asked.dataset!r}",
            where=path,
            expected=", ".join(tested) or "a data set with a test file",
        )
    try:
        configurations(",".join(asked.configs))
    except InputError as error:
        named = f" ({error.where})" if str(error.where) in asked.configs else ""
        raise InputError(
            f"wallclock.configs: {error.found}{named}", where=path, expected=error.expected
        ) from error
    for rival in asked.rivals:
        if rival not in asked.configs:
            raise InputError(
                f"wallclock.rivals: {rival!r}", where=path, expected="some of wallclock.configs"
            )
    for text in asked.configs:
        for word in words_of(text):
            if is_trainable(word) and (word not in config.networks or not tested):
                raise InputError(
                    f"wallclock.configs: {text} needs {word}, which this study does not train",
                    where=path,
                    expected=", ".join(config.networks) or "a checkpoint",
                )


def _rekeyed(error: InputError, keys: Mapping[str, str], key: str, path: Path) -> InputError:
    """The error of a command's option as that of a key in the file."""
    name = str(error.where or "").removeprefix("--").replace("-", "_")
    place = f"{keys[name]}.{name}" if name in keys else key
    return InputError(f"{place}: {error.found}", where=path, expected=error.expected)
