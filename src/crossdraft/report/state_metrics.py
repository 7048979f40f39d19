"""State metrics of an evaluation: their table, and for each drafter the files and pictures that the
seed study wrote, from the result alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_json
from crossdraft.evaluation.seed_cost import SeedCost
from crossdraft.evaluation.seed_files import acceptance_metrics, position_stats, row_of
from crossdraft.evaluation.state_summary import meant
from crossdraft.report.markdown import cell, markdown_table
from crossdraft.report.state_figures import draw_summary, draw_timeline, draw_tokens

METRICS, POSITIONS = "acceptance_metrics.json", "position_stats.json"
SUMMARY, TIMELINE, TOKENS = "metrics_summary.png", "stage_timeline.png", "token_metrics.png"
#: Where the files of several drafters lie, each in a folder of its name.
FOLDER = "states"

_COLUMNS = (
    ("cosine", "cosine", 1, 3),
    ("accept_90", "accept@.90 %", 100, 1),
    ("consecutive_90", "consecutive@.90", 1, 2),
    ("token_top1", "token top-1 %", 100, 1),
    ("token_top5", "top-5 %", 100, 1),
    ("token_top10", "top-10 %", 100, 1),
    ("token_consecutive", "token consecutive", 1, 2),
)
_READS = {"own": "own answer", "forced": "target's answer"}


def write_state_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the files of every drafter that predicts states.

    Of one drafter they lie in the run's folder, of several in `states/<name>/`.

    Returns:
        The files written, none where no drafter predicts states.
    """
    states = result.get("states")
    if states is None:
        return []
    cost = SeedCost(**states["seed_cost"])
    sources = list(dict.fromkeys(row["source"] for row in states["rows"] if not row["control"]))
    written: list[Path] = []
    for source in sources:
        place = folder if len(sources) == 1 else folder / FOLDER / file_name(source)
        place.mkdir(parents=True, exist_ok=True)
        written += _write_one(states, source, cost, place)
    return written


def file_name(label: str) -> str:
    """A label as a file or folder name."""
    return "".join(c if c.isalnum() or c in "-_.@+" else "_" for c in label).strip("._") or "_"


def _write_one(states: Mapping[str, Any], source: str, cost: SeedCost, folder: Path) -> list[Path]:
    rows = states["rows"]
    row = row_of(rows, source)
    assert row is not None, "its name comes from the rows"
    metrics = acceptance_metrics(row, states["hidden"], cost)
    write_json(folder / METRICS, metrics)
    write_json(folder / POSITIONS, position_stats(row))
    draw_summary(rows, source, metrics, folder / SUMMARY)
    draw_timeline(metrics, source, folder / TIMELINE)
    names = [METRICS, POSITIONS, SUMMARY, TIMELINE]
    if row["same"]["calibration"] is not None:
        draw_tokens(rows, source, folder / TOKENS)
        names.append(TOKENS)
    return [folder / name for name in names]


def states_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: every source as it is meant, drafters before controls."""
    shown = [c for c in _COLUMNS if any(c[0] in meant(row)["metrics"] for row in rows)]
    ordered = sorted(rows, key=lambda row: bool(row["control"]))
    head = ["states of", "states from", "says token", "positions", *(c[1] for c in shown)]
    return head, [
        [
            row["source"],
            _reads(row),
            "t + 1" if row["shift"] else "t",
            f"{meant(row)['positions']:,}",
            *(cell(meant(row)["metrics"][key], scale, digits) for key, _, scale, digits in shown),
        ]
        for row in ordered
    ]


def _reads(row: Mapping[str, Any]) -> str:
    return _READS[row["alignment"]]


def states_section(result: Mapping[str, Any]) -> list[str]:
    """Lines of RESULTS.md, none where no drafter predicts states."""
    states = result.get("states")
    if states is None:
        return []
    head, rows = states_table(states["rows"])
    sources = list(dict.fromkeys(row["source"] for row in states["rows"] if not row["control"]))
    places = {one: "" if len(sources) == 1 else f"{FOLDER}/{file_name(one)}/" for one in sources}
    copying = _copying(states["rows"])
    return [
        "## Predicted states",
        "",
        *markdown_table(head, rows),
        "",
        "`own answer`: the event model's states behind its own words, compared where both answers "
        "have a token; `target's answer`: its states over the target's words, compared everywhere. "
        "`identity` is its state as it is, `mean-state` the mean of the training answers, "
        "`position-state` their mean at each position: what a cosine is worth without looking. A "
        "high cosine accepts nothing in decoding; a right token may be accepted.",
        "",
        *copying,
        *(f"![metrics of {one}]({places[one]}{SUMMARY})" for one in sources),
        "",
        f"Every speed-up in `{METRICS}` and in the timeline is the seed study's cost model, a "
        "projection and no measurement.",
        "",
    ]


def _copying(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What output t against state t says of drafters that are given state t."""
    given = [
        row
        for row in rows
        if "target_states" in row["reads"] and row["shift"] and not row["control"]
    ]
    if not given:
        return []
    said = "; ".join(
        f"{row['source']} ({_reads(row)}) {cell(row['same']['metrics']['cosine'], 1, 3)}"
        for row in given
    )
    return [f"Against state t, which they are given (copying, not drafting): {said}.", ""]
