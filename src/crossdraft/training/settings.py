"""What a training is asked to do, checked before anything runs.

The defaults are the seed study's: AdamW 1e-4 with weight decay 0.01, cosine, batches of 32, 50
epochs, patience 10, clipping at 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import trainable_class

Positive = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]


class TrainSettings(BaseModel):
    """How the loop runs; nothing here names a file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    num_epochs: Positive = 50
    """Epochs at most."""
    batch_size: Positive = 32
    """Answers per step, in each process of torchrun."""
    accumulate: Positive = 1
    """Batches whose gradients make one step."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Numbers that the network computes with; weights stay fp32."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """The highest; falls to zero along a cosine, step by step."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of all steps in which the learning rate first rises, in equal parts."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of AdamW."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    early_stopping: Positive = 10
    """Epochs without a better validation tau before training stops."""
    val_split: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training clips held out for validation, by drive or by blocks."""
    gap: Whole = 4
    """Clips left out between training and validation."""
    gamma: Positive = 5
    """Chain length of the validation tau."""
    padding: Literal["longest", "full"] = "longest"
    """Pad to the longest answer of the batch, or always to the network's length."""
    seed: Whole = 0
    """Of every random generator."""
    device: str = "auto"
    """cpu, cuda, cuda:1, …; auto takes a GPU where there is one."""


class TrainConfig(BaseModel):
    """Resolved options of `crossdraft train`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    drafter: str
    pairs: Path
    """Recorded answers to learn from."""
    val_pairs: Path | None = None
    """Recorded answers of other drives for validation, instead of a part of PAIRS."""
    task_name: str | None = None
    """Name of the run; taken from the data where it is not given."""
    max_train_samples: Positive | None = None
    """Learn from the first answers only."""
    eos: Whole = 2
    """Token id that ends an answer."""
    lm_head: Path | None = None
    """The target's head, where the pair store does not hold it."""
    settings: TrainSettings = TrainSettings()
    options: dict[str, Any] = {}
    """Sizes and switches of the drafter."""


def training_config(drafter: str, values: Mapping[str, Any]) -> TrainConfig:
    """Sort flat options into a configuration: the run's, the loop's, the drafter's.

    A drafter may bring its own defaults for the loop (`training_defaults`).

    Raises:
        InputError: an unknown option, or a value out of range.
    """
    kind = trainable_class(drafter)
    loop_names = set(TrainSettings.model_fields)
    run_names = set(TrainConfig.model_fields) - {"settings", "options", "drafter"}
    given = {name: value for name, value in values.items() if value is not None}
    loop = {**kind.training_defaults, **{n: v for n, v in given.items() if n in loop_names}}
    run = {name: value for name, value in given.items() if name in run_names}
    own = {n: v for n, v in given.items() if n not in loop_names | run_names}
    resolved = kind(kind.config_from(own)).options()
    try:
        return TrainConfig(drafter=drafter, settings=TrainSettings(**loop), options=resolved, **run)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][-1]).replace("_", "-") if first["loc"] else None
        raise InputError(
            f"{first['input']!r}: {first['msg']}",
            where=flag,
            hint=f"crossdraft train {drafter} --help",
        ) from error
