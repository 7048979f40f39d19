"""What there is in one clip of a drive, in metres and words: the ground truth.

The words are what answers name. `event_visible` and `camera_only` divide them by sensor: paint,
light and weather never reach the event camera's answers, shape, place and motion reach both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from crossdraft.base.errors import InputError

Road = Literal["winding road", "highway", "tunnel", "city street", "crossroads"]
TimeOfDay = Literal["day", "dusk", "night"]
Weather = Literal["clear", "rain", "snow"]
Kind = Literal["car", "truck", "bus", "motorcycle", "bicycle", "person"]
#: Paints of one brightness: an event camera cannot tell them apart (`picture` draws them so).
Colour = Literal["red", "blue", "green", "orange", "purple", "gray"]
#: A parked person stands. Ahead: in the own lane, moving the same way.
Motion = Literal["ahead", "oncoming", "crossing", "parked"]
#: Where in the picture; of one who crosses, where it comes from.
Side = Literal["left", "middle", "right"]
Beside = Literal["trees", "buildings", "stone wall", "guard rail", "field"]
Bend = Literal["left", "right", "straight"]
Pace = Literal["standing", "slow", "fast"]
LightState = Literal["red", "yellow", "green"]

#: Left and right, near and far end, in metres.
Body = tuple[tuple[float, float], tuple[float, float]]

#: What stands before the attributes of the first road user, and of the second.
WHOSE = ("", "second ")
#: Length of every clip.
CLIP_S = 1.0
#: Nearer than this in the middle of the clip is near.
NEAR_M = 9.0
#: Length and width of each kind in metres.
SIZE_M: dict[Kind, tuple[float, float]] = {
    "car": (3.9, 1.8), "truck": (5.6, 2.3), "bus": (6.2, 2.3),
    "motorcycle": (2.4, 1.1), "bicycle": (2.1, 1.2), "person": (0.5, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Agent:
    """A vehicle or a person.

    Attributes:
        distance_m: ahead of the camera at the clip's start.
        lateral_m: right of the own lane's middle line at the clip's start.
        closing_mps: by how much the distance shrinks per second.
        drift_mps: by how much `lateral_m` grows per second.
    """

    kind: Kind
    colour: Colour
    motion: Motion
    side: Side
    distance_m: float
    lateral_m: float
    closing_mps: float
    drift_mps: float

    def at(self, time_s: float) -> tuple[float, float]:
        """Lateral place and distance in metres, `time_s` after the clip's start."""
        return (
            self.lateral_m + self.drift_mps * time_s,
            self.distance_m - self.closing_mps * time_s,
        )

    def spread(self, time_s: float) -> tuple[float, float]:
        """Where its nearest face begins and ends in the picture: tangents, right is positive.

        For someone ahead: `at` must give a distance above 0.
        """
        (left, right), (distance, _) = self.body(time_s)
        return left / distance, right / distance

    def body(self, time_s: float) -> Body:
        """Where it begins and ends in metres: to the right of the own lane's middle, and ahead."""
        lateral, distance = self.at(time_s)
        length, width = SIZE_M[self.kind]
        across, along = (length, width) if self.motion == "crossing" else (width, length)
        return (lateral - across / 2, lateral + across / 2), (distance, distance + along)

    @property
    def near(self) -> bool:
        return self.at(CLIP_S / 2)[1] < NEAR_M


@dataclass(frozen=True)
class TrafficLight:
    """A traffic light on the right of the road, `distance_m` ahead at the clip's start."""

    state: LightState
    distance_m: float


