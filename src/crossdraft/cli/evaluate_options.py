"""Options of `crossdraft evaluate`, from words to values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def named_drafters(file: Path | None, checkpoints: Path | None) -> dict[str, str]:
    """The drafters of a file of two-phase configurations, none without one."""
    from crossdraft.base.errors import InputError
    from crossdraft.evaluation.two_phase import read_two_phase

    if file is None:
        if checkpoints is not None:
            raise InputError("--checkpoints belongs to --two-phase")
        return {}
    return read_two_phase(file, checkpoints)


def rivals(given: Sequence[str]) -> dict[str, list[str]]:
    """`A=B` as a drafter and those that it is compared with."""
    from crossdraft.base.errors import InputError

    against: dict[str, list[str]] = {}
    for text in given:
        one, equals, other = text.partition("=")
        if not (one and equals and other):
            raise InputError(f"{text!r}", where="--against", expected="DRAFTER=DRAFTER")
        against.setdefault(one, []).append(other)
    return against


def arrived_words(value: str) -> str | int:
    """`clock` and `all` as they are, anything else as a number of tokens."""
    from crossdraft.base.errors import InputError

    if value in ("clock", "all"):
        return value
    if value.isdecimal():
        return int(value)
    raise InputError(f"{value!r}", where="--arrived", expected="clock, all, or a number of tokens")


def training_options(given: Sequence[str], **for_all: Any) -> dict[str, Any]:
    """`num_epochs=3` for all trainings, `token-adapter.num_layers=2` for those of one drafter."""
    import yaml

    from crossdraft.base.errors import InputError

    options: dict[str, Any] = {name: value for name, value in for_all.items() if value is not None}
    for text in given:
        name, equals, value = text.partition("=")
        drafter, dot, own = name.rpartition(".")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed = None
        if not equals or not own or (dot and not drafter) or parsed is None:
            raise InputError(f"{text!r}", where="--option", expected="[DRAFTER.]NAME=VALUE")
        place = options.setdefault(drafter, {}) if dot else options
        place[own.replace("-", "_")] = float(value) if _is_float(value, parsed) else parsed
    return options


def _is_float(value: str, parsed: object) -> bool:
    """`1e-3`, which YAML takes for a word."""
    try:
        float(value)
    except ValueError:
        return False
    return isinstance(parsed, str)
