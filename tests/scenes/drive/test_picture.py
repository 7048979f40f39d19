"""The picture of a clip: repeatable, in perspective, and different for what words tell apart."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.drive.layout import BEND_M
from crossdraft.scenes.drive.picture import FOCAL, HORIZON, Camera
from crossdraft.scenes.drive.raster import EYE_M
from crossdraft.scenes.drive.world import (
    Agent,
    Bend,
    Beside,
    Clip,
    Kind,
    LightState,
    Road,
    TimeOfDay,
    TrafficLight,
    Weather,
)
from tests.scenes.drive.pictured import (
    EMPTY,
    LIGHT,
    SIZE,
    ahead,
    changed,
    intensity,
    rgb,
    with_agents,
)

_PROCESS = """
import hashlib
from tests.scenes.drive.pictured import EMPTY, ahead, rgb, with_agents
print(hashlib.sha256(rgb(with_agents(ahead())).tobytes()).hexdigest())
"""


def test_a_moment_looks_the_same_whenever_and_wherever_it_is_drawn() -> None:
    clip = replace(with_agents(ahead()), weather="rain", time="night", light=LIGHT)
    camera = Camera(clip, SIZE)
    first = camera.look(0.3)
    camera.look(0.9)
    again, other = camera.look(0.3), Camera(clip, SIZE).look(0.3)
    for picture in (again, other):
        assert np.array_equal(first.rgb, picture.rgb)
        assert np.array_equal(first.intensity, picture.intensity)
    assert not np.array_equal(first.rgb, camera.look(0.9).rgb)


def test_another_process_draws_the_same_bytes() -> None:
    here = hashlib.sha256(rgb(with_agents(ahead())).tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", _PROCESS],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 35), (256, 256)], ids=str)
def test_a_picture_has_the_size_that_was_asked(size: tuple[int, int]) -> None:
    picture = Camera(with_agents(ahead()), size).look(1.0)
    assert picture.rgb.shape == (size[1], size[0], 3)
    assert picture.intensity.shape == (size[1], size[0])
    assert picture.rgb.dtype == np.uint8 and picture.intensity.dtype == np.float32
    assert 0.0 <= picture.intensity.min() < picture.intensity.max() <= 1.0


@pytest.mark.parametrize("size", [(31, 56), (56, 257), (0, 0)], ids=str)
def test_other_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="pixels"):
        Camera(EMPTY, size)


@pytest.mark.parametrize("time_s", [-0.01, 1.01, float("nan")], ids=str)
def test_a_time_outside_the_clip_is_refused(time_s: float) -> None:
    with pytest.raises(InputError, match="clip"):
        Camera(EMPTY, SIZE).look(time_s)


def test_what_words_tell_apart_looks_different() -> None:
    groups: list[list[Clip]] = [
        [replace(EMPTY, road=road) for road in get_args(Road)],
        [replace(EMPTY, time=time) for time in get_args(TimeOfDay)],
        [replace(EMPTY, weather=weather) for weather in get_args(Weather)],
        [replace(EMPTY, road="winding road", bend="left"), replace(EMPTY, road="winding road"),
         replace(EMPTY, road="winding road", bend="right")],
        [replace(EMPTY, road="highway", mountains=yes) for yes in (False, True)],
    ]  # fmt: skip
    for side in ("left", "right"):
        groups.append([replace(EMPTY, **{side: beside}) for beside in get_args(Beside)])
    for group in groups:
        pictures = [rgb(clip) for clip in group]
        for a, b in combinations(pictures, 2):
            assert changed(a, b, by=25).sum() > 40


def test_kinds_look_different_to_both_sensors_however_they_move() -> None:
    for motion, drift in (("ahead", 0.0), ("oncoming", 0.0), ("crossing", 1.0), ("parked", 0.0)):
        clips = [
            with_agents(Agent(kind, "blue", motion, "middle", 8.0, -0.5, 0.0, drift))  # type: ignore[arg-type]
            for kind in get_args(Kind)
        ]
        for a, b in combinations(clips, 2):
            assert changed(rgb(a), rgb(b), by=25).sum() > 12
            assert (np.abs(intensity(a) - intensity(b)) > 0.03).sum() > 12


def test_front_rear_and_both_sides_are_different_views() -> None:
    for kind in ("car", "truck", "bus", "motorcycle", "bicycle"):
        views = [
            Agent(kind, "blue", motion, "middle", 8.0, -drift / 2, 0.0, drift)  # type: ignore[arg-type]
            for motion, drift in
            (("ahead", 0.0), ("oncoming", 0.0), ("crossing", 4.0), ("crossing", -4.0))
        ]  # fmt: skip
        for a, b in combinations(views, 2):
            assert changed(rgb(with_agents(a)), rgb(with_agents(b)), by=25).sum() > 4


def test_an_agent_is_where_its_truth_says_and_as_large() -> None:
    size = (112, 112)
    clip = with_agents(ahead("truck", distance_m=12.0, closing_mps=6.0))
    for time_s in (0.0, 0.5, 1.0):
        seen = changed(rgb(clip, time_s, size), rgb(EMPTY, time_s, size), by=12)
        columns = np.flatnonzero(seen.any(axis=0))
        _, distance = clip.agents[0].at(time_s)
        width = 2.3 * FOCAL * size[0] / distance
        assert abs(columns[-1] - columns[0] + 1 - width) <= 3
        assert abs((columns[-1] + columns[0] + 1) / 2 - size[0] / 2) <= 2


def test_one_who_crosses_moves_across() -> None:
    for drift in (4.0, -4.0):
        clip = with_agents(Agent("car", "red", "crossing", "left", 9.0, -drift / 2, 0.0, drift))
        middles = []
        for time_s in (0.2, 0.5, 0.8):
            seen = changed(rgb(clip, time_s), rgb(EMPTY, time_s), by=12)
            middles.append(np.flatnonzero(seen.any(axis=0)).mean())
        steps = np.diff(middles)
        assert (np.sign(steps) == np.sign(drift)).all()


def test_the_nearer_agent_hides_the_farther() -> None:
    near, far = ahead("truck", "blue", 6.0), ahead("car", "red", 12.0)
    repainted = replace(far, colour="green")
    for a, b in (
        (with_agents(near, far), with_agents(near, repainted)),
        (with_agents(far, near), with_agents(repainted, near)),
    ):
        assert not changed(rgb(a), rgb(b)).any()
    in_front = with_agents(near, replace(far, distance_m=4.0))
    assert changed(rgb(in_front), rgb(with_agents(near))).sum() > 30


def test_the_world_streams_outwards() -> None:
    clip = replace(EMPTY, left="buildings", speed_mps=12.0, pace="fast")
    camera = Camera(clip, (112, 112))
    flow = {"left": 0.0, "right": 0.0}
    for time_s in (0.1, 0.3, 0.5, 0.7):
        a, b = camera.look(time_s).intensity, camera.look(time_s + 0.01).intensity
        for side, part in (("left", np.s_[30:70, :28]), ("right", np.s_[30:70, 84:])):
            slope, change = np.gradient(a[part], axis=1), b[part] - a[part]
            # Lucas and Kanade's estimate over the whole part.
            flow[side] -= float((slope * change).sum() / (slope**2).sum())
    assert flow["left"] < -0.2 and flow["right"] > 0.2


def test_what_stands_at_the_roadside_comes_nearer() -> None:
    clip = replace(EMPTY, light=LIGHT)
    areas = [changed(rgb(clip, t), rgb(EMPTY, t), by=12).sum() for t in (0.0, 0.3, 0.6)]
    assert areas[0] < 0.9 * areas[1] < 0.81 * areas[2]


@pytest.mark.parametrize(
    ("left", "right"), [("stone wall", "buildings"), ("trees", "field")], ids=["planes", "things"]
)
def test_the_next_clip_goes_on_where_the_last_one_ended(left: Beside, right: Beside) -> None:
    clip = replace(EMPTY, road="winding road", bend="right", left=left, right=right, weather="snow")
    after = replace(clip, number=clip.number + 1, start_m=clip.start_m + clip.speed_mps)
    seam = changed(rgb(clip, 1.0), rgb(after, 0.0), by=10).mean()
    assert seam < 0.01 < changed(rgb(clip, 0.9), rgb(after, 0.0), by=10).mean()


def _road_column(bend: Bend) -> float:
    """Where the middle of the grey road lies 30 m ahead, in columns right of a picture's middle."""
    clip = replace(EMPTY, road="winding road", bend=bend, left="field", right="field")
    drawn = rgb(clip, 0.0, (112, 112)).astype(int)
    row = drawn[round(HORIZON * 112 + FOCAL * 112 * EYE_M / 30.0)]
    grey = np.flatnonzero(np.ptp(row, axis=1) < 16)
    assert len(grey) > 8, "the road is in the picture"
    return float(grey.mean()) - 56.0


