"""The suffix drafter: what it learns, and that it survives being saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.suffix import SuffixDrafter
from tests.make import QUESTION, recorded_pairs


def trained(*answers: tuple[int, ...]) -> SuffixDrafter:
    drafter = SuffixDrafter()
    pair = recorded_pairs(1)[0]
    drafter.fit([replace(pair, target_tokens=answer) for answer in answers])
    drafter.begin(Context(QUESTION, RecordedStream(())))
    return drafter


def chain(drafter: SuffixDrafter, prefix: list[int], gamma: int = 3) -> list[int]:
    return [int(token) for token in drafter.propose(prefix, Budget.chain(gamma)).tokens]


def test_longest_suffix_decides() -> None:
    drafter = trained((1, 2, 3, 4), (9, 2, 3, 5), (8, 3, 6), (7, 3, 6))
    assert chain(drafter, [1, 2, 3], 1) == [4]
    assert chain(drafter, [9, 2, 3], 1) == [5]
    assert chain(drafter, [0, 0, 3], 1) == [6]


def test_start_of_an_answer_is_a_context() -> None:
    drafter = trained((1, 2), (1, 2), (3, 2, 4, 2, 4, 2, 4))
    assert chain(drafter, [], 2) == [1, 2]


def test_tree_holds_alternatives() -> None:
    drafter = trained((1, 2, 9), (1, 3, 9), (1, 4, 9))
    tree = drafter.propose([1], Budget.tree(6, 2))
    assert set(tree.tokens[tree.depth == 1].tolist()) >= {2, 3, 4}
    assert set(tree.tokens[tree.depth == 2].tolist()) == {9}


def test_fresh_answers_count_more_where_it_learns_online() -> None:
    drafter = trained(*[(1, 2)] * 3)
    assert chain(drafter, [1], 1) == [2]
    for _ in range(3):
        drafter.finish((1, 5))
    assert chain(drafter, [1], 1) == [5]


def test_position_without_a_token_breaks_the_suffix() -> None:
    drafter = trained((1, 2, 3), (1, 2, 3))
    assert drafter.propose([1, -1], Budget.chain(2)).logq[0] < 0
    assert chain(drafter, [-1, 2], 1) == [3]


def test_saved_drafter_goes_on_as_before(tmp_path: Path) -> None:
    drafter = SuffixDrafter()
    drafter.fit(recorded_pairs(30))
    drafter.save(tmp_path / "suffix.safetensors")
    again = SuffixDrafter.load(tmp_path / "suffix.safetensors")
    for one in (drafter, again):
        one.begin(Context(QUESTION, RecordedStream(())))
    for pair in recorded_pairs(10, seed=1):
        trees = [
            one.propose(pair.target_tokens[:4], Budget.tree(40, 8)) for one in (drafter, again)
        ]
        np.testing.assert_array_equal(trees[0].tokens, trees[1].tokens)
        np.testing.assert_array_equal(trees[0].logq, trees[1].logq)
        drafter.finish(pair.target_tokens)
        again.finish(pair.target_tokens)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        SuffixDrafter.load(tmp_path / "absent")
    (tmp_path / "text").write_text("not tensors")
    save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors")
    drafter = SuffixDrafter()
    drafter.fit(recorded_pairs(5))
    arrays = drafter.index.to_arrays()
    arrays["edges"] = arrays["edges"] + 10**6
    about = {"format": "crossdraft.suffix/1", "questions": "[]"}
    save_file(arrays, tmp_path / "broken.safetensors", metadata=about)
    for name in ("text", "other.safetensors", "broken.safetensors"):
        with pytest.raises(InputError, match="not a readable suffix file"):
            SuffixDrafter.load(tmp_path / name)


@pytest.mark.parametrize("online", [False, True])
def test_recency_survives_being_saved(tmp_path: Path, online: bool) -> None:
    learned, timeless = trained(*[(1, 2)] * 3, *[(1, 5)] * 3), SuffixDrafter()
    if online:
        learned = trained(*[(1, 2)] * 3)
        for _ in range(3):
            learned.finish((1, 5))
    learned.save(tmp_path / "suffix.safetensors")
    # A file of before this was kept: recorded answers have no recency.
    about = {"format": "crossdraft.suffix/1", "questions": json.dumps([QUESTION])}
    save_file(learned.index.to_arrays(), tmp_path / "old.safetensors", metadata=about)
    again, old = (SuffixDrafter.load(tmp_path / f"{n}.safetensors") for n in ("suffix", "old"))
    timeless.index = learned.index
    claims = []
    for one in (learned, again, old, timeless):
        one.begin(Context(QUESTION, RecordedStream(())))
        claims.append(one.propose([1], Budget.next_token(2)).logq.tolist())
    assert claims[0] == claims[1] and claims[2] == claims[3]
    assert (claims[0] != claims[3]) == online


def test_what_is_remembered_counts_as_what_was_finished() -> None:
    finished, remembered = SuffixDrafter(), SuffixDrafter()
    pairs = recorded_pairs(20)
    for i, pair in enumerate(pairs):
        question = f"question {i % 3}"
        finished.begin(Context(question, RecordedStream(())))
        finished.finish(pair.target_tokens)
        remembered.remember(question, pair.target_tokens)
    for question in ("question 1", "a new one"):
        trees = []
        for one in (finished, remembered):
            one.begin(Context(question, RecordedStream(())))
            trees.append(one.propose(pairs[-1].target_tokens[:3], Budget.tree(30, 8)))
        np.testing.assert_array_equal(trees[0].tokens, trees[1].tokens)
        np.testing.assert_array_equal(trees[0].logq, trees[1].logq)
