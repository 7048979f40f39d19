"""Controls are always there, and shuffling really shuffles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import save_drafter
from crossdraft.evaluation.controls import entrants, shuffled_drafts, without_drafts
from tests.make import recorded_pairs
from tests.tiny import built

ALWAYS = ["none", "position", "suffix", "drafter-text"]


def labels(*asked: str) -> list[str]:
    return [entrant.label for entrant in entrants(asked)]


def test_controls_run_beside_whatever_was_asked() -> None:
    assert labels() == [*ALWAYS, "drafter-text@shuffled"]
    assert labels("suffix", "suffix") == [*ALWAYS, "drafter-text@shuffled"]


def test_a_network_has_a_blind_twin_an_ensemble_has_none() -> None:
    assert labels("token-adapter", "suffix+token-adapter") == [
        *ALWAYS,
        "token-adapter",
        "suffix+token-adapter",
        "drafter-text@shuffled",
        "token-adapter@shuffled",
        "suffix+token-adapter@shuffled",
        "token-adapter@blind",
    ]


def test_checkpoints_enter_under_their_drafter_and_run(tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        save_drafter(
            built("token-adapter", recorded_pairs(5)), tmp_path / run / "best_model.safetensors"
        )
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    shown = labels("token-adapter", one, two)
    assert shown[4:7] == ["token-adapter", "token-adapter (one)", "token-adapter (two)"]
    assert labels(one)[4:] == ["token-adapter", "drafter-text@shuffled", "token-adapter@shuffled"]
    with pytest.raises(InputError, match="stands twice"):
        labels("token-adapter", one, one)


def test_neither_name_nor_file_lists_the_names() -> None:
    with pytest.raises(InputError, match="no drafter is called 'telepathy'"):
        labels("telepathy")


def test_blind_pairs_have_nothing_from_the_event_model() -> None:
    pairs = recorded_pairs(3)
    assert [p.draft_tokens for p in without_drafts(pairs)] == [()] * 3
    assert [p.target_tokens for p in without_drafts(pairs)] == [p.target_tokens for p in pairs]


def test_no_pair_keeps_its_own_draft() -> None:
    pairs = [replace(p, draft_tokens=(i,)) for i, p in enumerate(recorded_pairs(11))]
    drafts = [pair.draft_tokens for pair in shuffled_drafts(pairs)]
    assert sorted(drafts) == [(i,) for i in range(11)]
    assert all(draft != pair.draft_tokens for draft, pair in zip(drafts, pairs, strict=True))


def test_shuffling_stays_within_a_question() -> None:
    pairs = [replace(p, question=str(i % 2), draft_tokens=(i,)) for i, p in
             enumerate(recorded_pairs(10))]  # fmt: skip
    assert all(p.draft_tokens[0] % 2 == i % 2 for i, p in enumerate(shuffled_drafts(pairs)))


def test_single_clip_cannot_be_shuffled() -> None:
    (pair,) = recorded_pairs(1)
    assert shuffled_drafts([pair]) == [pair]
