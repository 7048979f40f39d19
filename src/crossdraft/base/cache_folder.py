"""Where crossdraft keeps what it can make again: measured costs, learned answers."""

from __future__ import annotations

import os
from pathlib import Path

from crossdraft.base.errors import InputError

VARIABLE = "CROSSDRAFT_CACHE"


def cache_root() -> Path:
    """`$CROSSDRAFT_CACHE`, or `~/.cache/crossdraft`; nothing is made.

    Raises:
        InputError: a path that begins with the home of somebody unknown.
    """
    named = os.environ.get(VARIABLE)
    try:
        return Path(named or "~/.cache/crossdraft").expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{named or '~'}: {error}",
            where=f"${VARIABLE}",
            expected="a folder to keep files in",
        ) from error
