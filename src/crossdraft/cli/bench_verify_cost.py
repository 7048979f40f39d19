"""`crossdraft bench verify-cost`: what verifying drafts costs here, and how many pay."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json


def verify_cost(
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Checkpoint of the target.",
            show_default="a small random Llama",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="CONFIG.json",
            help="A transformers configuration instead: its shapes with random weights.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="auto | float32 | bfloat16 | float16 | int8 | nf4; auto: what the checkpoint has."
        ),
    ] = "auto",
    device: Annotated[
        str,
        typer.Option(
            help="auto | cpu | cuda | cuda:1 | balanced; auto: a GPU where there is one; "
            "balanced: a checkpoint over all GPUs."
        ),
    ] = "auto",
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Tokens in the cache before each pass.",
            show_default="2071, a Video-LLaVA prompt, or what the model can hold",
        ),
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Tokens of a pass, the root included.",
            show_default="1,2,4,6,8,12,16,24,32,60,61",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(metavar="N", help="Rounds that count.")] = 30,
    cache: Annotated[
        Literal["growing", "preallocated"], typer.Option(help="Cache of the target's sessions.")
    ] = "growing",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure also where a measurement is kept.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result.", show_default="runs/verify-cost_<date>_<time>"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Measure T(k)/T(1): how much longer a pass over k tokens takes than one over a single token.

    Passes over chains and trees of drafts and prefills with drafts on their tail, all widths in
    turn. Says which width pays for a given acceptance. The folder's result.json is a file for
    --cost-curve of evaluate and estimate. A measurement is kept for the model, device and versions
    it was made with, in $CROSSDRAFT_CACHE or ~/.cache/crossdraft.

    Example: crossdraft bench verify-cost --model Video-LLaVA-7B-hf --dtype bfloat16
    """
    from crossdraft.base.result import Result, RunFolder, refuse_taken
    from crossdraft.bench.verify_cost import VerifyCostConfig, run
    from crossdraft.cli.progress import progress_bar

    asked = VerifyCostConfig(
        model=model,
        config=config,
        dtype=dtype,
        device=device,
        context=context,
        widths=_widths(widths),
        repeats=repeats,
        cache=cache,
        fresh=fresh,
    )
    if out is not None:
        refuse_taken(out)
    try:
        with progress_bar() as sink:
            outcome = run(asked, sink)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is written", file=sys.stderr)
        raise typer.Exit(130) from None
    from crossdraft.report.verify_cost import write_report

    resolved = asked.to_json()
    result = Result(
        "bench verify-cost", outcome.payload, resolved, asked.inputs, outcome.warnings
    ).to_json()
    folder = RunFolder.create("verify-cost", out)
    folder.write_config(resolved)
    write_report(result, folder.path)
    folder.write_result(result)
    if as_json:
        print_json(result)
    else:
        _show(result, folder.path)


def _widths(text: str | None) -> tuple[int, ...]:
    """`1,2,4` as numbers.

    Raises:
        InputError: something else stands there.
    """
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) <= 6 for part in parts):
        raise InputError(f"{text!r}", where="--widths", expected="numbers such as 1,2,4,8")
    return tuple(int(part) for part in parts)


def _show(result: dict[str, Any], folder: Path) -> None:
    """Tables, what to know, and where the files are."""
    from crossdraft.cli.table import print_table
    from crossdraft.report.verify_cost import describe, tables

    print("\n".join(describe(result)))
    for table in tables(result):
        print(f"\n{table.title}")
        print_table(table.head, table.rows)
        _wrapped(table.note)
    print()
    for said in (*result["warnings"], *result["notes"]):
        _wrapped(f"note: {said}")
    print(f"for --cost-curve: {folder / 'result.json'}")
    print(f"figure and tables: {folder}")


def _wrapped(text: str) -> None:
    """Print lines that fit a terminal; paths stay whole."""
    import textwrap

    wrapped = textwrap.wrap(text, 80, break_long_words=False, break_on_hyphens=False)
    print("\n".join(wrapped))
