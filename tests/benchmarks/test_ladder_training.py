"""The plain loop beside ours: the same network, the same loss, the same positions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from crossdraft.drafters.trainable import TokenBatch
from crossdraft.pairs.store import PairStore
from tests.benchmarks import benchmark
from tests.training.test_states import stored

ladder = benchmark("ladder_training")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PairStore:
    return PairStore.open(stored(tmp_path_factory.mktemp("ladder") / "store"))


@pytest.mark.parametrize("level", ["L1", "L4"])
def test_both_loops_mean_the_same_loss(store: PairStore, level: str) -> None:
    # Answers of one length: padding is no part of what is compared.
    pairs = list(store.pairs())
    size = len(pairs[0].draft_tokens), len(pairs[0].target_tokens)
    alike = [p for p in pairs if (len(p.draft_tokens), len(p.target_tokens)) == size]
    drafter = ladder.made(level, alike)
    drafter.network.eval()
    (chunk,) = ladder.chunks_of(store, alike, 100)
    theirs, positions = ladder._plain_loss(drafter.network, *chunk.values())
    ours = drafter.loss(TokenBatch.of(alike, 50, None, drafter.loss_needs))
    assert positions == ours.tokens == int(chunk["seq_lens"].sum())
    torch.testing.assert_close(theirs, ours.value)


def test_chunks_hold_every_pair_padded_with_zeros(store: PairStore) -> None:
    pairs = list(store.pairs())
    chunks = list(ladder.chunks_of(store, pairs, 10))
    assert [len(one["seq_lens"]) for one in chunks] == [10, 10, 10, 10, 8]
    for one in chunks:
        behind = torch.arange(one["vl_hidden"].shape[1]) >= one["seq_lens"][:, None]
        assert (one["vl_hidden"][behind] == 0).all() and (one["egpt_hidden"][behind] == 0).all()


def test_a_call(store: PairStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    call = ["--store", str(store.folder), "--levels", "L1", "--epochs", "2", "--json", str(out)]
    assert ladder.main(call) == 0
    found = json.loads(out.read_text())["levels"]["L1"]
    assert found["plain_to_ours"].keys() == {"chunks", "memory"}
    assert all(len(losses) == 2 for losses in found["train_loss"].values())
    assert "times ours" in capsys.readouterr().out
    assert ladder.main(["--store", str(store.folder), "--epochs", "0"]) == 2
