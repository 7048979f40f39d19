"""The program itself: help, version, exit codes, and how little it imports for them."""

from __future__ import annotations

import errno
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


def test_other_faults_show_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty() -> None:
        raise OSError(errno.EBADF, "a fault of ours")

    monkeypatch.setattr(program, "app", faulty)
    with pytest.raises(OSError, match="a fault of ours"):
        program.main()
