"""Planning a drive: which clips follow one another, from a seed and a number alone.

Things persist and change: light and weather last for most of a drive, a stretch of road for some
clips, a leading vehicle for a few, an oncoming one for a single clip. Test drives show
combinations that no training drive contains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from crossdraft.scenes.drive.dice import Dice
from crossdraft.scenes.drive.traffic import Split, Traffic
from crossdraft.scenes.drive.world import (
    CLIP_S,
    Bend,
    Beside,
    Clip,
    LightState,
    Pace,
    Road,
    TimeOfDay,
    TrafficLight,
    Weather,
)

#: Times of day at which training drives never show a road (and one paint per kind, `traffic.py`).
HELD_OUT_LIGHT: dict[Road, TimeOfDay] = {"highway": "night", "winding road": "dusk"}

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
_LIGHTS: dict[LightState, float] = {"red": 2, "green": 2, "yellow": 1}
_NEXT_LIGHT: dict[LightState, LightState] = {"red": "green", "green": "yellow", "yellow": "red"}
#: Where lights stand, and how likely a clip without one is to bring one.
_LIKELY_LIGHT: dict[Road, float] = {"crossroads": 0.75, "city street": 0.2}
#: How likely it is in each clip that it gets later, the weather is drawn anew, a light changes.
_TURNS_LATER, _WEATHER_TURNS, _LIGHT_TURNS = 0.03, 0.03, 0.4
_STANDS_AT_RED, _STILL_STANDS = 0.6, 0.5


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
    planner = _Planner(Dice(f"{seed}/{split}/{number}"), split, number)
    return tuple(planner.clip(second) for second in range(clips))


class _Planner:
    """The state of a drive, moved on clip by clip."""

    def __init__(self, dice: Dice, split: Split, number: int) -> None:
        self.dice, self.split = dice, split
        self.name = drive_name(split, number)
        self.world_seed = dice.whole(0, 2**31 - 1)
        self.time: TimeOfDay = self.dice.pick(_TIMES)
        self.weather: Weather = self.dice.pick(_WEATHER)
        self.stretch = self._new_stretch()
        self.traffic = Traffic(dice, split)
        self.light: TrafficLight | None = None
        self.driven_m = 0.0
        self.stood = False

    def clip(self, number: int) -> Clip:
        """The next clip."""
        if number:
            self._turn()
        stretch = self.stretch
        light = self._traffic_light()
        pace, speed = stretch.pace, stretch.speed_mps
        if light is not None and self._stops(light):
            pace, speed = "standing", 0.0
        first = number == 0 and self.split == "test"
        agents = self.traffic.agents(stretch.road, speed, held_out=first)
        clip = Clip(
            self.name, number, self.world_seed, stretch.road, stretch.bend, stretch.left,
            stretch.right, stretch.mountains, self.time, self.weather, pace,
            round(self.driven_m, 3), speed, light, agents,
        )  # fmt: skip
        self.driven_m += speed * CLIP_S
        self.stood = speed == 0.0
        return clip

    def _stops(self, light: TrafficLight) -> bool:
        """Most stand at red, some still roll up to it; some stand a while after it was red.

        So that who sees motion alone can guess the light's state, as on a real road, but not know.
        """
        if light.state == "red":
            fast = self.stretch.pace == "fast"
            return self.stood or fast or self.dice.chance(_STANDS_AT_RED)
        return self.stood and light.state == "green" and self.dice.chance(_STILL_STANDS)

    def _turn(self) -> None:
        """What may have changed since the clip before."""
        if self.dice.chance(_TURNS_LATER):
            self.time = _LATER[self.time]
        if self.dice.chance(_WEATHER_TURNS):
            self.weather = self.dice.pick(_WEATHER)
        left = self.stretch.clips - 1
        if left and self._allowed(self.stretch.road):
            self.stretch = replace(self.stretch, clips=left)
        else:
            self.stretch, self.light, self.stood = self._new_stretch(), None, False
            self.traffic.turns_off()

    def _allowed(self, road: Road) -> bool:
        return self.split == "test" or HELD_OUT_LIGHT.get(road) != self.time

    def _new_stretch(self) -> _Stretch:
        road = self.dice.pick({r: w for r, w in _ROADS.items() if self._allowed(r)})
        winds = road == "winding road"
        bend: Bend = self.dice.pick({"left": 1, "right": 1}) if winds else "straight"
        left, right = self.dice.pick(_BESIDE[road]), self.dice.pick(_BESIDE[road])
        mountains = road in ("winding road", "highway") and self.dice.chance(0.5)
        pace = self.dice.pick(_PACES[road])
        speed_mps = self.dice.between(*_SPEED_MPS[pace])
        clips = self.dice.whole(3, 8)
        return _Stretch(road, bend, left, right, mountains, pace, speed_mps, clips)

    def _traffic_light(self) -> TrafficLight | None:
        """Lights keep their state for some clips, then change as lights do.

        One that was stood at stays in its place; who drives meets another one in each clip, as
        near as its state can be seen.
        """
        before, distance_m = self.light, self.dice.between(13.0, 16.0)
        if before is None:
            if not self.dice.chance(_LIKELY_LIGHT.get(self.stretch.road, 0.0)):
                return None
            state = self.dice.pick(_LIGHTS)
        else:
            state = _NEXT_LIGHT[before.state] if self.dice.chance(_LIGHT_TURNS) else before.state
            if self.stood:
                distance_m = before.distance_m
        self.light = TrafficLight(state, distance_m)
        return self.light
