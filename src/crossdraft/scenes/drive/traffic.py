"""The traffic of a drive: who is met, in which paint, moving how.

A leading vehicle stays for some clips, everyone else is met for one. Whoever is drawn is seen for
most of the clip, since answers name everyone who is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from crossdraft.scenes.drive.dice import Dice
from crossdraft.scenes.drive.world import CLIP_S, Agent, Body, Colour, Kind, Motion, Road, Side

Split = Literal["train", "test"]

#: One paint per kind that training drives never show.
HELD_OUT_PAINT: dict[Kind, Colour] = {
    "car": "purple", "truck": "green", "bus": "red",
    "motorcycle": "orange", "bicycle": "gray", "person": "blue",
}  # fmt: skip
#: Share of a test drive's agents that carry their kind's held-out paint.
HELD_OUT_SHARE = 0.25

_KINDS: dict[Road, dict[Kind, float]] = {
    "winding road": {"car": 4, "truck": 2, "bus": 1, "motorcycle": 2, "bicycle": 2, "person": 2},
    "highway": {"car": 4, "truck": 3, "bus": 2, "motorcycle": 2},
    "tunnel": {"car": 4, "truck": 3, "bus": 2, "motorcycle": 2},
    "city street": {"car": 3, "truck": 1, "bus": 2, "motorcycle": 2, "bicycle": 3, "person": 3},
    "crossroads": {"car": 3, "truck": 2, "bus": 2, "motorcycle": 2, "bicycle": 2, "person": 3},
}
_MOTIONS: dict[Road, dict[Motion, float]] = {
    "winding road": {"ahead": 3, "oncoming": 3, "parked": 2},
    "highway": {"ahead": 4, "oncoming": 2},
    "tunnel": {"ahead": 3, "oncoming": 2},
    "city street": {"ahead": 2, "oncoming": 2, "parked": 3, "crossing": 2},
    "crossroads": {"ahead": 1, "oncoming": 1, "parked": 1, "crossing": 4},
}
#: People stand or cross; on a road without footway they are met at its side.
_PERSON: dict[Motion, float] = {"crossing": 2, "parked": 2}
#: How likely a clip is to show nobody, and to show a second one.
_EMPTY, _SECOND = 0.05, 0.7
#: Answers name who is seen: for most of the clip at least this share is neither hidden nor outside
#: the picture, whose half width is this tangent. Else another is drawn, a few times at most.
_SEEN_SHARE, _HALF_PICTURE, _TRIES = 0.6, 0.45, 8
_MOMENTS_S = (0.1, 0.3, 0.5, 0.7, 0.9)
_TENTHS_S = tuple(CLIP_S * tenth / 10 for tenth in range(11))
#: The own car as `Agent.body` would say it; the camera is at its front.
_OWN_CAR_M = ((-0.9, 0.9), (-4.0, 0.0))


@dataclass(frozen=True)
class _Leader:
    """A vehicle ahead that stays for some clips: its distances at their bounds."""

    kind: Kind
    colour: Colour
    distances_m: tuple[float, ...]


def _seen(agent: Agent, hider: Agent | None = None) -> bool:
    """Whether most of an agent is in the picture for most of the clip, and not behind another."""
    seen = 0
    for time_s in _MOMENTS_S:
        if agent.at(time_s)[1] <= 0:
            continue  # it has passed
        spread = agent.spread(time_s)
        shown = _overlap(spread, (-_HALF_PICTURE, _HALF_PICTURE))
        if hider is not None and 0 < hider.at(time_s)[1] < agent.at(time_s)[1]:
            shown -= _overlap(spread, hider.spread(time_s))
        seen += shown >= _SEEN_SHARE * (spread[1] - spread[0])
    return seen > len(_MOMENTS_S) // 2


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def _collide(one: Agent, other: Agent) -> bool:
    """Whether two bodies stand in one place at some moment."""
    return any(_meet(one.body(time_s), other.body(time_s)) for time_s in _TENTHS_S)


def _fits(agent: Agent, other: Agent) -> bool:
    """Whether both can be there: neither hides nor hits the other, and `agent` not the own car."""
    seen = _seen(agent, other) and _seen(other, agent)
    return seen and not _collide(agent, other) and not _hits_own_car(agent)


def _hits_own_car(agent: Agent) -> bool:
    return any(_meet(agent.body(time_s), _OWN_CAR_M) for time_s in _TENTHS_S)


def _meet(one: Body, other: Body) -> bool:
    return all(_overlap(*sides) > 0 for sides in zip(one, other, strict=True))


def _leading(kind: Kind, colour: Colour, start_m: float, end_m: float) -> Agent:
    """Someone in the own lane, by the distances at the clip's start and end."""
    return Agent(kind, colour, "ahead", "middle", start_m, 0.0, round(start_m - end_m, 3), 0.0)


