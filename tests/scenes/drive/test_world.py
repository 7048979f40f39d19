"""A clip's truth: divided by sensor, kept in JSON, refused where it is damaged."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.traffic import Split
from crossdraft.scenes.drive.world import NEAR_M, Agent, Clip, TrafficLight

SPLITS: tuple[Split, ...] = ("train", "test")
drives = st.builds(
    plan_drive, st.integers(0, 2**40), st.sampled_from(SPLITS), st.integers(0, 999), st.just(6)
)

CAR = Agent("car", "red", "ahead", "middle", 8.0, 0.5, 1.0, -2.0)
CLIP = Clip(
    "train-0003", 4, 17, "city street", "straight", "trees", "buildings", False, "dusk", "rain",
    "slow", 12.5, 5.0, TrafficLight("red", 14.0), (CAR,),
)  # fmt: skip


@given(drives)
def test_truth_survives_json(clips: tuple[Clip, ...]) -> None:
    for clip in clips:
        assert Clip.from_truth(json.loads(json.dumps(clip.to_truth())), "here") == clip


@given(drives)
def test_what_events_show_and_what_they_do_not_are_apart(clips: tuple[Clip, ...]) -> None:
    hidden = {"time", "weather", "light state", "colour", "second colour"}
    for clip in clips:
        seen, camera = clip.event_visible(), clip.camera_only()
        assert not set(seen) & hidden
        assert set(camera) <= hidden
        assert all(isinstance(value, str) for value in (*seen.values(), *camera.values()))
        paints = [camera[key] for key in ("colour", "second colour") if key in camera]
        assert paints == [agent.colour for agent in clip.agents]
        assert ("time" in camera) == ("left" in seen) == clip.outdoors
        assert ("light state" in camera) == (clip.light is not None)


def test_an_agent_moves_as_its_speeds_say() -> None:
    assert CAR.at(0.0) == (0.5, 8.0)
    assert CAR.at(0.5) == (-0.5, 7.5)
    assert CAR.near
    far = Agent("bus", "gray", "oncoming", "left", NEAR_M + 3, -3.0, 6.0, 0.0)
    assert not far.near, "at the middle of the clip it is exactly at the border"


def test_paint_light_and_weather_are_for_the_camera_alone() -> None:
    assert CLIP.event_visible() == {
        "road": "city street", "bend": "straight", "pace": "slow", "left": "trees",
        "right": "buildings", "mountains": "no", "traffic light": "yes", "vehicle": "car",
        "motion": "ahead", "side": "middle", "near": "yes",
    }  # fmt: skip
    assert CLIP.camera_only() == {
        "time": "dusk", "weather": "rain", "light state": "red", "colour": "red",
    }  # fmt: skip


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The truth of CLIP as JSON gives it, one place changed; `...` removes it."""
    truth: dict[str, Any] = json.loads(json.dumps(deepcopy(CLIP.to_truth())))
    place: Any = truth["clip"]
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return truth


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("road",), "motorway"),
        (("road",), ["tunnel"]),
        (("time",), None),
        (("weather",), ...),
        (("number",), 1.5),
        (("number",), True),
        (("mountains",), "no"),
        (("speed_mps",), "fast"),
        (("drive",), 3),
        (("extra",), 1),
        (("light",), {}),
        (("light", "state"), "blue"),
        (("light", "distance_m"), None),
        (("agents",), None),
        (("agents",), [{}]),
        (("agents", 0, "colour"), "pink"),
        (("agents", 0, "closing_mps"), True),
        (("agents", 0, "kind"), ...),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_damaged_truth_is_refused(path: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Clip.from_truth(changed(path, value), "train-0003/000004")
    assert "train-0003/000004" in str(caught.value)


def test_three_agents_are_refused() -> None:
    truth = changed(("agents",), [CLIP.to_truth()["clip"]["agents"][0]] * 3)
    with pytest.raises(InputError, match="two at most"):
        Clip.from_truth(truth, "here")


@pytest.mark.parametrize("truth", [{}, {"clip": None}, {"label": "car"}], ids=str)
def test_other_truth_is_refused(truth: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="procedural drive"):
        Clip.from_truth(truth, "here")
