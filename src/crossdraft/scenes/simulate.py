"""An event simulator: what an event camera would report of light that is known at some times.

The contrast-threshold model of ESIM (Rebecq, Gehrig, Scaramuzza: ESIM: an Open Event Camera
Simulator, CoRL 2018), with threshold spread, refractory period and leak. What it leaves out, and
why its events are no sensor's, is in docs/simulate.md.
"""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.simulate_kernel import SIDE_BITS, TIME_BITS, Keys, Levels, step, unpack
from crossdraft.scenes.srgb import BLUE, GREEN, RED, light_of_code

Light = npt.NDArray[np.floating[Any]]

#: No pixel's threshold is drawn below this share of the nominal one.
LEAST_SHARE = 0.25
_THRESHOLDS = (0.01, 10.0)
_MAX_LEAK_HZ = 1000.0
#: So far back that no refractory period reaches it; sums of it and any time fit int64.
_NEVER_US = -(1 << 61)
_MAX_TIME_US = 1 << 60
#: That a step has room for, unless told otherwise: 13 bytes each when they are reported, and 16
#: more while the step is sorted, so under 3 GB.
MOST_EVENTS = 100_000_000


@dataclass(frozen=True)
class SimulatorSettings:
    """The simulated sensor.

    Attributes:
        threshold_on, threshold_off: change of log intensity (natural) that makes an event.
        threshold_sigma: standard deviation of both over the pixels, drawn once per pixel.
        refractory_us: how long a pixel reports nothing after an event, microseconds; 0: never.
        leak_hz: ON events per second of a pixel that sees no change.
        eps: added to the light (0 to 1) before its logarithm. The default keeps the steps of
            8-bit video harmless: at 0.01 the largest, near black, is 0.031, a fifth of the
            default threshold and less than any that is drawn from it. At ESIM's 0.001 the step
            from code 0 to code 1 alone is 0.27, and dark noise would rain events.

    Raises:
        InputError: a value out of range.
    """

    threshold_on: float = 0.15
    threshold_off: float = 0.15
    threshold_sigma: float = 0.03
    refractory_us: int = 0
    leak_hz: float = 0.0
    eps: float = 0.01

    def __post_init__(self) -> None:
        least, most = _THRESHOLDS
        for name in ("threshold_on", "threshold_off"):
            _check(name, getattr(self, name), least, most)
        _check(
            "threshold_sigma", self.threshold_sigma, 0, min(self.threshold_on, self.threshold_off)
        )
        _check("leak_hz", self.leak_hz, 0, _MAX_LEAK_HZ)
        _check("eps", self.eps, 1e-6, 1)
        if type(self.refractory_us) is not int or not 0 <= self.refractory_us < 1 << 40:
            raise InputError(
                f"{self.refractory_us!r}",
                where="refractory_us",
                expected="whole microseconds, 0 or more",
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)


class TooManyEventsError(InputError):
    """One step makes more events than there is room for."""


