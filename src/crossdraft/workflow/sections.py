"""The sections of a study's file: scenes to make, answers to extract, data sets, drafters,
evaluations, times to measure.

Each holds what the command of the same work takes, by the names of its flags with _ for -.
Relative paths start at the folder of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from crossdraft.scenes.questions import DEFAULT_QUESTIONS, read_questions
from crossdraft.scenes.synth_settings import THRESHOLD, SynthSettings, with_threshold
from crossdraft.vlm import shipped
from crossdraft.vlm.pair import ModelPair

#: Names become names of folders.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
NAME_RULE = "letters, digits, dots, hyphens and underscores, a letter or digit first"
Positive = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Split = Literal["train", "test", "all", "shuffled-train", "shuffled-test"]

#: Before a split's name where the event model is shown other drives' events.
SHUFFLED = "shuffled-"
#: What a data set writes for a store that the study extracts itself, before the split's name.
MADE = "extract:"
#: Folders of steps, and in them of what other commands read.
SCENES, WALLCLOCK, WORLD = "scenes", "wallclock", "world"
#: What parts a way of answering into names: `seed-procedure=l1+overlap`, `l1:l5f`.
_BETWEEN = re.compile(r"([+=:])")


def extract_folder(split: str) -> str:
    """Where a split's answers are extracted, below the study's folder."""
    return f"extract-{split}"


def store_folder(split: str) -> str:
    """The store itself, which has the split's name, below the study's folder."""
    return f"{extract_folder(split)}/{split}"


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Drives(Strict):
    """How much of one split is made."""

    drives: Positive
    clips_per_drive: Positive


class Scenes(Strict):
    """A dataset of the procedural drive, as `crossdraft scenes synth` makes it."""

    train: Drives | None = None
    test: Drives | None = None
    seed: Whole = 0
    size: int = 112
    events_fps: int = 80
    threshold: float = THRESHOLD
    crf: int = 18
    workers: Positive | None = None

    @property
    def parts(self) -> list[tuple[Literal["train", "test"], Drives]]:
        """The splits that are made, in order."""
        made: list[tuple[Literal["train", "test"], Drives]] = []
        if self.train is not None:
            made.append(("train", self.train))
        if self.test is not None:
            made.append(("test", self.test))
        return made

    def settings(self) -> SynthSettings:
        """What all clips have in common.

        Raises:
            InputError: a value out of range.
        """
        camera = with_threshold(self.threshold)
        return SynthSettings(self.seed, self.size, self.events_fps, self.crf, camera)


class WithPair(Strict):
    """Work that loads the two models of a pair."""

    pair: str = shipped.EMBEDDED
    """A YAML file, or the name of a shipped pair."""
    set: list[str] = []
    """Other values of the pair, such as `drafter.dtype=float32`."""
    scenes: Path | None = None
    """A dataset, in place of the one that the study makes."""

    def chosen_pair(self) -> ModelPair:
        """The pair.

        Raises:
            InputError: as `ModelPair.find`.
        """
        return ModelPair.find(self.pair, self.set)

    @field_validator("pair", mode="before")
    @classmethod
    def _pair_beside_the_file(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and value.strip() and value not in shipped.shipped_pairs():
            return str(path_of(value, info))
        return value

    @field_validator("scenes", mode="before")
    @classmethod
    def _scenes_beside_the_file(cls, value: Any, info: ValidationInfo) -> Any:
        return path_of(value, info) if isinstance(value, str) else value


class Extract(WithPair):
    """Pair stores, one of each split, as `crossdraft extract` makes them."""

    splits: Annotated[list[Split], Field(min_length=1)] = ["train", "test"]
    questions: Path | list[str] | None = None
    """Texts, or a JSON list of them; the seed study's ten where nothing is said."""
    max_questions: Positive | None = None
    max_samples: Positive | None = None
    max_new_tokens: Positive = 50
    alignment: Literal["both", "own", "forced"] = "both"
    states: str = "last"
    dtype: Literal["bf16", "int8", "fp16", "fp32"] = "bf16"
    top_logits: Whole = 0
    chunk_size: Positive | None = None
    batch_clips: Positive | None = None
    save_interval: Positive = 100
    sequential: bool = False
    workers: Positive | None = None
    retries: Whole = 2

    def texts(self) -> list[str]:
        """What is asked about every scene.

        Raises:
            InputError: as `read_questions`.
        """
        if isinstance(self.questions, list):
            return self.questions[: self.max_questions]
        listed = DEFAULT_QUESTIONS if self.questions is None else read_questions(self.questions)
        return [question.text for question in listed[: self.max_questions]]

    @field_validator("questions", mode="before")
    @classmethod
    def _questions_beside_the_file(cls, value: Any, info: ValidationInfo) -> Any:
        return path_of(value, info) if isinstance(value, str) else value


