"""The seed study's hidden states as a store: every value, every field, and every damage."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.pairs.recognise import content_of
from crossdraft.pairs.seed_index import open_states
from crossdraft.pairs.seed_states import SideHead, convert_states
from crossdraft.pairs.store.manifest import Manifest
from crossdraft.pairs.store.packing import unpack
from crossdraft.pairs.store.rows import Row
from crossdraft.pairs.store.shard import read_shard
from crossdraft.vlm.lm_head_pt import read_head
from tests.pairs.seed_files import (
    QUESTIONS,
    WIDTH,
    change,
    change_index,
    chunk,
    head_file,
    samples,
    write_file,
    write_folder,
)

LOTS = ((5, 9, 7), (6,), (8, 5))


def rows_of(folder: Path, manifest: Manifest) -> list[Row]:
    """Every pair of a store."""
    return [
        row
        for shard in manifest.shards
        for row in read_shard(folder / "shards" / shard.file, manifest.schema)[0]
    ]


def chunks_of(folder: Path, index: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in index["chunks"]:
        yield torch.load(folder / "chunks" / entry["path"], weights_only=True)


@pytest.mark.parametrize("variant", ["", "1f"])
def test_a_folder_becomes_a_store(tmp_path: Path, variant: str) -> None:
    index = write_folder(tmp_path / "seed", LOTS, variant, gap=4 if variant else 0)
    made = convert_states(open_states(tmp_path / "seed"), tmp_path / "store")
    rows = rows_of(tmp_path / "store", made)
    assert made.pairs == len(rows) == 6
    place = 0
    for data in chunks_of(tmp_path / "seed", index):
        for number, meta in enumerate(data["metadata"]):
            row, length = rows[place], meta["seq_len"]
            for kind, key in (("own", "egpt_hidden"), ("target", "vl_hidden")):
                assert torch.equal(unpack(row.states[kind]), data[key][number, :length])
            pair = row.pair
            assert (pair.clip, pair.index, pair.drive, pair.dataset) == (
                f"test_1s/{meta['sample_idx']}", meta["sample_idx"], None, "test_1s",
            )  # fmt: skip
            assert (pair.question, pair.question_index) == (meta["question"], meta["question_idx"])
            assert (pair.draft_text, pair.target_text) == (meta["egpt_text"], meta["vl_text"])
            assert dict(pair.extra) == ({"event_image_key": "event_image_1f"} if variant else {})
            assert not pair.draft_tokens and not pair.target_tokens
            assert {said.count for said in row.said.values()} == {length}
            place += 1
    assert {kind.name: kind.dtype for kind in made.schema.kinds} == {
        "own": "bf16",
        "target": "fp16",
    }
    assert made.schema.tokens == {} and made.questions == QUESTIONS
    assert made.source["about"]["config"] == index["config"]
    assert made.provenance["source"] == {"created": index["created"]}
    written = json.loads((tmp_path / "store" / "store.json").read_text())
    assert written["pairs"] == 6 and written["source"] == made.source
    assert made.source["files"][-1]["start_idx"] == index["chunks"][-1]["start_idx"]


def test_a_single_file_becomes_a_store_whatever_it_is_called(tmp_path: Path) -> None:
    data = write_file(tmp_path / "hidden_states_train_2q.bin", (5, 12, 7, 9))
    found = open_states(tmp_path / "hidden_states_train_2q.bin")
    assert (found.layout, found.dataset) == ("single", "train_500ms")
    made = convert_states(found, tmp_path / "store")
    rows = rows_of(tmp_path / "store", made)
    for place, row in enumerate(rows):
        length = data["metadata"][place]["seq_len"]
        assert torch.equal(unpack(row.states["own"]), data["egpt_hidden"][place, :length])
    assert made.provenance["source"] == {"created": "2026-01-31T10:00:00", "date": "20260131"}
    assert "created" not in made.source["about"]


def test_what_has_no_place_in_a_store_is_noted(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    change(first(tmp_path / "seed"), mask=torch.ones(3), config={"a": 1})
    made = convert_states(open_states(tmp_path / "seed"), tmp_path / "store")
    assert made.source["dropped"] == ["config", "mask"]
    write_file(tmp_path / "all.pt", (5,))
    made = convert_states(open_states(tmp_path / "all.pt"), tmp_path / "store2")
    assert "dropped" not in made.source


def test_a_chunk_alone_is_a_file_too(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    path = tmp_path / "seed" / "chunks" / "chunk_000000.pt"
    assert convert_states(open_states(path), tmp_path / "store").pairs == 3


def test_contents_are_told_apart(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    write_file(tmp_path / "states.json", (5,))
    head_file(tmp_path / "head.jsonl", 40)
    convert_states(open_states(tmp_path / "seed"), tmp_path / "store")
    (tmp_path / "text.pt").write_text("{}")
    (tmp_path / "open.d" / "open").mkdir(parents=True)
    torch.save({"a": 1}, tmp_path / "other.pt")
    found = {p.name: content_of(p) for p in tmp_path.iterdir() if p.name != "other.pt"}
    assert found == {
        "seed": "states", "states.json": "states", "head.jsonl": "head", "store": "store",
        "text.pt": "answers", "open.d": "store",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"neither hidden states nor a head \(keys \['a'\]\)"):
        content_of(tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((1.0, 2.0**100), "bf16"),
        ((1.0 + 2**-9, 2.0), "fp16"),
        ((1.0 + 2**-9, 2.0**100), "fp32"),
        ((1.0, 1.0 + 2**-20), "fp32"),
    ],
)
def test_auto_holds_every_value_of_every_chunk(
    tmp_path: Path, values: tuple[float, float], dtype: str
) -> None:
    """The two values stand in two chunks, each of which alone might do with less."""
    write_folder(tmp_path / "seed", ((5,), (6,)))
    for name, value in zip(("chunk_000000.pt", "chunk_000001.pt"), values, strict=True):
        path = tmp_path / "seed" / "chunks" / name
        states = torch.load(path, weights_only=True)["egpt_hidden"]
        states[:] = value
        change(path, egpt_hidden=states)
    made = convert_states(open_states(tmp_path / "seed"), tmp_path / "store")
    assert [kind.dtype for kind in made.schema.kinds] == [dtype, "fp16"]
    for row, value in zip(rows_of(tmp_path / "store", made), values, strict=True):
        assert (unpack(row.states["own"]) == torch.tensor(value)).all()


def test_a_dtype_that_is_asked_for(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    source = open_states(tmp_path / "seed")
    for dtype in ("bf16", "fp32", "int8"):
        made = convert_states(source, tmp_path / dtype, dtype=dtype)
        assert {kind.dtype for kind in made.schema.kinds} == {dtype}
    with pytest.raises(InputError, match=r"egpt_hidden, pair 0: .* do not fit fp16"):
        convert_states(source, tmp_path / "fp16", dtype="fp16")
    assert not (tmp_path / "fp16").exists()


@settings(max_examples=20)
@given(
    lots=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=3),
    block=st.sampled_from([1, 500, 1 << 20]),
    shard=st.sampled_from([1, 1000, 1 << 20]),
)
def test_any_lengths(
    tmp_path_factory: pytest.TempPathFactory, lots: list[list[int]], block: int, shard: int
) -> None:
    """However the work is cut into pieces, the same states come out."""
    folder = tmp_path_factory.mktemp("any")
    index = write_folder(folder / "seed", lots)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossdraft.pairs.seed_survey._BLOCK_BYTES", block)
        patch.setattr("crossdraft.pairs.seed_states._SHARD_BYTES", shard)
        made = convert_states(open_states(folder / "seed"), folder / "store")
    rows = iter(rows_of(folder / "store", made))
    for data in chunks_of(folder / "seed", index):
        for number, length in enumerate(data["seq_lens"].tolist()):
            states = unpack(next(rows).states["target"])
            assert torch.equal(states, data["vl_hidden"][number, :length])
    assert next(rows, None) is None


def test_shards_end_at_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is counted from its own first pair."""
    monkeypatch.setattr("crossdraft.pairs.seed_states._SHARD_BYTES", 2 * 5 * WIDTH * 2 * 3)
    write_folder(tmp_path / "seed", ((5,) * 8,))
    made = convert_states(open_states(tmp_path / "seed"), tmp_path / "store")
    assert [shard.pairs for shard in made.shards] == [3, 3, 2]


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "seed", LOTS)
    needed = 40 * WIDTH * 2 * 2
    monkeypatch.setattr("crossdraft.pairs.seed_states.free_bytes", lambda _: needed - 1)
    with pytest.raises(InputError, match=r"the store takes 2\.56 kB, 2\.56 kB are free"):
        convert_states(open_states(tmp_path / "seed"), tmp_path / "store")
    assert not (tmp_path / "store").exists()
    monkeypatch.setattr("crossdraft.pairs.seed_states.free_bytes", lambda _: needed)
    convert_states(open_states(tmp_path / "seed"), tmp_path / "store")


