"""Several runs side by side, as Markdown: what was evaluated on the same answers in one table.

Only rows of one test may be compared: another test set, another split, another width of drafts or
another clock make another table. Trainings stand apart, since their validation chose the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, write_text
from crossdraft.base.result import SCHEMA
from crossdraft.evaluation.controls import ALWAYS, BLIND, SHUFFLED
from crossdraft.evaluation.seed_files import row_of
from crossdraft.evaluation.state_summary import meant
from crossdraft.report.markdown import cell, markdown_table

_COMMANDS = ("evaluate", "train")
_EXPECTED = "a folder of crossdraft evaluate or crossdraft train"


@dataclass(frozen=True)
class Column:
    """One column of the table: where its estimate comes from and how it is shown."""

    title: str
    key: str
    states: bool = False
    scale: float = 1
    digits: int = 2


_COLUMNS = (
    Column("tau", "tau"),
    Column("first window", "first_window"),
    Column("cosine", "cosine", states=True, digits=3),
    Column("accept@.90 %", "accept_90", states=True, scale=100, digits=1),
    Column("token top-1 %", "token_top1", states=True, scale=100, digits=1),
    Column("tau, shuffled", "shuffled"),
    Column("tau, blind", "blind"),
)
#: What a control can never be the best of, because lower is what one hopes for.
_UNRANKED = ("shuffled", "blind")


@dataclass(frozen=True)
class Run:
    """A finished run: what it is called, and its result."""

    name: str
    result: Mapping[str, Any]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read run folders, each once; they are called by their names, or by their whole paths where
    two share a name.

    Raises:
        InputError: as `read_run`.
    """
    once = list(dict.fromkeys(folders))
    names = [folder.resolve().name for folder in once]
    short = len(set(names)) == len(names)
    return [
        Run(name if short else str(folder), read_run(folder))
        for name, folder in zip(names, once, strict=True)
    ]


def read_run(folder: Path) -> Mapping[str, Any]:
    """The result in a run folder.

    Raises:
        InputError: no result in it, or the result of another command or program.
    """
    path = folder / "result.json"
    if not path.is_file():
        if folder.is_dir():
            raise InputError(
                "no result.json in this folder",
                where=folder,
                expected=_EXPECTED,
                hint="a run that was killed has none: call it again with the same --out",
            )
        found = "a file" if folder.exists() else "no such folder"
        raise InputError(found, where=folder, expected=_EXPECTED)
    result = parse_json(read_text(path), path)
    if not isinstance(result, Mapping) or result.get("schema") != SCHEMA:
        raise InputError("not a result of crossdraft", where=path, expected=_EXPECTED)
    if result.get("command") not in _COMMANDS:
        raise InputError(
            f"the result of crossdraft {result.get('command')}", where=path, expected=_EXPECTED
        )
    return result


def comparison(runs: Sequence[Run]) -> str:
    """The Markdown of these runs.

    Raises:
        InputError: no run.
    """
    if not runs:
        raise InputError("no run to compare", expected=_EXPECTED)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_test_of(run.result), []).append(run)
    lines = ["# Comparison", ""]
    for together in groups.values():
        lines += _group(together)
    lines += _notes(runs)
    return "\n".join([*lines, "## Provenance", "", *map(_origin, runs)]) + "\n"


def write_comparison(runs: Sequence[Run], path: Path) -> None:
    """Write the comparison.

    Raises:
        InputError: no run, or the folder cannot be written.
    """
    write_text(path, comparison(runs))


def _test_of(result: Mapping[str, Any]) -> str:
    """Everything that rows of one table share."""
    data, config = result["data"], result["config"]
    digests = sorted(item["sha256"] for item in _recorded(result))
    if result["command"] == "train":
        settings = config["settings"]
        split = (settings["val_split"], settings["gap"], settings["gamma"])
        return json.dumps(["train", digests, data["val_pairs"], split])
    shared = ("pairs", "clips", "target_tokens", "split", "proposal", "clock")
    options = ("stride_clips", "online", "arrived", "eos", "cost_curve")
    return json.dumps(
        ["evaluate", digests, [data[k] for k in shared], [config[k] for k in options]]
    )


