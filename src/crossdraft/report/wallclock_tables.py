"""Tables of timed answers: one wide for a page, narrow ones for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from crossdraft.report.estimate import Table
from crossdraft.report.wallclock_words import (
    DEFINITIONS,
    drafted,
    equal,
    error,
    estimate,
    marks_of,
    moments,
    number,
    over,
    percent,
    predicted,
    rivals_of,
    rounds,
    slower,
    small,
    value_of,
)

#: Stages in the order of an answer; what the list does not know stands before `other`.
STAGES = (
    "sensor", "render", "pixels", "vision", "prefill", "decode", "verify", "draft",
    "commit", "event model",
)  # fmt: skip


_GROUPS = (
    ("read", ("sensor", "render", "pixels")),
    ("vision", ("vision",)),
    ("prefill", ("prefill",)),
    ("steps", ("decode", "verify")),
    ("draft", ("draft",)),
    ("waits", ("event model",)),
)


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Every table, each narrow enough for a terminal, in reading order.

    Args:
        result: the content of result.json.
    """
    made = [_times(result), _speedups(result), _drafts(result), _predictions(result)]
    made += [_short_stages(result), differences(result)]
    return [table for table in made if table is not None]


def main_table(result: Mapping[str, Any]) -> Table:
    """Everything about a configuration in one row."""
    rivals = rivals_of(result)
    head = (
        "configuration", "tau", "first window", "first token ms", f"token {result['k']} ms",
        "decode ms", "total ms", "speed-up", "rounds", "× first", f"× token {result['k']}",
        *(f"× {name}" for name in rivals), "equal", "slower %", "dearer %",
        "predicted speed-up", "error %",
    )  # fmt: skip
    rows = [
        (
            row["name"], *drafted(row), *moments(row), estimate(row, "speedup"), rounds(row),
            *(number(value_of(row[key])) for key in ("speedup_first", "speedup_kth")),
            *over(row, rivals), equal(row), slower(row), percent(row["dearer"]),
            *predicted(row),
        )
        for row in result["configurations"]
    ]  # fmt: skip
    return Table("Every configuration", head, tuple(rows), _reasons(result))


def stages(result: Mapping[str, Any]) -> Table:
    """Where the time to the last token goes."""
    names = stage_names(result)
    rows = [
        (
            row["name"],
            *(number(row["stages_ms"].get(name), 1) for name in names),
            number(row["total_ms"], 1),
        )
        for row in result["configurations"]
    ]
    return Table(
        "Where the time goes, ms",
        ("configuration", *names, "total"),
        tuple(rows),
        "means over questions, of each its median round; stages of a row sum up to its total; what "
        "runs beside the target is in no row",
    )


def passes(result: Mapping[str, Any]) -> Table:
    """What the target's forwards accepted, and the event model beside them."""
    depths = (1, 2, 4, 8)
    rows = []
    for row in result["configurations"]:
        if row["depth"] is None:
            continue
        share = row["depth"]["share"]
        reached = (share[d - 1] if d <= len(share) else 0.0 for d in depths)
        rows.append(
            (
                row["name"],
                str(row["depth"]["passes"]),
                number(row["drafted_per_forward"]),
                *(percent(one if row["depth"]["passes"] else None) for one in reached),
                percent(row["with_window"]),
                number(row["event_tokens"], 1),
                number(row["event_first_ms"], 1),
                number(row["event_model_ms"], 1),
            )
        )
    return Table(
        "What became of the drafts",
        (
            "configuration", "passes with drafts", "drafts/forward",
            *(f"≥ {depth} %" for depth in depths), "with a window %", "event tokens",
            "event first ms", "event ms",
        ),
        tuple(rows),
        "shares are of the passes that had drafts and accepted at least so many; the event model: "
        "its tokens when the last pass of the prefill started, when its first was there, how long "
        "it worked",
    )  # fmt: skip


