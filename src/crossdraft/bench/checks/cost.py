"""What verifying drafts costs behind this prompt, and how many pay."""

from __future__ import annotations

from dataclasses import asdict

from crossdraft.base.errors import InputError
from crossdraft.bench.checks.case import Case
from crossdraft.bench.checks.check import Check
from crossdraft.vlm.cost_store import measured

#: Tokens of a pass that are measured, and rounds: enough for a first look.
_WIDTHS, _REPEATS = (1, 2, 4, 8, 16), 5
#: Acceptance that advice is given for.
_ALPHAS = (0.5, 0.8)


def check_cost(case: Case) -> Check:
    """T(k)/T(1) of chains, measured or kept of an earlier measurement."""
    if case.role != "target":
        return case.skipped("cost", "only the target verifies")
    notes: list[str] = []
    try:
        curves = measured(
            case.target, context=len(case.prompt.ids), widths=_WIDTHS, tail_widths=(),
            repeats=_REPEATS, note=notes.append,
        )  # fmt: skip
    except InputError as error:
        return case.skipped("cost", error.found)
    costs = {width: curves.cost(width, "chain") for width in _WIDTHS[1:]}
    advice = [curves.advise(alpha) for alpha in _ALPHAS]
    said = ", ".join(f"T({width}) {cost:.2f}" for width, cost in costs.items())
    advised = ", ".join(f"{one.gamma} at alpha {one.alpha}" for one in advice)
    return case.check(
        "cost", None,
        f"T(1) {curves.step_ms:.3g} ms, {said} T(1), of {curves.date}; drafts that pay: {advised}",
        step_ms=curves.step_ms, ratios=costs, advice=[asdict(one) for one in advice], notes=notes,
    )  # fmt: skip
