"""Tables of an estimate, as data: the terminal and RESULTS.md show the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_text
from crossdraft.report.markdown import markdown_table, provenance_lines

_FIVE = ("load", "preprocess", "vision", "prefill", "decode")
_THREE = ("load", "preprocess", "generate")
_MODELS = {"eventgpt": "event model", "videollava": "target", "llava": "LLaVA-1.5"}


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: a line above it.
        head, rows: cells as text.
        note: what to know when reading it, empty for nothing.
        names: how many columns on the left hold words, not numbers.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    names: int = 1


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Every table that the result has content for, in reading order.

    Args:
        result: the content of result.json.
    """
    made = [_formula(result["expected_tokens"])]
    if result["stages"] is not None:
        made.append(_stages(result["stages"]))
    if result["window"] is not None:
        made.append(_window(result["window"]))
    made += _estimates(result)
    if not result["estimates"] and result["limits"]:
        made.append(_limits(result["limits"]))
    return made


def _formula(table: Mapping[str, Any]) -> Table:
    return Table(
        "Tokens per target forward by the formula, E(alpha, gamma)",
        ("alpha", *(f"gamma {gamma}" for gamma in table["gamma"])),
        tuple(
            (f"{row['alpha']:g}", *(f"{value:.3f}" for value in row["tokens"]))
            for row in table["rows"]
        ),
        "tokens per forward if each draft is accepted with probability alpha, independently: a "
        "speed-up only where drafting is free and a forward over gamma + 1 tokens costs one step",
    )


def _stages(stages: Mapping[str, Any]) -> Table:
    models = list(stages)
    count = sum(key.startswith("stage") for key in stages[models[0]])
    names = _FIVE if count == len(_FIVE) else _THREE

    def row(name: str, key: str, digits: int = 1) -> tuple[str, ...]:
        return (name, *(_spread(stages[model].get(key), digits) for model in models))

    rows = [row(f"{n} {name}", f"stage{n}_ms") for n, name in enumerate(names, start=1)]
    rows.append(row("total", "total_ms"))
    if "tokens" in stages[models[0]]:
        rows.append(row("tokens", "tokens"))
        each = (f"{stages[model]['ms_per_decoded_token']:.2f}" for model in models)
        rows.append(("per decoded token", *each))
    clips = max(stages[model]["clips"] for model in models)
    return Table(
        "Measured stages, ms",
        ("stage", *(_MODELS.get(model, model) for model in models)),
        tuple(rows),
        f"mean ± sample standard deviation over {clips} answers; stages of two models are no "
        "speed-up of one over the other: they give different answers",
    )


def _window(window: Mapping[str, Any]) -> Table:
    parts = (
        ("from_sensor_data", "until_prefill_ends", "sensor data", "target's prefill ends"),
        ("from_sensor_data", "until_last_pass_starts", "sensor data", "its last pass starts"),
        ("from_prefill", "until_prefill_ends", "both prefills", "target's prefill ends"),
    )
    rows = []
    for start, end, start_name, end_name in parts:
        found = window[start]
        if found is not None:
            cell = found[end]
            rows.append((start_name, end_name, _spread(cell["ms"]), _spread(cell["tokens"])))
    return Table(
        "Free window of the event model",
        ("clock starts with", "until", "open, ms", "its tokens by then"),
        tuple(rows),
        "open from its first token on; negative where the target is ready first",
        names=2,
    )


