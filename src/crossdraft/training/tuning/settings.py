"""What a tuning is asked to do, checked before anything is read.

The seed study's LoRA: rank 16, alpha 32, dropout 0.05, on the q, k, v and o projections.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossdraft.base.errors import InputError
from crossdraft.training.settings import Positive, TrainSettings, Whole

Method = Literal["lm-head", "lora"]
METHODS: tuple[Method, ...] = get_args(Method)
#: Where they differ from the loop's own.
_DEFAULTS = {"num_epochs": 10, "early_stopping": 3}
#: Small models learn little from steps that suit the large ones.
_SMALL, SMALL_RATE = 1_000_000_000, 3e-3


class TuneConfig(BaseModel):
    """Resolved options of `crossdraft pair tune`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    method: Method
    """What is trained: the output layer, or low-rank changes of the attention."""
    scenes: Path
    """Dataset whose events the event model reads."""
    pairs: Path
    """The target's recorded answers about these scenes."""
    split: Literal["train", "test", "all"] = "train"
    """Which of the scenes."""
    max_samples: Positive | None = None
    """At most so many clips, as many of each drive."""
    eos: Whole = 2
    """Token id that ends an answer of the target."""
    rank: Positive = 16
    """Of the low-rank changes."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """The changes are multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Before the low-rank changes."""
    settings: TrainSettings = TrainSettings()


def tune_config(
    method: Method, values: Mapping[str, Any], parameters: int | None = None
) -> TuneConfig:
    """Sort flat options into a configuration; None stands for a default.

    Args:
        parameters: of the model that is tuned: below a billion the learning rate is 3e-3 where
            none is given, else the loop's.

    Raises:
        InputError: a value out of range, or an option of the other method.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if method == "lm-head" and (foreign := sorted({"rank", "alpha", "dropout"} & set(given))):
        raise InputError(
            f"--{foreign[0]} with --method lm-head, which has none",
            expected="--method lora, or leave it out",
        )
    loop_names = set(TrainSettings.model_fields)
    rate = {"learning_rate": SMALL_RATE} if parameters and parameters < _SMALL else {}
    loop = {**_DEFAULTS, **rate, **{n: v for n, v in given.items() if n in loop_names}}
    run = {name: value for name, value in given.items() if name not in loop_names}
    try:
        return TuneConfig(method=method, settings=TrainSettings(**loop), **run)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][-1]).replace("_", "-") if first["loc"] else None
        raise InputError(
            f"{first['input']!r}: {first['msg']}", where=flag, hint="crossdraft pair tune --help"
        ) from error
