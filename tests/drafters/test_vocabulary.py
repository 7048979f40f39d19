"""Trimmed vocabularies: nothing lost on the way there and back."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.drafters.trainable import IGNORE, PAD
from crossdraft.drafters.vocabulary import Vocabulary, distinct

SIZE = 30
ids = st.sets(st.integers(1, SIZE - 1), min_size=1, max_size=12).map(sorted)


@given(ids, ids, st.lists(st.integers(-3, SIZE + 5), min_size=1, max_size=9))
def test_rows_of_tokens(drafts: list[int], targets: list[int], tokens: list[int]) -> None:
    vocabulary = Vocabulary.seen(SIZE, drafts, targets)
    row = torch.tensor(tokens)
    unknown = vocabulary.input_rows - 1
    for token, place, label in zip(
        tokens, vocabulary.encode(row).tolist(), vocabulary.labels(row).tolist(), strict=True
    ):
        known = token in drafts or token == PAD
        assert place == ([PAD, *drafts].index(token) if known else unknown)
        assert label == (targets.index(token) if token in targets else IGNORE)
    labels = vocabulary.labels(row)
    there = labels != IGNORE
    assert torch.equal(vocabulary.decode(labels[there]), row[there])


@given(ids, ids)
def test_expanding_and_trimming_are_inverse(drafts: list[int], targets: list[int]) -> None:
    vocabulary = Vocabulary.seen(SIZE, drafts, targets)
    inputs = torch.rand(vocabulary.input_rows, 2)
    outputs = torch.rand(vocabulary.output_rows)
    full = vocabulary.all_inputs(inputs)
    assert full.shape == (SIZE, 2)
    assert torch.equal(vocabulary.own_inputs(full), inputs)
    for token in set(range(SIZE)) - {PAD, *drafts}:
        assert torch.equal(full[token], inputs[-1]), "the shared row"
    wide = vocabulary.all_outputs(outputs, fill=-9.0)
    assert torch.equal(vocabulary.own_outputs(wide), outputs)
    assert all(wide[token] == -9 for token in set(range(SIZE)) - set(targets))
    again = Vocabulary.of_rows(SIZE, vocabulary.rows())
    assert again.rows() == vocabulary.rows()


def test_full_vocabulary_changes_nothing() -> None:
    vocabulary = Vocabulary(SIZE, None, None)
    row = torch.tensor([3, 29, 30, -1])
    assert vocabulary.encode(row).tolist() == [3, 29, PAD, PAD]
    assert vocabulary.labels(row).tolist() == [3, 29, IGNORE, IGNORE]
    assert vocabulary.decode(row) is row
    weights = torch.rand(SIZE, 2)
    assert vocabulary.all_inputs(weights) is weights
    assert vocabulary.own_outputs(weights) is weights
    assert vocabulary.rows() == {"inputs": None, "outputs": None}


def test_vocabulary_without_an_id_to_spare() -> None:
    everything = list(range(1, SIZE))
    vocabulary = Vocabulary.seen(SIZE, everything, everything)
    rows = torch.rand(vocabulary.input_rows, 2)
    back = vocabulary.own_inputs(vocabulary.all_inputs(rows))
    assert torch.equal(back[:-1], rows[:-1])


def test_distinct_is_sorted() -> None:
    assert distinct([(5, 3), (), (3, 9)]) == [3, 5, 9]
