"""A store is read wherever pairs are; answers about simulated events say so everywhere."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.pairs.formats import read_pairs, write_pairs
from crossdraft.pairs.record import Pair, PairSet, warnings_about_pairs
from crossdraft.pairs.store.kinds import Side
from crossdraft.pairs.store.manifest import Missing, Schema
from crossdraft.pairs.store.rows import Row, Said
from crossdraft.pairs.stored import fingerprinted
from crossdraft.scenes.scene import SIMULATED
from tests.cli.run import crossdraft_here
from tests.make import recorded_pairs
from tests.pairs.store.stores import KNOWN, SCHEMA, make_row, write_store

ROWS = [make_row(i) for i in range(6)]


def store_of(pairs: tuple[Pair, ...], folder: Path) -> Path:
    """A store of answers alone."""
    rows = [
        Row(pair, {"own": Said("eos", None, len(pair.draft_tokens)),
                   "target": Said("eos", None, len(pair.target_tokens))})
        for pair in pairs
    ]  # fmt: skip
    write_store(folder, rows, Schema(tokens=KNOWN), per_shard=50)
    return folder


def test_a_store_is_a_set_of_pairs(tmp_path: Path) -> None:
    missing = tuple(Missing(f"d/{i}", "no video", 2) for i in range(2))
    write_store(tmp_path / "s", ROWS, missing=missing)
    found = read_pairs(tmp_path / "s")
    assert found == PairSet(
        tuple(row.pair for row in ROWS), "store", {"made": "up"}, Counter({"no video": 2}),
        tmp_path / "s",
    )  # fmt: skip


@pytest.mark.parametrize(("side", "whose"), [("own", "the drafter's"), ("target", "the target's")])
def test_a_store_without_the_ids_of_a_side(tmp_path: Path, side: Side, whose: str) -> None:
    schema = replace(SCHEMA, tokens={k: v for k, v in KNOWN.items() if k != side})
    write_store(tmp_path / "s", [make_row(0, schema)], schema)
    with pytest.raises(InputError, match=f"does not know {whose} tokens") as caught:
        read_pairs(tmp_path / "s")
    flag = {"own": "--drafter-lm-head", "target": " --lm-head"}[side]
    assert f"{flag} FILE" in str(caught.value)


def test_an_unfinished_store(tmp_path: Path) -> None:
    (tmp_path / ".extract.json").write_text("{}")
    with pytest.raises(InputError, match="not finished"):
        read_pairs(tmp_path)


def test_a_pair_that_is_there_twice(tmp_path: Path) -> None:
    write_store(tmp_path / "s", [make_row(0), make_row(0)])
    with pytest.raises(InputError, match="pair 1 repeats pair 0"):
        read_pairs(tmp_path / "s")


def test_what_stands_for_an_input(tmp_path: Path) -> None:
    write_store(tmp_path / "s", ROWS)
    assert fingerprinted(tmp_path / "s") == tmp_path / "s" / "store.json"
    assert fingerprinted(tmp_path) == tmp_path


def test_simulated_pairs_warn_once() -> None:
    pairs = recorded_pairs(3)
    assert warnings_about_pairs(pairs) == []
    assert warnings_about_pairs(replace(pair, simulated=True) for pair in pairs) == [SIMULATED]


def test_files_written_before_do_not_say_whether_events_were_simulated(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_pairs(PairSet((replace(recorded_pairs(1)[0], simulated=True),), "store"), path)
    assert read_pairs(path).pairs[0].simulated
    head, line = path.read_text().splitlines()
    fields = json.loads(line)
    del fields["simulated"]
    path.write_text(f"{head}\n{json.dumps(fields)}\n")
    assert not read_pairs(path).pairs[0].simulated
    path.write_text(f"{head}\n{json.dumps(fields | {'simulated': 1})}\n")
    with pytest.raises(InputError, match="simulated is 1"):
        read_pairs(path)


TRAIN = ["--num-epochs", "1", "--embed-dim", "8", "--num-layers", "1", "--num-heads", "1",
         "--ffn-dim", "8", "--max-seq-len", "16"]  # fmt: skip


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of answers about events that were computed."""
    pairs = tuple(replace(pair, simulated=True) for pair in recorded_pairs(60, timed=True))
    return store_of(pairs, tmp_path_factory.mktemp("simulated") / "s")


def result_of(*arguments: str | Path) -> dict[str, Any]:
    done = crossdraft_here(*arguments, "--json", cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_commands_take_a_store_and_say_that_events_were_simulated(
    simulated: Path, tmp_path: Path
) -> None:
    trained = result_of(
        "train", "token-adapter", "--pairs", simulated, "--out", tmp_path / "t", *TRAIN
    )
    results = {
        "train": trained,
        "evaluate": result_of(
            "evaluate", "position", "--pairs", simulated, "--folds", "2", "--out", tmp_path / "e"
        ),
        "analyze": result_of(
            "analyze",
            "--pairs",
            simulated,
            tmp_path / "t" / "best_model.safetensors",
        ),
        "estimate": result_of("estimate", simulated),
    }
    manifest = simulated / "store.json"
    for name, result in results.items():
        assert result["warnings"].count(SIMULATED) == 1, name
        inputs = {one["path"]: one["sha256"] for one in result["provenance"]["inputs"]}
        assert inputs[str(manifest)] == sha256_of(manifest), name