class Dataset(Strict):
    """Recorded answers that belong together."""

    name: Name
    train: Path
    """Answers to learn from; `extract:train` are those that the study extracts."""
    test: Path | None = None
    """Answers of other drives; without them `train` is split into folds."""
    shuffled: Path | None = None
    """The answers of `test` with other drives' events, for the shuffled twins."""
    val: Path | None = None
    """Answers for the validation of trainings, instead of a part of `train`."""

    @field_validator("train", "test", "shuffled", "val", mode="before")
    @classmethod
    def _beside_the_file(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and value.startswith(MADE):
            return Path(value)
        return path_of(value, info) if isinstance(value, str) else value

    @property
    def files(self) -> dict[str, Path]:
        """Its files by their role."""
        named = {
            "train": self.train, "test": self.test, "shuffled": self.shuffled, "val": self.val
        }  # fmt: skip
        return {role: path for role, path in named.items() if path is not None}

    @property
    def made(self) -> dict[str, str]:
        """Splits that the study extracts itself, by the role of the file."""
        return {role: split for role, path in self.files.items() if (split := made_split(path))}

    def located(self, out: Path) -> Dataset:
        """The same with the places of the stores that the study in `out` extracts."""
        return self.model_copy(update={role: located(p, out) for role, p in self.files.items()})


class Variant(Strict):
    """A drafter of a study: a registered one, or one with options of its own under another name."""

    name: str
    drafter: str
    options: dict[str, Any] = {}


class Setting(Strict):
    """One evaluation of every data set."""

    name: Name | None = None
    drafters: list[str] | None = None
    """Of the study's, those that are evaluated; None: all."""
    options: dict[str, Any] = {}

    @property
    def folder(self) -> str:
        return "evaluate" if self.name is None else f"evaluate-{self.name}"


class Wallclock(WithPair):
    """Times, as `crossdraft bench wallclock` measures them."""

    configs: Annotated[list[str], Field(min_length=1)]
    """Ways of answering; a drafter that the study trains stands for its checkpoint."""
    dataset: str | None = None
    """Whose checkpoints; the first data set with a test file where nothing is said."""
    questions: Positive = 300
    validation: Whole = 40
    learn_from: Path | None = None
    questions_file: Path | None = None
    """What is asked; those of the extraction where nothing is said, else the seed study's ten."""
    alternations: Positive = 5
    warmup: Whole = 3
    max_new_tokens: Positive = 60
    picture: Literal["cold", "shared"] = "cold"
    threads: Positive | None = None
    cores: Literal["shared", "apart"] = "shared"
    rivals: list[str] = []
    """Configurations that speed-ups are also given over."""
    kth: Positive = 10
    seed: Whole = 0

    def texts(self) -> tuple[str, ...]:
        """What is asked about each scene.

        Raises:
            InputError: as `read_questions`.
        """
        file = self.questions_file
        listed = DEFAULT_QUESTIONS if file is None else read_questions(file)
        return tuple(one.text for one in listed)

    @field_validator("learn_from", "questions_file", mode="before")
    @classmethod
    def _beside_the_file(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and value.startswith(MADE):
            return Path(value)
        return path_of(value, info) if isinstance(value, str) else value


def made_split(path: Path) -> str | None:
    """The split of a store that the study extracts itself; None of any other path."""
    text = str(path)
    return text.removeprefix(MADE) if text.startswith(MADE) else None


def located(path: Path, out: Path) -> Path:
    """Where a file of the study in `out` lies."""
    split = made_split(path)
    return path if split is None else out / store_folder(split)


def words_of(text: str) -> list[str]:
    """Names and modifiers that a drafter or a way of answering is made of."""
    return _BETWEEN.split(text)[::2]


def with_places(text: str, places: Mapping[str, str]) -> str:
    """A drafter or a way of answering with the places of checkpoints for the study's names."""
    return "".join(places.get(word, word) for word in _BETWEEN.split(text))


def path_of(text: str, info: ValidationInfo) -> Path:
    """A path of the file: relative ones start at the file's own folder."""
    if not text.strip() or "\0" in text:
        raise ValueError("expected a path")
    folder = (info.context or {}).get("folder", Path())
    try:
        return Path(folder) / Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError(str(error)) from error


def setting_of(entry: Mapping[Any, Any], info: ValidationInfo) -> dict[str, Any]:
    """A set of options of the file as the fields of a `Setting`."""
    named = ("name", "drafters")
    options = {str(key): value for key, value in entry.items() if key not in named}
    if isinstance(options.get("cost_curve"), str):
        options["cost_curve"] = path_of(options["cost_curve"], info)
    return {"options": options, **{key: entry.get(key) for key in named}}


def variant_of(entry: Any) -> dict[str, Any]:
    """An entry among the drafters as the fields of a `Variant`: a name, or one name with options.

    Raises:
        ValueError: neither of them.
    """
    if isinstance(entry, str):
        return {"name": entry, "drafter": entry}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, about),) = entry.items()
        if isinstance(about, Mapping) and isinstance(about.get("drafter"), str):
            options = {str(key): value for key, value in about.items() if key != "drafter"}
            return {"name": name, "drafter": about["drafter"], "options": options}
    raise ValueError("expected names, or entries like l1-own: {drafter: l1, alignment: own}")
