"""One model of a pair: where it lies, and what of the spec its loader is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.vlm.eventgpt.processing import TEMPLATES as EVENT_TEMPLATES
from crossdraft.vlm.model_spec import TEMPLATES, ModelSpec, keys_of
from crossdraft.vlm.video_llava import VideoLlavaPrompts


def test_templates_are_those_of_the_prompt_builders() -> None:
    assert set(TEMPLATES) == {VideoLlavaPrompts.name, *EVENT_TEMPLATES}


def test_options_are_what_the_pair_chooses() -> None:
    assert ModelSpec("a").options == {}
    assert ModelSpec("a", frames=3, canvas="tight").options == {"frames": 3, "canvas": "tight"}


def test_keys_of_events_belong_to_the_drafter() -> None:
    assert set(keys_of("drafter")) - set(keys_of("target")) == {
        "tower", "window", "canvas", "overlap", "keep",
    }  # fmt: skip


def test_a_missing_model_says_which_and_how_to_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        ModelSpec("EventGPT-7b").place("drafter")
    assert "drafter.model: EventGPT-7b: no such folder" in str(caught.value)
    assert "--set drafter.model=FOLDER" in str(caught.value)
    (tmp_path / "EventGPT-7b").mkdir()
    assert ModelSpec("EventGPT-7b").place("drafter") == Path("EventGPT-7b")
