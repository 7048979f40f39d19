"""What happens during an extraction, told as it happens: to a log, to a bar, to another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

What = Literal["begin", "clip", "piece", "shard", "failure", "alone", "lost"]


@dataclass(frozen=True)
class Event:
    """One thing that has happened.

    Attributes:
        what: `begin`: a process has its models and begins with clips; `clip`: a model, or both,
            are done with a clip; `piece`: pairs were saved; `shard`: one is done; `failure`: a
            clip has failed; `alone`: a batch was given up, its clips are asked one by one;
            `lost`: a damaged piece was removed.
        shard: its number.
        role: whose clip or piece: `target`, where the drafter comes later, else `both`.
        clip: id of the scene.
        pairs: of the clip, the piece or the shard.
        positions: states of the target's and of the drafter's own answers.
        seconds: that a clip took.
        bytes: of a finished shard.
        reason: of a failure, of a batch's or a clip's, or what was wrong with a piece.
        tries: how often a clip was tried.
    """

    what: What
    shard: int
    role: Literal["target", "both"] = "both"
    clip: str | None = None
    pairs: int = 0
    positions: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    bytes: int = 0
    reason: str | None = None
    tries: int = 0


Tell = Callable[[Event], None]


def unheard(_: Event) -> None:
    """Tell nobody."""
