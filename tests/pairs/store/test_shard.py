"""A shard gives back what it was given, to the last bit, and notices whatever happens to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store.kinds import DTYPES, READINGS, Kind, Side
from crossdraft.pairs.store.manifest import Schema, StoredKind
from crossdraft.pairs.store.packing import bytes_per_position, pack
from crossdraft.pairs.store.rows import Row, Said
from crossdraft.pairs.store.shard import Shard, read_shard, write_shard
from tests.pairs.store.stores import KNOWN, SCHEMA, make_row, make_top, same_rows

texts = st.none() | st.text(max_size=8)
stages = st.none() | st.tuples(*[st.floats(0, 1e6) for _ in range(5)])


@st.composite
def shards(draw: st.DrawFn) -> tuple[list[Row], Schema]:
    """Rows of any mix of kinds and sides, and their schema."""
    names = draw(st.lists(st.sampled_from([*READINGS, "target@8", "own@2"]), unique=True))
    kinds = tuple(
        StoredKind(name, draw(st.integers(1, 140)), draw(st.sampled_from(DTYPES)))
        for name in sorted(names)
    )
    needed = {kind.kind.side for kind in kinds}
    sides = [s for s in get_args(Side) if s in needed or draw(st.booleans())]
    tokens: dict[Side, str] = {s: "generated" for s in sides if draw(st.booleans())}
    logits = [r for r in READINGS if Kind(r).side in sides and draw(st.booleans())]
    schema = Schema(kinds, 2 if logits else 0, tokens)
    rows = []
    for i in range(draw(st.integers(1, 4))):
        length = {side: draw(st.integers(0, 3)) for side in sides}
        ids: dict[Side, Any] = {"own": (), "target": ()}
        for side in tokens:
            one = st.lists(st.integers(0, 2**31 - 2), min_size=length[side], max_size=length[side])
            ids[side] = tuple(draw(one))
        pair = Pair(
            draw(st.text(max_size=5)), i, draw(st.text(max_size=5)), draw(st.integers(0, 3)),
            ids["own"], ids["target"], draw(texts), draw(texts), draw(texts), draw(st.text()),
            draw(stages), draw(stages), {"note": draw(texts)}, draw(st.booleans()),
        )  # fmt: skip
        rows.append(
            Row(
                pair,
                {s: Said(draw(st.sampled_from(["eos", None])), draw(texts), length[s])
                 for s in sides},
                {k.name: pack(torch.randn(length[k.kind.side], k.width), k.dtype) for k in kinds},
                {r: make_top(length[Kind(r).side], 2) for r in logits},
            )
        )  # fmt: skip
    return rows, schema


@given(shards(), st.dictionaries(st.text(max_size=4), st.integers() | texts, max_size=2))
def test_rows_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, given_: tuple[list[Row], Schema], note: Any
) -> None:
    rows, schema = given_
    folder = tmp_path_factory.mktemp("shard")
    info = write_shard(folder / "a.safetensors", rows, schema, note)
    found, noted = read_shard(folder / "a.safetensors", schema)
    assert noted == note and len(found) == len(rows) == info.pairs
    assert all(same_rows(ours, theirs) for ours, theirs in zip(found, rows, strict=True))
    # What was read is written as the same bytes.
    again = write_shard(folder / "b.safetensors", found, schema, noted)
    assert again == replace(info, file="b.safetensors")
    assert (folder / "a.safetensors").stat().st_size == info.bytes
    assert sha256_of(folder / "a.safetensors") == info.sha256


def test_it_is_a_plain_safetensors_file(tmp_path: Path) -> None:
    rows = [make_row(i) for i in range(3)]
    info = write_shard(tmp_path / "a.safetensors", rows, SCHEMA)
    tensors = load_file(tmp_path / "a.safetensors")
    ends = tensors["target.offsets"].tolist()
    assert ends == [0, 2, 5, 9] and info.positions["target"] == 9 and info.longest["target"] == 4
    assert tensors["target.tokens"].tolist() == [0, 1, 0, 1, 2, 0, 1, 2, 3]
    assert tensors["states.target"][2:5].equal(rows[1].states["target"].codes)
    assert tensors["crc"].dtype == torch.uint32 and tensors["crc"].shape == (3, 4)


def test_the_order_of_rows_is_kept(tmp_path: Path) -> None:
    rows = [make_row(1), make_row(0)]
    write_shard(tmp_path / "a.safetensors", rows, SCHEMA)
    assert [row.pair.index for row in read_shard(tmp_path / "a.safetensors", SCHEMA)[0]] == [1, 0]


def test_equal_rows_give_equal_bytes_whatever_the_order_of_their_fields(tmp_path: Path) -> None:
    row = make_row(0)
    ways = [
        replace(
            row,
            pair=replace(row.pair, extra=dict(order(extra.items()))),
            states=dict(order(row.states.items())),
            said=dict(order(row.said.items())),
        )
        for extra in [{"b": 1, "a": [2]}]
        for order in (list, lambda items: list(items)[::-1])
    ]
    infos = [write_shard(tmp_path / "a.safetensors", [way], SCHEMA) for way in ways]
    assert infos[0] == infos[1]


def test_no_rows(tmp_path: Path) -> None:
    info = write_shard(tmp_path / "a.safetensors", [], SCHEMA, {"a": 1})
    assert read_shard(tmp_path / "a.safetensors", replace(SCHEMA, top=0)) == ([], {"a": 1})
    assert info.pairs == 0 and info.longest == {"target": 0, "own": 0}


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_shard(path, [make_row(i) for i in range(2)], SCHEMA, {"a": 1})
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    # Every byte of the header in some bit, the rest at steps that meet every row of states.
    for place in [*range(header), *range(header, len(whole), 3)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=r"a\.safetensors"):
            read_shard(path, SCHEMA)
    path.write_bytes(whole)
    read_shard(path, SCHEMA)


def test_a_damaged_state_names_its_pair_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    rows = [make_row(i) for i in range(3)]
    write_shard(path, rows, SCHEMA)
    codes = rows[1].states["own"].codes.numpy().tobytes()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(codes, codes[:-1] + bytes([codes[-1] ^ 1])))
    shard = Shard(path, SCHEMA)
    shard.packed(0, "own")
    shard.packed(1, "target")
    with pytest.raises(InputError, match="states own of its pair 1 are damaged") as caught:
        shard.packed(1, "own")
    assert "make it again" in str(caught.value)


@pytest.mark.parametrize("change", [b"", b"more"])
def test_a_file_of_another_length_is_refused(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "a.safetensors"
    write_shard(path, [make_row(0)], SCHEMA)
    whole = path.read_bytes()
    path.write_bytes(whole + change if change else whole[:-5])
    with pytest.raises(InputError, match=r"cut|accounts for") as caught:
        read_shard(path, SCHEMA)
    assert "copy the store again" in str(caught.value)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_shard(path, [make_row(0)], SCHEMA)
    for other in (
        replace(SCHEMA, kinds=SCHEMA.kinds[1:]),
        replace(SCHEMA, kinds=(*SCHEMA.kinds, StoredKind("target@3", 6, "bf16"))),
        replace(SCHEMA, kinds=(replace(SCHEMA.kinds[0], width=7), *SCHEMA.kinds[1:])),
        replace(SCHEMA, tokens={"own": "generated"}),
        replace(SCHEMA, top=3),
    ):
        with pytest.raises(InputError, match="expected"):
            read_shard(path, other)


def test_the_index_of_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    info = write_shard(path, [make_row(0)], SCHEMA)
    Shard(path, SCHEMA, info.index_crc)
    with pytest.raises(InputError, match="not the file that the store was made of"):
        Shard(path, SCHEMA, info.index_crc ^ 1)


def test_other_safetensors_files_are_no_shards(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="no shard of a pair store"):
        read_shard(path, SCHEMA)
    with pytest.raises(InputError, match="no such file"):
        read_shard(tmp_path / "b.safetensors", SCHEMA)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (replace(make_row(0), states={}), "not those of the schema"),
        (replace(make_row(0), said={"own": Said(None, None, 1)}), "answers of"),
        (replace(make_row(0), top={}), "logits of"),
        (replace(make_row(0), said=make_row(1).said), "is int32"),
        (
            replace(make_row(0), pair=replace(make_row(0).pair, target_tokens=(1, 2, 3))),
            r"target\.tokens is int32 \[3\], not int32 \[2\]",
        ),
    ],
)
def test_a_row_that_is_not_what_the_schema_says(tmp_path: Path, row: Row, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        write_shard(tmp_path / "a.safetensors", [make_row(5), row], SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_ids_that_the_schema_does_not_know_are_refused(tmp_path: Path) -> None:
    schema = replace(SCHEMA, tokens={"target": "generated"})
    with pytest.raises(ValueError, match="ids of own"):
        write_shard(tmp_path / "a.safetensors", [make_row(0)], schema)


def test_views_change_neither_the_file_nor_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_shard(path, [make_row(0)], SCHEMA)
    before = path.read_bytes()
    ours = Shard(path, SCHEMA)
    ours.packed(0, "target").codes.zero_()
    assert path.read_bytes() == before
    assert Shard(path, SCHEMA).packed(0, "target").codes.any()


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
@pytest.mark.parametrize("width", [256, 4096])
def test_little_is_written_beside_the_states(tmp_path: Path, dtype: str, width: int) -> None:
    """Short answers, in words that do not repeat themselves."""
    generator = torch.Generator().manual_seed(1)
    words = ["crossing", "lorry", "pedestrian", "van", "red", "light", "ahead", "parked", "the",
             "two", "left", "slowly", "is", "a", "of", "bus", "cyclist", "near", "turns",
             "white"]  # fmt: skip

    def answer() -> str:
        places = torch.randint(len(words), (30,), generator=generator).tolist()
        return " ".join(words[place] for place in places)

    kinds = tuple(StoredKind(name, width, dtype) for name in ("forced", "own", "target"))
    schema = Schema(kinds, 0, KNOWN)
    rows = []
    for i in range(100 if width == 256 else 8):
        row = make_row(i, schema, (35, 34))
        prompt = "".join(f"{n:x}" for n in torch.randint(16, (16,), generator=generator).tolist())
        pair = replace(row.pair, draft_text=answer(), target_text=answer())
        rows.append(
            replace(
                row, pair=pair, said={s: replace(o, prompt=prompt) for s, o in row.said.items()}
            )
        )
    info = write_shard(tmp_path / "a.safetensors", rows, schema)
    positions = len(rows) * (35 + 34 + 35)
    ids = 4 * len(rows) * (35 + 34)
    assert sum(len(row.pair.target_text or "") for row in rows) > 145 * len(rows)
    assert info.bytes <= 1.02 * positions * bytes_per_position(width, dtype) + ids
