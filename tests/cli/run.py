"""Call the program as a user does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from crossdraft.base.errors import CrossdraftError
from crossdraft.cli.app import app


def crossdraft(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed program in its own process."""
    program = Path(sys.executable).with_name("crossdraft")
    return subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300
    )


def crossdraft_here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has torch already: for what needs many calls."""
    with _chdir(cwd):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    code, said = done.exit_code, done.stderr
    if isinstance(done.exception, CrossdraftError):
        code, said = done.exception.exit_code, f"{said}error: {done.exception}\n"
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(list(arguments), code, done.stdout, said)


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
