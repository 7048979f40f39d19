"""transformers is silent inside the block and as talkative as before behind it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import huggingface_hub.utils as hub_utils
import pytest
from transformers.utils import logging

from crossdraft.vlm.quiet import quiet

TALK: Any = logging
HUB: Any = hub_utils


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """Leave the process as it was."""
    level, bars = TALK.get_verbosity(), TALK.is_progress_bar_enabled()
    hub = not HUB.are_progress_bars_disabled()
    yield
    TALK.set_verbosity(level)
    (TALK.enable_progress_bar if bars else TALK.disable_progress_bar)()
    (HUB.enable_progress_bars if hub else HUB.disable_progress_bars)()


@pytest.mark.parametrize("bars", [True, False])
@pytest.mark.parametrize("hub", [True, False])
def test_restores_what_was_set(bars: bool, hub: bool) -> None:
    TALK.set_verbosity_info()
    (TALK.enable_progress_bar if bars else TALK.disable_progress_bar)()
    (HUB.enable_progress_bars if hub else HUB.disable_progress_bars)()
    with pytest.raises(RuntimeError, match="inside"), quiet():
        assert TALK.get_verbosity() == TALK.CRITICAL
        assert not TALK.is_progress_bar_enabled() and HUB.are_progress_bars_disabled()
        raise RuntimeError("inside")
    assert TALK.get_verbosity() == TALK.INFO
    assert TALK.is_progress_bar_enabled() is bars
    assert HUB.are_progress_bars_disabled() is not hub


def test_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = TALK.get_logger("transformers.tests")
    with quiet():
        log.error("not heard")
        warnings.warn("nor this", stacklevel=1)
    assert not caplog.records
    log.error("heard")
    assert [record.message for record in caplog.records] == ["heard"]
