"""What an estimate is asked to do, checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import PUBLISHED_1S, StageTimes
from crossdraft.drafters.base import Budget
from crossdraft.drafters.registry import REGISTRY

Positive = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]

#: Our name of a time -> the seed study's; `target_prefill_start_ms` has none there.
SEED_NAMES = {
    "draft_first_ms": "egpt_prefill_ms",
    "draft_token_ms": "egpt_per_token_ms",
    "target_prefill_end_ms": "vl_prefill_ms",
    "target_token_ms": "vl_per_token_ms",
}
#: Constant T(k)/T(1): free, cheap, dear, and about what the seed study's 4-bit kernels took.
RATIOS = (1.0, 1.2, 2.0, 4.6)
_REPLAY_ONLY = {"nodes", "depth", "online", "folds", "gap", "stride_clips"}


class EstimateConfig(BaseModel):
    """Resolved options of `crossdraft estimate`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stage_file: Path | None = None
    """Recorded answers with measured stages; excludes the five times below."""
    draft_first_ms: Milliseconds | None = None
    draft_token_ms: Milliseconds | None = None
    target_prefill_start_ms: Milliseconds | None = None
    target_prefill_end_ms: Milliseconds | None = None
    target_token_ms: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] | None = None
    adapter_latency_ms: Milliseconds = 0.0
    """Drafting time that nothing hides, per decoding forward with drafts."""
    alpha: tuple[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)], ...] = ()
    gamma: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = ()
    answer_tokens: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Length of an answer under --alpha; the file's own lengths or 50 where not given."""
    replay: str | None = None
    """Drafter whose acceptance is replayed on the stage file."""
    nodes: Positive | None = None
    depth: Positive | None = None
    online: bool = False
    folds: Annotated[int, Field(ge=2)] = 5
    gap: Annotated[int, Field(ge=0)] = 4
    stride_clips: Positive = 1
    verify_ratio: tuple[Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)], ...] = ()
    cost_curve: Path | None = None
    verify: Literal["prefill", "own"] = "prefill"
    baseline: str = "target"
    kth: Positive = 10
    seed: Annotated[int, Field(ge=0)] = 0
    resamples: Annotated[int, Field(ge=100)] = 2000
    block_clips: Positive = 20
    eos: Annotated[int, Field(ge=0)] = 2

    @model_validator(mode="after")
    def _times_have_one_source(self) -> EstimateConfig:
        given = [name for name in _TIMES if getattr(self, name) is not None]
        if given and self.stage_file is not None:
            raise ValueError(
                f"STAGE_FILE and {_flag(given[0])} exclude each other: times come from one source"
            )
        missing = [_flag(name) for name in SEED_NAMES if getattr(self, name) is None]
        if given and missing:
            raise ValueError(f"times by flags need all four; missing: {', '.join(missing)}")
        start, end = self.target_prefill_start_ms, self.target_prefill_end_ms
        if start is not None and end is not None and end < start:
            raise ValueError(f"the target's prefill ends at {end} ms, before it starts ({start})")
        return self

    @model_validator(mode="after")
    def _acceptance_has_one_source(self) -> EstimateConfig:
        if self.replay is None:
            extra = sorted(_REPLAY_ONLY & self.model_fields_set)
            if extra:
                raise ValueError(f"{_flag(extra[0])} belongs to --replay")
            return self
        if self.replay not in REGISTRY:
            raise ValueError(f"no drafter is called {self.replay!r}; known: {', '.join(REGISTRY)}")
        if self.stage_file is None:
            raise ValueError("--replay needs STAGE_FILE: the recorded answers to replay")
        if self.alpha or self.answer_tokens:
            name = "--alpha" if self.alpha else "--answer-tokens"
            raise ValueError(f"--replay and {name} exclude each other: the answers are recorded")
        if len(self.gamma) > 1:
            raise ValueError(f"--replay takes one --gamma, not {len(self.gamma)}")
        if self.gamma and (self.nodes is not None or self.depth is not None):
            raise ValueError("--gamma asks for a chain, --nodes/--depth for a tree: choose one")
        if (self.nodes is None) != (self.depth is None):
            raise ValueError("a tree needs both --nodes and --depth")
        return self

    @model_validator(mode="after")
    def _cost_has_one_source(self) -> EstimateConfig:
        if self.cost_curve is not None and self.verify_ratio:
            raise ValueError("--cost-curve and --verify-ratio exclude each other")
        return self

    @property
    def budget(self) -> Budget:
        """The width of a replayed verification; a chain of 5 where nothing was asked for."""
        if self.nodes is not None and self.depth is not None:
            return Budget.tree(self.nodes, self.depth)
        return Budget.chain(self.gammas[0])

    @property
    def gammas(self) -> tuple[int, ...]:
        """Draft lengths to estimate with; 5 where none was asked for."""
        return tuple(dict.fromkeys(self.gamma)) or (5,)

    @property
    def widest(self) -> int:
        """Most drafts of one forward."""
        return self.budget.nodes if self.replay else max(self.gammas)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Constant T(k)/T(1) to estimate with; empty where a curve was measured."""
        return () if self.cost_curve else tuple(dict.fromkeys(self.verify_ratio)) or RATIOS

    @property
    def times(self) -> StageTimes:
        """Times by flags, else the published averages."""
        if self.draft_first_ms is None:
            return PUBLISHED_1S
        assert self.draft_token_ms is not None and self.target_token_ms is not None
        assert self.target_prefill_end_ms is not None
        return StageTimes(
            self.draft_first_ms,
            self.draft_token_ms,
            self.target_prefill_start_ms or 0.0,
            self.target_prefill_end_ms,
            self.target_token_ms,
            "given by flags",
        )

    @classmethod
    def parse(cls, **options: Any) -> EstimateConfig:
        """Build from options; the seed study's names of times are known too.

        Raises:
            InputError: an option is out of range, options contradict each other, or the baseline
                is not the target alone.
        """
        options = _ours(options)
        _refuse_other_baselines(str(options.get("baseline", "target")))
        try:
            return cls(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = _flag(str(first["loc"][0])) if first["loc"] else None
            message = str(first["msg"]).removeprefix("Value error, ")
            raise InputError(message, where=name, hint="crossdraft estimate --help") from error


_TIMES = (*SEED_NAMES, "target_prefill_start_ms")


def _flag(name: str) -> str:
    return "STAGE_FILE" if name == "stage_file" else "--" + name.replace("_", "-")


def _ours(options: dict[str, Any]) -> dict[str, Any]:
    """Options under our names alone.

    Raises:
        InputError: a time was given under both names with different values.
    """
    renamed = dict(options)
    for ours, seeds in SEED_NAMES.items():
        value = renamed.pop(seeds, None)
        if value is None:
            continue
        if renamed.setdefault(ours, value) not in (None, value):
            raise InputError(
                f"{_flag(ours)} is {renamed[ours]} but {_flag(seeds)} is {value}",
                expected="one value: both name the same time",
            )
        renamed[ours] = value
    return renamed


def _refuse_other_baselines(baseline: str) -> None:
    """Refuse a speed-up over anything but the target alone.

    Raises:
        InputError: naming why.
    """
    if baseline == "target":
        return
    raise InputError(
        f"{baseline!r}",
        where="--baseline",
        expected="target: the target alone, the only thing a user without a drafter would run",
        hint="leave --baseline out. A baseline that runs both models, one after the other, counts "
        "the drafter's time as saved although nobody had to spend it: their ratio is no "
        "speed-up over the target",
    )
