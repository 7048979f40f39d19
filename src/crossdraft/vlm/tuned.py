"""What a tuned event model says of itself: `tuned.json` in its folder names the clips and drives
that it was trained on, so that a test on them can be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text
from crossdraft.vlm.hub_cache import find

TUNED, FORMAT = "tuned.json", "crossdraft.tuned/1"


@dataclass(frozen=True)
class TunedOn:
    """What a tuning has seen, the answers that chose the epoch included.

    Attributes:
        clips: digests of the clip names, sorted.
        drives: named driving sequences, sorted.
    """

    clips: tuple[str, ...] = ()
    drives: tuple[str, ...] = ()


def tuned_on(place: Path) -> TunedOn:
    """What the model in a folder, or in the hub's cache, was tuned on; nothing where it was not.

    Raises:
        InputError: no such model, or its `tuned.json` is damaged.
    """
    path = find(place) / TUNED
    if not path.is_file():
        return TunedOn()
    value = parse_json(read_text(path), path)
    seen = value.get("trained_on") if isinstance(value, Mapping) else None
    lists = [seen.get(key) for key in ("clips", "drives")] if isinstance(seen, Mapping) else []
    texts = [tuple(one) for one in lists if isinstance(one, list)]
    if len(texts) != 2 or not all(isinstance(text, str) for one in texts for text in one):
        raise InputError(
            "does not say what the model was tuned on",
            where=path,
            expected="the file that crossdraft pair tune writes",
        )
    return TunedOn(*texts)