def test_ids_come_out_of_the_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdraft.pairs.seed_states._HEAD_ROWS", 4)
    index = write_folder(tmp_path / "seed", LOTS)
    target = head_file(tmp_path / "vl.pt", 50)
    own = head_file(tmp_path / "egpt.pt", 40)
    heads = {
        side: SideHead(name, read_head(tmp_path / name))
        for side, name in (("target", "vl.pt"), ("own", "egpt.pt"))
    }
    source = open_states(tmp_path / "seed")
    made = convert_states(source, tmp_path / "store", heads=heads)  # type: ignore[arg-type]
    rows = iter(rows_of(tmp_path / "store", made))
    for data in chunks_of(tmp_path / "seed", index):
        for number, length in enumerate(data["seq_lens"].tolist()):
            pair = next(rows).pair
            for ids, weight, key in (
                (pair.target_tokens, target, "vl_hidden"),
                (pair.draft_tokens, own, "egpt_hidden"),
            ):
                states = data[key][number, :length]
                assert list(ids) == (states @ weight.T).argmax(dim=1).tolist()
    assert made.schema.tokens == {
        "target": "argmax of vl.pt over the states", "own": "argmax of egpt.pt over the states",
    }  # fmt: skip
    one = convert_states(source, tmp_path / "one", heads={"target": heads["target"]})
    assert list(one.schema.tokens) == ["target"]
    assert not rows_of(tmp_path / "one", one)[0].pair.draft_tokens