def test_a_road_bends_to_the_side_that_its_truth_says() -> None:
    left, straight, right = (_road_column(bend) for bend in ("left", "straight", "right"))
    turned = FOCAL * 112 * 30.0 / (2 * BEND_M)
    assert left == pytest.approx(straight - turned, abs=4)
    assert right == pytest.approx(straight + turned, abs=4)


def test_in_a_bend_the_horizon_turns_the_other_way() -> None:
    def heights(bend: Bend, time_s: float) -> npt.NDArray[np.int64]:
        clip = replace(EMPTY, bend=bend, left="field", right="field", speed_mps=10.0)
        size = (112, 112)
        hills = rgb(replace(clip, mountains=True), time_s, size)
        sky = np.s_[: round(HORIZON * 112) - 4]
        high: npt.NDArray[np.int64] = changed(hills, rgb(clip, time_s, size))[sky].sum(axis=0)
        return high

    moved = round(FOCAL * 112 * 10.0 * 0.5 / BEND_M)
    turns: dict[Bend, int] = {"straight": 0, "left": moved, "right": -moved}
    for bend, by in turns.items():
        before, after = heights(bend, 0.0), heights(bend, 0.5)
        steps = range(-12, 13)
        miss = [np.abs(np.roll(before, step) - after)[12:-12].mean() for step in steps]
        assert steps[int(np.argmin(miss))] == pytest.approx(by, abs=2)


