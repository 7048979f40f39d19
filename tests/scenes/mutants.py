"""A process that reads damaged copies of one file: libraries in C may crash on them, tests not.

`python -m tests.scenes.mutants FILE SCRATCH FIRST LAST` reads mutants FIRST to LAST, prints the
number of each before it is read, and exits 1 where anything but our own error came out.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import traceback
from pathlib import Path

#: Damaged lengths must not take the machine's memory with them.
_MEMORY_BYTES = 6 << 30


def mutant(data: bytes, number: int) -> bytes:
    """Copy `number` of a file, changed in one of four ways, always the same."""
    rng = random.Random(number)
    changed = bytearray(data)
    kind = number % 4
    # Formats keep their structure at the beginning and the end.
    edge = min(len(data), 4096)
    for _ in range(1 if kind == 0 else 4):
        near = rng.randrange(edge) if rng.random() < 0.5 else rng.randrange(len(data))
        place = len(data) - 1 - near if rng.random() < 0.3 else near
        if kind == 1:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[place] = rng.choice((0, 1, 127, 128, 255))
        else:
            changed[place] = rng.randrange(256)
    return bytes(changed[: rng.randrange(len(data))] if number % 16 == 3 else changed)


def crashes(path: Path, scratch: Path, count: int) -> list[int]:
    """Read `count` mutants of a file in processes of their own.

    Returns:
        numbers of the mutants on which a process died of a signal.

    Raises:
        AssertionError: a mutant raised anything but our own error.
    """
    first, died = 0, []
    while first < count:
        call = [sys.executable, "-W", "error", "-m", "tests.scenes.mutants"]
        done = subprocess.run(
            [*call, str(path), str(scratch), str(first), str(count)],
            capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        if done.returncode == 0:
            break
        last = int(done.stdout.split()[-1]) if done.stdout.split() else first
        assert done.returncode < 0, f"mutant {last}: {done.stderr[-2000:]}"
        died.append(last)
        first = last + 1
    return died


def main() -> int:
    from crossdraft.base.errors import InputError
    from crossdraft.scenes.readers import read_events

    source, scratch, first, last = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    data = Path(source).read_bytes()
    for number in range(int(first), int(last)):
        print(number, flush=True)
        path = Path(scratch) / f"mutant-{number}"
        path.write_bytes(mutant(data, number))
        try:
            stream = read_events(path)
            # A stream that came through is a valid one.
            type(stream).checked(stream.x, stream.y, stream.t, stream.p, sensor=stream.sensor)
        except InputError:
            pass
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
