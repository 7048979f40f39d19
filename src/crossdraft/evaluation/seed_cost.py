"""The seed study's two cost models, as it computed its speed-ups: projections, not measurements.

Kept so that its tables can be made again and compared. Model a charges a verification of gamma + 1
tokens as so many single steps, model b as one. The constants are the study's and contradict its own
measurements (docs/state_metrics.md).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from crossdraft.base.errors import InputError

MODELS = ("seed-a", "seed-b")
LABEL = "seed study's cost model"
#: Free tokens and decode acceptance of the seed study's six two-phase configurations: shifted
#: matches among the first five, 0.733 with L5F and 0.508 with B1 (published as 0.73 and 0.51).
PUBLISHED = (
    ("L1+L5F", 3.82, 0.733),
    ("L2+L5F", 4.72, 0.733),
    ("L3+L5F", 4.85, 0.733),
    ("L4+L5F", 4.59, 0.733),
    ("L5F-only", 0.0, 0.733),
    ("B1-only", 0.0, 0.508),
)


@dataclass(frozen=True)
class SeedCost:
    """Constants of both models, in the seed study's names.

    Attributes:
        egpt_prefill_ms, egpt_per_token_ms: of the event model.
        vl_prefill_ms, vl_per_token_ms: of the target.
        adapter_latency_ms: of one pass of an adapter.
        gamma_decode: drafts of a verification.
        gamma_prefill: drafts that fit into the target's prefill; None: what the times say.
        num_output_tokens: length of an answer.
    """

    egpt_prefill_ms: float = 130.0
    egpt_per_token_ms: float = 25.0
    vl_prefill_ms: float = 310.0
    vl_per_token_ms: float = 25.0
    adapter_latency_ms: float = 1.5
    gamma_decode: int = 5
    gamma_prefill: int | None = None
    num_output_tokens: int = 50

    def __post_init__(self) -> None:
        """Raises: InputError: a value out of range, by its flag."""
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.name in ("gamma_decode", "gamma_prefill", "num_output_tokens")
            least = 1 if whole and field.name != "gamma_prefill" else 0
            if value is not None and not (math.isfinite(value) and least <= value <= 1e9):
                flag = "--" + field.name.replace("_", "-")
                raise InputError(f"{value}", where=flag, expected=f"{least} or more")
        for name in ("egpt_per_token_ms", "vl_prefill_ms", "vl_per_token_ms"):
            if getattr(self, name) == 0:
                flag = "--" + name.replace("_", "-")
                raise InputError("0", where=flag, expected="more than 0")

    @property
    def window_ms(self) -> float:
        """What is left of the target's prefill when the event model's ends."""
        return max(0.0, self.vl_prefill_ms - self.egpt_prefill_ms)

    @property
    def free_drafts(self) -> float:
        """Tokens of the event model in the window, not rounded."""
        return self.window_ms / self.egpt_per_token_ms

    @property
    def first_drafts(self) -> int:
        """Drafts of the first verification."""
        return int(self.free_drafts) if self.gamma_prefill is None else self.gamma_prefill

    @property
    def baseline_ms(self) -> float:
        """The target alone."""
        return self.vl_prefill_ms + self.num_output_tokens * self.vl_per_token_ms

    @property
    def parallel_prefill_ms(self) -> float:
        """Both prefills beside each other, on devices of their own."""
        return max(self.vl_prefill_ms, self.egpt_prefill_ms + self.adapter_latency_ms)

    def iterations(self, consecutive: float, free: float = 0.0) -> float:
        """Verifications of an answer, each giving `consecutive` + 1 tokens."""
        return max(0.0, self.num_output_tokens - free) / (consecutive + 1)

    def total_a_ms(self, consecutive: float) -> float:
        """Model a: gamma + 1 tokens are verified in as many single steps. Where nothing is
        accepted the study decodes plainly."""
        if consecutive == 0:
            return self.baseline_ms
        step_ms = self.vl_per_token_ms * (self.gamma_decode + 1) + self.adapter_latency_ms
        return self.vl_prefill_ms + self.iterations(consecutive) * step_ms

    def total_b_ms(self, free: float, consecutive: float) -> float:
        """Model b: a verification takes one single step; the event model's work is free."""
        step_ms = self.vl_per_token_ms + self.adapter_latency_ms
        return self.parallel_prefill_ms + self.iterations(consecutive, free) * step_ms

    def speedup(self, model: str, free: float, consecutive: float) -> float:
        """Over the target alone; model a knows no free tokens."""
        if model == "seed-a":
            return self.baseline_ms / self.total_a_ms(consecutive)
        return self.baseline_ms / self.total_b_ms(free, consecutive)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)


def seed_table(
    model: str,
    cost: SeedCost,
    free: tuple[float, ...] = (),
    consecutive: tuple[float, ...] = (),
) -> dict[str, Any]:
    """One model's table as plain JSON: of the values given, else of the seed study's own.

    Args:
        model: `seed-a` or `seed-b`.
        free: accepted tokens of the first verification (model b).
        consecutive: accepted tokens of each further one; with `free`, every combination.

    Raises:
        InputError: an unknown model, a value that no verification can accept.
    """
    if model not in MODELS:
        raise InputError(f"{model!r}", where="--cost-model", expected=" or ".join(MODELS))
    _check(model, cost, free, consecutive)
    named: list[tuple[str, float, float]]
    if free or consecutive:
        named = [("", a, b) for a in free or (0.0,) for b in consecutive or (0.0,)]
    elif model == "seed-b":
        named = list(PUBLISHED)
    else:
        named = [("", 0.0, float(n)) for n in range(cost.gamma_decode + 1)]
    return {
        "cost_model": model,
        "label": f"{LABEL} {model[-1]}: a projection, not a measurement",
        "formula": FORMULAS[model],
        "constants": cost.to_json(),
        "baseline_ms": cost.baseline_ms,
        "rows": [
            {
                "configuration": name,
                "free_tokens": a if model == "seed-b" else None,
                "decode_consecutive": b,
                "iterations": cost.iterations(b, a if model == "seed-b" else 0.0),
                "total_ms": cost.baseline_ms / cost.speedup(model, a, b),
                "speedup": cost.speedup(model, a, b),
            }
            for name, a, b in named
        ],
    }


FORMULAS = {
    "seed-a": "(P + N·t) / (P + N/(c + 1)·(t·(gamma + 1) + adapter)), 1 where c is 0",
    "seed-b": "(P + N·t) / (max(P, p + adapter) + (N - a)/(b + 1)·(t + adapter))",
}


def _check(
    model: str, cost: SeedCost, free: tuple[float, ...], consecutive: tuple[float, ...]
) -> None:
    if free and model == "seed-a":
        raise InputError(
            f"{free[0]:g}", where="--free-tokens", expected="nothing: model a has no free tokens"
        )
    for flag, values, most in (
        ("--free-tokens", free, cost.num_output_tokens),
        ("--decode-consecutive", consecutive, cost.gamma_decode),
    ):
        for value in values:
            if not 0 <= value <= most:
                raise InputError(f"{value:g}", where=flag, expected=f"0 to {most}")
