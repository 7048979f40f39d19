"""SUMMARY.md of a study: per data set what was trained and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdraft.report.acceptance import differences_table, results_table
from crossdraft.report.markdown import cell, markdown_table, provenance_lines

#: What a summary shows of an evaluation; its own RESULTS.md has every column.
_SHOWN = ("drafter", "tau", "tau/cost", "alpha %", "top-5 %", "position match %")

Table = tuple[list[str], list[list[str]]]


def study_markdown(result: Mapping[str, Any]) -> str:
    """The whole summary, from the content of a study's result.json."""
    lines = [f"# Study {result['study']}", ""]
    for dataset in result["datasets"]:
        lines += _dataset(dataset)
    if result["warnings"]:
        lines += ["## Before using a number", "", *(f"- {w}" for w in result["warnings"]), ""]
    lines += [
        "Brackets are 95 % intervals. `tau`: tokens per target forward; `alpha`: next token "
        "guessed, given a correct prefix; position match: token by token against an answer that "
        "the drafter writes alone. Offline acceptance bounds a speed-up, it is not one.",
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"


def training_table(dataset: Mapping[str, Any]) -> Table:
    """Head and rows of the trainings of one data set; rates on their validation parts."""
    head = ["drafter", "best epoch", "validation tau", "alpha %", "position match %"]
    rows = [
        [
            training["drafter"],
            f"{training['best_epoch']} of {training['epochs']}",
            cell(training["validation"]["tau"]),
            cell(training["validation"]["alpha"], 100, 1),
            cell(training["validation"]["position_match"], 100, 1),
        ]
        for training in dataset["trainings"]
    ]
    return head, rows


def evaluation_table(evaluation: Mapping[str, Any]) -> Table:
    """Head and rows of one evaluation."""
    head, rows = results_table(evaluation)
    places = [place for place, title in enumerate(head) if title in _SHOWN]
    return [head[place] for place in places], [[row[place] for place in places] for row in rows]


def evaluation_title(evaluation: Mapping[str, Any]) -> str:
    """`chain: chain of 5, static; 5 folds of whole drives`."""
    named = "" if evaluation["setting"] is None else f"{evaluation['setting']}: "
    learning = "online" if evaluation["online"] else "static"
    return f"{named}{evaluation['proposal']}, {learning}; {evaluation['split']}"


def _dataset(dataset: Mapping[str, Any]) -> list[str]:
    tested = f", tested on {dataset['test']}" if dataset["test"] else ", split into folds"
    lines = [f"## {dataset['name']}", "", f"Learned from {dataset['train']}{tested}.", ""]
    if dataset["trainings"]:
        lines += [*markdown_table(*training_table(dataset)), ""]
        for training in dataset["trainings"]:
            lines.append(f"- [{training['drafter']}: model, curves, tables]({training['folder']}/)")
        lines.append("")
    for evaluation in dataset["evaluations"]:
        lines += [f"### {evaluation_title(evaluation)}", ""]
        lines += [*markdown_table(*evaluation_table(evaluation)), ""]
        head, rows = differences_table(evaluation)
        if rows:
            lines += [*markdown_table(head, rows), ""]
        lines += [f"- {warning}" for warning in evaluation["warnings"]]
        lines += [f"- [every column and the figures]({evaluation['folder']}/)", ""]
    return lines
