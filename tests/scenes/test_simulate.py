"""The event simulator against closed forms: how many events, when, which way."""

from __future__ import annotations

import itertools
import math
import signal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.simulate import (
    LEAST_SHARE,
    EventSimulator,
    SimulatorSettings,
    TooManyEventsError,
    luminance,
)

EPS = SimulatorSettings().eps


def plain(on: float = 0.15, off: float | None = None, **more: Any) -> SimulatorSettings:
    """All pixels alike."""
    return SimulatorSettings(on, on if off is None else off, threshold_sigma=0.0, **more)


def light(level: Any) -> npt.NDArray[np.float64]:
    """Light whose logarithm, `eps` added, is the level."""
    return np.exp(np.asarray(level, np.float64)) - EPS


def run(simulator: EventSimulator, levels: Any, times_us: Any) -> EventStream:
    """Events of log intensities, [steps, height, width]."""
    pairs = zip(levels, times_us, strict=True)
    parts = [simulator.push(light(level), int(time)) for level, time in pairs]
    whole = EventStream.joined(parts)
    return EventStream.checked(whole.x, whole.y, whole.t, whole.p, sensor=simulator.sensor)


def of_pixel(stream: EventStream, x: int, y: int) -> tuple[list[int], list[int]]:
    """Times and polarities."""
    mine = (stream.x == x) & (stream.y == y)
    return stream.t[mine].tolist(), stream.p[mine].tolist()


def crossings(level: Any, extrema_s: list[float], on: float, off: float) -> list[tuple[float, int]]:
    """Time and polarity of every crossing of a level that is monotone between its extrema."""
    found, reference = [], level(extrema_s[0])
    for start, end in itertools.pairwise(extrema_s):
        rising = level(end) > level(start)
        size = on if rising else -off
        share = (level(end) - reference) / size
        assume(abs(share - round(share)) > 1e-6)  # a tie is decided by rounding
        for _ in range(max(0, math.floor(share))):
            reference += size
            low, high = start, end
            for _ in range(50):
                middle = (low + high) / 2
                low, high = (
                    (middle, high) if (level(middle) < reference) == rising else (low, middle)
                )
            found.append((high, int(rising)))
    return found


@settings(max_examples=60)
@given(
    amplitude=st.floats(0.05, 2.5),
    phase=st.floats(0, 6.28),
    on=st.floats(0.05, 0.6),
    off=st.floats(0.05, 0.6),
    hz=st.floats(0.5, 20),
    steps=st.integers(3, 300),
)
def test_a_sinusoid_gives_the_events_of_its_closed_form(
    amplitude: float, phase: float, on: float, off: float, hz: float, steps: int
) -> None:
    def level(time_s: float) -> float:
        return -1.5 + amplitude * math.sin(2 * math.pi * hz * time_s + phase)

    peaks = [(math.pi * (k + 0.5) - phase) / (2 * math.pi * hz) for k in range(-1, 40)]
    extrema_s = [0.0, *(peak for peak in peaks if 0 < peak < 1), 1.0]
    # The extrema are among the samples: between samples the light is not a sinusoid.
    grid = np.concatenate([np.linspace(0, 1, steps), extrema_s])
    times_us = np.unique(np.round(grid * 1e6).astype(int))
    expected = crossings(level, extrema_s, on, off)
    levels = [np.full((1, 1), level(time / 1e6)) for time in times_us]
    stream = run(EventSimulator((1, 1), plain(on, off), 0), levels, times_us)
    assert len(stream) == len(expected)
    for (time_s, polarity), t, p in zip(expected, stream.t, stream.p, strict=True):
        step_us = np.diff(times_us)[min(np.searchsorted(times_us, t) - 1, len(times_us) - 2)]
        assert p == polarity
        assert abs(t - time_s * 1e6) <= step_us + 1


