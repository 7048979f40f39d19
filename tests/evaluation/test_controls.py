"""Controls are always there, and shuffling really shuffles."""

from __future__ import annotations

from dataclasses import replace

from crossdraft.evaluation.controls import shuffled_drafts, with_controls
from tests.make import recorded_pairs


def test_controls_run_beside_whatever_was_asked() -> None:
    always = ["none", "position", "suffix", "drafter-text", "drafter-text@shuffled"]
    assert with_controls([]) == always
    assert with_controls(["suffix"]) == always


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