class Traffic:
    """Who is met along one drive."""

    def __init__(self, dice: Dice, split: Split) -> None:
        self.dice, self.split = dice, split
        self._leader: _Leader | None = None
        #: Who was parked beside the own car while that stood: it will still be there.
        self._parked: Agent | None = None

    def turns_off(self) -> None:
        """Another road begins: nobody of the last one is there."""
        self._leader = self._parked = None

    def agents(self, road: Road, speed: float, held_out: bool) -> tuple[Agent, ...]:
        """Who is met in the next clip, two at most, the nearer one first.

        Args:
            speed: of the own car in metres per second.
            held_out: whether one of them must show a combination that is kept from training.
        """
        met = self._met(road, speed, held_out)
        self._parked = None
        if not speed:
            self._parked = next((agent for agent in met if agent.motion == "parked"), None)
        # What is nearer comes first: it is what an answer begins with.
        return tuple(sorted(met, key=lambda agent: agent.at(CLIP_S / 2)[1]))

    def _met(self, road: Road, speed: float, held_out: bool) -> list[Agent]:
        """One or two, or nobody; whoever was there stays."""
        if self._leader is not None and len(self._leader.distances_m) < 2:
            self._leader = None
        met = [self._follow(speed)] if self._leader else []
        if self._parked is not None:
            parked = replace(self._parked, closing_mps=speed)
            if all(_fits(parked, agent) for agent in met) and _seen(parked):
                met.append(parked)
        if not met:
            if not held_out and self.dice.chance(_EMPTY):
                return []
            met = self._first(road, speed, held_out)
        if len(met) == 1 and self.dice.chance(_SECOND):
            others = (self._agent(road, speed, met[0], False) for _ in range(_TRIES))
            second = next((other for other in others if _fits(other, met[0])), None)
            met += [second] if second else []
        return met

    def _first(self, road: Road, speed: float, held_out: bool) -> list[Agent]:
        for _ in range(_TRIES):
            agent = self._agent(road, speed, None, held_out)
            if _seen(agent) and not _hits_own_car(agent):
                return [agent]
        return [agent]

    def _follow(self, speed: float) -> Agent:
        """The leader's next clip; where the own car stands, so does the leader."""
        leader = self._leader
        assert leader is not None
        start, end, *rest = leader.distances_m
        if speed:
            self._leader = _Leader(leader.kind, leader.colour, (end, *rest))
        else:
            end = start
        return _leading(leader.kind, leader.colour, start, end)

    def _agent(self, road: Road, speed: float, beside: Agent | None, held_out: bool) -> Agent:
        """Someone new, in another part of the picture than `beside`."""
        while True:
            kind = self.dice.pick(_KINDS[road])
            motion = self.dice.pick(_PERSON if kind == "person" else _MOTIONS[road])
            if beside is None or (kind != beside.kind and motion != beside.motion):
                break
            # In a tunnel and on a highway there are few: another kind is enough.
            if beside and kind != beside.kind and len(_MOTIONS[road]) < 3:
                motion = "oncoming" if beside.motion == "ahead" else "ahead"
                break
        colour = self._paint(kind, held_out)
        if motion == "ahead":
            near = self.dice.chance(0.5)
            low, high = (5.5, 8.0) if near else (9.8, 12.5)
            clips = self.dice.whole(2, 5) if beside is None else 1
            bounds = tuple(self.dice.between(low, high) for _ in range(clips + 1))
            if beside is not None:
                return _leading(kind, colour, bounds[0], bounds[1] if speed else bounds[0])
            self._leader = _Leader(kind, colour, bounds)
            return self._follow(speed)
        return self._passing(kind, colour, motion, speed)

    def _passing(self, kind: Kind, colour: Colour, motion: Motion, speed: float) -> Agent:
        """Someone who is met for one clip only."""
        side: Side
        near = self.dice.chance(0.5)
        middle = self.dice.between(6.5, 8.5) if near else self.dice.between(10.0, 12.5)
        if motion == "parked":
            side = self.dice.pick({"right": 2, "left": 1})
            # Whatever the own speed, the middle of the clip is where it is decided.
            return Agent(
                kind, colour, motion, side, round(middle + speed / 2, 3),
                self.dice.between(2.9, 3.4) * (1 if side == "right" else -1), speed, 0.0,
            )  # fmt: skip
        if motion == "oncoming":
            own = 2.5 if kind == "bicycle" else self.dice.between(6.0, 9.0)
            closing = round(speed + own, 3)
            return Agent(
                kind, colour, motion, "left", round(middle + closing / 2, 3),
                self.dice.between(-3.2, -2.8), closing, 0.0,
            )  # fmt: skip
        side = self.dice.pick({"left": 1, "right": 1})
        pace = {"person": (1.2, 2.0), "bicycle": (2.5, 3.5)}.get(kind, (4.0, 6.0))
        drift = self.dice.between(*pace) * (1 if side == "left" else -1)
        place = self.dice.between(-0.5, 0.5)
        return Agent(
            kind, colour, motion, side, round(middle + speed / 2, 3),
            round(place - drift / 2, 3), speed, drift,
        )  # fmt: skip

    def _paint(self, kind: Kind, held_out: bool) -> Colour:
        if held_out or (self.split == "test" and self.dice.chance(HELD_OUT_SHARE)):
            return HELD_OUT_PAINT[kind]
        return self.dice.pick({c: 1 for c in get_args(Colour) if c != HELD_OUT_PAINT[kind]})