@pytest.mark.parametrize("bright", [True, False], ids=["bright", "dark"])
def test_a_moving_edge(bright: bool) -> None:
    """An edge that crosses a pixel in 10 ms gives contrast / threshold events of one polarity."""
    width, height, pixel_us, threshold = 24, 3, 10_000, 0.11
    before, after = (0.05, 0.6) if bright else (0.6, 0.05)
    contrast = abs(math.log(after + EPS) - math.log(before + EPS))
    simulator = EventSimulator((width, height), plain(threshold), 0)
    parts = []
    for time_us in range(0, (width + 1) * pixel_us, 2_500):
        passed = np.clip(time_us / pixel_us - np.arange(width), 0, 1)
        row = before + passed * (after - before)
        parts.append(simulator.push(np.tile(row, (height, 1)), time_us))
    for x, y in itertools.product(range(width), range(height)):
        own = [of_pixel(part, x, y) for part in parts]
        times = [time for t, _ in own for time in t]
        assert {polarity for _, p in own for polarity in p} == {int(bright)}
        assert abs(len(times) - contrast / threshold) < 1
        assert x * pixel_us < times[0] and times[-1] <= (x + 1) * pixel_us
        # When the middle one is due: the light that it stands for, as a share of the way.
        middle = len(times) // 2
        due = math.log(before + EPS) + (middle + 1) * (threshold if bright else -threshold)
        share = (math.exp(due) - EPS - before) / (after - before)
        assert abs(times[middle] - (x + share) * pixel_us) <= 2_500


def walk(seed: int, steps: int, sensor: tuple[int, int] = (6, 5)) -> npt.NDArray[np.float64]:
    """Log intensities that wander within what light can have, [steps, height, width]."""
    random = np.random.default_rng(seed)
    moves = random.normal(0, 0.4, (steps, sensor[1], sensor[0]))
    levels: npt.NDArray[np.float64] = np.clip(moves.cumsum(0), -2, 2) - 2
    return levels


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), span_us=st.sampled_from([50, 1_000, 40_000, 9_000_000]))
def test_a_step_in_two_collinear_ones_gives_the_same_events(seed: int, span_us: int) -> None:
    levels = walk(seed, 6)
    times = np.arange(6) * span_us + 12_345
    between = np.random.default_rng(seed).integers(1, span_us, 5)
    split_levels, split_times = [levels[0]], [times[0]]
    for i, cut in enumerate(between):
        split_levels += [levels[i] + (levels[i + 1] - levels[i]) * (cut / span_us), levels[i + 1]]
        split_times += [times[i] + cut, times[i + 1]]
    whole = run(EventSimulator((6, 5), SimulatorSettings(), 1), levels, times)
    parts = run(EventSimulator((6, 5), SimulatorSettings(), 1), split_levels, split_times)
    assert len(whole) > 20
    for x, y in itertools.product(range(6), range(5)):
        (t, p), (split_t, split_p) = of_pixel(whole, x, y), of_pixel(parts, x, y)
        assert p == split_p
        assert np.abs(np.subtract(t, split_t)).max(initial=0) <= 1


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_the_negative_gives_the_same_events_the_other_way(seed: int) -> None:
    levels, times = walk(seed, 6), np.arange(6) * 3_000
    there = run(EventSimulator((6, 5), plain(), 0), levels, times)
    back = run(EventSimulator((6, 5), plain(), 0), -4 - levels, times)
    for x, y in itertools.product(range(6), range(5)):
        (t, p), (other_t, other_p) = of_pixel(there, x, y), of_pixel(back, x, y)
        assert [1 - polarity for polarity in p] == other_p
        assert np.abs(np.subtract(t, other_t)).max(initial=0) <= 1


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_events_are_ordered_and_within_their_step(seed: int) -> None:
    levels = walk(seed, 5, (30, 20))
    simulator, last_us = EventSimulator((30, 20), SimulatorSettings(), seed), -7
    for number, level in enumerate(levels):
        time_us = last_us + int(np.random.default_rng(number).integers(1, 400))
        part = simulator.push(light(level), time_us)
        assert not len(part) or last_us < part.t[0] <= part.t[-1] <= time_us
        assert np.array_equal(np.lexsort((part.x, part.y, part.t)), np.arange(len(part)))
        dtypes = [getattr(part, name).dtype.name for name in "xytp"]
        assert dtypes == ["uint16", "uint16", "int64", "uint8"]
        last_us = time_us


