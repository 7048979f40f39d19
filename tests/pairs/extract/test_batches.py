"""Clips in one batch: the same batches whoever makes them; clip by clip where one fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from crossdraft.pairs.extract.claims import claimed
from crossdraft.pairs.extract.finish import begin
from crossdraft.pairs.extract.work import How, Work
from crossdraft.pairs.extract.workplace import Phase, Workplace
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.rows import Row
from tests.pairs.extract.ground import Ground, content, made_up

#: One shard of six clips, asked about in batches of four and two.
WIDE: dict[str, Any] = {"chunk_size": 12, "batch_clips": 4}


class Batches:
    """Notes which clips are done in one batch; the rows are made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail: Sequence[int] = ()) -> None:
        self.seen: list[tuple[Phase, tuple[int, ...]]] = []
        self.alone: list[int] = []
        self.broken = False

        def ahead(
            work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
        ) -> None:
            self.seen.append((phase, tuple(numbers)))
            if set(numbers) & set(fail):
                raise RuntimeError("no room")
            found = {n: made_up(work, phase, n, halves.get(n)) for n in numbers}
            work._ready.clear()
            work._ready.update(found)

        def made(
            work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
        ) -> list[list[Row]]:
            self.alone += numbers
            return [made_up(work, phase, n, halves.get(n)) for n in numbers]

        rows = Work.rows

        def asked(work: Work, phase: Phase, number: int, half: Sequence[Row] | None) -> list[Row]:
            if self.broken and number == 5:
                raise KeyboardInterrupt
            return rows(work, phase, number, half)

        for name, function in (("ahead", ahead), ("_made", made), ("rows", asked)):
            monkeypatch.setattr(Work, name, function)
        monkeypatch.setattr(Work, "prepare", lambda *_: None)


def test_real_models_answer_a_batch_as_they_answer_each_clip(
    ground: Ground, whole: Path, tmp_path: Path
) -> None:
    ground.extract(tmp_path, chunk_size=8, batch_clips=3)
    one, many = PairStore.open(whole), PairStore.open(tmp_path)
    assert many.manifest.pairs == one.manifest.pairs == 12
    for row in range(12):
        mine, theirs = many.row(row), one.row(row)
        assert (mine.pair, mine.said) == (theirs.pair, theirs.said)
        for kind in ("target", "own", "forced"):
            found, expected = many.states(row, kind), one.states(row, kind)
            assert found.shape == expected.shape
            # Equal but for rounding, of sums in another order and then to bf16.
            assert (found - expected).abs().max() <= 0.02 * expected.abs().max()


def test_with_real_models_an_interrupt_leaves_the_same_bytes(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide: dict[str, Any] = {"chunk_size": 12, "batch_clips": 3}
    ground.extract(tmp_path / "whole", **wide)
    ahead = Work.ahead

    def broken(
        work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> None:
        if 3 in numbers:
            raise KeyboardInterrupt
        ahead(work, phase, numbers, halves)

    monkeypatch.setattr(Work, "ahead", broken)
    with pytest.raises(KeyboardInterrupt):
        ground.extract(tmp_path / "broken", **wide)
    monkeypatch.undo()
    ground.extract(tmp_path / "broken", **wide)
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_batches_follow_from_the_plan(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the middle of a batch, the whole batch is done again, and no other."""
    batches = Batches(monkeypatch)
    ground.extract(tmp_path / "whole", **WIDE)
    assert batches.seen == [("both", (0, 1, 2, 3)), ("both", (4, 5))]
    batches.seen.clear()
    batches.broken = True
    with pytest.raises(KeyboardInterrupt):
        ground.extract(tmp_path / "broken", **WIDE)
    batches.broken = False
    ground.extract(tmp_path / "broken", **WIDE)
    assert batches.seen == [("both", (0, 1, 2, 3)), ("both", (4, 5)), ("both", (4, 5))]
    assert not batches.alone
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_models_in_turn_keep_the_batches(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(monkeypatch)
    ground.extract(tmp_path, How(save_every=1, sequential=True), **WIDE)
    assert batches.seen == [
        (phase, numbers) for phase in ("target", "both") for numbers in ((0, 1, 2, 3), (4, 5))
    ]


def test_a_batch_that_fails_is_asked_about_clip_by_clip(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(monkeypatch, fail=(1,))
    outcome = ground.extract(tmp_path, **WIDE)
    assert batches.alone == [0, 1, 2, 3]
    assert outcome.manifest is not None and not outcome.manifest.missing


def test_a_batch_that_takes_processes_along_is_asked_about_clip_by_clip(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(monkeypatch)
    begin(ground.plan(tmp_path, **WIDE))
    with claimed(Workplace(tmp_path).claim_path(0)) as claim:
        assert claim is not None
        for _ in range(2):
            claim._append("begin 0-3")  # and killed
        assert claim.deaths("0-3") == 2
    ground.extract(tmp_path, How(retries=1), **WIDE)
    assert batches.alone == [0, 1, 2, 3]
    assert batches.seen == [("both", (4, 5))]
