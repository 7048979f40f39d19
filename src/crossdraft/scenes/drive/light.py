"""What light falls on a clip: sky, ambient light, headlights, haze, and the paints.

All light is linear. A surface is four numbers: red, green, blue, and `i`, what the event sensor
sees of it. `i` is the luminance of a colour, except that all paints share one and so do all lamps
of a traffic light: an event camera can tell neither apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossdraft.scenes.drive.world import Clip, Colour, LightState, TimeOfDay, Weather
from crossdraft.scenes.srgb import BLUE, GREEN, RED, light_of_code

RGB = tuple[float, float, float]
#: Red, green, blue and what the event sensor sees.
Surface = tuple[float, float, float, float]


def linear(red: float, green: float, blue: float) -> RGB:
    """Linear light of an 8-bit sRGB colour."""
    return light_of_code(red), light_of_code(green), light_of_code(blue)


def luminance(colour: RGB) -> float:
    """Rec. 709 luminance of linear light."""
    return RED * colour[0] + GREEN * colour[1] + BLUE * colour[2]


def surface(red: float, green: float, blue: float) -> Surface:
    """The surface of an 8-bit sRGB colour."""
    colour = linear(red, green, blue)
    return (*colour, luminance(colour))


#: Hues far apart, luminance 0.20 to 0.25: a video of them leaks little to simulated events either.
PAINTS: dict[Colour, RGB] = {
    "red": (236, 52, 72), "blue": (52, 118, 250), "green": (14, 152, 52),
    "orange": (222, 100, 0), "purple": (182, 80, 232), "gray": (126, 128, 130),
}  # fmt: skip
#: What the event sensor sees of every paint.
PAINT_LIGHT = 0.21
LAMPS: dict[LightState, RGB] = {"red": (255, 30, 30), "yellow": (255, 205, 20),
                                "green": (20, 240, 90)}  # fmt: skip
#: What the event sensor sees of every traffic light's lamp, lit or not.
LAMP_LIGHT = 0.4


def paint(colour: Colour) -> Surface:
    return (*linear(*PAINTS[colour]), PAINT_LIGHT)


@dataclass(frozen=True)
class Light:
    """The light of one clip.

    Attributes:
        sky_top, sky_low: overhead and at the horizon; far things fade into `sky_low`.
        ambient: what falls on every surface.
        headlights: of the own car, at its bumper.
        haze_m: distance at which a thing is two thirds haze.
        sun: whether the setting sun is seen.
        clouds: how much brighter a cloud is than the sky.
        lit: share of windows with a light on; above 0 street lamps and vehicles' lamps burn too.
        gain: how much more of it the event sensor makes out than the camera, in the dark.
    """

    sky_top: RGB
    sky_low: RGB
    ambient: RGB
    headlights: float
    haze_m: float
    sun: bool
    clouds: float
    lit: float
    gain: float


_SKIES: dict[tuple[TimeOfDay, Weather], tuple[RGB, RGB]] = {
    ("day", "clear"): ((62, 128, 222), (176, 212, 244)),
    ("day", "rain"): ((112, 120, 132), (158, 164, 172)),
    ("day", "snow"): ((186, 192, 202), (216, 220, 226)),
    ("dusk", "clear"): ((66, 58, 118), (252, 138, 58)),
    ("dusk", "rain"): ((64, 58, 86), (206, 116, 76)),
    ("dusk", "snow"): ((92, 84, 124), (232, 148, 112)),
    ("night", "clear"): ((5, 8, 24), (20, 26, 52)),
    ("night", "rain"): ((9, 10, 16), (26, 28, 38)),
    ("night", "snow"): ((18, 20, 32), (44, 48, 64)),
}
_AMBIENT: dict[TimeOfDay, RGB] = {
    "day": (1.0, 1.0, 1.0), "dusk": (0.42, 0.33, 0.29), "night": (0.045, 0.052, 0.075),
}  # fmt: skip
_DIM: dict[Weather, float] = {"clear": 1.0, "rain": 0.66, "snow": 0.85}
_HEADLIGHTS: dict[TimeOfDay, float] = {"day": 0.0, "dusk": 0.25, "night": 1.0}
_HAZE_M: dict[Weather, float] = {"clear": 260.0, "rain": 75.0, "snow": 60.0}
_GAIN: dict[TimeOfDay, float] = {"day": 1.0, "dusk": 1.8, "night": 4.0}
_LIT: dict[TimeOfDay, float] = {"day": 0.0, "dusk": 0.3, "night": 0.45}
#: Neither time nor weather reaches into a tunnel: `sky_low` is its far end.
_TUNNEL = Light((0.9, 0.93, 0.96), (0.9, 0.93, 0.96), (0.52, 0.47, 0.38), 0.12, 400.0, False,
                0.0, 1.0, 1.0)  # fmt: skip


def light_of(clip: Clip) -> Light:
    """The light of a clip; the same for every time and weather in a tunnel."""
    if not clip.outdoors:
        return _TUNNEL
    top, low = _SKIES[clip.time, clip.weather]
    red, green, blue = _AMBIENT[clip.time]
    dim = _DIM[clip.weather]
    clear = clip.weather == "clear"
    return Light(
        linear(*top),
        linear(*low),
        (red * dim, green * dim, blue * dim),
        _HEADLIGHTS[clip.time],
        _HAZE_M[clip.weather],
        sun=clip.time == "dusk" and clear,
        clouds=0.35 if clear and clip.time != "night" else 0.0,
        lit=_LIT[clip.time],
        gain=_GAIN[clip.time],
    )