def test_the_refractory_period_uses_crossings_up() -> None:
    simulator = EventSimulator((1, 1), plain(0.1, refractory_us=100_000), 0)
    levels = [[[-2.0]], [[-0.95]], [[-0.95]], [[-1.0]], [[-0.89]]]
    stream = run(simulator, levels, [0, 10_000, 500_000, 600_000, 900_000])
    # One of ten, none when the period is over, and the next one 0.1 above the last that was due.
    assert stream.p.tolist() == [1, 1]
    assert stream.t[0] == math.ceil(10_000 * 0.1 / 1.05) and stream.t[1] > 600_000


@given(seed=st.integers(0, 2**32 - 1), refractory_us=st.integers(1, 5_000))
@settings(max_examples=15)
def test_a_pixel_rests_as_long_as_it_should(seed: int, refractory_us: int) -> None:
    levels, times = walk(seed, 8), np.arange(8) * 3_000
    free = run(EventSimulator((6, 5), SimulatorSettings(), 1), levels, times)
    rested = SimulatorSettings(refractory_us=refractory_us)
    stream = run(EventSimulator((6, 5), rested, 1), levels, times)
    for x, y in itertools.product(range(6), range(5)):
        every, last, expected = zip(*of_pixel(free, x, y), strict=True), -(10**9), []
        for t, p in every:
            if t - last >= refractory_us:
                expected.append((t, p))
                last = t
        assert list(zip(*of_pixel(stream, x, y), strict=True)) == expected


def test_leak() -> None:
    """A pixel that sees nothing: so many ON events a second, evenly spaced, not all at once."""
    simulator = EventSimulator((20, 10), SimulatorSettings(leak_hz=5.0), 3)
    still = np.full((200, 10, 20), -1.0)
    stream = run(simulator, still, np.arange(200) * 50_000)
    assert (stream.p == 1).all()
    counts = np.bincount(stream.y.astype(int) * 20 + stream.x, minlength=200)
    assert ((counts >= 49) & (counts <= 50)).all()  # 9.95 s
    for x, y in itertools.product(range(20), range(10)):
        assert np.abs(np.diff(of_pixel(stream, x, y)[0]) - 200_000).max() <= 1
    firsts = [of_pixel(stream, x, y)[0][0] for x, y in itertools.product(range(20), range(10))]
    assert 40_000 < np.std(firsts) < 75_000  # uniform over 200 ms: 57.7 ms


def test_leak_works_against_light_that_falls() -> None:
    """A fall of 1.0 in a second in which the reference sinks by 0.5: half the OFF events."""
    simulator = EventSimulator((20, 10), plain(0.1, leak_hz=5.0), 3)
    levels = [np.full((10, 20), -1.0 - step / 50) for step in range(51)]
    stream = run(simulator, levels, np.arange(51) * 20_000)
    assert (stream.p == 0).all()
    # The phases of the leak lie above the reference: 4 to 5 thresholds are left of the fall.
    assert (np.bincount(stream.y.astype(int) * 20 + stream.x, minlength=200) == 4).all()


def test_the_smallest_changes_count() -> None:
    levels = [[[-1.0]], [[-0.9 - 4e-10]], [[-0.9 + 4e-10]]]
    stream = run(EventSimulator((1, 1), plain(0.1), 0), levels, [0, 1_000, 2_000])
    assert stream.t.tolist() == [pytest.approx(1_500, abs=1)]


def test_no_event_lies_at_the_beginning_of_its_step() -> None:
    """Not even where rounding has left a pixel at the threshold itself."""
    simulator = EventSimulator((1, 1), plain(0.1), 0)
    simulator._rest[:] = simulator.threshold_on
    assert run(simulator, [[[-1.0]], [[-0.95]]], [7_000, 8_000]).t.tolist() == [7_001]


def test_thresholds_are_spread_as_asked() -> None:
    simulator = EventSimulator((200, 150), SimulatorSettings(0.2, 0.15), 5)
    for drawn, nominal in ((simulator.threshold_on, 0.2), (simulator.threshold_off, 0.15)):
        assert drawn.shape == (150, 200)
        assert abs(drawn.mean() - nominal) < 4 * 0.03 / math.sqrt(drawn.size)
        assert drawn.std() == pytest.approx(0.03, rel=0.02)
    both = np.corrcoef(simulator.threshold_on.ravel(), simulator.threshold_off.ravel())
    assert abs(both[0, 1]) < 0.025
    wide = EventSimulator((200, 150), SimulatorSettings(0.1, 0.1, 0.1), 5)
    assert wide.threshold_on.min() == LEAST_SHARE * 0.1
    even = EventSimulator((3, 3), plain(0.2), 5)
    assert (even.threshold_on == 0.2).all()


