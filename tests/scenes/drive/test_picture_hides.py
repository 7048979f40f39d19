"""What each sensor must not see: paint and lamp to events, time and weather in a tunnel."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.scenes.drive.light import LAMPS, PAINTS, linear, luminance
from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.world import (
    Clip,
    Colour,
    Kind,
    LightState,
    TimeOfDay,
    TrafficLight,
    Weather,
)
from tests.scenes.drive.pictured import EMPTY, LIGHT, ahead, changed, intensity, rgb, with_agents

colours = st.sampled_from(get_args(Colour))


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.floats(0, 1), colours, colours,
       st.sampled_from(get_args(LightState)))  # fmt: skip
def test_events_show_neither_paint_nor_lamp(
    seed: int, time_s: float, first: Colour, second: Colour, state: LightState
) -> None:
    for clip in plan_drive(seed, "test", 0, 3):
        agents = tuple(
            replace(agent, colour=paint)
            for agent, paint in zip(clip.agents, (first, second), strict=False)
        )
        light = clip.light and replace(clip.light, state=state)
        other = replace(clip, agents=agents, light=light)
        a, b = (Camera(c, (40, 40)).look(time_s) for c in (clip, other))
        assert np.array_equal(a.intensity, b.intensity)


@pytest.mark.parametrize("time", get_args(TimeOfDay))
def test_every_paint_and_lamp_is_one_to_events_and_another_to_the_camera(time: TimeOfDay) -> None:
    base = replace(EMPTY, time=time, light=LIGHT)
    clips = [with_agents(ahead("bus", colour), clip=base) for colour in PAINTS]
    clips += [replace(clips[0], light=TrafficLight(state, 14.0)) for state in LAMPS]
    seen = [intensity(clip) for clip in clips]
    assert all(np.array_equal(seen[0], other) for other in seen)
    pictures = {rgb(clip).tobytes() for clip in clips}
    assert len(pictures) == len(PAINTS) + len(LAMPS) - 1  # red paint with the red lamp came twice


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_camera_tells_every_paint_at_any_time(kind: Kind) -> None:
    known = {name: np.array(linear(*paint)) for name, paint in PAINTS.items()}
    hues = {name: light / light.sum() for name, light in known.items()}
    skies: list[tuple[TimeOfDay, Weather]] = [("day", "clear"), ("dusk", "rain"), ("night", "snow")]
    for (time, weather), name in product(skies, PAINTS):
        base = replace(EMPTY, time=time, weather=weather)
        other: Colour = "blue" if name != "blue" else "orange"
        mine, theirs = (rgb(with_agents(ahead(kind, c), clip=base)) for c in (name, other))
        painted = changed(mine, theirs, by=60)
        assert painted.sum() >= 6
        # The median: lamps and edges are not the paint.
        light = np.array(linear(*np.median(mine[painted], axis=0)))
        hue = light / light.sum()
        assert min(hues, key=lambda paint: float(np.abs(hues[paint] - hue).sum())) == name


def test_paints_are_of_nearly_one_brightness_and_far_apart_in_hue() -> None:
    bright = [luminance(linear(*paint)) for paint in PAINTS.values()]
    # Less than the contrast that makes an event.
    assert np.log(max(bright) / min(bright)) < 0.2
    paints = [np.array(paint) for paint in PAINTS.values()]
    apart = [np.abs(a - b).max() for i, a in enumerate(paints) for b in paints[:i]]
    assert min(apart) >= 45


def test_day_is_brighter_than_dusk_and_dusk_than_night() -> None:
    for weather in get_args(Weather):
        day, dusk, night = (
            rgb(replace(EMPTY, time=time, weather=weather))[:20].mean()
            for time in get_args(TimeOfDay)
        )
        assert day > 1.2 * dusk and dusk > 2.0 * night


def test_a_tunnel_hides_time_weather_and_what_lies_beside() -> None:
    inside = with_agents(ahead(), clip=replace(EMPTY, road="tunnel"))
    others: list[Clip] = [
        replace(inside, time=time, weather=weather)
        for time, weather in product(get_args(TimeOfDay), get_args(Weather))
    ]
    others.append(replace(inside, left="field", right="guard rail", mountains=True))
    first = Camera(inside, (40, 40)).look(0.7)
    for clip in others:
        picture = Camera(clip, (40, 40)).look(0.7)
        assert np.array_equal(first.rgb, picture.rgb)
        assert np.array_equal(first.intensity, picture.intensity)
