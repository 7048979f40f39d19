"""`crossdraft bench wallclock`: the same questions, several ways of answering them, one clock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import PairOrDefault, Set, pair_of

_CONFIGS = (
    "none, hf-generate, hf-prompt-lookup, drafter-only, seed-procedure=ADAPTER, or a drafter as in "
    "generate: a name, a checkpoint, several joined by +. Behind a drafter: +separate-verify (not "
    "on the prefill's tail), +overlap or +sequential (of the event model), +shuffled (another "
    "drive's events), +nodes=N or +gamma=N (always trees or chains of N), +top-k=K or "
    "+typical (lossy). Compared with none, which is always there."
)


def wallclock(
    scenes: Annotated[
        Path, typer.Option(metavar="DIR", help="A dataset with test drives and others.")
    ],
    configs: Annotated[str, typer.Option("--configs", metavar="A,B,...", help=_CONFIGS)],
    pair: PairOrDefault = None,
    questions: Annotated[int, typer.Option(metavar="N", help="Questions about test drives.")] = 300,
    validation: Annotated[
        int,
        typer.Option(metavar="N", help="Questions about other drives, to calibrate predictions."),
    ] = 40,
    learn_from: Annotated[
        Path | None,
        typer.Option(
            metavar="PAIRS",
            help="Recorded answers of drives that are not tested, which drafters know beforehand.",
            show_default=False,
        ),
    ] = None,
    questions_file: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help="What is asked about each scene: texts, or objects {question, count}.",
            show_default="the ten questions of the seed study",
        ),
    ] = None,
    alternations: Annotated[
        int, typer.Option(metavar="N", help="Rounds, each with drafters that start anew.")
    ] = 5,
    warmup: Annotated[
        int, typer.Option(metavar="N", help="Questions that everybody answers first, uncounted.")
    ] = 3,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", help="Longest answer.")] = 60,
    picture: Annotated[
        Literal["cold", "shared"],
        typer.Option(
            help="cold: every question from its sensor files on; shared: a scene is read once for "
            "all its questions."
        ),
    ] = "cold",
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of the target on a CPU.", show_default="all cores"),
    ] = None,
    cores: Annotated[
        Literal["shared", "apart"],
        typer.Option(help="apart: the target on one core, the event model beside it on another."),
    ] = "shared",
    rivals: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="Of --configs: also give speed-ups over these. [default: (hf-generate and "
            "hf-prompt-lookup, where they are asked for)]",
            show_default=False,
        ),
    ] = "",
    kth: Annotated[int, typer.Option(metavar="K", help="Also report the K-th token.")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the bootstrap.")] = 0,
    overrides: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result.", show_default="runs/wallclock_<date>_<time>"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Measure what drafting saves, from the sensor files to the last token.

    Every configuration answers the same questions in one process, in alternation, and every answer
    is compared with plain decoding's. Killed and called again with the same --out, it goes on.
    Predictions are calibrated on drives that are not reported.

    Example: crossdraft bench wallclock --scenes world --configs none,hf-generate,suffix
    """
    from crossdraft.base.result import RunFolder, refuse_taken
    from crossdraft.bench.wallclock.plan import WallclockConfig
    from crossdraft.cli.making import resumable
    from crossdraft.cli.progress import progress_bar
    from crossdraft.scenes.questions import DEFAULT_QUESTIONS, read_questions
    from crossdraft.workflow.steps import run_wallclock

    asked_questions = (
        DEFAULT_QUESTIONS if questions_file is None else read_questions(questions_file)
    )
    asked = WallclockConfig(
        pair=pair_of(pair, overrides),
        scenes=scenes,
        configs=configs,
        questions=questions,
        validation=validation,
        learn_from=learn_from,
        texts=tuple(one.text for one in asked_questions),
        rounds=alternations,
        warmup=warmup,
        max_new_tokens=max_new_tokens,
        picture=picture,
        threads=threads,
        cores=cores,
        rivals=tuple(name.strip() for name in rivals.split(",") if name.strip()),
        kth=kth,
        seed=seed,
    )
    place = RunFolder.planned("wallclock") if out is None else out
    refuse_taken(place)
    with resumable(), progress_bar() as sink:
        try:
            result = run_wallclock(
                asked, place, sink, lambda text: print(f"costs: {text}", file=sys.stderr)
            )
        except KeyboardInterrupt:
            if out is None and place.exists():
                print(f"\nits folder: add --out {place}", file=sys.stderr)
            raise
    if as_json:
        print_json(result)
    else:
        _show(result, place)


def _show(result: dict[str, Any], folder: Path) -> None:
    """Tables, what to know, and where the files are."""
    from crossdraft.cli.table import print_table
    from crossdraft.report.wallclock import describe, tables

    print("\n".join(describe(result)))
    for table in tables(result):
        print(f"\n{table.title}")
        print_table(table.head, table.rows)
        print(table.note)
    print()
    for said in result["warnings"]:
        print(f"note: {said}")
    print(f"figures, tables, every timed answer: {folder}")