class EventSimulator:
    """A sensor that is shown light at rising times and reports events.

    Between two times the logarithm of the light goes straight, so a pixel may report several
    events in one step, each at the time of its crossing. A crossing in the refractory period is
    used up, as in ESIM: the reference moves on and the event is not reported.

    Attributes:
        threshold_on, threshold_off: every pixel's own, float64 [height, width].
    """

    def __init__(self, sensor: tuple[int, int], settings: SimulatorSettings, seed: int) -> None:
        """A sensor in the dark about everything.

        Args:
            sensor: width and height in pixels.
            seed: of the thresholds' spread and of the leak's phases.

        Raises:
            InputError: no such size or seed.
        """
        width, height = sensor
        if not (0 < width <= 1 << SIDE_BITS and 0 < height <= 1 << SIDE_BITS):
            raise InputError(
                f"a sensor of {width}x{height} pixels",
                expected=f"width and height from 1 to {1 << SIDE_BITS}",
            )
        if seed < 0:
            raise InputError(f"{seed}", where="seed", expected="0 or more")
        self.sensor, self.settings = (width, height), settings
        shape, random = (height, width), np.random.default_rng(seed)
        nominals = (settings.threshold_on, settings.threshold_off)
        self.threshold_on, self.threshold_off = (
            np.maximum(
                random.normal(nominal, settings.threshold_sigma, shape), LEAST_SHARE * nominal
            )
            for nominal in nominals
        )
        self._rest = np.zeros(shape)
        if settings.leak_hz:
            # A sensor that has run for a while: else all pixels would leak at the same moment.
            self._rest = random.random(shape) * self.threshold_on
        self._last_event_us = np.full(shape, _NEVER_US)
        self._level: Levels | None = None
        self._time_us = _NEVER_US
        self._keys = np.empty(1024, np.int64)
        self._spent = False

    def push(self, intensity: Light, time_us: int, most: int = MOST_EVENTS) -> EventStream:
        """Events since the previous call, up to and including `time_us`.

        Args:
            intensity: linear light, 0 or more, 1 for white; floats [height, width].
            time_us: whole microseconds, later than before.
            most: how many events there is room for.

        Returns:
            Events in (previous time, time_us], sorted by time, then row, then column; none at
            the first call, whose light is the reference.

        Raises:
            InputError: another shape or kind of array, light that is negative or no number, or a
                time that does not rise or is no whole number. The state is then as before.
            TooManyEventsError: more events than `most`. Some pixels have seen the step and others
                have not, so the simulator is spent: it refuses every further push.
        """
        if self._spent:
            raise InputError(
                "this simulator has met more events than there was room for",
                expected="one that has seen every step whole",
                hint="begin again with a new one",
            )
        self._check_light(intensity)
        time_us = self._checked_time(time_us)
        level = np.add(intensity, self.settings.eps, dtype=np.float64)
        np.log(level, out=level)
        if self._level is None:
            self._level, self._time_us = level, time_us
            return EventStream.empty(self.sensor)
        start_us, self._time_us = self._time_us, time_us
        keys = self._crossings(self._level, level, start_us, most)
        x, y = np.empty(len(keys), np.uint16), np.empty(len(keys), np.uint16)
        t, p = np.empty(len(keys), np.int64), np.empty(len(keys), np.uint8)
        unpack(keys, np.empty_like(keys), time_us - start_us, start_us, x, y, t, p)
        return EventStream(x, y, t, p, *self.sensor)

    def _crossings(self, last_level: Levels, level: Levels, start_us: int, most: int) -> Keys:
        """Keys of the events since `start_us`, by row and column; pixels are brought up to date."""
        pixel, n, leak = 0, 0, self.settings.leak_hz * (self._time_us - start_us) * 1e-6
        while True:
            pixel, n = step(
                level, last_level, self._rest, self.threshold_on, self.threshold_off,
                self._last_event_us, leak, start_us, self._time_us,
                self.settings.refractory_us, pixel, n, self._keys[:most],
            )  # fmt: skip
            if pixel == level.size:
                return self._keys[:n]
            if len(self._keys) >= most:
                self._spent = True
                raise TooManyEventsError(
                    f"more than {most:,} events from {start_us:,} to {self._time_us:,} us",
                    expected="as many as fit into memory",
                    hint="take a smaller sensor or shorter steps, or raise the thresholds",
                )
            # Kept for the steps that follow: what moves goes on moving.
            keys = np.empty(min(2 * len(self._keys), most), np.int64)
            keys[:n] = self._keys[:n]
            self._keys = keys

    def _check_light(self, intensity: Light) -> None:
        width, height = self.sensor
        given = np.asarray(intensity)
        if given.shape != (height, width) or given.dtype.kind != "f":
            raise InputError(
                f"light as an array of {given.dtype} {list(given.shape)}",
                expected=f"floats [{height}, {width}], linear light",
                hint="turn a picture into light with scenes.simulate.luminance",
            )
        # NaN is passed on by both and fails every comparison.
        least, most = float(given.min()), float(given.max())
        if not (least >= 0 and most < math.inf):
            raise InputError(f"light from {least:g} to {most:g}", expected="0 or more, finite")

    def _checked_time(self, given: int) -> int:
        try:
            time_us = operator.index(given)
        except TypeError:
            raise InputError(f"light at {given!r} us", expected="whole microseconds") from None
        # The first time has no step before it.
        span_us = time_us - self._time_us if self._level is not None else 1
        if not 0 < span_us < 1 << TIME_BITS or abs(time_us) > _MAX_TIME_US:
            before = "" if self._level is None else f" after {self._time_us:,} us"
            raise InputError(
                f"light at {time_us:,} us{before}",
                expected=f"rising times, less than {(1 << TIME_BITS) // 3_600_000_000} h apart",
            )
        return time_us


def luminance(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Linear light of an sRGB picture: Rec. 709 luminance, 0 to 1.

    Args:
        rgb: uint8 [height, width, 3].

    Returns:
        float32 [height, width].

    Raises:
        InputError: another shape or type.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise InputError(
            f"a picture as an array of {rgb.dtype} {list(rgb.shape)}",
            expected="RGB, uint8 [height, width, 3]",
        )
    red, green, blue = _TABLES
    light = green[rgb[..., 1]]
    light += red[rgb[..., 0]]
    light += blue[rgb[..., 2]]
    return light


#: Share of each code of red, green and blue in the luminance.
_TABLES = tuple(
    np.array([weight * light_of_code(code) for code in range(256)], np.float32)
    for weight in (RED, GREEN, BLUE)
)


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # NaN fails both
        raise InputError(f"{value}", where=name, expected=f"from {least:g} to {most:g}")
