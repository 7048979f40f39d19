"""Stores in the seed study's formats: what was theirs comes back as it was, the rest fits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.files import write_json
from crossdraft.pairs.record import Pair
from crossdraft.pairs.seed_export import write_chunks, write_single
from crossdraft.pairs.seed_index import open_states
from crossdraft.pairs.seed_states import convert_states
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.kinds import SIDES
from crossdraft.pairs.store.manifest import MANIFEST, SHARDS, Manifest, Schema, StoredKind
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Row, Said, Top
from crossdraft.pairs.store.shard import write_shard
from tests.pairs.seed_files import WIDTH, change, write_file, write_folder

LOTS = ((5, 9, 7), (6,), (8, 5))


def same(found: Any, wanted: Any) -> bool:
    """Whether two values of torch.save are equal, tensors bit for bit."""
    if isinstance(wanted, torch.Tensor):
        return (
            isinstance(found, torch.Tensor)
            and found.dtype == wanted.dtype
            and torch.equal(found, wanted)
        )
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
    return type(found) is type(wanted) and bool(found == wanted)


def through_a_store(source: Path, store: Path) -> PairStore:
    convert_states(open_states(source), store)
    return PairStore.open(store)


@pytest.mark.parametrize("variant", ["", "1f"])
def test_a_folder_comes_back_as_it_was(tmp_path: Path, variant: str) -> None:
    seed, back = tmp_path / "seed", tmp_path / "back"
    index = write_folder(seed, LOTS, variant, gap=3 if variant else 0)
    done = write_chunks(through_a_store(seed, tmp_path / "store"), back)
    assert (done.pairs, done.left_out, done.files, done.lost) == (6, 0, 3, ())
    assert json.loads((back / "index.json").read_text()) == index
    files = sorted(path.relative_to(seed) for path in seed.rglob("*.pt"))
    assert sorted(path.relative_to(back) for path in back.rglob("*.pt")) == files
    for file in files:
        wanted = torch.load(seed / file, weights_only=True)
        assert same(torch.load(back / file, weights_only=True), wanted)


@settings(max_examples=15)
@given(lots=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=3))
def test_any_folder_comes_back(
    tmp_path_factory: pytest.TempPathFactory, lots: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    index = write_folder(folder / "seed", lots)
    write_chunks(through_a_store(folder / "seed", folder / "store"), folder / "back", min_length=0)
    assert json.loads((folder / "back" / "index.json").read_text()) == index
    for entry in index["chunks"]:
        wanted, found = (
            torch.load(folder / name / "chunks" / entry["path"], weights_only=True)
            for name in ("seed", "back")
        )
        assert same(found, wanted)


def test_a_single_file_comes_back_as_it_was(tmp_path: Path) -> None:
    data = write_file(tmp_path / "all.pt", (5, 12, 7))
    done = write_single(through_a_store(tmp_path / "all.pt", tmp_path / "store"), tmp_path / "back")
    assert (done.pairs, done.files) == (3, 1)
    assert same(torch.load(tmp_path / "back", weights_only=True), data)


def test_chunks_of_another_size(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    store = through_a_store(tmp_path / "seed", tmp_path / "store")
    write_chunks(store, tmp_path / "back", chunk_size=4)
    index = json.loads((tmp_path / "back" / "index.json").read_text())
    assert [(one["start_idx"], one["n_samples"]) for one in index["chunks"]] == [(0, 4), (4, 2)]
    assert (index["chunk_size"], index["total_samples"]) == (4, 6)
    chunk = torch.load(tmp_path / "back" / "chunks" / "chunk_000004.pt", weights_only=True)
    assert (chunk["chunk_id"], chunk["n_samples"]) == (4, 2)
    assert tuple(chunk["vl_hidden"].shape) == (2, 8, WIDTH)
    again = PairStore.open(tmp_path / "store")
    through_a_store(tmp_path / "back", tmp_path / "again")
    assert [again.pair(i) for i in range(6)] == [store.pair(i) for i in range(6)]


def test_both_layouts_of_one_store(tmp_path: Path) -> None:
    """A folder as one file, and one file as a folder: what has no source is left open."""
    index = write_folder(tmp_path / "seed", LOTS)
    store = through_a_store(tmp_path / "seed", tmp_path / "store")
    write_single(store, tmp_path / "all.pt")
    data = torch.load(tmp_path / "all.pt", weights_only=True)
    assert data.keys() == {"egpt_hidden", "vl_hidden", "seq_lens", "metadata", "config"}
    assert data["config"] == {
        "split": "test", "duration": "1s", "max_questions": 3, "max_new_tokens": 50,
        "max_samples": None, "hidden_dim": WIDTH, "num_samples": 6, "max_seq_len": 9,
        "created": index["created"], "date": data["config"]["date"], "dataset_dir": None,
        "questions_file": None,
    }  # fmt: skip
    store = through_a_store(tmp_path / "all.pt", tmp_path / "store2")
    write_chunks(store, tmp_path / "back", chunk_size=3)
    config = json.loads((tmp_path / "back" / "index.json").read_text())["config"]
    assert config == index["config"] | {"quant": None}


def made_store(
    folder: Path, counts: Sequence[tuple[int, int]], *, widths: tuple[int, int] = (8, 8),
    clips: Sequence[tuple[str, int]] | None = None, kinds: Sequence[str] = ("own", "target"),
) -> PairStore:  # fmt: skip
    """A store as extraction makes it: ids, forced states, logits, drives."""
    made = torch.Generator().manual_seed(3)
    stored = [StoredKind(k, widths[k.startswith("target")], "fp32") for k in sorted(kinds)]
    schema = Schema(tuple(stored), top=2, tokens={"own": "generated", "target": "generated"})
    rows = []
    for place, (own, target) in enumerate(counts):
        length = {"own": own, "target": target, "forced": target}
        clip, index = clips[place] if clips else (f"d/{place}", place)
        states = {
            kind.name: pack(
                torch.randn(length[kind.kind.reading], kind.width, generator=made), "fp32"
            )
            for kind in stored
        }
        top = Top(
            torch.zeros(target, 2, dtype=torch.int32), torch.zeros(target, 2), torch.zeros(target)
        )
        pair = Pair(
            clip, index, "Was ist da?", 0, tuple(range(own)), tuple(range(target)), "a", None,
            drive="d", extra={"event_image_key": "5Hz", "other": 1},
        )  # fmt: skip
        said = {side: Said("eos", "hash", length[side]) for side in SIDES}
        rows.append(Row(pair, said, states, {"target": top}))
    (folder / SHARDS).mkdir(parents=True)
    info = write_shard(folder / SHARDS / "000000.safetensors", rows, schema)
    source = {"dataset": {"name": "drives", "split": "test"}, "max_new_tokens": 20}
    manifest = Manifest(schema, (info,), ("Was ist da?",), source)
    write_json(folder / MANIFEST, manifest.to_json())
    return PairStore.open(folder)


def test_answers_are_cut_to_the_shorter_and_short_ones_left_out(tmp_path: Path) -> None:
    store = made_store(
        tmp_path / "store", ((7, 12), (4, 9), (9, 5), (5, 5)), kinds=("own", "target", "forced")
    )
    done = write_chunks(store, tmp_path / "back")
    assert (done.pairs, done.left_out, done.files) == (3, 1, 1)
    assert done.lost == ("states forced", "token ids", "logits", "drives", "fields other")
    chunk = torch.load(tmp_path / "back" / "chunks" / "chunk_000000.pt", weights_only=True)
    assert chunk.keys() == {
        "egpt_hidden", "vl_hidden", "seq_lens", "metadata", "chunk_id", "n_samples",
    }  # fmt: skip
    assert chunk["seq_lens"].tolist() == [7, 5, 5]
    for row, (place, length) in enumerate(((0, 7), (2, 5), (3, 5))):
        for kind, key in (("own", "egpt_hidden"), ("target", "vl_hidden")):
            assert torch.equal(chunk[key][row, :length], store.states(place, kind)[:length])
            assert not chunk[key][row, length:].any()
    assert chunk["metadata"][1] == {
        "sample_idx": 2, "question_idx": 0, "question": "Was ist da?", "egpt_text": "a",
        "vl_text": None, "seq_len": 5, "event_image_key": "5Hz",
    }  # fmt: skip
    index = json.loads((tmp_path / "back" / "index.json").read_text())
    assert index["chunk_size"] == 1000
    assert index["config"] == {
        "split": "test", "duration": None, "quant": None, "max_questions": 1,
        "max_new_tokens": 20, "hidden_dim": 8,
    }  # fmt: skip
    assert write_single(store, tmp_path / "all.pt", min_length=0).pairs == 4
    through_a_store(tmp_path / "back", tmp_path / "again")


def test_clips_get_numbers_of_their_own(tmp_path: Path) -> None:
    """Two drives count their clips from 0 each: the study's numbers must differ all the same."""
    clips = (("a/0", 0), ("a/1", 1), ("b/0", 0))
    store = made_store(tmp_path / "store", ((5, 5),) * 3, clips=clips)
    write_single(store, tmp_path / "all.pt")
    listed = torch.load(tmp_path / "all.pt", weights_only=True)["metadata"]
    assert [one["sample_idx"] for one in listed] == [0, 1, 2]


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(store: PairStore, said: str) -> None:
        for write in (write_chunks, write_single):
            with pytest.raises(InputError, match=said):
                write(store, tmp_path / "out")
            assert not (tmp_path / "out").exists()

    refused(made_store(tmp_path / "1", ((5, 5),), kinds=("target",)), "has no own states")
    refused(made_store(tmp_path / "2", ((5, 5),), widths=(8, 12)), "own states have width 8, targ")
    refused(made_store(tmp_path / "3", ((5, 4),)), "no pair has 5 states of both")
    store = made_store(tmp_path / "4", ((5, 5),))
    monkeypatch.setattr("crossdraft.pairs.seed_export.available_bytes", lambda _: 100)
    with pytest.raises(InputError, match="takes 320 B, 100 B are free"):
        write_single(store, tmp_path / "out")


