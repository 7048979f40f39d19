"""What an evaluation is asked to do, checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import Budget
from crossdraft.drafters.find import phases_of
from crossdraft.drafters.registry import REGISTRY, part_names
from crossdraft.evaluation.seed_cost import SeedCost


def _check_name(name: str) -> None:
    if Path(name).exists():
        return
    try:
        if (sides := phases_of(name)) is not None:
            for side in sides:
                _check_name(side)
        else:
            part_names(name)
    except InputError as error:
        raise ValueError(f"{error.found}; known: {', '.join(REGISTRY)}") from error


Positive = Annotated[int, Field(ge=1)]


class EvaluateConfig(BaseModel):
    """Resolved options of `crossdraft evaluate`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pairs: Path
    """Recorded answers to evaluate on."""
    drafters: tuple[str, ...] = ()
    """Drafters asked for, by name, as names joined by `+`, as paths of checkpoints, or two of
    these joined by `:` that draft in turn; the controls run beside them. Empty: the controls
    alone."""
    named: dict[str, str] = {}
    """The same under names of their own."""
    against: dict[str, list[str]] = {}
    """What is compared with what, beside the controls: names as they are shown."""
    lm_head: Path | None = None
    """The target's head, where a pair store does not hold it."""
    shuffled_pairs: Path | None = None
    """The same questions about the same clips, the event model shown other drives' events, as
    `crossdraft extract --shuffle-events` makes them: what shuffled twins read. Without it they read
    another clip's answer, and drafters that follow the target its own scene behind that."""
    train_pairs: Path | None = None
    """Recorded answers of other drives to learn from, instead of folds."""
    folds: Annotated[int, Field(ge=2)] = 5
    gap: Annotated[int, Field(ge=0)] = 4
    """Clips left out between train and test."""
    gamma: Positive | None = None
    """Chain length; exclusive with nodes and depth."""
    nodes: Positive | None = None
    depth: Positive | None = None
    online: bool = False
    """Drafters go on learning from each finished answer."""
    stride_clips: Positive = 1
    """Evaluate every n-th clip only: neighbours overlap."""
    arrived: Literal["clock", "all"] | Annotated[int, Field(ge=0)] = "clock"
    """How much of the event model's answer may be read."""
    cost_curve: Path | None = None
    strict: bool = False
    """Train and test must not share a question either."""
    seed: Annotated[int, Field(ge=0)] = 0
    resamples: Annotated[int, Field(ge=100)] = 2000
    block_clips: Positive = 20
    """Clips of the recording per bootstrap block where drives are not known."""
    eos: Annotated[int, Field(ge=0)] = 2
    val_split: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of each training part that trainings and calibrations validate on."""
    seed_times: dict[str, float | int] = {}
    """Constants of the seed study's cost models, where they are not its own."""
    cost_model: Literal["seed-a", "seed-b"] | None = None
    """Also show this cost model of the seed study in the report."""
    train: dict[str, Any] = {}
    """Options of the trainings in the folds, as of `crossdraft train`; under a drafter's name,
    those for it alone."""

    @model_validator(mode="after")
    def _consistent(self) -> EvaluateConfig:
        for name in (*self.drafters, *self.named.values()):
            _check_name(name)
        if self.gamma is not None and (self.nodes is not None or self.depth is not None):
            raise ValueError("--gamma asks for a chain, --nodes/--depth for a tree: choose one")
        if (self.nodes is None) != (self.depth is None):
            raise ValueError("a tree needs both --nodes and --depth")
        return self

    @property
    def budget(self) -> Budget:
        """The width of every verification; a chain of 5 where nothing was asked for."""
        if self.nodes is not None and self.depth is not None:
            return Budget.tree(self.nodes, self.depth)
        return Budget.chain(self.gamma or 5)

    @property
    def cost(self) -> SeedCost:
        """The seed study's constants.

        Raises:
            InputError: one is out of range.
        """
        return SeedCost(**self.seed_times)  # type: ignore[arg-type]

    @classmethod
    def parse(cls, **options: Any) -> EvaluateConfig:
        """Build from options.

        Raises:
            InputError: an option is out of range or options contradict each other.
        """
        try:
            config = cls(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else None
            message = str(first["msg"]).removeprefix("Value error, ")
            raise InputError(message, where=name, hint="crossdraft evaluate --help") from error
        config.cost.to_json()  # out of range: said now, not behind the evaluation
        return config
