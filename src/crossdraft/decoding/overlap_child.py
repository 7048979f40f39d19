"""The process of `overlap_process.py`: started with a socket of its own, ended, and what it said.

Nothing that it prints reaches the user's screen; its last line is part of how it ended.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
import weakref
from multiprocessing.connection import Connection
from typing import IO

from crossdraft.decoding.event_process import main

#: A message may wait so long for a process that takes none; then sending it is an error.
_SENDING_S = 1
#: As much of what it said last as its last line is looked for in.
_LAST_BYTES = 4096


class Child:
    """A process that serves one end of a socket.

    Args:
        threads: of its computing.

    Attributes:
        pipe: our end.
        process: the other one.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, threads: int) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed as the process ends
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # Whoever does not read must not make us wait.
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SENDING_S, 0))
            try:
                self.process = subprocess.Popen(
                    command(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=self._said,
                    stderr=self._said,
                    start_new_session=True,  # Ctrl-C is for the parent alone
                    env=_environment(threads),
                )
            except BaseException:
                self._said.close()
                raise
            self.pipe = Connection(ours.detach())
        # Also where nobody ends it, and of one that hangs and would not see us go.
        weakref.finalize(self, _end, self.process, self._said)

    def end(self) -> str:
        """End it, unless it has ended; how it did."""
        self.pipe.close()
        self.process.kill()
        code = self.process.wait()
        last = _last_line(self._said)
        self._said.close()
        return f"exit code {code}" + (f": {last}" if last else "")


def command(number: int) -> list[str]:
    """What is run, for a socket of this number."""
    # The folder it is started in is on its path only where it is on ours.
    paths = "import sys; sys.path[:] = filter(None, sys.path)"
    code = f"{paths}; from {main.__module__} import main; main()"
    return [sys.executable, "-c", code, str(number)]


def _environment(threads: int) -> dict[str, str]:
    """Ours, every path that we can import from included."""
    paths = os.pathsep.join(map(os.path.abspath, sys.path))
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    process.kill()
    process.wait()
    said.close()


def _last_line(said: IO[bytes]) -> str:
    """The last line of a file: of a traceback, what was wrong."""
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _LAST_BYTES))
    lines = said.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