def test_the_seed_decides() -> None:
    levels, times = walk(0, 5), np.arange(5) * 1_000
    spread = SimulatorSettings(leak_hz=50.0)
    one, same, other = (
        run(EventSimulator((6, 5), spread, seed), levels, times) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(getattr(one, name), getattr(same, name)) for name in "xytp")
    assert not np.array_equal(one.t, other.t)


def test_a_step_of_eight_bit_video_makes_no_event() -> None:
    """However a pixel flickers between two neighbouring codes, from whichever it begins."""
    codes = np.tile(np.arange(255, dtype=np.uint8), (40, 1))
    dark, lighter = (luminance(np.stack([c] * 3, -1)) for c in (codes, codes + 1))

    def fired(settings: SimulatorSettings, seed: int) -> int:
        simulator = EventSimulator((255, 40), settings, seed)
        flicker = enumerate((dark, lighter) * 3)
        return sum(len(simulator.push(frame, number * 1000)) for number, frame in flicker)

    steps = np.abs(np.log(lighter + EPS) - np.log(dark + EPS))
    usual = SimulatorSettings()
    assert steps.max() < LEAST_SHARE * min(usual.threshold_on, usual.threshold_off)
    assert [fired(usual, seed) for seed in range(5)] == [0] * 5
    assert fired(SimulatorSettings(eps=0.001), 0) > 0


def test_what_does_not_change_is_silent_and_the_first_light_is_the_reference() -> None:
    simulator = EventSimulator((4, 3), SimulatorSettings(), 0)
    frame = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    assert [len(simulator.push(frame, time)) for time in (5, 6, 10**9)] == [0, 0, 0]


def test_room_that_runs_out_changes_nothing() -> None:
    levels, times = walk(2, 4, (30, 20)), np.arange(4) * 1_000
    settings = SimulatorSettings(refractory_us=20)
    roomy, tight = (EventSimulator((30, 20), settings, 0) for _ in range(2))
    roomy._keys, tight._keys = np.empty(1 << 16, np.int64), np.empty(1, np.int64)
    one, other = run(roomy, levels, times), run(tight, levels, times)
    assert len(one) > 2_000
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in "xytp")


def test_more_events_than_there_is_room_for() -> None:
    frames = [np.full((20, 30), value) for value in (0.0, 1.0, 0.0)]
    counts, simulator = [], EventSimulator((30, 20), SimulatorSettings(), 0)
    for time, frame in enumerate(frames):
        counts.append(len(simulator.push(frame, time * 1_000)))
    assert counts[1] > 10_000  # grown several times
    exact = EventSimulator((30, 20), SimulatorSettings(), 0)
    assert [
        len(exact.push(frame, time * 1_000, room))
        for time, (frame, room) in enumerate(zip(frames, counts, strict=True))
    ] == counts
    assert len(exact._keys) == max(counts), "no more memory is taken than that"
    for room in (0, 1, 5_000, counts[1] - 1):
        tight = EventSimulator((30, 20), SimulatorSettings(), 0)
        tight.push(frames[0], 0, room)
        with pytest.raises(TooManyEventsError, match=f"more than {room:,} events from 0 to 1,000"):
            tight.push(frames[1], 1_000, room)
        assert len(tight._keys) <= max(room, 1_024)
        with pytest.raises(InputError, match="begin again with a new one"):
            tight.push(frames[2], 2_000)


def test_room_that_is_there_already_does_not_count() -> None:
    simulator = EventSimulator((2, 2), plain(), 0)
    simulator.push(np.full((2, 2), 0.1), 0)
    with pytest.raises(TooManyEventsError):  # there are four, and room for a thousand
        simulator.push(np.full((2, 2), 0.12), 1_000, 3)


