"""A store opens by its manifest alone, reads by slice, and says which file is wrong."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import folds
from crossdraft.pairs.store.manifest import Missing
from crossdraft.pairs.store.packing import unpack
from crossdraft.pairs.store.store import PairStore
from tests.pairs.store.stores import SCHEMA, make_row, same_rows, write_store

ROWS = [make_row(i) for i in range(10)]


def shard_file(store: PairStore, number: int) -> Path:
    return store.folder / "shards" / store.manifest.shards[number].file


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def test_everything_comes_back(tmp_path: Path) -> None:
    missing = (Missing("drive_0/000077", "no video", 2),)
    store = write_store(tmp_path / "s", ROWS, missing=missing)
    assert len(store) == 10 and [s.pairs for s in store.manifest.shards] == [4, 4, 2]
    assert all(same_rows(store.row(i), row) for i, row in enumerate(ROWS))
    assert list(store.pairs()) == [row.pair for row in ROWS]
    assert [store.pair(i) for i in (9, 0)] == [ROWS[9].pair, ROWS[0].pair]
    assert store.states(5, "own").equal(unpack(ROWS[5].states["own"]))
    assert store.states(5, "target", torch.bfloat16).equal(ROWS[5].states["target"].codes)
    assert store.top(3, "target").logits.equal(ROWS[3].top["target"].logits)
    assert [store.count(i, "target") for i in range(3)] == [2, 3, 4]
    assert store.manifest.missing == missing and store.manifest.source == {"made": "up"}
    assert store.manifest.questions == ("What about 0?", "What about 1?")
    assert store.manifest.schema == SCHEMA


def test_states_are_the_callers_own(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    store.states(0, "target").zero_()
    assert store.states(0, "target").any()


def test_what_is_not_stored(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    with pytest.raises(InputError, match="has no states 'own@3'") as caught:
        store.states(0, "own@3")
    assert "one of forced, own, target" in str(caught.value)
    with pytest.raises(InputError, match="keeps no logits of 'own'") as caught:
        store.top(0, "own")
    assert "--top-logits" in str(caught.value)
    for outside in (-1, 10):
        with pytest.raises(IndexError, match="of 10"):
            store.pair(outside)


def test_opening_reads_no_shard(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    for number in range(3):
        path = shard_file(store, number)
        path.write_bytes(b"\0" * path.stat().st_size)
    assert len(PairStore.open(tmp_path / "s")) == 10


def test_a_missing_shard(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    shard_file(store, 1).unlink()
    with pytest.raises(InputError, match=r"000001\.safetensors: this shard is missing") as caught:
        PairStore.open(tmp_path / "s")
    assert "copy the store again" in str(caught.value)
    for path in (tmp_path / "s" / "shards").iterdir():
        path.unlink()
    (tmp_path / "s" / "shards").rmdir()
    with pytest.raises(InputError, match=r"000000\.safetensors: this shard is missing"):
        PairStore.open(tmp_path / "s")


@pytest.mark.parametrize("cut", [-1, -100, 1])
def test_a_shard_of_another_length(tmp_path: Path, cut: int) -> None:
    store = write_store(tmp_path / "s", ROWS)
    path = shard_file(store, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] if cut < 0 else whole + b"0")
    with pytest.raises(InputError, match=r"000002\.safetensors: .* bytes") as caught:
        PairStore.open(tmp_path / "s")
    assert f"a file of {len(whole):,} bytes" in str(caught.value)


def test_every_flipped_byte_is_noticed_by_check_and_by_reading(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS[:3])
    path = shard_file(store, 0)
    size = path.stat().st_size
    for place in range(0, size, 11):
        flip(path, place)
        opened = PairStore.open(tmp_path / "s")
        with pytest.raises(InputError, match=r"000000\.safetensors: this shard is damaged"):
            opened.check()
        with pytest.raises(InputError, match=r"000000\.safetensors"):
            [opened.row(i) for i in range(3)]
        flip(path, place)
    store.check()


def test_damage_elsewhere_leaves_other_shards_readable(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    flip(shard_file(store, 1), 20)
    assert same_rows(store.row(0), ROWS[0]) and same_rows(store.row(9), ROWS[9])
    with pytest.raises(InputError, match=r"000001\.safetensors"):
        store.row(4)


def test_a_whole_shard_in_another_ones_place(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    first, second = shard_file(store, 0), shard_file(store, 1)
    second.write_bytes(first.read_bytes())
    manifest = json.loads((tmp_path / "s" / "store.json").read_text())
    manifest["shards"][1]["bytes"] = first.stat().st_size
    (tmp_path / "s" / "store.json").write_text(json.dumps(manifest))
    opened = PairStore.open(tmp_path / "s")
    with pytest.raises(InputError, match="not the file that the store was made of"):
        opened.row(4)


def test_few_shards_are_open_at_once_and_stay_checked(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS, per_shard=1, max_open=3)
    for _ in range(2):
        for i in range(10):
            assert same_rows(store.row(i), ROWS[i])
            assert store.shelf.open_now <= 3
    shard, place = store.find(0)
    assert shard.checked.all() and place == 0
    # What is damaged after it was checked is for `check` to find.
    path = shard_file(store, 5)
    flip(path, path.stat().st_size - 1)
    store.row(5)
    with pytest.raises(InputError, match=r"000005\.safetensors"):
        store.check()


def test_records_of_few_shards_stay_unpacked(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", [make_row(i) for i in range(20)], per_shard=1)
    shards = [store.find(i)[0] for i in range(20)]
    assert list(store.pairs()) == [make_row(i).pair for i in range(20)]
    assert [shard._records is not None for shard in shards] == [False] * 4 + [True] * 16


@pytest.mark.parametrize("place", ["positions", "longest"])
@pytest.mark.parametrize("side", ["own", "target"])
def test_a_manifest_that_says_other_lengths(tmp_path: Path, place: str, side: str) -> None:
    write_store(tmp_path / "s", ROWS)
    path = tmp_path / "s" / "store.json"
    manifest = json.loads(path.read_text())
    manifest["shards"][1][place][side] += 1
    path.write_text(json.dumps(manifest))
    store = PairStore.open(tmp_path / "s")
    store.row(0)
    for asked in (store.check, lambda: store.pair(4)):
        with pytest.raises(InputError, match=rf"000001\.safetensors: {place}: "):
            asked()


def test_a_pickled_store_reads_on(tmp_path: Path) -> None:
    """As the workers of a DataLoader get it that are spawned."""
    store = write_store(tmp_path / "s", ROWS, max_open=2)
    store.row(9)
    found = pickle.loads(pickle.dumps(store))
    assert (found.folder, found.manifest) == (store.folder, store.manifest)
    assert all(same_rows(found.row(i), row) for i, row in enumerate(ROWS))
    assert found.shelf.open_now == found.shelf.most_open == 2


def in_a_fork(work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a forked process, within 20 seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
        child = os.fork()
    if not child:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (done := os.waitpid(child, os.WNOHANG))[0]:
            return done[1] == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_reads_on_though_a_thread_held_the_lock(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    store.row(0)
    with store.shelf._lock:
        assert in_a_fork(lambda: store.pair(0) == ROWS[0].pair and store.pair(9) == ROWS[9].pair)
    assert in_a_fork(lambda: store.pair(5) == ROWS[5].pair)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_pass_does_not_go_on_in_a_fork(tmp_path: Path) -> None:
    batches = write_store(tmp_path / "s", ROWS).batches(("own",), 1, shuffle=False)
    next(batches)

    def refused() -> bool:
        with pytest.raises(InputError, match="begun in another process"):
            next(batches)
        return True

    assert in_a_fork(refused)
    assert [int(batch.rows) for batch in batches] == list(range(1, 10))


def test_checking_reports_progress(tmp_path: Path) -> None:
    seen: list[Progress] = []
    write_store(tmp_path / "s", ROWS).check(seen.append)
    assert [one.done for one in seen] == [0, 1, 2, 3]


def test_rows_of_a_part_of_a_split(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", ROWS)
    for fold in folds(list(store.pairs()), 3, 0):
        rows = store.rows_of(fold.test)
        assert [store.pair(i) for i in rows] == list(fold.test)
        assert len({store.pair(i).drive for i in rows}) == 1
        assert sorted([*rows, *store.rows_of(fold.train)]) == list(range(10))
    with pytest.raises(InputError, match="no pair of clip other"):
        store.rows_of([Pair("other", 0, "", 0, (), ())])


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is no pair store"):
        PairStore.open(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        PairStore.open(tmp_path / "nowhere")


@pytest.mark.parametrize("left", [".extract.json", "open"])
def test_a_store_that_is_not_finished(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir() if left == "open" else (tmp_path / left).write_text("{}")
    with pytest.raises(InputError, match="not finished") as caught:
        PairStore.open(tmp_path)
    assert "same `crossdraft extract` call" in str(caught.value)


def test_a_finished_store_may_keep_the_note_of_its_extraction(tmp_path: Path) -> None:
    write_store(tmp_path / "s", ROWS)
    (tmp_path / "s" / ".extract.json").write_text("{}")
    assert len(PairStore.open(tmp_path / "s")) == 10


def changed(manifest: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    *path, last = place.split(".")
    inner: Any = manifest
    for key in path:
        inner = inner[int(key) if key.isdigit() else key]
    inner[last] = value
    return manifest


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        ("format", "other", "format is 'other'"),
        ("version", 2, "a store of version 2"),
        ("version", None, "a store of version None"),
        ("pairs", 11, "pairs is 11, its shards hold 10"),
        ("schema", None, "manifest.schema: is missing"),
        ("schema.top", "2", "top is '2'"),
        ("schema.kinds.0.name", "mine", "no kind of states 'mine'"),
        ("schema.kinds.0.name", "target", "each once, sorted"),
        ("schema.kinds.0.dtype", "int4", "dtype is 'int4'"),
        ("schema.kinds.0.width", 0, "width is 0"),
        ("schema.kinds.0.width", 6.0, "width is 6.0"),
        ("schema.tokens.other", "generated", "tokens of"),
        ("schema.tokens.own", 3, "own is a number"),
        ("shards", {}, "shards is {}"),
        ("shards.1.file", "../000001.safetensors", "file is '../000001"),
        ("shards.1.file", "000000.safetensors", "lists a shard twice"),
        ("shards.1.sha256", "0", "a digest that is none"),
        ("shards.1.index_crc", 2**32, "a digest that is none"),
        ("shards.1.bytes", -1, "bytes is -1"),
        ("shards.1.bytes", True, "bytes is True"),
        ("shards.1.positions", {"forced": 1}, "sides forced"),
        ("questions", [1], "holds what is no text"),
        ("missing", [{"clip": "a"}], "reason is missing"),
        ("source", [], "source is a list"),
    ],
)
def test_a_manifest_that_is_wrong(tmp_path: Path, place: str, value: Any, match: str) -> None:
    write_store(tmp_path / "s", ROWS)
    path = tmp_path / "s" / "store.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), place, value)))
    with pytest.raises(InputError, match=r"store\.json: ") as caught:
        PairStore.open(tmp_path / "s")
    assert match in str(caught.value)


def test_a_manifest_that_is_cut(tmp_path: Path) -> None:
    write_store(tmp_path / "s", ROWS)
    path = tmp_path / "s" / "store.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match="not valid JSON"):
        PairStore.open(tmp_path / "s")