def _recorded(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The recorded answers among the inputs, those of the shuffled twins included."""
    keys = ("pairs", "train_pairs", "val_pairs", "shuffled_pairs")
    named = {result["config"].get(key) for key in keys}
    folders = {str(path) for path in named if path}
    return [
        item
        for item in result["provenance"]["inputs"]
        if item["path"] in folders or str(Path(item["path"]).parent) in folders
    ]


@dataclass(frozen=True)
class _Line:
    """One row before it is text."""

    run: str
    drafter: str
    parameters: int | None
    control: bool
    found: Mapping[str, Mapping[str, float | None]]
    level: str | None = None


def _group(runs: Sequence[Run]) -> list[str]:
    """One table, what it is about, and the states of its controls."""
    first = runs[0].result
    lines: list[_Line] = []
    for run in runs:
        made = _evaluated(run) if run.result["command"] == "evaluate" else _trained(run)
        lines += [one for one in made if not (one.control and _said(one, lines))]
    shown = [c for c in _COLUMNS if any(c.key in one.found for one in lines)]
    best = {column.key: _best(lines, column) for column in shown}
    head = ["drafter", "run", "parameters", *(column.title for column in shown)]
    rows = [
        [
            one.drafter + (f" ({one.level})" if one.level else ""),
            "control" if one.control else one.run,
            "–" if one.parameters is None else f"{one.parameters:,}",
            *(_text(one, column, best[column.key]) for column in shown),
        ]
        for one in lines
    ]
    return [*_title(first), "", *markdown_table(head, rows), ""]


def _title(result: Mapping[str, Any]) -> list[str]:
    data = result["data"]
    if result["command"] == "train":
        return [
            "## Trainings, on their own validation part",
            "",
            f"{data['val_pairs']} answers that chose the epoch: these numbers flatter. "
            f"{data['split']}.",
        ]
    return [
        f"## {data['pairs']} answers, {data['proposal']}",
        "",
        f"{data['clips']} clips of {data['drives'] or 'unnamed'} drives; {data['split']}; clock: "
        f"{data['clock']}.",
    ]


def _evaluated(run: Run) -> list[_Line]:
    drafters, lines = run.result["drafters"], []
    rows = run.result.get("states", {}).get("rows", [])
    networks = run.result.get("networks", {})
    # A drafter that works in two phases alone is measured by its states all the same.
    sources = [row["source"] for row in rows if not row["control"]]
    for label in dict.fromkeys([*drafters, *sources]):
        if label.endswith((SHUFFLED, BLIND)):
            continue
        metrics = drafters.get(label, {})
        found = {key: metrics[key] for key in ("tau", "first_window") if metrics}
        for key, twin in (("shuffled", SHUFFLED), ("blind", BLIND)):
            if label + twin in drafters:
                found[key] = drafters[label + twin]["tau"]
        # How the drafter drafts behind the first token is how most of an answer is drafted.
        row = row_of(rows, label, "forced", "own")
        found |= {} if row is None else meant(row)["metrics"]
        about = networks.get(label, {})
        size, level = about.get("parameters"), about.get("level")
        lines.append(_Line(run.name, label, size, label in ALWAYS, found, level))
    for row in rows:
        if row["control"] and SHUFFLED not in row["source"] and row["alignment"] == _last(rows):
            lines.append(_Line(run.name, row["source"], None, True, meant(row)["metrics"]))
    return lines


def _last(rows: Sequence[Mapping[str, Any]]) -> str:
    """The alignment whose controls are shown: over the target's words, where it is there."""
    return "forced" if any(row["alignment"] == "forced" for row in rows) else "own"


def _trained(run: Run) -> list[_Line]:
    result = run.result
    name = result["drafter"]
    lines = []
    for label, metrics in result["validation"].items():
        if label.endswith((SHUFFLED, BLIND)):
            continue
        own = label == name
        found = {key: metrics[key] for key in ("tau", "first_window")}
        if label + SHUFFLED in result["validation"]:
            found["shuffled"] = result["validation"][label + SHUFFLED]["tau"]
        size = result["model"]["trained_parameters"] if own else None
        lines.append(_Line(run.name, label, size, not own, found))
    return lines


def _said(one: _Line, lines: Sequence[_Line]) -> bool:
    """Whether a control stands there already with the same numbers."""
    return any(
        other.control and other.drafter == one.drafter and other.found == one.found
        for other in lines
    )


def _best(lines: Sequence[_Line], column: Column) -> float | None:
    if column.key in _UNRANKED:
        return None
    values = [one.found.get(column.key, {}).get("value") for one in lines if not one.control]
    return max((value for value in values if value is not None), default=None)


def _text(one: _Line, column: Column, best: float | None) -> str:
    estimate = one.found.get(column.key)
    if estimate is None:
        return "–"
    text = cell(estimate, column.scale, column.digits)
    top = best is not None and not one.control and estimate["value"] == best
    return f"**{text}**" if top else text


def _notes(runs: Sequence[Run]) -> list[str]:
    said = [
        "Brackets are 95 % intervals; bold is the largest value of a column among drafters, which "
        "its interval may not tell from the next. Rows of one table were measured on the same "
        "answers in the same way.",
    ]
    if any("states" in run.result for run in runs):
        said.append(
            "Cosine, accept@.90 and token top-1 compare states with the state that each output is "
            "meant for; `identity`, `mean-state` and `position-state` say what they are worth "
            "without a drafter."
        )
    warnings = dict.fromkeys(w for run in runs for w in run.result["warnings"])
    return [*(line for one in said for line in (one, "")),
            *(f"- {warning}" for warning in warnings), *([""] if warnings else [])]  # fmt: skip


def _origin(run: Run) -> str:
    origin = run.result["provenance"]
    return (
        f"- {run.name}: {origin['created']}, `{' '.join(origin['command_line'])}`, revision "
        f"{origin['git_revision'] or 'unknown'}"
    )
