"""One run of `crossdraft bench verify-cost`: a target, its costs, what width they advise.

The target is a checkpoint, the shapes of a configuration filled with random weights, or a small
Llama where neither is at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent

if TYPE_CHECKING:
    from crossdraft.vlm.cost_curve import Cost, CostCurves
    from crossdraft.vlm.target import Target


@dataclass(frozen=True)
class VerifyCostConfig:
    """What to measure.

    Attributes:
        model: folder of a checkpoint.
        config: a transformers config.json whose shapes get random weights; excludes `model`.
        dtype: precision of the weights, by a name of `vlm.precision`; auto is the checkpoint's
            own, float32 where it has none. Random weights are dense.
        device: as torch names it; auto for a GPU where there is one, balanced for a checkpoint
            over all GPUs.
        context: tokens in the cache; None for a Video-LLaVA prompt, or what the model can hold.
        widths: tokens of a pass; empty for the usual ones.
        repeats: rounds that count.
        cache: of the target's sessions.
        fresh: measure also where a measurement is kept.

    Raises:
        InputError: options that contradict each other or that nothing can be.
    """

    model: Path | None = None
    config: Path | None = None
    dtype: str = "auto"
    device: str = "auto"
    context: int | None = None
    widths: tuple[int, ...] = ()
    repeats: int = 30
    cache: Literal["growing", "preallocated"] = "growing"
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.model is not None and self.config is not None:
            raise InputError(
                "--model and --config exclude each other",
                hint="--model FOLDER measures a checkpoint, --config FILE shapes alone",
            )
        self._check_dtype()
        if self.repeats < 1:
            raise InputError(f"{self.repeats}", where="--repeats", expected="1 or more")
        if any(width < 1 for width in self.widths):
            raise InputError(
                f"{min(self.widths)} tokens", where="--widths", expected="1 token or more"
            )
        if self.context is not None and self.context < 1:
            raise InputError(f"{self.context}", where="--context", expected="1 token or more")

    def _check_dtype(self) -> None:
        from crossdraft.vlm.precision import NAMES, Precision

        try:
            precision = Precision.parse(self.dtype)
        except InputError as error:
            raise InputError(
                f"{self.dtype!r}", where="--dtype", expected=f"one of {', '.join(NAMES)}"
            ) from error
        if precision.quantised and self.model is None:
            raise InputError(
                f"{precision.name} of random weights",
                where="--dtype",
                expected="a checkpoint to quantise, or a dense dtype",
                hint="--model FOLDER",
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        paths = {
            name: None if (path := getattr(self, name)) is None else str(path)
            for name in ("model", "config")
        }
        return {**asdict(self), **paths, "widths": list(self.widths)}

    @property
    def inputs(self) -> list[Path]:
        """The files whose digests a result carries; weights take long to read and cost nothing."""
        folder = None if self.model is None else self.model / "config.json"
        return [path for path in (folder, self.config) if path is not None and path.exists()]


@dataclass(frozen=True)
class VerifyCost:
    """What came out.

    Attributes:
        curves: the costs.
        payload: of the result; its `tokens` and `ratio` make it a `--cost-curve` file.
        warnings: what to know before using a number.
    """

    curves: CostCurves
    payload: dict[str, Any]
    warnings: tuple[str, ...]


def run(config: VerifyCostConfig, progress: ProgressSink = silent) -> VerifyCost:
    """Measure, or take what is kept of an earlier measurement.

    Raises:
        InputError: the model cannot be read or does not fit, or cannot hold what is asked for.
    """
    from crossdraft.vlm.cost_curve import ALPHAS, SHAPES
    from crossdraft.vlm.cost_measure import TAILS, WIDTHS
    from crossdraft.vlm.cost_store import measured

    widths = config.widths or WIDTHS
    notes: list[str] = []
    with _enough_memory():
        target, described = make_target(config)
        curves = measured(
            target,
            context=config.context,
            widths=widths,
            tail_widths=[tail for tail in TAILS if tail < max(widths)],
            repeats=config.repeats,
            fresh=config.fresh,
            note=notes.append,
            progress=progress,
        )
    payload = {
        "model": described,
        **curves.to_json(),
        "advice": {
            shape: [asdict(curves.advise(alpha, shape)) for alpha in ALPHAS] for shape in SHAPES
        },
        "notes": notes,
    }
    return VerifyCost(curves, payload, tuple(_warnings(config, curves)))


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Turn an allocation that fails into advice.

    Raises:
        InputError: the device has no memory left for model and context.
    """
    import torch

    try:
        yield
    except RuntimeError as error:  # a CPU allocation that fails has no class of its own
        lacking = isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error)
        if not lacking:
            raise
        raise InputError(
            f"out of memory ({str(error).splitlines()[0]})",
            expected="a model, its keys and values that fit",
            hint="a shorter --context, a narrower --dtype, narrower --widths",
        ) from error


def make_target(config: VerifyCostConfig) -> tuple[Target, str]:
    """The target to measure, and what it is in a few words.

    Raises:
        InputError: as `run`.
    """
    from crossdraft.vlm.precision import Precision

    precision = Precision.parse(config.dtype)
    if config.model is not None:
        from crossdraft.vlm.loading import load_target
        from crossdraft.vlm.placement import BALANCED

        device = config.device
        place = device if device == BALANCED else find_device(device)
        target = load_target(config.model, dtype=precision, device=place, cache=config.cache)
        packed = f" in {precision.name}" if precision.quantised else ""
        return target, f"{type(target.model).__name__} from {config.model}{packed}"
    from crossdraft.bench.random_model import random_model, read_config, small_llama
    from crossdraft.vlm.cost_measure import CONTEXT
    from crossdraft.vlm.target import Target

    shapes = small_llama() if config.config is None else read_config(config.config)
    model = random_model(
        shapes,
        precision.dense() or "auto",
        find_device(config.device),
        context=config.context or CONTEXT,
        where=config.config,
    )
    try:
        target = Target(model, cache=config.cache)
    except InputError as error:
        raise InputError(
            error.found, where=config.config, expected=error.expected, hint=error.hint
        ) from error
    origin = "" if config.config is None else f" shaped as in {config.config}"
    return target, f"{type(model).__name__}{origin}, random weights"


def _warnings(config: VerifyCostConfig, curves: CostCurves) -> list[str]:
    """What to know before using a number."""
    from crossdraft.vlm.cost_curve import NOISY, SHAPES

    said = []
    if config.model is None and config.config is None:
        said.append(
            f"a random Llama of {curves.setup.parameters:,} parameters stands in: the curve of "
            "your target is the one to use (--model)"
        )
    if curves.noisy:
        said.append(
            f"the machine was busy: quartiles lie more than {NOISY:.0%} apart in {curves.noisy} "
            f"of {2 * len(curves.tree) - 2} passes; measure again when it is idle"
        )
    for shape in SHAPES:
        fell = _falls(curves.of(shape))
        if fell:
            said.append(
                f"a {shape} of {', '.join(map(str, fell))} tokens took less time than a shorter "
                "one: levelled in `ratio` and in the advice"
            )
    return said


def _falls(costs: Sequence[Cost]) -> list[int]:
    """Widths that were faster than a narrower one."""
    from crossdraft.vlm.cost_curve import levelled

    level = levelled(costs)
    return [cost.tokens for cost, ratio in zip(costs, level, strict=True) if cost.ratio < ratio]
