"""What a study is asked to do, read from YAML and checked before anything runs.

Every fault names the key of the file that holds it, down to the options of single drafters
(`check.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import is_trainable
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.registry import REGISTRY, create
from crossdraft.drafters.two_phase import BETWEEN
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.training.settings import TrainConfig, training_config
from crossdraft.workflow.sections import (
    NAME_RULE,
    SCENES,
    WALLCLOCK,
    Dataset,
    Extract,
    Name,
    Scenes,
    Setting,
    Strict,
    Variant,
    Wallclock,
    extract_folder,
    setting_of,
    variant_of,
    with_places,
)

#: Files of the study itself, beside the folders of the data sets.
_RESERVED = ("summary.md", "result.json", "study.jsonl")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class StudyConfig(Strict):
    """A whole study, as its YAML file says it. What is not there is not done."""

    name: Name
    scenes: Scenes | None = None
    """Drives that are made first."""
    extract: Extract | None = None
    """Answers of a pair's two models about these scenes, or others."""
    datasets: list[Dataset] = Field([], min_length=1)
    drafters: list[Variant] = Field([])
    train: dict[str, Any] = Field({})
    """Options of `crossdraft train`, for all drafters."""
    train_options: dict[str, dict[str, Any]] = Field({})
    """The same for single drafters, by name."""
    evaluate: list[Setting] = Field([Setting()])
    """Options of `crossdraft evaluate`: one set, or several with names."""
    wallclock: Wallclock | None = None
    """Times of answers, last."""
    wait_minutes: Annotated[float, Field(ge=0)] = 0
    """How long to wait for files that are missing or still written, with nothing else to do."""

    @field_validator("evaluate", mode="before")
    @classmethod
    def _settings(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Mapping):
            return [setting_of(value, info)]
        if not isinstance(value, list) or not value:
            raise ValueError("expected options, or a list of named sets of options")
        for place, entry in enumerate(value):
            if not isinstance(entry, Mapping) or "name" not in entry:
                raise ValueError(f"set {place + 1} of the list has no name")
        return [setting_of(entry, info) for entry in value]

    @field_validator("datasets", "evaluate")
    @classmethod
    def _names_differ(cls, entries: list[Any]) -> list[Any]:
        _refuse_twice(entry.name for entry in entries if entry.name is not None)
        for entry in entries:
            if isinstance(entry, Dataset) and entry.name.lower() in _RESERVED:
                raise ValueError(f"{entry.name} is a file of the study itself")
        return entries

    @field_validator("drafters", mode="before")
    @classmethod
    def _variants(cls, value: Any) -> Any:
        return [variant_of(entry) for entry in value] if isinstance(value, list) else value

    @field_validator("drafters")
    @classmethod
    def _drafters_known(cls, variants: list[Variant]) -> list[Variant]:
        names = {one.name for one in variants}
        for one in variants:
            # Two that draft in turn may have names of the study.
            for side in set(one.drafter.split(BETWEEN)) - (names if BETWEEN in one.name else set()):
                try:
                    create(side)
                except InputError as error:
                    raise ValueError(f"{error.found} (expected: {error.expected})") from error
            if one.name != one.drafter:
                _refuse_name(one)
        _refuse_twice(one.name for one in variants)
        return variants

    @model_validator(mode="after")
    def _not_empty(self) -> StudyConfig:
        if not (self.scenes or self.extract or self.datasets or self.wallclock):
            raise ValueError("datasets is missing")
        taken = [
            *([SCENES] if self.scenes else []),
            *([WALLCLOCK] if self.wallclock else []),
            *(extract_folder(split) for split in (self.extract.splits if self.extract else [])),
        ]
        for dataset in self.datasets:
            if dataset.name.lower() in taken:
                raise ValueError(f"{dataset.name} is the folder of another step: rename the set")
        return self

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What is evaluated, by the names of this study."""
        return tuple(one.name for one in self.drafters)

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """The drafters that are trained before they are evaluated, where a test file is named."""
        return tuple(one.name for one in self.drafters if is_trainable(one.drafter))

    def variant(self, name: str) -> Variant:
        """The drafter that has this name in the study; a part of an ensemble is itself."""
        named = {one.name: one for one in self.drafters}
        return named.get(name) or Variant(name=name, drafter=name)

    def evaluated(self, setting: Setting) -> tuple[str, ...]:
        """Names of what one setting evaluates."""
        return self.names if setting.drafters is None else tuple(setting.drafters)

    def parts_trained_inside(
        self, dataset: Dataset, names: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """Networks that are trained inside the evaluations of a data set: all of them in folds,
        those of ensembles otherwise.

        Args:
            names: of what is evaluated; None: all of the study.
        """
        asked = self.names if names is None else names
        own = [name for name in asked if name in self.networks]
        others = [name for name in asked if name not in self.networks]
        parts = [part for name in others for part in self._untrained(name, dataset)]
        return tuple(dict.fromkeys([*(() if dataset.test else own), *parts]))

    def _untrained(self, name: str, dataset: Dataset) -> list[str]:
        """Networks of a drafter made of several that have no checkpoint by then."""
        sides = name.split(BETWEEN)
        if dataset.test is not None:
            sides = [side for side in sides if len(sides) == 1 or side not in self.networks]
        return [part for side in sides for part in _parts(side) if is_trainable(part)]

    def training(self, dataset: Dataset, name: str) -> TrainConfig:
        """The training of one drafter on one data set.

        Raises:
            InputError: as `training_config`.
        """
        one = self.variant(name)
        # Named after the data set: a name derived from the file would change with the file's.
        given = {
            "task_name": dataset.name, **self.train,
            **self.train_options.get(one.drafter, {}), **one.options,
        }  # fmt: skip
        files = {"pairs": dataset.train, "val_pairs": dataset.val}
        return training_config(one.drafter, {**given, **files})

    def evaluation(
        self, dataset: Dataset, setting: Setting, models: Mapping[str, Path] | None = None
    ) -> EvaluateConfig:
        """One evaluation of one data set.

        Args:
            models: checkpoints to run instead of the drafters of these names.

        Raises:
            InputError: as `EvaluateConfig.parse`.
        """
        names = self.evaluated(setting)
        places = {one.name: one.drafter for one in self.drafters if one.name != one.drafter}
        places |= {name: str(path) for name, path in (models or {}).items()}
        runs = {name: with_places(name, places) for name in names}
        given = {key: value for key, value in setting.options.items() if value is not None}
        # Under the study's names, which tell two trainings of one drafter apart.
        given["named"] = {name: text for name, text in runs.items() if models and text != name}
        drafters = tuple(text for name, text in runs.items() if name not in given["named"])
        inside = self.parts_trained_inside(dataset, names)
        if inside:
            own = {name: self.train_options[name] for name in inside if name in self.train_options}
            given["train"] = {**self.train, **own}
        if dataset.test is None:
            return EvaluateConfig.parse(pairs=dataset.train, drafters=drafters, **given)
        given.pop("folds", None)
        return EvaluateConfig.parse(
            pairs=dataset.test, shuffled_pairs=dataset.shuffled, train_pairs=dataset.train,
            drafters=drafters, **given,
        )  # fmt: skip


def _refuse_name(one: Variant) -> None:
    """A name of a variant that means something else, or options that nothing takes."""
    if not _NAME.fullmatch(one.name):
        raise ValueError(f"{one.name!r} is no name: {NAME_RULE}")
    if one.name in REGISTRY:
        raise ValueError(f"{one.name} is a drafter of its own, not one of {one.drafter}")
    if not is_trainable(one.drafter):
        raise ValueError(f"{one.name}: {one.drafter} has no network to train in another way")


def _refuse_twice(names: Iterable[str]) -> None:
    # Folders that differ in case alone are one folder on some file systems.
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:
            raise ValueError(f"{name} stands twice")


def _parts(name: str) -> tuple[str, ...]:
    """Registered names that a drafter is made of: an ensemble's, those of both phases, its own."""
    made = [(side, create(side)) for side in name.split(BETWEEN)]
    parts = (one.sources if isinstance(one, EnsembleDrafter) else (side,) for side, one in made)
    return tuple(part for each in parts for part in each)
