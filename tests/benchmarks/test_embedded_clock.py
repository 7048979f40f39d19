"""The embedded pair's clock: what it measures of a tiny pair, and what it makes of known times."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossdraft.bench.made_scene import MadeScene
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.eventgpt.event_frames import draw
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.pair import ModelPair
from tests.bench.tiny_pair import write_pair
from tests.benchmarks import benchmark

clock = benchmark("embedded_clock")


def took(first_ms: float, step_ms: float, load_ms: float = 0.0) -> Any:
    return clock.Asked(load_ms, 1.0, 2.0, 3.0, first_ms, step_ms)


#: A pair whose clock has the wanted shape to the hair.
JUST = [{"target": took(40.0, 10.0, 20.0), "drafter": took(13.0, 4.0, 17.0)}]


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


def test_a_pair_is_clocked(
    pair_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clock.json"
    call = ["--pair", str(pair_file), "--rounds", "1", "--questions", "2", "--tokens", "2"]
    code = clock.main([*call, "--json", str(out)])
    found = json.loads(out.read_text())
    assert code == (0 if all(found["checks"].values()) else 1)
    assert found["scenes"] == ["made/000000"]
    assert len(found["questions"]) == 2
    for stages in found["median"].values():
        # No file is read of a made scene.
        assert set(stages) == {
            "read_ms", "vision_ms", "prefill_ms", "first_token_ms", "step_ms",
        }  # fmt: skip
        assert all(math.isfinite(ms) and ms > 0 for ms in stages.values())
        parts_ms = stages["read_ms"] + stages["vision_ms"] + stages["prefill_ms"]
        assert parts_ms < 1.5 * stages["first_token_ms"]
    assert set(found["checks"]) == {
        "prefill_over_step", "drafter_over_target_first_token", "t6_over_t1",
    }  # fmt: skip
    assert found["ratios"]["t6_over_t1"]["context"] > 40  # eight frames of five slots
    shown = capsys.readouterr().out
    assert shown.count("reached") + shown.count("NOT REACHED") == 3


def test_ratios_are_formed_within_a_question() -> None:
    slow = {"target": took(400.0, 100.0, 200.0), "drafter": took(130.0, 40.0, 170.0)}
    found = clock.ratios([*JUST, slow], files=True)
    assert found["prefill_over_step"] == {"median": 4.0, "low": 4.0, "high": 4.0}
    assert found["drafter_over_target_first_token"]["median"] == pytest.approx(13 / 40)
    assert found["drafter_over_target_first_token_from_files"]["median"] == pytest.approx(0.5)
    assert found["drafter_over_target_step"]["median"] == pytest.approx(0.4)


def test_a_limit_is_reached_from_its_own_side() -> None:
    shape = clock.ratios(JUST, files=False)
    assert "drafter_over_target_first_token_from_files" not in shape
    names = ("prefill_over_step", "drafter_over_target_first_token", "t6_over_t1")
    assert clock.checks({**shape, "t6_over_t1": {"median": 1.5}}) == dict.fromkeys(names, True)
    slower = [{"target": took(39.0, 10.0), "drafter": took(13.1, 4.0)}]
    late = {**clock.ratios(slower, files=False), "t6_over_t1": {"median": 1.51}}
    assert clock.checks(late) == dict.fromkeys(names, False)


def test_events_in_memory_give_the_frames_of_their_scene(pair_file: Path) -> None:
    scene = MadeScene()
    prompts = EventGPTPrompts.from_folder(Path(str(ModelPair.read(pair_file).drafter.model)))
    held = clock.HeldEvents(scene.events(), scene.window_us)
    # Bounds that are not the stream's own move the window that is drawn.
    early = clock.HeldEvents(scene.events(), (0, 200_000))
    expected = draw(scene, prompts.render)
    for one, other in zip(expected.frames, draw(held, prompts.render).frames, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (expected.spans_us != draw(early, prompts.render).spans_us).any()


def test_scenes_are_spread_over_the_test_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    def scene(drive: str, clip: int, video: str | None = "a.mp4") -> Scene:
        split = "test" if drive.startswith("test") else "train"
        return Scene(drive, clip, Path(), "a.h5", video, split=split)

    scenes = [scene(drive, clip) for drive in ("test-0", "test-1", "train-0") for clip in range(4)]
    blind = [scene("test-0", 9, video=None)]
    monkeypatch.setattr(clock.SceneDataset, "open", lambda folder: [*blind, *scenes])
    chosen = clock.chosen_scenes(Path("world"), 4)
    assert [one.id for one in chosen] == [
        "test-0/000000", "test-0/000002", "test-1/000000", "test-1/000002",
    ]  # fmt: skip
    assert len(clock.chosen_scenes(Path("world"), 100)) == 8


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["--rounds", "0"], "--rounds"),
        (["--pair", "nowhere.yaml"], "nowhere.yaml"),
        (["--scenes", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_call_is_named(
    call: list[str], said: str, pair_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clock.main(["--pair", str(pair_file), *call]) == 2
    assert said in capsys.readouterr().err