def test_a_head_of_another_width_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    torch.save({"weight": torch.ones(4, WIDTH + 1)}, tmp_path / "vl.pt")
    head = SideHead("vl.pt", read_head(tmp_path / "vl.pt"))
    with pytest.raises(InputError, match=r"vl\.pt: a head for states of width 17"):
        convert_states(open_states(tmp_path / "seed"), tmp_path / "s", heads={"target": head})


def first(folder: Path) -> Path:
    return folder / "chunks" / "chunk_000000.pt"


def poke(key: str, place: tuple[int, int, int], value: float) -> Callable[[Path], None]:
    """One value of the first chunk's states is another."""

    def damage(folder: Path) -> None:
        states = torch.load(first(folder), weights_only=True)[key]
        states[place] = value
        change(first(folder), **{key: states})

    return damage


def meta(place: int, **fields: Any) -> Callable[[Path], None]:
    """One sample of the first chunk says something else."""

    def damage(folder: Path) -> None:
        listed = torch.load(first(folder), weights_only=True)["metadata"]
        listed[place] |= fields
        change(first(folder), metadata=listed)

    return damage


def fields(**new: Any) -> Callable[[Path], None]:
    return lambda folder: change(first(folder), **new)


def in_index(**new: Any) -> Callable[[Path], None]:
    return lambda folder: change_index(folder, **new)


def entry(place: int, **new: Any) -> Callable[[Path], None]:
    """One chunk of the index is listed otherwise."""

    def damage(folder: Path) -> None:
        listed = json.loads((folder / "index.json").read_text())["chunks"]
        listed[place] |= new
        change_index(folder, chunks=listed)

    return damage


def one_less(folder: Path) -> None:
    """The index promises a pair more than the last chunk has."""
    entry(2, n_samples=3)(folder)
    change_index(folder, total_samples=7)


def flip(folder: Path) -> None:
    """One bit of a state."""
    data = bytearray(first(folder).read_bytes())
    state = torch.load(first(folder), weights_only=True)["vl_hidden"][1].numpy().tobytes()
    data[data.index(state) + 2] ^= 1
    first(folder).write_bytes(data)


