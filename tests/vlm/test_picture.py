"""Reading a picture: the stages of what a prompt reads lie inside `read`, in the order of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.clock import Spans, stage
from crossdraft.bench.made_scene import MadeScene
from crossdraft.vlm.eventgpt.load import load_eventgpt
from crossdraft.vlm.video_llava import load_video_llava
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava


@pytest.mark.parametrize(
    ("write", "load", "expected"),
    [
        (write_eventgpt, load_eventgpt, ["sensor", "render", "pixels"]),
        (write_video_llava, load_video_llava, ["sensor", "pixels"]),
    ],
    ids=["eventgpt", "video-llava"],
)
def test_what_a_prompt_reads_is_told_stage_by_stage(
    tmp_path: Path, write: Any, load: Any, expected: list[str]
) -> None:
    target = load(write(tmp_path / "model"))
    spans = Spans()
    target.open(MadeScene(), spans=spans).fork(Spans()).ask("What is in this scene?")
    (read,) = (span for span in spans.spans if span.name == "read")
    inside = [one for one in spans.spans if one.name in ("sensor", "render", "pixels")]
    assert [one.name for one in sorted(inside, key=lambda span: span.start_ms)] == expected
    before_ms = read.start_ms
    for one in inside:
        assert before_ms <= one.start_ms <= one.end_ms <= read.end_ms
        before_ms = one.end_ms
    with stage("sensor"):
        pass
    assert len(spans.spans) == len(inside) + 3  # read, vision and prefill: nothing gathers now
