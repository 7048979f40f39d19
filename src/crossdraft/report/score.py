"""Tables of `crossdraft pair score`: what each model told rightly, what its states know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crossdraft.report.markdown import cell

Row = tuple[str, ...]
Scored = Mapping[str, Any]


def attribute_table(scored: Scored) -> tuple[Row, list[Row]]:
    """Head and rows: an attribute each, with the controls.

    Args:
        scored: `result["target"]` or `result["drafter"]`.
    """
    head = ("attribute", "right", "of", "right %", "swapped %", "chance %", "invented")
    rows: list[Row] = [
        (
            attribute, f"{one['right']:,}", f"{one['of']:,}",
            *(_percent(one[name]) for name in ("accuracy", "swapped", "chance")),
            f"{one['invented']:,} of {one['unnamed']:,}",
        )
        for attribute, one in scored["attributes"].items()
    ]  # fmt: skip
    return head, rows


def probe_table(scored: Scored) -> tuple[Row, list[Row]]:
    """Head and rows: a label and a kind of states each; what could not be probed is left out."""
    head = ("probe", "states", "scenes", "right %", "majority %", "permuted %", "by kind %")
    rows: list[Row] = [
        (
            label, states, f"{one['rows']:,}", _percent(one["accuracy"]),
            f"{100 * one['majority']:.1f}", f"{100 * one['permuted']:.1f}",
            "–" if one["by_kind"] is None else f"{100 * one['by_kind']:.1f}",
        )
        for label, kinds in scored["probes"].items()
        for states, one in kinds.items()
        if one is not None
    ]  # fmt: skip
    return head, rows


def lines(scored: Scored) -> Iterator[str]:
    """What stands beside the tables of one model."""
    yield (
        f"{scored['answers']:,} answers, {_percent(scored['exact'])} % word for word the true one, "
        f"{_percent(scored['ended'])} % ended by themselves"
    )
    if scored["unseen"] is not None:
        named = ", ".join(f"{name} {one['answers']:,}" for name, one in scored["unseen"].items())
        yield f"answers that name what leaves no event: {named}"
    found = scored["calibration"]
    yield (
        f"predictability: tau of a 12-gram table {cell(found['tau'])}, position match "
        f"{_percent(found['position_match'])} %, {found['tokens']['mean']:.1f} tokens per answer, "
        f"{100 * found['distinct']:.1f} % distinct; {found['split']}"
    )


def checked_lines(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each check.

    Args:
        checks: `result["checks"]`.
    """
    for one in checks:
        value = "not measured" if one["value"] is None else f"{one['value']:.3f}"
        verdict = "ok" if one["ok"] else "FAILED"
        yield f"{verdict:<7} {one['model']:<8} {one['name']}: {value} ({one['wanted']})"


def _percent(estimate: Mapping[str, float | None]) -> str:
    return cell(estimate, 100, 1)
