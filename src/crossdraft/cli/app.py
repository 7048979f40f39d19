"""The program: its commands, and how errors become exit codes.

Exit 0 done, 1 a check failed, 2 the call or its input was wrong, 130 interrupted (Typer's own), 141
the reader of the output left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from crossdraft import __version__
from crossdraft.base.errors import CrossdraftError
from crossdraft.cli.analyze import analyze
from crossdraft.cli.bench import bench
from crossdraft.cli.convert import convert
from crossdraft.cli.doctor import doctor
from crossdraft.cli.estimate import estimate
from crossdraft.cli.evaluate import evaluate
from crossdraft.cli.extract import extract
from crossdraft.cli.generate import generate
from crossdraft.cli.lm_head import lm_head
from crossdraft.cli.pair import pair
from crossdraft.cli.report import report
from crossdraft.cli.scenes import scenes
from crossdraft.cli.study import study
from crossdraft.cli.train import train
from crossdraft.cli.verify import verify

#: A disk that takes no more, whoever wrote to it.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
#: 128 + SIGPIPE, as a shell counts for programs that `head` ends.
_READER_LEFT = 141

app = typer.Typer(
    name="crossdraft",
    help="Cross-modal speculative decoding: an event-camera model drafts, a video-language model "
    "verifies, its answer stays token for token its own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(generate)
app.add_typer(pair, name="pair")
app.command()(doctor)
app.command()(verify)
app.command(name="lm-head")(lm_head)
app.command()(extract)
app.add_typer(train, name="train")
app.command()(evaluate)
app.command()(analyze)
app.command()(estimate)
app.add_typer(bench, name="bench")
app.command()(study)
app.add_typer(report, name="report")
app.command()(convert)
app.add_typer(scenes, name="scenes")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"crossdraft {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line; no traceback of an expected error reaches the user."""
    for stream in (sys.stdout, sys.stderr):
        # A console without these characters gets their numbers.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            _run()
        finally:
            # What is still held back fails here; at the end of Python it would do so with a remark.
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except (OSError, SystemExit) as error:
        # Typer and rich make an exit with 1 of a broken pipe: that would mean a check that failed.
        fault = error.__context__ if isinstance(error, SystemExit) else error
        number = fault.errno if isinstance(fault, OSError) else None
        if number == errno.EPIPE:
            code = _READER_LEFT
        elif isinstance(error, OSError) and number in _DISK:
            print(f"error: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr)
            code = 2
        else:
            # Anything else of this kind is a fault of ours and shows where.
            raise
        _send_nowhere()
        sys.exit(code)


def _run() -> None:
    """Run the command, its errors as messages and exit codes."""
    try:
        app()
    except CrossdraftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _send_nowhere() -> None:
    """Let what is still held back vanish: Python writes it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        # Streams that have no file, such as a test's, hold nothing back.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
