"""Lines of timed answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.bench.wallclock.record import Forward, Run
from tests.bench.wallclock.made_runs import plain

TIMES = st.floats(0, 1e9)
NUMBERS = st.integers(0, 2**31)
RUNS = st.builds(
    Run,
    configuration=st.text(), part=st.sampled_from(["test", "validation"]), round=NUMBERS,
    number=NUMBERS, scene=st.text(), drive=st.text(), question=st.text(),
    tokens=st.lists(NUMBERS).map(tuple), arrival_ms=st.lists(TIMES).map(tuple), total_ms=TIMES,
    forwards=st.lists(st.builds(Forward, NUMBERS, NUMBERS, NUMBERS)).map(tuple),
    stages_ms=st.dictionaries(st.text(), TIMES), event_model_ms=st.none() | TIMES,
    event_first_ms=st.none() | TIMES, event_token_ms=st.none() | TIMES, event_tokens=NUMBERS,
    last_prefill_ms=st.none() | TIMES, mode=st.none() | st.text(),
    warnings=st.lists(st.text()).map(tuple),
)  # fmt: skip


@given(RUNS)
def test_there_and_back(run: Run) -> None:
    assert Run.from_json(json.loads(json.dumps(run.to_json()))) == run


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": None}, {"tokens": ["x"]}, {"arrival_ms": 3}, {"forwards": [[1, 2]]},
        {"forwards": 4}, {"colour": "red"},
    ],
)  # fmt: skip
def test_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Run.from_json({**plain().to_json(), **change})


@pytest.mark.parametrize("missing", ["tokens", "arrival_ms", "forwards", "warnings", "total_ms"])
def test_a_line_lacks_nothing(missing: str) -> None:
    said = plain().to_json()
    del said[missing]
    with pytest.raises((KeyError, TypeError)):
        Run.from_json(said)
