"""`crossdraft study`: scenes, answers, trainings, evaluations and times, out of one file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossdraft.cli.json_out import print_json

if TYPE_CHECKING:
    from crossdraft.workflow.engine import StepState


def study(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG.yaml",
            help="The study; see configs/tokens.yaml and configs/ladder.yaml.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the study.", show_default="runs/<name of the study>"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is done and what is to do; do nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Make scenes, extract answers, train, evaluate, time and summarise: what the file asks for.

    The same call goes on where a killed or interrupted one stood. Steps are skipped while their
    options, their files and the steps before them are unchanged; a step that runs anew keeps its
    old folder beside the new one. Follow it with: tail -f runs/NAME/study.jsonl

    Example: crossdraft study configs/tokens.yaml
    """
    from crossdraft.cli.progress import progress_bar
    from crossdraft.workflow.check import read_study
    from crossdraft.workflow.study import Study

    asked = read_study(config)
    folder = Path("runs") / asked.name if out is None else out
    planned = Study(asked, folder, listen=_say, progress=progress_bar)
    if dry_run:
        _show_plan(planned.states(), folder, as_json)
        return
    try:
        result = planned.run()
    except KeyboardInterrupt:
        again = shlex.join(
            ["crossdraft", "study", str(config), *(["--out", str(out)] if out else [])]
        )
        print(f"\ninterrupted; what is done is kept, go on with: {again}", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print_json(result)
    else:
        ran = len(planned.engine.ran)
        _show(result, folder, f"{ran} of {len(planned.steps)} steps ran, the others were done")


def _say(record: Mapping[str, Any]) -> None:
    """One line on stderr per record of the log."""
    event, step = record["event"], record.get("step", "")
    if event == "epoch":
        text = (
            f"epoch {record['epoch']:.0f}: loss {record['train_loss']:.3f}, "
            f"validation top-1 {100 * record['val_top1']:.1f} %, tau {record['val_tau']:.3f}"
        )
    else:
        text = {
            "start": "begins",
            "end": f"done in {record.get('seconds', 0):.1f} s",
            "skip": "is done already",
            "aside": f"the earlier folder is kept as {record.get('kept')}",
            "waiting": f"waiting for {record.get('reason')}",
            "failed": f"failed: {str(record.get('reason')).splitlines()[0]}",
            "blocked": f"not run: {record.get('reason')}",
        }.get(event, "")
    if text:
        print(f"{step}: {text}" if step else text, file=sys.stderr)


def _show_plan(states: Sequence[StepState], folder: Path, as_json: bool) -> None:
    """What is done and what is to do."""
    if as_json:
        steps = [
            {"step": s.step.name, "state": s.state, "detail": s.detail or None} for s in states
        ]
        print_json({"folder": str(folder), "steps": steps})
        return
    width = max(len(state.step.name) for state in states)
    print(f"in {folder}:")
    for state in states:
        text = f"waiting for {state.detail}" if state.state == "waiting" else state.state
        if state.state == "to do" and state.detail:
            text += f" ({state.detail})"
        print(f"  {state.step.name:<{width}}  {text}")


def _show(result: Mapping[str, Any], folder: Path, work: str) -> None:
    """The tables of every data set, what to know, and where the files are."""
    from crossdraft.cli.table import print_table
    from crossdraft.report.study import (
        evaluation_table,
        evaluation_title,
        timed_table,
        training_table,
    )

    for dataset in result["datasets"]:
        print(f"\n{dataset['name']}")
        if dataset["trainings"]:
            print("trained, on the validation parts:")
            print_table(*training_table(dataset))
        for evaluation in dataset["evaluations"]:
            print(evaluation_title(evaluation))
            print_table(*evaluation_table(evaluation))
            for warning in evaluation["warnings"]:
                print(f"note: {warning}")
    if (timed := result.get("wallclock")) is not None:
        print("\nagainst the clock")
        print_table(*timed_table(timed))
        for warning in timed["warnings"]:
            print(f"note: {warning}")
    for warning in result["warnings"]:
        print(f"note: {warning}")
    print("below each value: its 95 % interval")
    print(work)
    print(f"summary: {folder / 'SUMMARY.md'}")
