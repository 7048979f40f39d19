"""Progress is reported before, during and after."""

from __future__ import annotations

from crossdraft.base.progress import Progress, silent, track


def test_track_reports_every_step() -> None:
    seen: list[Progress] = []
    assert list(track("ab", "letters", 2, seen.append)) == ["a", "b"]
    assert [(event.stage, event.done, event.total) for event in seen] == [
        ("letters", 0, 2),
        ("letters", 1, 2),
        ("letters", 2, 2),
    ]
    silent(seen[0])
