"""SUMMARY.md of a study: one table with all drafters and controls, then step by step what was made,
trained, evaluated and timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crossdraft.bench.wallclock.configuration import SEED, Configuration
from crossdraft.report.acceptance import differences_table, results_table
from crossdraft.report.markdown import cell, markdown_table, provenance_lines

#: What a summary shows of an evaluation; its own RESULTS.md has every column.
_SHOWN = ("drafter", "tau", "tau/cost", "alpha %", "top-5 %", "position match %")

Table = tuple[list[str], list[list[str]]]


def study_markdown(result: Mapping[str, Any]) -> str:
    """The whole summary, from the content of a study's result.json."""
    lines = [f"# Study {result['study']}", "", *_made(result)]
    for dataset in result["datasets"]:
        lines += _dataset(result, dataset)
    if (timed := result.get("wallclock")) is not None:
        lines += _timed(timed)
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


def whole_table(result: Mapping[str, Any], dataset: Mapping[str, Any]) -> Table:
    """Head and rows of all that is known of each drafter and control of a data set: how it was
    trained, every evaluation's tau, its states, the measured speed-ups."""
    evaluations = dataset["evaluations"]
    trained = {one["drafter"]: one for one in dataset["trainings"]}
    states = _state_cells(evaluations, trained)
    speeds = _speeds(result)
    head = ["drafter", "parameters", "trained", *map(_tau_title, evaluations), "first window"]
    head += ["alpha %", "position match %", *(_STATES if states else ()), *speeds]
    names = dict.fromkeys(name for one in evaluations for name in one["drafters"])
    rows = []
    for name in [*names, *(name for name in states if name not in names)]:
        taus = [_shown(one["drafters"].get(name, {}), "tau") for one in evaluations]
        found = (one["drafters"][name] for one in evaluations if name in one["drafters"])
        metrics: Mapping[str, Any] = next(found, {})
        rows.append(
            [
                name, *_as_trained(trained.get(name)), *taus, _shown(metrics, "first_window"),
                _shown(metrics, "alpha", 100, 1), _shown(metrics, "position_match", 100, 1),
                *(states.get(name, ["–"] * len(_STATES)) if states else ()),
                *(by.get(name, "–") for by in speeds.values()),
            ]
        )  # fmt: skip
    return head, rows


_STATES = ("cosine", "accept@.90 %", "token match %")


def _as_trained(training: Mapping[str, Any] | None) -> list[str]:
    """Size of a network, and how it has learned."""
    if training is None:
        return ["–", "–"]
    words = [
        training.get("alignment"),
        training.get("loss"),
        f"epoch {training['best_epoch']} of {training['epochs']}",
    ]
    return [f"{training['parameters']:,}", ", ".join(word for word in words if word)]


def _state_cells(
    evaluations: Sequence[Mapping[str, Any]], trained: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Cells of the state metrics by row: of a drafter and its shuffled twin under the alignment
    that it was trained with, of other controls under each."""
    cells: dict[str, list[str]] = {}
    for row in (row for one in evaluations for row in one.get("states", ())):
        source, alignment = row["source"], row["alignment"]
        drafter = source.removesuffix("@shuffled")
        name = f"{source}, {alignment}" if row["control"] and drafter == source else source
        if name == source and alignment != (trained.get(drafter, {}).get("alignment") or alignment):
            continue
        shown = [_shown(row, "cosine", 1, 3), _shown(row, "accept_90", 100, 1)]
        cells.setdefault(name, [*shown, _shown(row, "token_top1", 100, 1)])
    return cells


def timed_table(timed: Mapping[str, Any]) -> Table:
    """Head and rows of the times."""
    head = ["configuration", "total ms", "speed-up", "tau", "first window", "equal"]
    rows = []
    for one in timed["configurations"]:
        equal = one["equality"]
        rows.append(
            [
                one["name"], f"{one['total_ms']:.1f}", _shown(one, "speedup"), _shown(one, "tau"),
                _shown(one, "first_window"),
                "–" if equal is None else f"{equal['equal']}/{equal['answers']}",
            ]
        )  # fmt: skip
    return head, rows


def _tau_title(evaluation: Mapping[str, Any]) -> str:
    return "tau" if evaluation["setting"] is None else f"tau, {evaluation['setting']}"


def _shown(metrics: Mapping[str, Any], key: str, scale: float = 1, digits: int = 2) -> str:
    found = metrics.get(key)
    return "–" if found is None else cell(found, scale, digits)


def _speeds(result: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Measured speed-ups by column and by the name of the drafter's row; answers that need not be
    the target's own, and drafters without the words that the row's tau is of, are left to the table
    of times."""
    by: dict[str, dict[str, str]] = {"speed-up": {}, "speed-up, seed procedure": {}}
    for one in (result.get("wallclock") or {"configurations": []})["configurations"]:
        way = Configuration.parse(one["name"])
        if way.rule is not None or way.beside == "unasked":
            continue
        name = (way.drafter or one["name"]) + ("@shuffled" if way.shuffled else "")
        # Of several ways of one drafter the first that is named.
        by["speed-up, seed procedure" if way.kind == SEED else "speed-up"].setdefault(
            name, _shown(one, "speedup")
        )
    return {title: rows for title, rows in by.items() if rows}


def _made(result: Mapping[str, Any]) -> list[str]:
    """What the study has made itself."""
    lines = []
    if "scenes" in result:
        clips = result["scenes"]["clips"]
        counts = ", ".join(f"{count:,} clips of {split} drives" for split, count in clips.items())
        lines.append(f"- [scenes]({result['scenes']['folder']}/): {counts}")
    for one in result.get("extracted", ()):
        tokens = one["tokens"]
        lines.append(
            f"- [{one['split']}]({one['folder']}/): {one['pairs']:,} pairs, {tokens['target']:,} "
            f"target and {tokens['own']:,} drafter tokens"
        )
    return [*lines, ""] if lines else []


def _timed(timed: Mapping[str, Any]) -> list[str]:
    lines = ["## Against the clock", "", *(f"- {said}" for said in timed["setting"]), ""]
    lines += [*markdown_table(*timed_table(timed)), ""]
    lines += [f"- {warning}" for warning in timed["warnings"]]
    return [*lines, f"- [stages, predictions, figures]({timed['folder']}/)", ""]


def _dataset(result: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[str]:
    tested = f", tested on {dataset['test']}" if dataset["test"] else ", split into folds"
    lines = [f"## {dataset['name']}", "", f"Learned from {dataset['train']}{tested}.", ""]
    lines += [*markdown_table(*whole_table(result, dataset)), ""]
    if dataset["trainings"]:
        lines += ["### Trainings", "", *markdown_table(*training_table(dataset)), ""]
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
