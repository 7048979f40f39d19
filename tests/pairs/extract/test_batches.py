"""Clips in one batch: the same batches whoever makes them; clip by clip where one fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from crossdraft.pairs.extract.claims import SpoiledError, claimed
from crossdraft.pairs.extract.events import Event
from crossdraft.pairs.extract.finish import begin
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.run import extract
from crossdraft.pairs.extract.work import How, Work
from crossdraft.pairs.extract.workplace import Phase, Workplace
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.rows import Row
from tests.pairs.extract.ground import Ground, content, made_up

#: One shard of six clips, asked about in batches of four and two.
WIDE: dict[str, Any] = {"chunk_size": 12, "batch_clips": 4}


class Batches:
    """Notes which clips are asked about together; the rows are made up.

    Args:
        fail: clips with which a batch of several fails.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail: Sequence[int] = ()) -> None:
        self.seen: list[tuple[Phase, list[int]]] = []
        self.broken: tuple[Phase, list[int]] | None = None

        def rows(
            work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
        ) -> list[list[Row]]:
            self.seen.append((phase, list(numbers)))
            if self.seen[-1] == self.broken:
                raise KeyboardInterrupt
            if len(numbers) > 1 and set(numbers) & set(fail):
                raise RuntimeError("no room")
            return made_up(work, phase, numbers, halves)

        monkeypatch.setattr(Work, "rows", rows)
        monkeypatch.setattr(Work, "prepare", lambda *_: None)

    def of(self, phase: Phase) -> list[list[int]]:
        """What was asked about in one phase."""
        return [numbers for one, numbers in self.seen if one == phase]


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
    rows = Work.rows

    def broken(
        work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> list[list[Row]]:
        if phase == "both" and 3 in numbers:
            raise KeyboardInterrupt
        return rows(work, phase, numbers, halves)

    monkeypatch.setattr(Work, "rows", broken)
    with pytest.raises(KeyboardInterrupt):
        ground.extract(tmp_path / "broken", **wide)
    monkeypatch.undo()
    ground.extract(tmp_path / "broken", **wide)
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_a_batch_that_processes_died_in_leaves_the_same_bytes(
    ground: Ground, tmp_path: Path
) -> None:
    """Real models. Each clip is asked alone to find whose fault it was; then the batch again."""
    wide: dict[str, Any] = {"chunk_size": 12, "batch_clips": 3}
    ground.extract(tmp_path / "whole", **wide)
    _died(ground.plan(tmp_path / "killed", **wide), "0-2", 3)
    ground.extract(tmp_path / "killed", How(retries=2), **wide)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


@pytest.mark.parametrize("broken", ["target", "both"])
def test_with_a_clip_that_fails_both_ways_ask_alike(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Phase
) -> None:
    """Real models. And repaired, the store is as if nothing had failed."""
    wide: dict[str, Any] = {"chunk_size": 12, "batch_clips": 3}
    ground.extract(tmp_path / "whole", **wide)
    rows = Work.rows

    def failing(
        work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> list[list[Row]]:
        if phase == broken and 1 in numbers:
            raise ValueError("damaged")
        return rows(work, phase, numbers, halves)

    monkeypatch.setattr(Work, "rows", failing)
    for name, how in (("together", How()), ("in_turn", How(sequential=True))):
        found = ground.extract(tmp_path / name, how, **wide).manifest
        assert found is not None and len(found.missing) == 1
    assert content(tmp_path / "together") == content(tmp_path / "in_turn")
    monkeypatch.undo()
    ground.extract(tmp_path / "together", **wide)
    assert content(tmp_path / "together") == content(tmp_path / "whole")


def test_batches_follow_from_the_plan(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the middle of a batch, the whole batch is done again, and no other."""
    batches = Batches(monkeypatch)
    ground.extract(tmp_path / "whole", **WIDE)
    assert batches.of("target") == batches.of("both") == [[0, 1, 2, 3], [4, 5]]
    batches.seen.clear()
    batches.broken = ("both", [4, 5])
    with pytest.raises(KeyboardInterrupt):
        ground.extract(tmp_path / "broken", **WIDE)
    batches.broken = None
    ground.extract(tmp_path / "broken", **WIDE)
    assert batches.of("both") == [[0, 1, 2, 3], [4, 5], [4, 5]]
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_models_in_turn_keep_the_batches(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(monkeypatch)
    ground.extract(tmp_path, How(save_every=1, sequential=True), **WIDE)
    assert batches.seen == [
        (phase, numbers) for phase in ("target", "both") for numbers in ([0, 1, 2, 3], [4, 5])
    ]


def test_a_batch_that_fails_is_asked_again_and_then_clip_by_clip(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(monkeypatch, fail=(1,))
    told: list[Event] = []
    outcome = extract(ground.plan(tmp_path, **WIDE), How(retries=1), tell=told.append, argv=())
    assert batches.of("target") == [[0, 1, 2, 3]] * 2 + [[0], [1], [2], [3], [4, 5]]
    assert outcome.manifest is not None and not outcome.manifest.missing
    assert [one.reason for one in told if one.what == "alone"] == ["RuntimeError: no room"] * 2


def test_processes_that_keep_dying_in_a_batch(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often again as when it was searched, and it is asked clip by clip for good."""
    batches = Batches(monkeypatch)
    _died(ground.plan(tmp_path, **WIDE), "0-3", 4)
    ground.extract(tmp_path, How(retries=1), **WIDE)
    assert batches.of("target") == [[0], [1], [2], [3], [4, 5]]


def _died(plan: Plan, clips: str, times: int) -> None:
    """Let a plan's first processes have been killed in some clips of its first shard."""
    begin(plan)
    with claimed(Workplace(plan.out).claim_path(0)) as claim:
        assert claim is not None
        for _ in range(times):
            with pytest.raises(SpoiledError), claim.on(clips):
                raise SpoiledError("killed")
        assert claim.deaths(clips) == times