@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.int16])
def test_times_of_any_whole_type(kind: Any) -> None:
    simulator = EventSimulator((4, 3), plain(), 0)
    simulator.push(np.full((3, 4), 0.1), kind(5))
    events = simulator.push(np.full((3, 4), 0.9), kind(10))
    assert events.t.dtype == np.int64
    assert 5 < events.t[0] <= events.t[-1] <= 10


def test_an_interrupt_comes_out_as_one() -> None:
    """Compiled code that hands over arrays would make a SystemError of it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    frames = np.random.default_rng(0).random((2, 200, 300))
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(5):
            simulator = EventSimulator((300, 200), SimulatorSettings(), 0)
            simulator.push(frames[0], 0)
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(KeyboardInterrupt):
                for step in range(1, 200):
                    simulator.push(frames[step % 2], step * 1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("frame", "time_us", "message"),
    [
        (np.zeros((4, 3)), 20, r"light as an array of float64 \[4, 3\]"),
        (np.zeros((3, 4), np.uint8), 20, "scenes.simulate.luminance"),
        (np.full((3, 4), np.nan), 20, "0 or more, finite"),
        (np.full((3, 4), np.inf), 20, "0 or more, finite"),
        (np.full((3, 4), -0.1), 20, "light from -0.1 to -0.1"),
        (np.zeros((3, 4)), 10, "light at 10 us after 10 us"),
        (np.zeros((3, 4)), 9, "rising times"),
        (np.zeros((3, 4)), 1 << 50, "h apart"),
        (np.zeros((3, 4)), 1000.5, "light at 1000.5 us\n  expected: whole microseconds"),
        (np.zeros((3, 4)), 20.0, "whole microseconds"),
        (np.zeros((3, 4)), math.nan, "whole microseconds"),
    ],
    ids=[
        "shape",
        "codes",
        "nan",
        "infinite",
        "negative",
        "same time",
        "earlier",
        "much later",
        "half a microsecond",
        "float",
        "no time",
    ],
)
def test_a_refused_push_changes_nothing(frame: Any, time_us: Any, message: str) -> None:
    simulator = EventSimulator((4, 3), plain(), 0)
    simulator.push(np.full((3, 4), 0.1), 10)
    with pytest.raises(InputError, match=message):
        simulator.push(frame, time_us)
    fresh = EventSimulator((4, 3), plain(), 0)
    fresh.push(np.full((3, 4), 0.1), 10)
    parts = [one.push(np.full((3, 4), 0.9), 30) for one in (simulator, fresh)]
    assert len(parts[0]) > 0
    assert all(np.array_equal(getattr(parts[0], n), getattr(parts[1], n)) for n in "xytp")


@pytest.mark.parametrize(
    "values",
    [
        {"threshold_on": 0.0}, {"threshold_off": -0.1}, {"threshold_on": math.nan},
        {"threshold_off": math.inf}, {"threshold_sigma": -0.01}, {"threshold_sigma": 0.2},
        {"refractory_us": -1}, {"refractory_us": 1.5}, {"leak_hz": -1.0}, {"leak_hz": 1e9},
        {"eps": 0.0},
    ],
    ids=lambda values: "{}={}".format(*next(iter(values.items()))),
)  # fmt: skip
def test_settings_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        SimulatorSettings(**values)


@pytest.mark.parametrize(("sensor", "seed"), [((0, 4), 0), ((4, 20_000), 0), ((4, 4), -1)])
def test_no_such_sensor_or_seed(sensor: tuple[int, int], seed: int) -> None:
    with pytest.raises(InputError):
        EventSimulator(sensor, SimulatorSettings(), seed)


def test_luminance() -> None:
    colours = np.array(
        [[[255] * 3, [0] * 3, [128] * 3, [10] * 3, [255, 0, 0], [0, 0, 255]]], np.uint8
    )
    got = luminance(colours)
    assert got.dtype == np.float32 and got.shape == (1, 6)
    assert got[0].tolist() == pytest.approx(
        [1, 0, 0.2158605, 10 / 255 / 12.92, 0.2126, 0.0722], abs=1e-6
    )
    wrongs: list[Any] = [colours[0], colours.astype(np.float32), colours[..., :2]]
    for wrong in wrongs:
        with pytest.raises(InputError, match="a picture as an array of"):
            luminance(wrong)
