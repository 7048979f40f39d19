"""A lock keeps a second process out and dies with its holder; that of a file is waited for."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.lock import locked, locked_file

_HOLD = """
import sys, time
from pathlib import Path
from crossdraft.base.lock import locked, locked_file
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid} is running in this folder"):
            locked(tmp_path).__enter__()
        holder.kill()
    with locked(tmp_path):
        pass


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"(?s)cannot write here.*expected: a folder.*try: name"):
        locked(tmp_path / "file" / "study").__enter__()


_HOLD_FILE = _HOLD.replace("with locked(", "with locked_file(")


def test_a_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "made" / "memory.safetensors"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_FILE, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid} has been writing this file"):
            locked_file(path, patience_ms=20.0).__enter__()
        with locked_file(path.with_name("other")), locked(path.parent):
            pass  # neither another file nor the folder is held
        killed = threading.Event()

        def end_it() -> None:
            killed.set()
            holder.kill()

        threading.Timer(0.1, end_it).start()
        with locked_file(path):
            assert killed.is_set(), "let in before the holder was gone"
    assert not path.exists(), "the file itself is the caller's"
