"""However an extraction is broken off and shared out, the store is the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.pairs.extract.claims import claimed
from crossdraft.pairs.extract.events import Event
from crossdraft.pairs.extract.finish import begin, finish
from crossdraft.pairs.extract.run import extract
from crossdraft.pairs.extract.work import How, Work
from crossdraft.pairs.extract.workplace import Phase, Workplace
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.rows import Row
from tests.pairs.extract.ground import OFTEN, Ground, content

pytestmark = pytest.mark.usefixtures("quick")

IN_TURN = replace(OFTEN, sequential=True)
Wanted = tuple[dict[str, Any], dict[str, str]]


def interrupted_before(
    monkeypatch: pytest.MonkeyPatch, count: int, phases: Collection[str] = ("both",)
) -> Callable[[], None]:
    """Let Ctrl-C come as a model is asked for the `count`th time in one of these phases; call the
    result to let it pass again."""
    asked, rows = iter(range(10**6)), Work.rows

    def broken(
        self: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> list[list[Row]]:
        if phase in phases and next(asked) == count:
            raise KeyboardInterrupt
        return rows(self, phase, numbers, halves)

    monkeypatch.setattr(Work, "rows", broken)
    return lambda: monkeypatch.setattr(Work, "rows", rows)


@pytest.mark.parametrize("save_every", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_an_interrupt_at_any_clip(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int,
    save_every: int,
) -> None:  # fmt: skip
    again = interrupted_before(monkeypatch, count)
    how = How(save_every=save_every)
    with pytest.raises(KeyboardInterrupt):
        ground.extract(tmp_path, how)
    with pytest.raises(InputError, match="not finished"):
        PairStore.open(tmp_path)
    again()
    outcome = ground.extract(tmp_path, how)
    assert outcome.made == 2 * (6 - count), "Ctrl-C costs no finished clip"
    assert content(tmp_path) == wanted
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert left == ["lm_head.safetensors", "log", "shards", "store.json"]


@pytest.mark.parametrize("count", [1, 5, 7, 10])
def test_one_model_after_the_other(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    again = interrupted_before(monkeypatch, count, ("target", "both"))
    with pytest.raises(KeyboardInterrupt):
        ground.extract(tmp_path, IN_TURN)
    again()
    # What the target has said is used whichever way it goes on.
    ground.extract(tmp_path, IN_TURN if count % 2 else OFTEN)
    assert content(tmp_path) == wanted


def test_models_in_turn_are_asked_one_after_the_other(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Phase] = []
    rows = Work.rows

    def noted(
        self: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> list[list[Row]]:
        asked.append(phase)
        return rows(self, phase, numbers, halves)

    monkeypatch.setattr(Work, "rows", noted)
    pair = ground.pair.with_value("load=in_turn")
    ground.extract(tmp_path, pair=pair)
    assert asked == ["target"] * 6 + ["both"] * 6, "each model is loaded once"
    assert content(tmp_path) == wanted


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_begin_with_their_own_shards(
    ground: Ground, wanted: Wanted, tmp_path: Path, world: int
) -> None:
    plan = ground.plan(tmp_path)
    begin(plan)
    done: list[int] = []

    def tell(event: Event) -> None:
        if event.what == "shard":
            done.append(event.shard)

    for rank in reversed(range(world)):
        before = len(done)

        def one_is_done(before: int = before) -> bool:
            return len(done) > before

        Work(plan, replace(OFTEN, rank=rank, world=world), tell, one_is_done).run()
    assert done == {2: [1, 0], 3: [2, 1, 0], 5: [0, 1, 2]}[world]
    assert ground.extract(tmp_path).made == 4 * (3 - len(done))
    assert content(tmp_path) == wanted


def test_a_shard_that_somebody_holds_is_left_to_them(
    ground: Ground, wanted: Wanted, tmp_path: Path
) -> None:
    plan = ground.plan(tmp_path)
    begin(plan)
    with claimed(Workplace(tmp_path).claim_path(1)) as claim:
        assert claim is not None
        outcome = extract(plan, OFTEN, argv=())
        assert (outcome.manifest, outcome.made) == (None, 8)
        assert not Workplace(tmp_path).pieces(1, "both")
    assert ground.extract(tmp_path).made == 4
    assert content(tmp_path) == wanted


def test_whoever_comes_late_finds_it_done(ground: Ground, wanted: Wanted, tmp_path: Path) -> None:
    plan = ground.plan(tmp_path)
    begin(plan)
    late = Work(plan, OFTEN)
    ground.extract(tmp_path)
    late.run()
    assert finish(plan) is not None and not (tmp_path / "open").exists()
    assert content(tmp_path) == wanted


def test_a_kill_between_a_shard_and_its_record(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Workplace, "keep_record", killed)
        with pytest.raises(SystemExit):
            ground.extract(tmp_path)
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["000000.safetensors"]
    ground.extract(tmp_path)
    assert content(tmp_path) == wanted


def test_a_kill_in_the_middle_of_finishing(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("crossdraft.pairs.extract.finish.shutil.rmtree", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ground.extract(tmp_path)
    assert (tmp_path / "open").is_dir()
    assert ground.extract(tmp_path).made == 0
    assert content(tmp_path) == wanted


def test_a_damaged_piece_is_made_again(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = interrupted_before(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        ground.extract(tmp_path)
    again()
    (piece,) = Workplace(tmp_path).pieces(1, "both")
    piece.write_bytes(piece.read_bytes()[:-9])
    told: list[Event] = []
    outcome = extract(ground.plan(tmp_path), OFTEN, tell=told.append, argv=())
    assert outcome.made == 8
    (lost,) = (event for event in told if event.what == "lost")
    assert lost.reason is not None and lost.reason.startswith(piece.name)
    assert content(tmp_path) == wanted


def test_asked_to_stop_it_ends_behind_the_open_shard(ground: Ground, tmp_path: Path) -> None:
    told: list[Event] = []
    outcome = extract(
        ground.plan(tmp_path), OFTEN, tell=told.append, stop=lambda: bool(told), argv=()
    )
    assert (outcome.manifest, outcome.made) == (None, 4)
    assert Workplace(tmp_path).is_done(0) and not Workplace(tmp_path).pieces(1, "both")
