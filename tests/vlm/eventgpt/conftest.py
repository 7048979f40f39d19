"""A tiny checkpoint and its prompts, for every test of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.scenes.events import EventStream
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from tests.scenes.event_files import made_stream
from tests.vlm.eventgpt_folder import write_eventgpt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eventgpt(tmp_path_factory.mktemp("eventgpt") / "EventGPT")


@pytest.fixture(scope="module")
def prompts(folder: Path) -> EventGPTPrompts:
    return EventGPTPrompts.from_folder(folder)


@pytest.fixture(scope="module")
def stream() -> EventStream:
    """100 ms, twice the window that is drawn by default."""
    return made_stream(4_000, span_us=100_000, sensor=(60, 40))
