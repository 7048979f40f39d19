"""`crossdraft analyze`: drafter, adapter and target token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossdraft.cli.json_out import print_json

#: Tables and texts stay within this width, whatever the terminal has.
_WIDTH = 100


def analyze(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Trained drafter: a file or folder of crossdraft train, or the seed study's "
            "best_model.pt.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Recorded answers of both models, any known format. Beside --tokens they only "
            "teach what ids read as.",
        ),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            metavar="0,1,2",
            help="Which samples, counted from 0 in file order; ranges like 0-4 are understood.",
            show_default="the first three of --pairs, all of --tokens",
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            help='Rows to compare instead: {"drafter": [ids], "adapter": [ids], "target": [ids]}, '
            "a list of these, or the same under samples.",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the models' tokenizer.",
            show_default="pieces learned from the recorded answers, else ids",
        ),
    ] = None,
    gamma: Annotated[int, typer.Option(help="Drafts per forward of the replay.")] = 5,
    positions: Annotated[
        int, typer.Option(metavar="N", min=1, help="Rows per table on the terminal.")
    ] = 20,
    eos: Annotated[int, typer.Option(help="Token id that ends an answer.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for RESULTS.md and result.json.", show_default="nothing is written"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Lay drafter, adapter and target side by side, token by token.

    The adapter's row is what the trained drafter writes alone. Says per position whether it
    matches the target, how many match from the start without a miss, and what greedy
    verification would accept.

    Example: crossdraft analyze runs/train --pairs answers.json.gz --samples 0,1,2
    """
    from crossdraft.base.result import Result, RunFolder, refuse_taken
    from crossdraft.evaluation.analysis import AnalyzeConfig
    from crossdraft.evaluation.analysis import analyze as run
    from crossdraft.report.analysis import write_analysis

    config = AnalyzeConfig(checkpoint, pairs, tokens, samples, tokenizer, gamma, eos)
    config.check()
    if out is not None:
        refuse_taken(out)
    found = run(config)
    resolved = config.to_json()
    result = Result("analyze", found.payload, resolved, found.inputs, found.warnings).to_json()
    if out is not None:
        folder = RunFolder.create("analyze", out)
        folder.write_config(resolved)
        write_analysis(result, folder.path)
        folder.write_result(result)
    if as_json:
        print_json(result)
    else:
        _show(result, positions)
        if out is not None:
            print(f"every position: {out / 'RESULTS.md'}")


def _show(result: dict[str, Any], positions: int) -> None:
    """One table per sample, the summary, and what to know."""
    from crossdraft.report.analysis import closing_lines, shown, summary_table

    print(result["alignment"])
    for sample in result["samples"]:
        _show_sample(sample, positions)
    print("\nall samples")
    _print_table(*summary_table(result), right=range(1, 7))
    for line in closing_lines(result):
        _wrapped(shown(line))
    for warning in result["warnings"]:
        _wrapped(f"note: {shown(warning)}")


def _show_sample(sample: dict[str, Any], positions: int) -> None:
    from crossdraft.report.analysis import ROWS, position_table, sample_lines, sample_title, shown

    print()
    _wrapped(sample_title(sample))
    for row in ROWS:
        ids = ["–" if token is None else str(token) for token in sample[row]["tokens"]]
        cut = [*ids[:positions], f"… {len(ids) - positions} more"][: len(ids)]
        _wrapped(f"{row:8} {shown(sample[row]['text'])}")
        _wrapped(f"{'':8} {' '.join(ids if len(ids) <= positions else cut)}")
    _print_table(*position_table(sample, positions), right=(0,))
    left = len(sample["matches"]) - positions
    if left > 0:
        print(f"  … {left} more positions: --positions N shows them")
    for line in sample_lines(sample):
        _wrapped(line)


def _print_table(head: Any, rows: Any, right: Any) -> None:
    """A table in which words of a model are no markup."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, title in enumerate(head):
        justify = "right" if place in right else "left"
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    console.print(table, width=min(_WIDTH, console.width))


def _wrapped(line: str) -> None:
    """A line within the width, continued below the first word's end of its label."""
    import textwrap

    print(textwrap.fill(line, _WIDTH, subsequent_indent=" " * 9) if line.strip() else line)
