"""Scenes of every kind become the official pixels, told with their times and events."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.render import RenderSettings, render_frames
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.writers import write_npz
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.pixels import preprocess
from tests.scenes.event_files import START_US, stream_at, write_dsec
from tests.vlm.eventgpt.parity import EVENTS, KIT, SAMPLES, expanded, frames, meta, needs_kit
from tests.vlm.eventgpt.parity import reference as official_tensors
from tests.vlm.eventgpt_folder import event_frames
from tests.vlm.video_llava_folder import IMAGE_SIZE

SLOT = -200
SIZE = PixelSettings(IMAGE_SIZE, (IMAGE_SIZE, IMAGE_SIZE))


@needs_kit
@pytest.mark.parametrize("sample", SAMPLES)
def test_pixels_of_official_frames(sample: str) -> None:
    prompts = EventGPTPrompts.from_folder(KIT / "checkpoint")
    drawn = [frames()[f"{sample}.frame{number}"].numpy() for number in range(5)]
    prompt = prompts.of_ids(drawn, meta()["input_ids"][sample])
    assert list(prompt.ids) == expanded(meta()["input_ids"][sample])
    expected = official_tensors()[f"{sample}.pixel_values"]
    assert torch.equal(prompt.inputs()["pixel_values"][0], expected)


@needs_kit
@pytest.mark.parametrize("canvas", ["sensor", "tight"])
@pytest.mark.parametrize(
    ("sample", "file"),
    [("sample1", "eventgpt_sample1.npy"), ("dsec74", "interlaken_00_d_000074.npy")],
)
def test_pixels_of_real_windows(sample: str, file: str, canvas: str) -> None:
    prompts = EventGPTPrompts.from_folder(KIT / "checkpoint", canvas=canvas)
    pixels = prompts.of_ids(EVENTS / file, [1, SLOT, 5]).inputs()["pixel_values"]
    assert torch.equal(pixels[0], official_tensors()[f"{sample}.pixel_values"])


def test_scenes_files_streams_and_frames_are_one(
    prompts: EventGPTPrompts, stream: EventStream, tmp_path: Path
) -> None:
    write_npz(stream, tmp_path / "clip.npz")
    scene = Scene("drive", 0, tmp_path, events_file="clip.npz")
    drawn = render_frames(stream, RenderSettings(window="last:50ms"))
    expected = preprocess(np.stack(drawn), SIZE)[None]
    sources = (
        scene, tmp_path / "clip.npz", str(tmp_path / "clip.npz"), stream, drawn, tuple(drawn),
        np.stack(drawn), torch.from_numpy(np.stack(drawn)),
    )  # fmt: skip
    for source in sources:
        inputs = prompts(source, "").inputs()
        assert set(inputs) == {"pixel_values"}
        assert inputs["pixel_values"].dtype == torch.float32
        assert inputs["pixel_values"].shape == (1, 5, 3, IMAGE_SIZE, IMAGE_SIZE)
        assert torch.equal(inputs["pixel_values"], expected)


def test_a_scene_keeps_to_its_window(prompts: EventGPTPrompts, tmp_path: Path) -> None:
    """The clip's bounds count, not its first and last event."""
    stream = stream_at([*range(0, 90_000, 1_000)], sensor=(60, 40))
    write_npz(stream, tmp_path / "clip.npz")
    scene = Scene("drive", 0, tmp_path, events_file="clip.npz", window_us=(10_000, 100_000))
    shown = prompts.frames_of(scene)
    assert shown.spans_us[[0, -1], [0, 1]].tolist() == [50_000, 89_000]
    assert (shown.touched * 60 * 40).round().tolist() == shown.events.tolist()
    assert prompts.frames_of(stream).spans_us[[0, -1], [0, 1]].tolist() == [39_000, 89_000]


def test_frames_are_told_with_times_and_events(prompts: EventGPTPrompts) -> None:
    stream = stream_at([START_US + 10_000 * i for i in range(13)], sensor=(8, 5))
    shown = prompts.frames_of(stream)
    # The last 50 ms begin at event 7: six events, one each and the rest in the last frame.
    assert shown.events.tolist() == [1, 1, 1, 1, 2]
    times_us = [(70_000, 70_000), (80_000,) * 2, (90_000,) * 2, (100_000,) * 2, (110_000, 120_000)]
    assert (shown.spans_us - START_US).tolist() == [list(span) for span in times_us]
    assert shown.touched.tolist() == [1 / 40, 1 / 40, 1 / 40, 1 / 40, 2 / 40]
    assert [frame.shape for frame in shown.frames] == [(5, 8, 3)] * 5
    few = prompts.frames_of(stream_at([7, 9], sensor=(8, 5)))
    assert few.spans_us.tolist() == [[-1, -1]] * 4 + [[7, 9]]
    assert few.touched.tolist() == [0.0] * 4 + [0.05]


def test_other_drawings(folder: Path, stream: EventStream) -> None:
    spread = EventGPTPrompts.from_folder(folder, window="spread:10ms", canvas="tight", frames=3)
    shown = spread.frames_of(stream)
    starts_ms = (shown.spans_us[:, 0] - stream.t[0]) / 1_000
    assert np.abs(starts_ms - [0, 45, 90]).max() < 1
    prompt = spread(stream, "What?")
    assert prompt.ids.count(SLOT) == 3 + 5
    assert prompt.inputs()["pixel_values"].shape == (1, 3, 3, IMAGE_SIZE, IMAGE_SIZE)
    negative = EventGPTPrompts.from_folder(folder, overlap="negative").frames_of(stream)
    positive = EventGPTPrompts.from_folder(folder, overlap="positive").frames_of(stream)
    assert not np.array_equal(negative.frames[0], positive.frames[0])


def test_files_are_read_with_the_pixels(prompts: EventGPTPrompts, tmp_path: Path) -> None:
    prompt = prompts(Scene("drive", 0, tmp_path, events_file="gone.npz"), "What?")
    with pytest.raises(InputError, match=r"gone\.npz: no such file"):
        prompt.inputs()
    with pytest.raises(InputError, match="has no event stream"):
        prompts(Scene("drive", 0, tmp_path), "What?").inputs()
    with pytest.raises(InputError, match="event frames, drawn before"):
        prompts.frames_of(event_frames())


@pytest.mark.parametrize(
    ("scene", "found"),
    [
        (event_frames(n=6), "6 event frames"),
        (list(event_frames(n=1)), "1 event frames"),
        ([], "0 event frames"),
        (event_frames(n=1)[0], r"event frames of shape \[40, 60, 3\]"),
        (["a.png"] * 5, "other things"),
        (None, "type NoneType"),
    ],
    ids=["six", "one", "none", "flat", "paths", "nothing"],
)
def test_other_scenes_are_refused(prompts: EventGPTPrompts, scene: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        prompts(scene, "What?")


def test_without_h5py_events_can_be_given(
    prompts: EventGPTPrompts,
    stream: EventStream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_dsec(stream, tmp_path / "events.h5")
    monkeypatch.delitem(sys.modules, "crossdraft.scenes.event_file", raising=False)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="give an EventStream"):
        prompts(tmp_path / "events.h5", "What?").inputs()
    assert prompts(stream, "What?").inputs()
