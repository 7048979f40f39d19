"""`crossdraft report`: what finished runs say together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

report = typer.Typer(
    help="Put finished runs side by side.", no_args_is_help=True, rich_markup_mode=None
)


@report.callback()
def _group() -> None:
    """Put finished runs side by side."""


@report.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of crossdraft evaluate or train.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.md", help="File to write.", show_default="the terminal"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.md if it exists.")] = False,
) -> None:
    """Compare evaluations and trainings in one Markdown file.

    Runs on the same answers share a table: parameters, tau, first window, states, controls and
    shuffled twins, each with its 95 % interval.

    Example: crossdraft report compare runs/attention runs/eagle --out comparison.md
    """
    from crossdraft.base.errors import InputError
    from crossdraft.report.compare import comparison, read_runs, write_comparison

    if out is not None and out.exists() and not force:
        raise InputError("this file exists", where=out, hint="name another file, or add --force")
    read = read_runs(runs)
    if out is None:
        print(comparison(read), end="")
        return
    write_comparison(read, out)
    print(f"written: {out}")
