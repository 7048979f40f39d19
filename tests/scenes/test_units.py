"""Durations with their units, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.units import format_duration, parse_duration_us


@pytest.mark.parametrize(
    ("text", "us"),
    [("500ms", 500_000), ("1s", 10**6), ("0.25 s", 250_000), ("7us", 7), ("7\u00b5s", 7),
     ("7\u03bcs", 7), (" 20s ", 20_000_000)],
)  # fmt: skip
def test_units(text: str, us: int) -> None:
    assert parse_duration_us(text) == us


@pytest.mark.parametrize(
    "text", ["", "1", "s", "0s", "-1s", "0.5us", "1e3ms", "1m", "1s 2ms", "9" * 40 + "s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InputError, match="not a duration"):
        parse_duration_us(text)


@given(st.integers(1, 10**12))
def test_round_trip(us: int) -> None:
    assert parse_duration_us(format_duration(us)) == us
