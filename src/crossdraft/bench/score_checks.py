"""What a pair must reach in `crossdraft pair score --check`, in one table.

Right answers, answers that are no better than chance once the data is swapped, an event model that
neither names nor knows what leaves no event, and answers as predictable as recorded ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crossdraft.vlm.model_spec import Role

Scored = Mapping[str, Any]


@dataclass(frozen=True)
class Threshold:
    """What one number must be.

    Attributes:
        name: of the number.
        read: finds it in what `score_answers` gives; None where it was not measured.
        least, most: its bounds, both included; None: no bound.
        spares: holds where the number may be anything.
        or_else: what that is, in words.
    """

    role: Role
    name: str
    read: Callable[[Scored], float | None]
    least: float | None = None
    most: float | None = None
    spares: Callable[[Scored], bool] = lambda _: False
    or_else: str = ""


@dataclass(frozen=True)
class Checked:
    """A threshold and what was found.

    Attributes:
        value: None where it was not measured, which fails.
        wanted: the bounds in words.
    """

    model: str
    name: str
    value: float | None
    wanted: str
    ok: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)


#: Attributes that each model must tell, and in what share of the answers.
_TOLD: Mapping[Role, Mapping[str, float]] = {
    "target": dict.fromkeys(("road", "time", "vehicle", "colour", "motion"), 0.90),
    "drafter": dict.fromkeys(("vehicle", "motion"), 0.80),
}
#: How far swapped answers may lie from chance where the two intervals do not overlap.
_SWAPPED_MOST = 0.10


def _right(attribute: str) -> Callable[[Scored], float | None]:
    return lambda scored: _estimate(scored, attribute, "accuracy")["value"]


def _from_chance(attribute: str) -> Callable[[Scored], float | None]:
    """Distance of swapped answers from chance."""

    def read(scored: Scored) -> float | None:
        one, other = _controls(scored, attribute)
        if one["value"] is None or other["value"] is None:
            return None
        return abs(float(one["value"]) - float(other["value"]))

    return read


def _overlaps(attribute: str) -> Callable[[Scored], bool]:
    """Whether the intervals of swapped answers and of chance do."""

    def read(scored: Scored) -> bool:
        one, other = _controls(scored, attribute)
        if None in (one["low"], one["high"], other["low"], other["high"]):
            return False
        return bool(one["low"] <= other["high"] and other["low"] <= one["high"])

    return read


def _named(attribute: str) -> Callable[[Scored], float | None]:
    return lambda scored: scored["unseen"][attribute]["share"]["value"]


def _over_chance(label: str, states: str) -> Callable[[Scored], float | None]:
    """What a probe tells beyond chance."""

    def read(scored: Scored) -> float | None:
        probed = scored["probes"][label][states]
        return None if probed is None else probed["accuracy"]["value"] - probed["chance"]

    return read


def _calibrated(name: str) -> Callable[[Scored], float | None]:
    return lambda scored: scored["calibration"][name]["value"]


#: Everything that is checked.
THRESHOLDS: tuple[Threshold, ...] = (
    *(
        Threshold(role, f"{attribute} right", _right(attribute), least=share)
        for role, told in _TOLD.items()
        for attribute, share in told.items()
    ),
    *(
        Threshold(
            role, f"{attribute}, swapped from chance", _from_chance(attribute), most=_SWAPPED_MOST,
            spares=_overlaps(attribute), or_else=", or intervals that overlap",
        )
        for role, told in _TOLD.items()
        for attribute in told
    ),
    Threshold("drafter", "answers that name a colour", _named("colour"), most=0.0),
    Threshold(
        "drafter", "colour in prompt states over chance", _over_chance("colour", "prompt"),
        most=0.05,
    ),
    Threshold(
        "drafter", "colour in answer states over chance", _over_chance("colour", "answer"),
        most=0.05,
    ),
    Threshold("target", "tau of a 12-gram table", _calibrated("tau"), least=2.3, most=3.3),
    Threshold("target", "position match", _calibrated("position_match"), most=0.35),
)  # fmt: skip


def check(payload: Mapping[str, Any]) -> Iterator[Checked]:
    """Hold the models that were scored against their thresholds.

    Args:
        payload: of `score`.
    """
    for wanted in THRESHOLDS:
        if wanted.role not in payload:
            continue
        value = wanted.read(payload[wanted.role])
        ok = value is not None and (_within(value, wanted) or wanted.spares(payload[wanted.role]))
        said = f"{_bounds(wanted)}{wanted.or_else}"
        yield Checked(wanted.role, wanted.name, value, said, ok)


def _within(value: float, wanted: Threshold) -> bool:
    over = wanted.least is None or value >= wanted.least
    return over and (wanted.most is None or value <= wanted.most)


def _bounds(wanted: Threshold) -> str:
    if wanted.least is not None and wanted.most is not None:
        return f"{wanted.least:g} to {wanted.most:g}"
    if wanted.least is not None:
        return f"at least {wanted.least:g}"
    return f"at most {wanted.most:g}"


def _estimate(scored: Scored, attribute: str, name: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"value": None, "low": None, "high": None}
    found: dict[str, Any] = scored["attributes"].get(attribute, {}).get(name, nothing)
    return found


def _controls(scored: Scored, attribute: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return _estimate(scored, attribute, "swapped"), _estimate(scored, attribute, "chance")
