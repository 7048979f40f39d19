"""The target's ids of each question: in the manifest, behind pairs, refused where malformed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.pairs.store.store import PairStore
from crossdraft.pairs.thoughts import thoughts_of
from tests.pairs.store.stores import make_row, write_store

ROWS = [make_row(i) for i in range(5)]  # about two questions, in turn


def with_ids(folder: Path, ids: Any) -> PairStore:
    """A store whose manifest says these ids; None: it does not name the key."""
    store = write_store(folder, ROWS)
    path = store.folder / "store.json"
    manifest = json.loads(path.read_text())
    manifest.pop("question_ids", None)
    if ids is not None:
        manifest["question_ids"] = ids
    path.write_text(json.dumps(manifest))
    return PairStore.open(folder)


def test_each_pair_has_those_of_its_question(tmp_path: Path) -> None:
    store = with_ids(tmp_path / "s", [[5, 6, 7], [8, 0]])
    assert store.manifest.question_ids == ((5, 6, 7), (8, 0))
    assert json.loads(json.dumps(store.manifest.to_json()))["question_ids"] == [[5, 6, 7], [8, 0]]
    found = [thoughts_of(pair).question_ids for pair in store.pairs()]
    assert found == [(5, 6, 7), (8, 0), (5, 6, 7), (8, 0), (5, 6, 7)]
    assert thoughts_of(store.pair(3)).question_ids == (8, 0)


@pytest.mark.parametrize(
    ("ids", "found"),
    [(None, [(), ()]), ([], [(), ()]), ([[4]], [(4,), ()]), ([[], [1]], [(), (1,)])],
)
def test_where_nobody_kept_them_there_are_none(
    tmp_path: Path, ids: Any, found: list[tuple[int, ...]]
) -> None:
    store = with_ids(tmp_path / "s", ids)
    assert [store.question_ids(i) for i in range(2)] == found


@pytest.mark.parametrize("ids", ["5", 5, {}, [5], [[5, "6"]], [[-1]], [[True]], [[2.0]], [None]])
def test_malformed_ones_are_refused(tmp_path: Path, ids: Any) -> None:
    with pytest.raises(InputError, match="question_ids"):
        with_ids(tmp_path / "s", ids)
