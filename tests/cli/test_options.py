"""Values that several commands take."""

from __future__ import annotations

import pytest

from crossdraft.base.device import usable_cores
from crossdraft.base.errors import InputError
from crossdraft.cli.options import parse_size, render_preset
from crossdraft.scenes.render import PRESETS


@pytest.mark.parametrize("text", ["", "640", "640x", "0x480", "640x99999", "-1x5", "640 x 480"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--sensor"):
        parse_size(text, "--sensor")


def test_sizes_are_read() -> None:
    assert parse_size("1280x720", "--sensor") == (1280, 720)


def test_presets_by_name() -> None:
    assert render_preset("official") is PRESETS["official"]
    with pytest.raises(InputError, match="one of default, official"):
        render_preset("best")


def test_there_is_a_core() -> None:
    assert usable_cores() >= 1
