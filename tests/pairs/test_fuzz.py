"""Damaged files of any format end in a clear error or in pairs, never in a traceback."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import stage_times
from crossdraft.pairs.formats import read_pairs, write_extraction, write_pairs
from crossdraft.pairs.record import PairSet
from tests.make import recorded_pairs
from tests.pairs.test_formats import BENCHMARK, EXTRACTION, inference

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["\ud800", 10**30, -1, float("inf")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def own_lines(folder: Path) -> list[Any]:
    path = folder / "own.jsonl"
    write_pairs(PairSet(recorded_pairs(2, timed=True), "extraction"), path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value inside a JSON document."""
    if not isinstance(value, dict | list):
        return []
    inside = list(value.items() if isinstance(value, dict) else enumerate(value))
    deeper = [found for key, inner in inside for found in places(inner, (*path, key))]
    return [*((*path, key) for key, _ in inside), *deeper]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", ["extraction", "benchmark", "inference", "own"])
@settings(max_examples=200)
@given(data=st.data())
def test_any_value_anywhere(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    documents: dict[str, Any] = {
        "extraction": EXTRACTION,
        "benchmark": BENCHMARK,
        "inference": inference("llava", "llava"),
        "own": own_lines(folder),
    }
    document = documents[name]
    changed = put(document, data.draw(st.sampled_from(places(document))), data.draw(anything))
    path = folder / "changed"
    if name == "own":
        path.write_text("".join(json.dumps(line) + "\n" for line in changed))
    else:
        path.write_text(json.dumps(changed))
    try:
        found = read_pairs(path)
    except InputError:
        return
    for pair in found.pairs:
        times = stage_times(pair)
        assert times is None or times.arrived(100.0) >= 0
    write_pairs(found, folder / "again.jsonl")
    assert read_pairs(folder / "again.jsonl").pairs == found.pairs
    write_extraction(found, folder / "again.json")