def differences(result: Mapping[str, Any]) -> Table | None:
    """Every answer that is not the baseline's; None where there is none."""
    rows = [
        (
            row["name"], shorten(one["scene"], 20), shorten(one["question"], 24), str(one["place"]),
            small(one["margin"]), small(one["noise"]), str(one["verdict"]),
        )
        for row in result["configurations"]
        if row["equality"] is not None
        for one in row["equality"]["differences"]
    ]  # fmt: skip
    if not rows:
        return None
    return Table(
        "Answers that differ",
        ("configuration", "scene", "question", "place", "margin", "noise", "verdict"),
        tuple(rows),
        "margin: of the target's choice over the other token there; noise: between a pass over one "
        "token and one over several",
        names=3,
    )


def stage_names(result: Mapping[str, Any]) -> list[str]:
    """Stages that any configuration spent time in, in the order of an answer."""
    found = dict.fromkeys(
        name for row in result["configurations"] for name, ms in row["stages_ms"].items() if ms > 0
    )
    odd = [name for name in found if name not in STAGES and name != "other"]
    return [name for name in (*STAGES, *odd, "other") if name in found]


def _times(result: Mapping[str, Any]) -> Table:
    rows = ((row["name"], *moments(row)) for row in result["configurations"])
    return Table(
        "Times, ms",
        ("configuration", "first token", f"token {result['k']}", "decode", "total"),
        tuple(rows),
        DEFINITIONS["times"],
    )


def _speedups(result: Mapping[str, Any]) -> Table:
    rivals = rivals_of(result)
    rows = (
        (row["name"], estimate(row, "speedup"), rounds(row), *over(row, rivals))
        for row in result["configurations"]
    )
    return Table(
        f"Speed-up over `{result['baseline']}`",
        ("configuration", "speed-up", "rounds", *(f"× {name}" for name in rivals)),
        tuple(rows),
        _reasons(result),
    )


def _drafts(result: Mapping[str, Any]) -> Table:
    rows = (
        (row["name"], *drafted(row), equal(row), slower(row), percent(row["dearer"]))
        for row in result["configurations"]
    )
    return Table(
        "Drafts, and what they risk",
        ("configuration", "tau", "first window", "equal", "slower %", "dearer %"),
        tuple(rows),
        "; ".join(f"{word}: {DEFINITIONS[word]}" for word in ("equal", "slower", "dearer")),
    )


def _predictions(result: Mapping[str, Any]) -> Table | None:
    """What was predicted beside what came; None where nothing was."""
    rows = [
        (
            row["name"],
            number(row["prediction"]["total_ms"], 1),
            error(row["prediction"]["total_error"]),
            *predicted(row),
        )
        for row in result["configurations"]
        if row["prediction"] is not None
    ]
    if not rows:
        return None
    return Table(
        "Predicted, from the test's tokens and none of its times",
        ("configuration", "total ms", "error %", "speed-up", "error %"),
        tuple(rows),
        f"errors: {DEFINITIONS['predicted']}",
    )


def _short_stages(result: Mapping[str, Any]) -> Table:
    """Stages in groups: all of them side by side fit no terminal."""
    digits = int(max(row["total_ms"] for row in result["configurations"]) < 1000)
    rows = []
    for row in result["configurations"]:
        ms = row["stages_ms"]
        grouped = [sum(ms.get(name, 0.0) for name in names) for _, names in _GROUPS]
        rest = row["total_ms"] - sum(grouped)
        rows.append(
            (row["name"], *(number(one, digits) for one in (*grouped, rest, row["total_ms"])))
        )
    return Table(
        "Where the time goes, ms",
        ("configuration", *(name for name, _ in _GROUPS), "other", "total"),
        tuple(rows),
        "read: sensor, render, pixels; steps: forwards behind the prefill; waits: for the event "
        "model; means over questions, of each its median round",
    )


def _reasons(result: Mapping[str, Any]) -> str:
    """Why some rows have no speed-up, and who is no ordinary row."""
    said = [f"speed-up: {DEFINITIONS['speed-up']}"]
    for row in result["configurations"]:
        if row["no_speedup"]:
            said.append(f"`{row['name']}` has none: {row['no_speedup']}")
        elif marks := marks_of(row):
            said.append(f"`{row['name']}`: {', '.join(marks)}")
    return "; ".join(said)
