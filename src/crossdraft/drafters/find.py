"""A drafter by what a user calls it: a name, a checkpoint, several of these joined by `+`, or two
of all these joined by `:`, one for the prefill and one for the rest of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import Drafter
from crossdraft.drafters.checkpoint import is_trainable, load_drafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.registry import REGISTRY, create
from crossdraft.drafters.trainable import Trainable
from crossdraft.drafters.two_phase import TwoPhaseDrafter, split_phases

#: What stands between the signs that join drafters.
_BETWEEN = re.compile(r"[^+:]+")
_EXPECTED = f"{', '.join(REGISTRY)}, a checkpoint, several of these joined by +, or PREFILL:DECODE"


def find_drafter(text: str, drafting: str = "") -> Drafter:
    """A drafter that is ready to be asked.

    Args:
        text: a registered name, the path of a checkpoint or of a run's folder, or several of these
            joined by `+`, which make an ensemble. What reads as registered names means those
            (`./suffix` is the folder); a path may hold a `+` itself.
        drafting: what the pair of models drafts with (`ModelPair.drafting`): its checkpoints are
            taken for drafters that are named and have to be trained, and all of it for `ensemble`.

    Raises:
        InputError: neither a name nor a path, one drafter twice, a file that is no checkpoint, or
            a drafter whose network must be trained first.
    """
    text = with_checkpoints(text, drafting)
    if (phases := phases_of(text)) is not None:
        return TwoPhaseDrafter(*map(_one, phases))
    return _one(text)


def with_checkpoints(text: str, drafting: str) -> str:
    """A drafter's text with what a pair brings in place of names that need it.

    Raises:
        InputError: what the pair brings cannot be read.
    """
    asked = _BETWEEN.findall(text)
    if not drafting or not any(word == "ensemble" or is_trainable(word) for word in asked):
        return text
    pieces = _pieces(drafting)
    brought = {load_drafter(Path(p)).drafter.name: p for p in pieces if p not in REGISTRY}
    if brought and len(pieces) > 1:
        brought["ensemble"] = drafting
    return _BETWEEN.sub(lambda word: brought.get(word.group(), word.group()), text)


def _one(text: str) -> Drafter:
    """A drafter or an ensemble."""
    pieces = _pieces(text)
    parts = [_part(piece) for piece in pieces]
    _refuse_untrained(pieces, parts)
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{name} stands twice", where=text, expected="every drafter at most once"
            )
    return parts[0] if len(parts) == 1 else EnsembleDrafter(parts, "+".join(names))


def seen_drives(text: str) -> frozenset[str]:
    """Drives that the checkpoints among a drafter's parts were trained or validated on.

    Raises:
        InputError: as `find_drafter`.
    """
    drives: set[str] = set()
    for piece in (piece for phase in phases_of(text) or (text,) for piece in _pieces(phase)):
        loaded = None if piece in REGISTRY else load_drafter(Path(piece))
        if loaded is not None and loaded.trained_on is not None:
            drives.update(loaded.trained_on.drives)
    return frozenset(drives)


def phases_of(text: str) -> tuple[str, str] | None:
    """The two drafters of `PREFILL:DECODE`; None where the text is one drafter, or none at all
    that could be read without the `:`.

    Of several readings the first one whose sides are both known; where none is, the first, so
    that what is wrong with a side is said of that side.
    """
    readings = split_phases(text)
    if not readings or _is_one(text):
        return None
    return next((sides for sides in readings if all(map(_is_one, sides))), readings[0])


def _is_one(text: str) -> bool:
    """Whether this is one drafter or an ensemble."""
    words = text.split("+")
    return all(word in REGISTRY for word in words) or _read(words) is not None


def _part(piece: str) -> Drafter:
    return create(piece) if piece in REGISTRY else load_drafter(Path(piece)).drafter


def _pieces(text: str) -> tuple[str, ...]:
    """The names and paths of a text; of several readings the one with the longest first piece."""
    words = text.split("+")
    if all(word in REGISTRY for word in words):
        return tuple(words)
    if (pieces := _read(words)) is not None:
        return pieces
    unknown = next(word for word in words if not _known(word))
    raise InputError(
        f"no drafter is called {unknown!r}, and no file or folder",
        where=None if unknown == text else text,
        expected=_EXPECTED,
    )


def _read(words: list[str]) -> tuple[str, ...] | None:
    """Words joined again to names and paths, none left over; None where that cannot be."""
    if not words:
        return ()
    for count in range(len(words), 0, -1):
        first = "+".join(words[:count])
        if _known(first) and (others := _read(words[count:])) is not None:
            return first, *others
    return None


def _known(piece: str) -> bool:
    """Whether this is a name, or a path where something lies."""
    if piece in REGISTRY:
        return True
    try:
        return bool(piece) and Path(piece).exists()
    except OSError:  # too long for a path
        return False


def _refuse_untrained(pieces: Sequence[str], parts: Sequence[Drafter]) -> None:
    """Refuse a drafter made by its name whose network has no weights, an ensemble's parts too."""
    missing: str | None = None
    instead: list[str] = []
    for piece, part in zip(pieces, parts, strict=True):
        if piece not in REGISTRY:
            instead.append(piece)
            continue
        for one in part.parts if isinstance(part, EnsembleDrafter) else (part,):
            wanting = missing is None and isinstance(one, Trainable)
            missing = one.name if wanting else missing
            instead.append("RUN" if wanting else one.name)
    if missing is not None:
        raise InputError(
            f"{missing} must be trained first",
            where="+".join(pieces),
            expected="its checkpoint in place of its name",
            hint=f"crossdraft train {missing} --pairs FILE --out RUN, then name "
            + "+".join(instead),
        )
