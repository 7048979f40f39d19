"""Two drafters in turn: the seed study's file for each, and a table of what its cost model projects
beside what the replay counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_json, write_text
from crossdraft.evaluation.seed_cost import FORMULAS, LABEL, SeedCost
from crossdraft.evaluation.seed_files import acceptance_metrics, row_of, two_phase_results
from crossdraft.report.markdown import cell, markdown_table, provenance_lines
from crossdraft.report.state_metrics import file_name

_BESIDE = (
    " Output t stands beside state t, as there: of drafters that say token t + 1 it says nothing, "
    "or that they copy."
)


def write_two_phase(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `two_phase_results_<label>.json` of every two-phase drafter whose states are known.

    Returns:
        The files written.
    """
    written = []
    for one in _results(result):
        path = folder / f"two_phase_results_{file_name(one['label'])}.json"
        write_json(path, one)
        written.append(path)
    return written


def _results(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    states = result.get("states")
    if states is None:
        return []
    cost = SeedCost(**states["seed_cost"])
    return [
        two_phase_results(
            one["label"],
            row_of(states["rows"], one["prefill"]),
            row_of(states["rows"], one["decode"], "forced", "own"),
            cost,
        )
        for one in result.get("two_phase", [])
        if _known(states["rows"], one["prefill"]) and _known(states["rows"], one["decode"])
    ]


def _known(rows: Sequence[Mapping[str, Any]], source: str) -> bool:
    """Whether the study's counts exist of a drafter: it predicts states, or is none at all."""
    return source == "none" or row_of(rows, source) is not None


def two_phase_section(result: Mapping[str, Any]) -> list[str]:
    """Lines of RESULTS.md, none where no two drafters work in turn."""
    asked = result.get("two_phase", [])
    if not asked:
        return []
    found = {one["label"]: one for one in _results(result)}
    rows = [
        [
            one["label"],
            one["prefill"],
            one["decode"],
            cell(result["drafters"][one["label"]]["first_window"]),
            cell(result["drafters"][one["label"]]["tau"]),
            cell(one["estimate"]["speedup"]),
            *_projected(found.get(one["label"])),
        ]
        for one in asked
    ]
    head = ["drafter", "prefill", "decode", "first window", "tau", "our estimate",
            "free tokens", "decode in a row", f"{LABEL} b"]  # fmt: skip
    curve = "a forward at its measured cost" if result["config"]["cost_curve"] else (
        "every forward at the cost of one token: a bound"
    )  # fmt: skip
    return [
        "## Two phases",
        "",
        *markdown_table(head, rows),
        "",
        "First window, tau and our estimate are replayed as decoding would go, from what had "
        f"arrived; the estimate is a speed-up over the target alone, {curve}, the drafters' own "
        "time not charged. Free tokens and decode in a row are the seed study's counts, with every "
        "true state given, of which its cost model b makes a speed-up: a projection.",
        "",
    ]


def _projected(one: Mapping[str, Any] | None) -> list[str]:
    """The study's counts and projection, dashes where they do not exist."""
    keys = ("phase1_free_tokens", "phase2_decode_consecutive", "e2e_speedup")
    return ["–" if one is None else f"{one[key]:.2f}" for key in keys]


def seed_cost_section(result: Mapping[str, Any]) -> list[str]:
    """Lines of RESULTS.md: the cost model that was asked for, for every drafter."""
    model, states = result["config"].get("cost_model"), result.get("states")
    if model is None or states is None:
        return []
    cost = SeedCost(**states["seed_cost"])
    rows = []
    for source in dict.fromkeys(r["source"] for r in states["rows"] if not r["control"]):
        row = row_of(states["rows"], source)
        assert row is not None
        if model == "seed-a":
            metrics = acceptance_metrics(row, states["hidden"], cost)
            by_token = metrics.get("token_sd_e2e_speedup")
            rows.append([source, f"{metrics['speedup_e2e']:.2f}",
                         "–" if by_token is None else f"{by_token:.2f}"])  # fmt: skip
        else:
            # As a two-phase row of this drafter alone counts.
            behind = row_of(states["rows"], source, "forced", "own")
            first, later = (None, behind) if row["shift"] else (row, None)
            phases = two_phase_results(source, first, later, cost)
            rows.append([source, f"{phases['e2e_speedup']:.2f}"])
    by_cosine = ["by cosine > .90"] if model == "seed-a" else []
    head = ["drafter", *by_cosine, "by token"]
    return [
        f"## {LABEL[0].upper()}{LABEL[1:]} {model[-1]}",
        "",
        *markdown_table(head, rows),
        "",
        f"`{FORMULAS[model]}` with its constants: a projection, not a measurement."
        + (_BESIDE if model == "seed-a" else ""),
        "",
    ]


def seed_cost_table(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of one cost model's table, as `seed_table` makes it."""
    named = any(row["configuration"] for row in table["rows"])
    free = table["cost_model"] == "seed-b"
    head = [
        *(["configuration"] if named else []),
        *(["free tokens"] if free else []),
        "decode in a row", "verifications", "total ms", "speed-up",
    ]  # fmt: skip
    return head, [
        [
            *([row["configuration"]] if named else []),
            *([f"{row['free_tokens']:.2f}"] if free else []),
            f"{row['decode_consecutive']:.3g}",
            f"{row['iterations']:.1f}",
            f"{row['total_ms']:.0f}",
            f"{row['speedup']:.2f}",
        ]
        for row in table["rows"]
    ]


def seed_cost_markdown(result: Mapping[str, Any], folder: Path) -> None:
    """Write RESULTS.md of an estimate by a seed cost model."""
    table = result["seed_cost"]
    lines = [
        f"# {table['label'][0].upper()}{table['label'][1:]}",
        "",
        f"`{table['formula']}`",
        "",
        *markdown_table(*seed_cost_table(table)),
        "",
        "Constants: " + ", ".join(f"{k} {v}" for k, v in table["constants"].items()) + ".",
        "",
        *provenance_lines(result),
    ]
    write_text(folder / "RESULTS.md", "\n".join(lines) + "\n")
