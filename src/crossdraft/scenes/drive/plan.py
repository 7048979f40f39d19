"""Planning a drive: which clips follow one another, from a seed and a number alone.

Things persist and change: light and weather last for most of a drive, a stretch of road for some
clips, a leading vehicle for a few, an oncoming one for a single clip. Test drives show
combinations that no training drive contains.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from crossdraft.scenes.drive.world import (
    CLIP_S,
    Agent,
    Bend,
    Beside,
    Clip,
    Colour,
    Kind,
    LightState,
    Motion,
    Pace,
    Road,
    Side,
    TimeOfDay,
    TrafficLight,
    Weather,
)

Split = Literal["train", "test"]
Choice = TypeVar("Choice")

#: One paint per kind and one light per road that training drives never show.
HELD_OUT_PAINT: dict[Kind, Colour] = {
    "car": "purple", "truck": "green", "bus": "red",
    "motorcycle": "orange", "bicycle": "gray", "person": "blue",
}  # fmt: skip
HELD_OUT_LIGHT: dict[Road, TimeOfDay] = {"highway": "night", "winding road": "dusk"}
#: Share of a test drive's agents that carry their kind's held-out paint.
HELD_OUT_SHARE = 0.25

_ROADS: dict[Road, float] = {
    "winding road": 3, "highway": 2, "tunnel": 1.5, "city street": 3, "crossroads": 2,
}  # fmt: skip
_TIMES: dict[TimeOfDay, float] = {"day": 5, "dusk": 3, "night": 3}
_LATER: dict[TimeOfDay, TimeOfDay] = {"day": "dusk", "dusk": "night", "night": "night"}
_WEATHER: dict[Weather, float] = {"clear": 5, "rain": 3, "snow": 3}
_BESIDE: dict[Road, dict[Beside, float]] = {
    "winding road": {"trees": 4, "stone wall": 3, "guard rail": 3, "field": 2},
    "highway": {"guard rail": 5, "trees": 3, "field": 3},
    "tunnel": {"field": 1},
    "city street": {"buildings": 6, "trees": 2, "stone wall": 1},
    "crossroads": {"buildings": 4, "trees": 3, "field": 2},
}
_PACES: dict[Road, dict[Pace, float]] = {
    "winding road": {"slow": 2, "fast": 2},
    "highway": {"slow": 1, "fast": 4},
    "tunnel": {"slow": 2, "fast": 3},
    "city street": {"slow": 4, "fast": 1},
    "crossroads": {"slow": 1},
}
_SPEED_MPS: dict[Pace, tuple[float, float]] = {
    "standing": (0.0, 0.0), "slow": (4.0, 6.0), "fast": (10.0, 14.0),
}  # fmt: skip
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
_LIGHTS: dict[LightState, float] = {"red": 2, "green": 2, "yellow": 1}
_NEXT_LIGHT: dict[LightState, LightState] = {"red": "green", "green": "yellow", "yellow": "red"}
#: How likely a thing is to begin, per clip.
_EMPTY, _SECOND, _TURNS_LATER, _WEATHER_TURNS = 0.05, 0.6, 0.03, 0.03


@dataclass(frozen=True)
class _Stretch:
    """What stays for some clips; `clips` counts those that are left."""

    road: Road
    bend: Bend
    left: Beside
    right: Beside
    mountains: bool
    pace: Pace
    speed_mps: float
    clips: int


@dataclass(frozen=True)
class _Leader:
    """A vehicle ahead that stays for some clips: its distances at their bounds."""

    kind: Kind
    colour: Colour
    distances_m: tuple[float, ...]


def drive_name(split: Split, number: int) -> str:
    """`train-0007`."""
    return f"{split}-{number:04d}"


def plan_drive(seed: int, split: Split, number: int, clips: int) -> tuple[Clip, ...]:
    """Plan a drive. A longer one begins with the clips of a shorter one.

    Args:
        seed: of the whole dataset.
        number: which drive of the split.
        clips: seconds to plan, 1 or more.
    """
    return _Planner(random.Random(f"{seed}/{split}/{number}"), split, number).drive(clips)


class _Planner:
    def __init__(self, rng: random.Random, split: Split, number: int) -> None:
        self.rng, self.split = rng, split
        self.name = drive_name(split, number)
        self.world_seed = rng.getrandbits(31)
        self.time: TimeOfDay = self._pick(_TIMES)
        self.weather: Weather = self._pick(_WEATHER)
        self.stretch = self._new_stretch()
        self.leader: _Leader | None = None
        self.light: LightState | None = None
        self.driven_m = 0.0

    def drive(self, clips: int) -> tuple[Clip, ...]:
        return tuple(self._clip(number) for number in range(clips))

    def _clip(self, number: int) -> Clip:
        if number:
            self._turn()
        stretch = self.stretch
        light = self._traffic_light()
        pace, speed = stretch.pace, stretch.speed_mps
        if light is not None and light.state == "red":
            pace, speed = "standing", 0.0
        first = number == 0 and self.split == "test"
        agents = self._agents(speed, held_out=first)
        clip = Clip(
            self.name, number, self.world_seed, stretch.road, stretch.bend, stretch.left,
            stretch.right, stretch.mountains, self.time, self.weather, pace,
            round(self.driven_m, 3), speed, light, agents,
        )  # fmt: skip
        self.driven_m += speed * CLIP_S
        return clip

    def _turn(self) -> None:
        """What may have changed since the clip before."""
        if self.rng.random() < _TURNS_LATER:
            self.time = _LATER[self.time]
        if self.rng.random() < _WEATHER_TURNS:
            self.weather = self._pick(_WEATHER)
        left = self.stretch.clips - 1
        if left and self._allowed(self.stretch.road):
            self.stretch = _Stretch(**{**self.stretch.__dict__, "clips": left})
        else:
            self.stretch, self.leader, self.light = self._new_stretch(), None, None

    def _allowed(self, road: Road) -> bool:
        return self.split == "test" or HELD_OUT_LIGHT.get(road) != self.time

    def _new_stretch(self) -> _Stretch:
        road = self._pick({r: w for r, w in _ROADS.items() if self._allowed(r)})
        bend: Bend = self._pick({"left": 2, "right": 2}) if road == "winding road" else "straight"
        pace = self._pick(_PACES[road])
        mountains = road in ("winding road", "highway") and self.rng.random() < 0.5
        return _Stretch(
            road, bend, self._pick(_BESIDE[road]), self._pick(_BESIDE[road]), mountains, pace,
            self._between(*_SPEED_MPS[pace]), self.rng.randint(3, 8),
        )  # fmt: skip

    def _traffic_light(self) -> TrafficLight | None:
        """Lights keep their state for some clips, then change as lights do."""
        likely = {"crossroads": 0.75, "city street": 0.2}.get(self.stretch.road, 0.0)
        state: LightState
        if self.light is None:
            if self.rng.random() >= likely:
                return None
            state = self._pick(_LIGHTS)
        else:
            turns = self.rng.random() < 0.4
            state = _NEXT_LIGHT[self.light] if turns else self.light
        self.light = state
        return TrafficLight(state, self._between(13.0, 16.0))

    def _agents(self, speed: float, held_out: bool) -> tuple[Agent, ...]:
        if self.leader is not None and len(self.leader.distances_m) < 2:
            self.leader = None
        if not held_out and self.leader is None and self.rng.random() < _EMPTY:
            return ()
        main = self._follow() if self.leader else self._agent(speed, None, held_out)
        if self.rng.random() >= _SECOND:
            return (main,)
        other = self._agent(speed, main, False)
        # What is nearer comes first: it is what an answer begins with.
        return tuple(sorted((main, other), key=lambda agent: agent.at(CLIP_S / 2)[1]))

    def _follow(self) -> Agent:
        """The leader's next clip."""
        leader = self.leader
        assert leader is not None
        start, end, *rest = leader.distances_m
        self.leader = _Leader(leader.kind, leader.colour, (end, *rest))
        return Agent(
            leader.kind, leader.colour, "ahead", "middle", start, 0.0, round(start - end, 3), 0.0
        )

    def _agent(self, speed: float, beside: Agent | None, held_out: bool) -> Agent:
        """Someone new, in another part of the picture than `beside`."""
        road = self.stretch.road
        while True:
            kind = self._pick(_KINDS[road])
            motion = self._pick(_PERSON if kind == "person" else _MOTIONS[road])
            if beside is None or (kind != beside.kind and motion != beside.motion):
                break
            # In a tunnel and on a highway there are few: another kind is enough.
            if beside and kind != beside.kind and len(_MOTIONS[road]) < 3:
                motion = "oncoming" if beside.motion == "ahead" else "ahead"
                break
        colour = self._paint(kind, held_out)
        if motion == "ahead":
            clips = self.rng.randint(2, 5) if beside is None else 1
            near = self.rng.random() < 0.5
            low, high = (5.5, 8.0) if near else (9.8, 12.5)
            bounds = tuple(self._between(low, high) for _ in range(clips + 1))
            self.leader = _Leader(kind, colour, bounds) if beside is None else self.leader
            if beside is None:
                return self._follow()
            return Agent(
                kind, colour, "ahead", "middle", bounds[0], 0.0, round(bounds[0] - bounds[1], 3),
                0.0,
            )  # fmt: skip
        return self._passing(kind, colour, motion, speed)

    def _passing(self, kind: Kind, colour: Colour, motion: Motion, speed: float) -> Agent:
        """Someone who is met for one clip only."""
        side: Side
        middle = self._between(6.5, 8.5) if self.rng.random() < 0.5 else self._between(10.0, 12.5)
        if motion == "parked":
            side = self._pick({"right": 2, "left": 1})
            # Whatever the own speed, the middle of the clip is where it is decided.
            return Agent(
                kind, colour, motion, side, round(middle + speed / 2, 3),
                self._between(2.9, 3.4) * (1 if side == "right" else -1), speed, 0.0,
            )  # fmt: skip
        if motion == "oncoming":
            own = 2.5 if kind == "bicycle" else self._between(6.0, 9.0)
            closing = round(speed + own, 3)
            return Agent(
                kind, colour, motion, "left", round(middle + closing / 2, 3),
                self._between(-3.2, -2.8), closing, 0.0,
            )  # fmt: skip
        side = self._pick({"left": 1, "right": 1})
        pace = {"person": (1.2, 2.0), "bicycle": (2.5, 3.5)}.get(kind, (4.0, 6.0))
        drift = self._between(*pace) * (1 if side == "left" else -1)
        place = self._between(-0.5, 0.5)
        return Agent(
            kind, colour, motion, side, round(middle + speed / 2, 3),
            round(place - drift / 2, 3), speed, drift,
        )  # fmt: skip

    def _paint(self, kind: Kind, held_out: bool) -> Colour:
        if held_out or (self.split == "test" and self.rng.random() < HELD_OUT_SHARE):
            return HELD_OUT_PAINT[kind]
        return self.rng.choice([c for c in get_args(Colour) if c != HELD_OUT_PAINT[kind]])

    def _pick(self, weights: dict[Choice, float]) -> Choice:
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def _between(self, low: float, high: float) -> float:
        return round(self.rng.uniform(low, high), 3)
