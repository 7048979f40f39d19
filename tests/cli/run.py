"""Call the program as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def crossdraft(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed program in its own process."""
    program = Path(sys.executable).with_name("crossdraft")
    return subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300
    )
