"""Cost curves are checked before they price anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.evaluation.cost import read_cost_curve


def test_curve_is_interpolated(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    path.write_text('{"tokens": [1, 11], "ratio": [1.0, 2.0]}')
    curve = read_cost_curve(path, widest=11)
    assert [curve(n) for n in (1, 6, 11)] == pytest.approx([1.0, 1.5, 2.0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"tokens": [1, 5], "ratio": [1.0, 2.0]}, "ends at 5 tokens"),
        ({"tokens": [1, 50], "ratio": [1.0]}, "not a cost curve"),
        ({"tokens": [2, 50], "ratio": [1.0, 2.0]}, "not a cost curve"),
        ({"tokens": [1, 1, 50], "ratio": [1.0, 1.0, 2.0]}, "not a cost curve"),
        ({"tokens": [1, 50], "ratio": [3.0, 2.0]}, "ratio of one token is 3"),
        ({"tokens": [1, 50], "ratio": [1.0, -2.0]}, "not a cost curve"),
        ({"tokens": [1, float("inf")], "ratio": [1.0, 2.0]}, "not a cost curve"),
        ({"ratio": [1.0]}, "not a cost curve"),
        ([1], "not a cost curve"),
    ],
)
def test_bad_curve_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        read_cost_curve(path, widest=11)