@dataclass(frozen=True)
class Clip:
    """One second of a drive.

    Attributes:
        drive: name of the drive.
        number: which second of it.
        world_seed: places trees, windows and the like; one per drive.
        left, right: what lies beside the road; in a tunnel neither is seen.
        start_m: distance driven when the clip begins.
        agents: most prominent first, two at most.
    """

    drive: str
    number: int
    world_seed: int
    road: Road
    bend: Bend
    left: Beside
    right: Beside
    mountains: bool
    time: TimeOfDay
    weather: Weather
    pace: Pace
    start_m: float
    speed_mps: float
    light: TrafficLight | None
    agents: tuple[Agent, ...]

    @property
    def outdoors(self) -> bool:
        """Whether sky and surroundings can be seen."""
        return self.road != "tunnel"

    def event_visible(self) -> dict[str, str]:
        """What an event camera sees, by attribute: shape, place, motion."""
        seen: dict[str, str] = {"road": self.road, "bend": self.bend, "pace": self.pace}
        if self.outdoors:
            seen |= {"left": self.left, "right": self.right}
            seen["mountains"] = "yes" if self.mountains else "no"
            seen["traffic light"] = "yes" if self.light else "no"
        for prefix, agent in zip(WHOSE, self.agents, strict=False):
            seen |= {
                f"{prefix}vehicle": agent.kind,
                f"{prefix}motion": agent.motion,
                f"{prefix}side": agent.side,
                f"{prefix}near": "yes" if agent.near else "no",
            }
        return seen

    def camera_only(self) -> dict[str, str]:
        """What only the video camera sees, by attribute: paint, light, weather."""
        seen: dict[str, str] = {}
        if self.outdoors:
            seen |= {"time": self.time, "weather": self.weather}
            if self.light:
                seen["light state"] = self.light.state
        for prefix, agent in zip(WHOSE, self.agents, strict=False):
            seen[f"{prefix}colour"] = agent.colour
        return seen

    def to_truth(self) -> dict[str, Any]:
        """Ground truth as a manifest keeps it: attributes by sensor, and the clip itself."""
        return {
            "event_visible": self.event_visible(),
            "camera_only": self.camera_only(),
            "clip": asdict(self),
        }

    @classmethod
    def from_truth(cls, truth: Mapping[str, Any], where: str) -> Clip:
        """The clip that `to_truth` described.

        Args:
            where: what errors name, such as the scene's id.

        Raises:
            InputError: not the truth of a procedural drive, or a field is missing or damaged.
        """
        given = truth.get("clip")
        if not isinstance(given, Mapping):
            raise InputError(
                "its ground truth is not that of a procedural drive",
                where=where,
                expected="a scene of `crossdraft scenes synth`",
            )
        light, agents = given.get("light"), given.get("agents")
        if not isinstance(agents, (list, tuple)) or len(agents) > 2:
            raise InputError("agents is no list of two at most", where=where)
        parts = {
            "light": None if light is None else _made(TrafficLight, light, where),
            "agents": tuple(_made(Agent, agent, where) for agent in agents),
        }
        made: Clip = _made(cls, {**given, **parts}, where)
        return made


def _made(kind: Any, given: object, where: str) -> Any:
    """An instance of a dataclass of this file, every field of the kind and words it is declared.

    Raises:
        InputError: a field is missing, unknown or of another kind.
    """
    named = [field.name for field in fields(kind)]
    if not isinstance(given, Mapping) or set(given) != set(named):
        raise InputError(
            f"ground truth of a {kind.__name__}: {given!r:.80}",
            where=where,
            expected=f"exactly {', '.join(named)}",
        )
    hints = get_type_hints(kind)
    return kind(**{name: _checked(name, given[name], hints[name], where) for name in named})


def _checked(name: str, value: object, kind: Any, where: str) -> object:
    if get_origin(kind) is Literal:
        fits, expected = value in get_args(kind), ", ".join(get_args(kind))
    elif kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        expected = "a number"
    elif kind in (int, bool, str):
        fits, expected = type(value) is kind, kind.__name__
    else:
        return value  # an agent or a light, made before
    if not fits:
        raise InputError(f"{name} is {value!r}", where=where, expected=expected)
    return float(value) if kind is float else value  # type: ignore[arg-type]