def test_who_drives_touches_more_pixels_than_who_stands_and_both_touch_some() -> None:
    shares = []
    for speed in (0.0, 5.0):
        camera = Camera(replace(EMPTY, speed_mps=speed), SIZE)
        first = np.log(0.01 + camera.look(0.5).intensity)
        change = np.abs(np.log(0.01 + camera.look(0.55).intensity) - first)
        shares.append(float((change > 0.18).mean()))
    assert 0.005 < shares[0] < shares[1] < 0.3


def test_a_traffic_light_shows_its_state_where_lights_show_it() -> None:
    dark = {state: rgb(replace(EMPTY, time="night", light=TrafficLight(state, 14.0)))
            for state in get_args(LightState)}  # fmt: skip
    rows, colours = {}, {}
    for state, other in (("red", "green"), ("green", "red"), ("yellow", "red")):
        brighter = dark[state].max(axis=2).astype(int) - dark[other].max(axis=2)
        rows[state] = np.argwhere(brighter > 60)[:, 0].mean()
        colours[state] = dark[state][brighter > 60].mean(axis=0)
    assert rows["red"] + 2 < rows["yellow"] < rows["green"] - 2
    assert colours["red"][0] > 1.8 * colours["red"][1]
    assert colours["green"][1] > 1.8 * colours["green"][0]
    assert colours["yellow"][0] > 1.8 * colours["yellow"][2] < colours["yellow"][1] * 1.8
