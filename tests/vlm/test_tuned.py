"""What a tuned model says it has seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.vlm.tuned import TUNED, TunedOn, tuned_on


def test_a_model_says_what_it_was_tuned_on(tmp_path: Path) -> None:
    assert tuned_on(tmp_path) == TunedOn(), "never tuned"
    seen = {"clips": ["ab"], "drives": ["one", "two"], "task": ""}
    (tmp_path / TUNED).write_text(json.dumps({"trained_on": seen}))
    assert tuned_on(tmp_path) == TunedOn(("ab",), ("one", "two"))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"trained_on": {"drives": []}}',
     '{"trained_on": {"clips": [], "drives": [1]}}'],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / TUNED).write_text(text)
    with pytest.raises(InputError, match=TUNED):
        tuned_on(tmp_path)
