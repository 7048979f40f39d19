"""A folder's lock keeps a second process out and dies with its holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.lock import locked

_HOLD = """
import sys, time
from pathlib import Path
from crossdraft.base.lock import locked
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
    with pytest.raises(InputError, match="cannot write here"):
        locked(tmp_path / "file" / "study").__enter__()
