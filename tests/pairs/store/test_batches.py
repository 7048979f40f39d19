"""Batches hold every chosen pair once, shuffled over the whole store, with the values it has."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.pairs.store.batches import PADDING, Batch
from crossdraft.pairs.store.store import PairStore
from tests.pairs.store.stores import SCHEMA, make_row, write_store

KINDS = ("own", "target")
COUNT = 23


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PairStore:
    rows = [make_row(i) for i in range(COUNT)]
    rows[3] = make_row(3, counts=(4, 0))  # an empty answer
    return write_store(tmp_path_factory.mktemp("batches") / "s", rows)


def rows_of(batches: list[Batch]) -> list[int]:
    return [int(row) for batch in batches for row in batch.rows]


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("narrow", [0, 1 << 15])
def test_values_are_those_of_the_store(
    store: PairStore,
    prefetch: int,
    dtype: torch.dtype,
    narrow: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crossdraft.pairs.store.batches._NARROW", narrow)
    for batch in store.batches(KINDS, 5, dtype=dtype, prefetch=prefetch):
        for place, row in enumerate(batch.rows.tolist()):
            for kind in KINDS:
                n = store.count(row, kind)  # type: ignore[arg-type]  # the sides' names too
                padded = batch.states[kind][place]
                assert padded.dtype == dtype
                assert padded[:n].equal(store.states(row, kind, dtype)) and not padded[n:].any()
            pair = store.pair(row)
            for side, ids in (("own", pair.draft_tokens), ("target", pair.target_tokens)):
                padded = batch.tokens[side]  # type: ignore[index]
                assert padded[place, : len(ids)].tolist() == list(ids)
                assert padded[place, len(ids) :].eq(PADDING).all()
                assert batch.lengths[side][place] == len(ids)  # type: ignore[index]
                assert batch.mask(side)[place].sum() == len(ids)  # type: ignore[arg-type]
        longest = int(batch.lengths["target"].max())
        assert batch.states["target"].shape == (len(batch), longest, 6)
        assert batch.tokens["target"].shape == batch.mask("target").shape == (len(batch), longest)


@given(
    st.integers(1, 9), st.integers(1, 5), st.integers(0, 3), st.booleans(),
    st.none() | st.lists(st.integers(0, COUNT - 1), unique=True),
)  # fmt: skip
def test_every_chosen_pair_comes_once_over_all_ranks(
    store: PairStore, size: int, world: int, epoch: int, shuffle: bool, rows: list[int] | None
) -> None:
    ranks = [
        list(store.batches((), size, rows=rows, epoch=epoch, shuffle=shuffle, rank=rank,
                           world=world, prefetch=0))
        for rank in range(world)
    ]  # fmt: skip
    wanted = list(range(COUNT)) if rows is None else rows
    assert sorted(rows_of([batch for rank in ranks for batch in rank])) == sorted(wanted)
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1
    assert all(len(batch) == size for rank in ranks for batch in rank[:-1])
    if not shuffle and world == 1:
        assert rows_of(ranks[0]) == wanted


@given(st.integers(1, 9), st.integers(1, 5))
def test_dropping_the_last_leaves_every_rank_as_many_full_batches(
    store: PairStore, size: int, world: int
) -> None:
    ranks = [
        list(store.batches((), size, drop_last=True, rank=rank, world=world, prefetch=0))
        for rank in range(world)
    ]
    assert {len(rank) for rank in ranks} == {COUNT // world // size}
    assert all(len(batch) == size for rank in ranks for batch in rank)


def test_the_order_is_of_seed_and_epoch_alone(store: PairStore) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return rows_of(list(store.batches((), 4, seed=seed, epoch=epoch)))

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_one_batch_mixes_shards(store: PairStore) -> None:
    first = next(iter(store.batches((), 8, seed=1)))
    assert len({row // 4 for row in first.rows.tolist()}) > 3


def test_ids_can_be_left_out(store: PairStore) -> None:
    assert next(iter(store.batches(KINDS, 4, tokens=False))).tokens == {}


def test_few_files_are_open_while_batches_come(tmp_path: Path) -> None:
    rows = [make_row(i) for i in range(30)]
    store = write_store(tmp_path / "s", rows, per_shard=1, max_open=4)
    for _ in store.batches(KINDS, 4):
        assert store.shelf.open_now <= 4


def batch_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "crossdraft-batches"]


def test_leaving_early_ends_the_thread(store: PairStore) -> None:
    for batches in (store.batches(KINDS, 1), store.batches(KINDS, 1, prefetch=1)):
        next(batches)
        assert batch_threads()
        batches.close()  # type: ignore[attr-defined]
        assert not batch_threads()
    for _ in store.batches(KINDS, 2):
        break
    deadline = time.monotonic() + 10
    while batch_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not batch_threads()


def test_a_pass_to_its_end_ends_the_thread(store: PairStore) -> None:
    assert len(list(store.batches(KINDS, 4))) == 6
    assert not batch_threads()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_damage_reaches_whoever_asks_for_the_batch(tmp_path: Path, prefetch: int) -> None:
    store = write_store(tmp_path / "s", [make_row(i) for i in range(12)])
    path = store.folder / "shards" / store.manifest.shards[2].file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the states of its last pair
    path.write_bytes(data)
    batches = store.batches(("own",), 1, shuffle=False, prefetch=prefetch)
    assert [int(next(batches).rows) for _ in range(11)] == list(range(11))
    with pytest.raises(InputError, match=r"000002\.safetensors: the states own of its pair 3"):
        next(batches)
    assert not batch_threads()


def test_what_cannot_be_asked_for(store: PairStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no states 'own@1'"):
        store.batches(("own@1",), 4)
    with pytest.raises(InputError, match="batches of 0"):
        store.batches(KINDS, 0)
    with pytest.raises(InputError, match="rank 2 of 2"):
        store.batches(KINDS, 4, rank=2, world=2)
    for name in ("seed", "epoch", "prefetch"):
        with pytest.raises(InputError, match=f"{name} -1"):
            store.batches(KINDS, 4, **{name: -1})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"no pair {COUNT}"):
        store.batches(KINDS, 4, rows=[0, COUNT])


def test_states_without_ids(tmp_path: Path) -> None:
    from dataclasses import replace

    schema = replace(SCHEMA, tokens={"target": "generated"}, top=0)
    store = write_store(tmp_path / "s", [make_row(i, schema) for i in range(3)], schema)
    (batch,) = store.batches(KINDS, 4, shuffle=False)
    assert batch.tokens.keys() == {"target"} and batch.lengths["own"].tolist() == [1, 2, 3]
