"""The program itself: help, version, exit codes, and how little it imports for them."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crossdraft import __version__
from crossdraft.cli import app as program
from tests.cli.run import crossdraft


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("torch", "numpy", "numba", "matplotlib", "pydantic", "transformers")
    code = (
        "import sys\n"
        "sys.argv = ['crossdraft', '--help']\n"
        "from crossdraft.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "evaluate" in done.stdout
    assert done.stderr.strip() == "[]"


def test_version(tmp_path: Path) -> None:
    assert crossdraft("--version", cwd=tmp_path).stdout == f"crossdraft {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["evaluate"],
        ["evaluate", "--pairs", "absent.json"],
        ["evaluate", "telepathy", "--pairs", "absent.json"],
        ["evaluate", "--pairs", "absent.json", "--gamma", "0"],
        ["evaluate", "--pairs", "absent.json", "--gamma", "five"],
        ["evaluate", "--pairs", "absent.json", "--arrived", "soon"],
        ["evaluate", "--pairs", "absent.json", "--train-pairs", "b", "--folds", "5"],
        ["convert", "absent.json", "b.jsonl"],
    ],
)
def test_wrong_calls_exit_2_without_a_traceback_or_a_trace(
    tmp_path: Path, arguments: list[str]
) -> None:
    done = crossdraft(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    assert list(tmp_path.iterdir()) == []


def test_interrupt_exits_130_and_leaves_nothing(extraction_file: Path) -> None:
    code = (
        "import sys\n"
        "from crossdraft.cli import main\n"
        "import crossdraft.evaluation.run as run\n"
        "def stop(*_, **__):\n    raise KeyboardInterrupt\n"
        "run.summarise = stop\n"
        f"sys.argv = ['crossdraft', 'evaluate', '--pairs', {str(extraction_file)!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=extraction_file.parent
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert [path.name for path in extraction_file.parent.iterdir()] == [extraction_file.name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def full() -> None:
        raise OSError(number, os.strerror(number), "runs/result.json")

    monkeypatch.setattr(program, "app", full)
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: runs/result.json: {os.strerror(number)}\n"


def test_a_full_disk_under_the_output_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(program, "app", lambda: None)
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: writing: {os.strerror(errno.ENOSPC)}\n"


def test_other_faults_show_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty() -> None:
        raise OSError(errno.EBADF, "a fault of ours")

    monkeypatch.setattr(program, "app", faulty)
    with pytest.raises(OSError, match="a fault of ours"):
        program.main()


#: A program with one more command, `speak`, which says `what` in one of the ways of commands.
_SPEAKS = """
import sys
import typer
from rich.console import Console
from crossdraft.base.errors import InputError
from crossdraft.cli import app as program

def speak(way: str):
    if way == "at once":
        for number in range(9):
            print("line", number, flush=True)
    elif way == "rich":
        Console().print("line")
    elif way == "to stderr":
        print("line", file=sys.stderr, flush=True)
    elif way == "error":
        raise InputError("wrong")
    else:
        print("held back")
    raise typer.Exit(1 if way == "failed" else 0)

program.app.command()(speak)
program.main()
"""


def _to_nobody(code: str, *arguments: str, closed: tuple[str, ...]) -> tuple[int, str]:
    """Run code whose streams of these names are pipes that nobody reads: exit code, stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            stdout=writing if "stdout" in closed else subprocess.PIPE,
            stderr=writing if "stderr" in closed else subprocess.PIPE,
            text=True,
            timeout=300,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("way", ["at once", "held back", "failed", "rich"])
def test_a_reader_that_leaves_is_no_failed_check(way: str) -> None:
    assert _to_nobody(_SPEAKS, "speak", way, closed=("stdout",)) == (141, "")
    assert _to_nobody(_SPEAKS, "speak", way, closed=("stdout", "stderr")) == (141, "")


@pytest.mark.parametrize("way", ["to stderr", "error"])
def test_messages_that_nobody_reads(way: str) -> None:
    assert _to_nobody(_SPEAKS, "speak", way, closed=("stderr",)) == (141, "")


def test_exit_codes_stay_where_nothing_is_said() -> None:
    code, said = _to_nobody(_SPEAKS, "speak", "error", closed=("stdout",))
    assert (code, said) == (2, "error: wrong\n")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_nobody_reads(option: str) -> None:
    code = "from crossdraft.cli import main; main()"
    assert _to_nobody(code, option, closed=("stdout",)) == (141, "")
