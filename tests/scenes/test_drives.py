"""Whole drives, near the share that was asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossdraft.scenes.drives import balanced, drives_near

lengths = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 99), min_size=2)


def test_the_share_is_met_where_it_can_be() -> None:
    assert drives_near({"a": 10, "b": 20, "c": 70}, 0.3) == {"a", "b"}
    assert drives_near({"a": 10, "b": 20, "c": 70}, 0.1) == {"a"}


@given(lengths, st.floats(0.01, 0.99))
def test_both_sides_get_a_drive(clips: dict[str, int], share: float) -> None:
    assert 0 < len(drives_near(clips, share)) < len(clips)


@given(lengths, st.integers(2, 5))
def test_every_drive_is_dealt_once(clips: dict[str, int], count: int) -> None:
    groups = balanced(clips, count)
    assert sorted(name for group in groups for name in group) == sorted(clips)
    sizes = sorted(sum(clips[name] for name in group) for group in groups)
    assert sizes[-1] - sizes[0] <= max(clips.values())
