"""Damaged files of any format end in a clear error or in pairs, never in a traceback."""

from __future__ import annotations

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
from tests.fuzz import anything, places, put
from tests.make import recorded_pairs
from tests.pairs.test_formats import BENCHMARK, EXTRACTION, inference


def own_lines(folder: Path) -> list[Any]:
    path = folder / "own.jsonl"
    write_pairs(PairSet(recorded_pairs(2, timed=True), "extraction"), path)
    return [json.loads(line) for line in path.read_text().splitlines()]


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
