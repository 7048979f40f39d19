"""How the files of event frames are called: `<clip>_<i>.png`, i from 0."""

from __future__ import annotations

import re

#: More frames than a clip ever has would be somebody else's numbers.
_FRAME = re.compile(r"([^.].*)_(\d{1,4})\.png", re.ASCII)


def frame_name(clip: str, number: int) -> str:
    """Name of a clip's frame."""
    return f"{clip}_{number}.png"


def clip_and_number(name: str) -> tuple[str, int] | None:
    """The clip and the frame's number; None where this is no event frame."""
    match = _FRAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None