def cut(folder: Path) -> None:
    first(folder).write_bytes(first(folder).read_bytes()[:-40])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "chunk missing": (
        lambda f: first(f).unlink(),
        r"0\.pt: no such file; index.* 3 pairs",
    ),
    "index missing": (lambda f: (f / "index.json").unlink(), r"no index\.json, only chunks"),
    "index no JSON": (lambda f: (f / "index.json").write_text("{"), "not valid JSON"),
    "index a list": (lambda f: (f / "index.json").write_text("[]"), "index: is a list"),
    "index NaN": (in_index(more=float("nan")), "a number that is not finite"),
    "no chunks": (in_index(chunks=[]), "lists no chunk"),
    "chunks no list": (in_index(chunks={"a": 1}), "chunks is no list"),
    "config no object": (in_index(config=[1]), "config is a list"),
    "total": (in_index(total_samples=7), "total_samples is 7, its chunks have 6"),
    "chunk_size": (in_index(chunk_size=2), r"chunks\[0\] has 3 pairs, chunk_size is 2"),
    "negative size": (in_index(chunk_size=-2), "chunk_size is -2"),
    "start_idx": (entry(1, start_idx=4), r"chunks\[1\] \(chunk_000003.pt\) begins at pair 4"),
    "overlap": (entry(1, start_idx=2, source_chunk="a"), "begins at pair 2"),
    "n_samples": (entry(0, n_samples=0), "n_samples 0"),
    "a pair less": (
        one_less,
        "pairs 2, index.json says 3",
    ),
    "path": (entry(0, path=""), r"chunks\[0\]: path is ''"),
    "path no name": (entry(0, path="a\0b"), r"chunks\[0\]: path is"),
    "path half": (entry(0, path="\ud83d"), r"chunks\[0\]: path is|half a character"),
    "path long": (entry(0, path="a" * 300), r"chunks\[0\]: path is"),
    "path up": (entry(0, path=".."), r"chunks\[0\]: path is"),
    "hollow": (fields(vl_hidden=torch.zeros(1).expand(3, 9, WIDTH)), "a tensor of 3 x 9 x 16"),
    "path outside": (entry(0, path="../../chunk.pt"), "chunks/chunk.pt: no such file"),
    "one file twice": (entry(1, path="chunk_000000.pt"), "lists one file twice"),
    "width in config": (in_index(config={"hidden_dim": 17}), r"width 16, index.json says 17"),
    "chunk_id": (fields(chunk_id=5), "chunk_id 5, index.json says 0"),
    "own n_samples": (fields(n_samples=4), "n_samples is 4, there are 3 pairs"),
    "no own states": (fields(egpt_hidden=None), "egpt_hidden is no tensor"),
    "no states": (fields(egpt_hidden=None, vl_hidden=None), "holds no hidden states"),
    "no lengths": (fields(seq_lens=None), "seq_lens is no tensor"),
    "no metadata": (fields(metadata=None), "metadata is no list"),
    "states of ints": (fields(vl_hidden=torch.ones(3, 9, WIDTH).long()), r"torch\.int64"),
    "states flat": (fields(vl_hidden=torch.ones(3, WIDTH)), r"vl_hidden is \[3, 16\]"),
    "shapes differ": (fields(vl_hidden=torch.ones(3, 9, 8)), "vl_hidden is"),
    "fewer states": (fields(vl_hidden=torch.ones(2, 9, WIDTH)), "vl_hidden is"),
    "another width": (
        lambda f: change(
            f / "chunks" / "chunk_000003.pt",
            egpt_hidden=torch.ones(1, 6, 8),
            vl_hidden=torch.ones(1, 6, 8),
        ),
        "width 8, index.json says 16",
    ),
    "lengths beyond": (fields(seq_lens=torch.tensor([5, 10, 7])), r"seq_lens\[1\] is 10"),
    "lengths below": (fields(seq_lens=torch.tensor([5, -1, 7])), r"seq_lens\[1\] is -1"),
    "lengths int32": (fields(seq_lens=torch.tensor([5, 9, 7]).int()), "int64"),
    "lengths fewer": (fields(seq_lens=torch.tensor([5, 9])), r"seq_lens is \[2\]"),
    "other lengths": (fields(seq_lens=torch.tensor([5, 9, 6])), "seq_len is 7"),
    "metadata fewer": (fields(metadata=samples(2)), "metadata has 2 entries"),
    "metadata of text": (fields(metadata=["a", "b", "c"]), r"metadata\[0\]: is text"),
    "seq_len": (meta(2, seq_len=6), r"metadata\[2\]: seq_len is 6"),
    "no sample_idx": (meta(1, sample_idx=None), "sample_idx -1"),
    "half a sample_idx": (meta(1, sample_idx=1.5), r"sample_idx is 1\.5"),
    "text no text": (meta(1, vl_text=3), "vl_text is a number"),
    "half a character": (meta(1, egpt_text="\ud83d"), "half a character"),
    "a tensor as text": (meta(1, note=torch.ones(2)), "text or a number"),
    "the same pair": (meta(1, question_idx=0), "pair 1 repeats sample 0, question 0"),
    "the same later": (meta(1, sample_idx=1, question_idx=0), "repeats sample 1, question 0 of ch"),
    "NaN": (poke("vl_hidden", (1, 3, 2), float("nan")), "vl_hidden: state 3 of pair 1 is not fin"),
    "infinite": (poke("egpt_hidden", (2, 0, 0), float("inf")), "egpt_hidden: state 0 of pair 2"),
    "padding": (poke("vl_hidden", (0, 5, 2), 0.5), "state 5 of pair 0 stands behind the answer's"),
    "NaN padding": (poke("vl_hidden", (0, 5, 2), float("nan")), "stands behind"),
    "a bit": (flip, "is damaged: its checksum is another"),
    "cut": (cut, "an archive that is cut or damaged|not a readable tensor file"),
    "no archive": (lambda f: first(f).write_bytes(b"A fine day"), "not a readable tensor file"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    damage, said = DAMAGES[name]
    folder = tmp_path / "seed"
    write_folder(folder, LOTS)
    damage(folder)
    with pytest.raises(InputError, match=said) as caught:
        convert_states(open_states(folder), tmp_path / "store")
    assert str(folder) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["seed"]


@pytest.mark.parametrize("key", ["num_samples", "max_seq_len", "hidden_dim"])
def test_a_config_that_contradicts_its_file(tmp_path: Path, key: str) -> None:
    path = tmp_path / "all.pt"
    change_to = write_file(path, (5, 6))["config"] | {key: 3}
    change(path, config=change_to)
    with pytest.raises(InputError, match=f"config says {key} = 3"):
        open_states(path)
    change(path, config={"a": {"b": 1}})
    with pytest.raises(InputError, match="config: 'a' is"):
        open_states(path)


class Evil:
    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.trap,)


