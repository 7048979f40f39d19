"""`crossdraft scenes predictability`: how predictable answers are by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from crossdraft.cli.json_out import print_json


def predictability(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE…",
            help="Dataset folders with answers.jsonl, or files of recorded answers; a column each.",
            show_default=False,
        ),
    ],
    voice: Annotated[
        Literal["camera", "event"],
        typer.Option(
            help="Whose answers: camera, the target's in recorded answers; or event, the drafter's."
        ),
    ] = "camera",
    vocabulary: Annotated[
        int,
        typer.Option(
            metavar="N", help="Entries at most of the vocabulary that a dataset's texts get."
        ),
    ] = 1500,
    folds: Annotated[
        int, typer.Option(metavar="N", help="Folds where nothing says what is train and test.")
    ] = 5,
    gap: Annotated[
        int,
        typer.Option(
            metavar="CLIPS", help="Left out between train and test where drives are not known."
        ),
    ] = 20,
    eos: Annotated[int, typer.Option(help="Token id that ends a recorded answer.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Measure how well tables foresee answers, and what attributes of the scene add.

    A made world must be as predictable as the recorded one: answers that a table foresees flatter
    every drafter. Tables are fitted on train drives and measured on test drives.

    Example: crossdraft scenes predictability my_drive answers.json.gz
    """
    from crossdraft.base.result import Result
    from crossdraft.cli.progress import progress_bar
    from crossdraft.evaluation.predictability import predictability as measured
    from crossdraft.evaluation.predictability_source import Options, read_source

    options = Options(voice, vocabulary, folds, gap, eos)
    columns: list[dict[str, Any]] = []
    warnings: list[str] = []
    files: list[Path] = []
    with progress_bar() as sink:
        for path in sources:
            source = read_source(path, options)
            payload, notes = measured(source.parts, seed, sink)
            about = {"name": path.resolve().name, "voice": voice, "split": source.split}
            columns.append({**about, "vocabulary": source.vocabulary, **payload})
            warnings += [f"{path.resolve().name}: {note}" for note in (*source.notes, *notes)]
            files += source.files
    config = {
        "sources": [str(path) for path in sources], "voice": voice, "vocabulary": vocabulary,
        "folds": folds, "gap": gap, "eos": eos, "seed": seed,
    }  # fmt: skip
    result = Result("scenes predictability", {"sources": columns}, config, files, warnings)
    if as_json:
        print_json(result.to_json())
    else:
        _show(columns, warnings)


def _show(columns: list[dict[str, Any]], warnings: list[str]) -> None:
    from crossdraft.cli.table import print_table
    from crossdraft.report.predictability import about, table

    print_table(*table(columns))
    for line in about(columns):
        print(line)
    for warning in warnings:
        print(f"note: {warning}")
