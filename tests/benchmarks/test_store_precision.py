"""What int8 costs an adapter: what is known to be right comes out as right, of both stores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.manifest import Schema, StoredKind
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Row
from tests.benchmarks import benchmark
from tests.pairs.store.stores import KNOWN, make_row, write_store

precision = benchmark("store_precision")
IDS, WIDTH = 40, 16


def head() -> Any:
    """Its rows are far apart, so that no rounding of states changes a token."""
    weight = torch.linalg.qr(torch.randn(IDS, WIDTH, generator=torch.Generator().manual_seed(0)))[0]
    facts = SimpleNamespace(hidden=WIDTH)
    return SimpleNamespace(logits=lambda states: states @ weight.T, facts=facts)


def row(number: int, dtype: str, schema: Schema, right: int) -> Row:
    """Ten tokens, of which the drafter's states emit the first `right`, and no other."""
    base = make_row(number, schema, (10, 10))
    states = torch.randn(10, WIDTH, generator=torch.Generator().manual_seed(number))
    tokens = head().logits(states).argmax(-1)
    tokens[right:] = (tokens[right:] + 1) % IDS
    pair = replace(base.pair, target_tokens=tuple(tokens.tolist()))
    packed = pack(states, dtype)
    return replace(base, pair=pair, states=dict.fromkeys(("own", "forced"), packed))


def store(folder: Path, dtype: str, right: int) -> PairStore:
    kinds = tuple(StoredKind(name, WIDTH, dtype) for name in ("forced", "own"))
    schema = Schema(kinds, 0, KNOWN)
    return write_store(folder, [row(n, dtype, schema, right) for n in range(12)], schema)


def test_what_the_states_tell_comes_out(tmp_path: Path) -> None:
    stores = [store(tmp_path / dtype, dtype, 4) for dtype in ("fp32", "int8")]
    precision.same_answers(stores)
    # No step: the adapter begins as the identity.
    found = precision.compared(stores, head(), range(0), range(12), precision.Course(1))
    assert [one["value"] for one in found["window"]["values"]] == [4.0, 4.0]
    assert [one["value"] for one in found["following"]["values"]] == [0.4, 0.4]
    assert found["following"]["difference"]["value"] == 0.0


def test_an_adapter_learns(tmp_path: Path) -> None:
    """Tokens whose states emit others are learned by heart."""
    one = store(tmp_path / "store", "fp32", 4)
    how = precision.Course(60, batch=12, rate=0.05)
    adapter = precision.trained(one, "forced", range(12), head(), how)
    right, of = precision.judged(one, "forced", range(12), head(), adapter)
    assert right.sum() / of.sum() > 0.6


def test_other_answers_are_refused(tmp_path: Path) -> None:
    stores = [store(tmp_path / str(right), "fp32", right) for right in (4, 5)]
    with pytest.raises(InputError, match="pair 0 differs"):
        precision.same_answers(stores)


def test_lines_and_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"value": 0.5, "low": 0.25, "high": None}
    regimes = {"window": {"reads": "own", "values": [value], "difference": value}}
    result = {"regimes": regimes, "stores": [{"kinds": {"own": "bf16"}}], "warnings": []}
    assert precision.lines(json.loads(json.dumps(result)))[0].endswith("first on 0.5000")
    call = ["--stores", str(tmp_path), "--scenes", str(tmp_path)]
    assert precision.main(call) == 2
    assert "store.json" in capsys.readouterr().err