def test_a_manifest_that_was_changed_writes_nothing_elsewhere(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    store = through_a_store(tmp_path / "seed", tmp_path / "store")
    files = [one | {"path": f"../../../{one['path']}"} for one in store.manifest.source["files"]]
    source = {**store.manifest.source, "files": files}
    store.manifest = replace(store.manifest, source=source)
    write_chunks(store, tmp_path / "back")
    assert len(list((tmp_path / "back" / "chunks").iterdir())) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back", "seed", "store"]


def test_fields_of_a_sample_come_back(tmp_path: Path) -> None:
    """The study's own, whatever they are called."""
    seed = tmp_path / "seed"
    write_folder(seed, LOTS)
    path = seed / "chunks" / "chunk_000000.pt"
    listed = torch.load(path, weights_only=True)["metadata"]
    listed[1] |= {"camera": "left", "speed": 2.5}
    change(path, metadata=listed)
    done = write_chunks(through_a_store(seed, tmp_path / "store"), tmp_path / "back")
    assert done.lost == ()
    back = torch.load(tmp_path / "back" / "chunks" / path.name, weights_only=True)
    assert back["metadata"] == listed


def test_short_answers_are_kept_where_the_study_kept_them(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", ((5, 2), (0,)))
    store = through_a_store(tmp_path / "seed", tmp_path / "store")
    done = write_chunks(store, tmp_path / "back")
    assert (done.pairs, done.left_out, done.shortest) == (3, 0, 0)
    assert write_single(store, tmp_path / "all.pt").pairs == 3
    assert write_single(store, tmp_path / "5.pt", min_length=5).pairs == 1


def edited(manifest: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The source of a manifest with another value at a place such as `files.0.path`."""
    inner: Any = manifest["source"]
    *path, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    for key in path:
        inner = inner[key]
    inner[last] = value
    return manifest


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("layout", 3, "source: layout is 3"),
        ("about", [1], "about: is a list"),
        ("about", None, "about: is missing"),
        ("about.config", "x", "config is text"),
        ("about.config.hidden_dim", 17, "hidden_dim = 17"),
        ("about.chunk_size", "x", "chunk_size is 'x'"),
        ("about.chunk_size", -1, "chunk_size is -1"),
        ("about.chunk_size", 2, r"chunks\[0\] has 3 pairs, chunk_size is 2"),
        ("files", {"a": 1}, "files is {'a': 1}"),
        ("files", [1], r"source\.files\[0\]: is a number"),
        ("files.1.path", 3, r"source\.files\[1\]: path is a number"),
        ("files.1.path", "a\0", r"source\.files\[1\]: path is"),
        ("files.1.path", "chunk_000000.pt", "lists one file twice"),
        ("files.1.start_idx", "x", r"files\[1\]: start_idx is 'x'"),
        ("files.1.start_idx", 2, "begins at pair 2"),
        ("files.1.n_samples", 2.5, r"files\[1\]: n_samples is 2\.5"),
        ("files.2.n_samples", 3, "total_samples is 6, its chunks have 7"),
        ("files.1.longest", "x", r"files\[1\]: longest is 'x'"),
        ("files.1.longest", -1, r"files\[1\]: longest is -1"),
        ("files.1.longest", 2, r"longest is 2, one of its answers has 6 states"),
        ("files.1.longest", 10**12, "is made in memory and takes"),
        ("files.1.chunk_id", "x", r"files\[1\]: chunk_id is 'x'"),
    ],
)
def test_a_source_that_was_edited(tmp_path: Path, place: str, value: Any, said: str) -> None:
    write_folder(tmp_path / "seed", LOTS)
    through_a_store(tmp_path / "seed", tmp_path / "store")
    path = tmp_path / "store" / MANIFEST
    write_json(path, edited(json.loads(path.read_text()), place, value))
    with pytest.raises(InputError, match=said):
        write_chunks(PairStore.open(tmp_path / "store"), tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("about", "x", "about is text"),
        ("about.hidden_dim", None, "hidden_dim = None"),
        ("files", "x", "files is 'x'"),
        ("files", [{}, {}], "files lists 2"),
        ("files.0", 3, r"files\[0\]: is a number"),
        ("files.0.longest", [], r"files\[0\]: longest is \[\]"),
        ("files.0.longest", 3, "longest is 3, one of its answers has 12 states"),
    ],
)
def test_a_source_of_one_file_that_was_edited(
    tmp_path: Path, place: str, value: Any, said: str
) -> None:
    write_file(tmp_path / "all.pt", (5, 12, 7))
    through_a_store(tmp_path / "all.pt", tmp_path / "store")
    path = tmp_path / "store" / MANIFEST
    write_json(path, edited(json.loads(path.read_text()), place, value))
    with pytest.raises(InputError, match=said):
        write_single(PairStore.open(tmp_path / "store"), tmp_path / "back.pt")
    assert not (tmp_path / "back.pt").exists()