def _estimates(result: Mapping[str, Any]) -> list[Table]:
    """One table per acceptance, costs of verifying below each other."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in result["estimates"]:
        groups.setdefault(repr(entry["acceptance"]), []).append(entry)
    return [_estimate(group, result["kth"], result["split"]) for group in groups.values()]


def _estimate(entries: Sequence[Mapping[str, Any]], k: int, split: str | None) -> Table:
    first = entries[0]
    passes = "in the prefill" if first["verify"] == "prefill" else "in passes of their own"
    answers = f"{first['answers']} answer{'s' if first['answers'] > 1 else ''}"
    plain = ("target alone", "1.00", *_moments(first["target_alone"]), "1.00", "–", "–")
    return Table(
        f"Speed-up over the target alone, predicted: {_acceptance(first['acceptance'])}",
        ("T(k)/T(1)", "tau", "first token, ms", f"token {k}, ms", "last token, ms", "speed-up",
         "prefill floor", "all accepted"),
        (plain, *(_row(entry) for entry in entries)),
        f"{answers}{f', {split}' if split else ''}; first drafts verified {passes}; speed-up is a "
        "ratio of sums"
        + (" with its 95 % interval" if first["speedup"]["low"] is not None else "")
        + "; limits: only the prefill left, every draft right and each forward as wide as pays",
    )  # fmt: skip


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    limits = entry["limits"]
    return (
        _cost(entry),
        f"{entry['tau']['value']:.2f}",
        *_moments(entry),
        _interval(entry["speedup"]),
        _number(limits["prefill_floor"]),
        _number(limits["all_accepted"]),
    )


def _limits(limits: Iterable[Mapping[str, Any]]) -> Table:
    return Table(
        "Limits of a speed-up over the target alone",
        ("T(k)/T(1)", "longest draft", "prefill floor", "all accepted"),
        tuple(
            (_cost(e), str(e["depth"]), _number(e["prefill_floor"]), _number(e["all_accepted"]))
            for e in limits
        ),
        "only the prefill left; every draft right and each forward as wide as pays. --alpha or "
        "--replay predict what is reached",
    )


def _acceptance(acceptance: Mapping[str, Any]) -> str:
    if acceptance["kind"] == "iid":
        return f"alpha {acceptance['alpha']:g}, gamma {acceptance['gamma']}"
    shape = (
        f"chain of {acceptance['nodes']}"
        if acceptance["chain"]
        else f"tree of {acceptance['nodes']} nodes, depth {acceptance['depth']}"
    )
    learning = "online" if acceptance["online"] else "static"
    return f"`{acceptance['drafter']}` replayed, {shape}, {learning}"


def _cost(entry: Mapping[str, Any]) -> str:
    ratio = entry["verify_ratio"]
    return "measured" if ratio is None else f"{ratio:g}"


def _moments(times: Mapping[str, float | None]) -> tuple[str, str, str]:
    first, kth, total = (times[key] for key in ("first_token_ms", "kth_token_ms", "total_ms"))
    return (_number(first, 1), _number(kth, 1), _number(total, 1))


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return _number(value)
    return f"{_number(value)} [{low:.2f}, {high:.2f}]"


def _spread(cell: Mapping[str, float | None] | None, digits: int = 1) -> str:
    """`12.3 ± 0.4`, the mean alone where there was one value."""
    if cell is None:
        return "–"
    deviation = cell["std"]
    mean = _number(cell["mean"], digits)
    return mean if deviation is None else f"{mean} ± {deviation:.{digits}f}"


def describe_times(result: Mapping[str, Any]) -> str:
    """Where the times come from, in one sentence."""
    times = result["times"]
    said = times["file_says"]
    origin = ", ".join(f"{key} {value}" for key, value in said.items()) if said else ""
    return f"times: {times['source']}" + (f"; the file says: {origin}" if origin else "")


def write_report(result: Mapping[str, Any], folder: Path) -> Path:
    """Write RESULTS.md from the content of result.json; its path."""
    path = folder / "RESULTS.md"
    write_text(path, results_markdown(result))
    return path


def results_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md: tables, assumptions, what to know, provenance."""
    lines = ["# Estimate: what drafts would save", "", describe_times(result) + ".", ""]
    for table in tables(result):
        lines += [
            f"## {table.title}",
            "",
            *markdown_table(table.head, table.rows),
            "",
        ]
        lines += [table.note + ".", ""] if table.note else []
    lines += [
        "## What this takes for granted",
        "",
        *(f"- {said}" for said in result["assumptions"]),
        "",
        "## Before using a number",
        "",
        *(f"- {warning}" for warning in result["warnings"] or ["nothing to add"]),
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"