def test_code_in_a_chunk_is_refused_and_not_run(tmp_path: Path) -> None:
    data = chunk((5,), samples(1)) | {"evil": Evil(tmp_path / "trap")}
    torch.save(data, tmp_path / "evil.pt", pickle_module=pickle)
    with pytest.raises(InputError, match="refused to load"):
        open_states(tmp_path / "evil.pt")
    for more in ({1, 2}, torch.ones(2, 2).to_sparse()):
        torch.save(data | {"evil": more}, tmp_path / "odd.pt")
        with pytest.raises(InputError, match=r"holds a (set|tensor that is not dense)"):
            open_states(tmp_path / "odd.pt")
    assert not (tmp_path / "trap").exists()


def test_no_chunk_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are mapped, not read: a folder is as large as its disk, memory is not."""
    seen: list[bool] = []
    load = torch.load

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(options["mmap"])
        return load(*arguments, **options)

    write_folder(tmp_path / "seed", LOTS)
    monkeypatch.setattr(torch, "load", watched)
    convert_states(open_states(tmp_path / "seed"), tmp_path / "store")
    assert seen == [True] * 6


def test_an_old_file_without_an_archive_is_read(tmp_path: Path) -> None:
    data = write_file(tmp_path / "new.pt", (5, 6))
    torch.save(data, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert content_of(tmp_path / "old.pt") == "states"
    made = convert_states(open_states(tmp_path / "old.pt"), tmp_path / "store")
    assert made.pairs == 2
