"""Token-by-token tables: rows for the terminal and RESULTS.md, from the result alone.

Words of a model are shown as data: what could steer a terminal or Markdown is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_text
from crossdraft.report.markdown import markdown_table, provenance_lines

ROWS = ("drafter", "adapter", "target")
#: Key in the result -> what a reader is told.
_COMPARED = {
    "adapter": "adapter",
    "drafter": "drafter's own words",
    "drafter_shifted": "drafter's own words, shifted",
}
_HEAD = ("pos", *ROWS, "match")
_SUMMARY_HEAD = (
    "against the target",
    "match %",
    "matched",
    "consecutive",
    "median",
    "max",
    "none %",
)


def write_analysis(result: Mapping[str, Any], folder: Path) -> Path:
    """Write RESULTS.md.

    Args:
        result: the content of result.json.
        folder: where to write.
    """
    path = folder / "RESULTS.md"
    write_text(path, analysis_markdown(result))
    return path


def sample_title(sample: Mapping[str, Any]) -> str:
    """Number and, where there is one, name of a sample, on one line."""
    return f"Sample {sample['sample']}" + (f": {shown(sample['name'])}" if sample["name"] else "")


def position_table(
    sample: Mapping[str, Any], positions: int | None = None
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows, one row per position of the target.

    Args:
        sample: one of `result["samples"]`.
        positions: rows at most, None for all.
    """
    marks = {True: "✓", False: "✗", None: "·"}
    rows = [
        (str(place), *(_cell(sample[row], place) for row in ROWS), marks[match])
        for place, match in enumerate(sample["matches"][:positions])
    ]
    return _HEAD, rows


def summary_table(result: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the summary over samples."""
    rows: list[tuple[str, ...]] = []
    for name, found in result["summary"].items():
        rows.append(
            (
                _COMPARED[name],
                _percent(found["match_rate"]),
                f"{found['matched']}/{found['compared']}",
                f"{found['consecutive_mean']:.2f}",
                f"{found['consecutive_median']:g}",
                str(found["consecutive_max"]),
                _percent(found["consecutive_zero"]),
            )
        )
    return _SUMMARY_HEAD, rows


def sample_lines(sample: Mapping[str, Any]) -> list[str]:
    """What to say below a sample's table."""
    adapter = sample["against_target"]["adapter"]
    drafter = sample["against_target"]["drafter"]
    lines = [
        f"{adapter['consecutive']} consecutive, {adapter['matched']} of {adapter['compared']} "
        f"positions match ({_percent(adapter['match_rate'])} %); drafter's own words: "
        f"{drafter['consecutive']} consecutive, {drafter['matched']} match"
    ]
    if replay := sample.get("verification"):
        lines.append(
            f"verification: {replay['tokens']} tokens in {replay['forwards']} forwards, "
            f"tau {replay['tau']:.2f}; accepted per forward: "
            + " ".join(map(str, replay["accepted"]))
        )
    return lines


def closing_lines(result: Mapping[str, Any]) -> list[str]:
    """What to say below the summary."""
    counts = result["summary"]["adapter"]["consecutive_counts"]
    samples = result["summary"]["adapter"]["samples"]
    lines = [
        "adapter's consecutive tokens: "
        + ", ".join(f"{run} in {count}" for run, count in counts.items())
        + f" of {samples} samples"
    ]
    if found := result["verification"]:
        silent = "; nothing is proposed that early" if result["compared_from"] else ""
        lines += [
            f"verification in chains of {found['gamma']}: tau {found['tau']:.2f} "
            f"({found['tokens']} tokens in {found['forwards']} forwards)",
            f"accepted of the first {found['window']} drafts, verified when the prefill ends: "
            f"{found['first_window']:.2f}{silent}",
            f"clock of the verification: {result['clock']}",
        ]
    return [*lines, f"words: {result['wording']}"]


def shown(text: str) -> str:
    """Text on one line, without characters that are not drawn."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cell(row: Mapping[str, Any], place: int) -> str:
    """`piece ⟨id⟩`, the id alone where the piece is unknown, a dash where there is no token."""
    token = row["tokens"][place] if place < len(row["tokens"]) else None
    if token is None:
        return "–"
    piece = row["pieces"][place]
    if piece is None:
        return f"⟨{token}⟩"
    return f"{shown(piece.removeprefix(' ')) or '␣'} ⟨{token}⟩"


def analysis_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md: every sample with all its positions, the summary, provenance."""
    lines = ["# Token by token", "", f"{_sentence(result['alignment'])}. {_note(result)}", ""]
    for sample in result["samples"]:
        lines += _sample_markdown(sample)
    lines += [
        "## Summary",
        "",
        *_table(*summary_table(result)),
        "",
        *(f"- {_plain(line)}" for line in closing_lines(result)),
        "",
        "## Before using a number",
        "",
        *(f"- {_plain(warning)}" for warning in result["warnings"] or ["nothing to add"]),
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"


def _note(result: Mapping[str, Any]) -> str:
    """What the adapter row is."""
    if result["drafter"] is None:
        return "The three rows are those of the file."
    return (
        f"The adapter is {_plain(result['drafter']['name'])}: its row is what it writes alone, "
        "with all of the drafter's answer at hand."
    )


def _sample_markdown(sample: Mapping[str, Any]) -> list[str]:
    head, rows = position_table(sample)
    sources = [
        (row, " ".join("–" if t is None else str(t) for t in sample[row]["tokens"]),
         shown(sample[row]["text"]))
        for row in ROWS
    ]  # fmt: skip
    about = f"Clip {sample['clip']}, asked: {sample['question']}" if "clip" in sample else ""
    return [
        f"## {_plain(sample_title(sample))}",
        "",
        *([_plain(shown(about)), ""] if about else []),
        *_table(("row", "tokens", "text"), sources),
        "",
        *_table(head, rows),
        "",
        *(f"- {line}" for line in sample_lines(sample)),
        "",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return markdown_table(head, [[_plain(text) for text in row] for row in rows])


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
