"""`crossdraft bench stages`: five stages of both models, from raw sensor files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import PairOrDefault, Set

if TYPE_CHECKING:
    from crossdraft.bench.stages import Stages, StagesConfig


def stages(
    scenes: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR",
            help="A dataset whose clips both sensors have recorded; repeatable. Clips are grouped "
            "by their length.",
            show_default=False,
        ),
    ],
    pair: PairOrDefault = None,
    overrides: Set = None,
    question: Annotated[
        str | None,
        typer.Option(
            "--question",
            "-q",
            help="Asked about every clip.",
            show_default="the most frequent of EventGPT's",
        ),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="At most N clips of each dataset, as many of each drive.",
            show_default="all",
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", help="Longest answer.")] = 50,
    warmup: Annotated[
        int,
        typer.Option(metavar="N", help="Clips of each length, first answered uncounted."),
    ] = 3,
    split: Annotated[
        Literal["train", "test", "all"], typer.Option(help="Which of the scenes.")
    ] = "all",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result.", show_default="runs/stages_<date>_<time>"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Measure load, preprocess, vision, prefill and decode of both models, clip by clip.

    Each model starts with the raw file of its sensor; drawing events counts as preprocessing. Both
    are in memory and take turns, each working alone. Clips that fail are listed, the others are
    measured, and the exit code is 1. The folder also holds the times in the layout of the seed
    study's benchmark files, which estimate and evaluate read.

    Example: crossdraft bench stages --scenes world --split test --clips 20
    """
    from crossdraft.base.result import refuse_taken
    from crossdraft.bench.stages import StagesConfig, run
    from crossdraft.cli.options import pair_of
    from crossdraft.cli.progress import progress_bar
    from crossdraft.scenes.questions import DEFAULT_QUESTIONS

    asked = StagesConfig(
        pair=pair_of(pair, overrides),
        scenes=tuple(scenes),
        question=DEFAULT_QUESTIONS[0].text if question is None else question,
        clips=clips,
        max_new_tokens=max_new_tokens,
        warmup=warmup,
        split=split,
    )
    if out is not None:
        refuse_taken(out)
    try:
        with progress_bar() as sink:
            outcome = run(asked, sink)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is written", file=sys.stderr)
        raise typer.Exit(130) from None
    result, folder = _written(asked, outcome, out)
    if as_json:
        print_json(result)
    else:
        _show(result, folder)
    if outcome.failed:
        raise typer.Exit(1)


def _written(asked: StagesConfig, outcome: Stages, out: Path | None) -> tuple[dict[str, Any], Path]:
    """The result, and the folder that holds it."""
    from crossdraft.base.files import write_json
    from crossdraft.base.result import Result, RunFolder
    from crossdraft.report.stages import write_report

    config = asked.to_json()
    result = Result(
        "bench stages", outcome.payload, config, asked.inputs, outcome.warnings
    ).to_json()
    folder = RunFolder.create("stages", out)
    folder.write_config(config)
    for name, content in outcome.seed_files.items():
        write_json(folder.path / name, content)
    write_report(result, folder.path)
    folder.write_result(result)
    return result, folder.path


def _show(result: dict[str, Any], folder: Path) -> None:
    """Tables, what to know, and where the files are."""
    import textwrap

    from crossdraft.cli.table import print_table
    from crossdraft.report.stages import describe, tables

    print("\n".join(describe(result)))
    for table in tables(result):
        print(f"\n{table.title}")
        print_table(table.head, table.rows)
        print(textwrap.fill(table.note, 80))
    print()
    for one in result["errors"]:
        print(f"failed: {one['scene']} ({one['role']}): {one['error']}", file=sys.stderr)
    for said in result["warnings"]:
        print(textwrap.fill(f"warning: {said}", 80, break_long_words=False))
    for group in result["durations"]:
        if group["seed_file"]:
            print(f"stage times of {group['duration']} clips: {folder / group['seed_file']}")
    print(f"figure and tables: {folder}")
