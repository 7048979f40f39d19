"""Options are checked together before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import Budget
from crossdraft.evaluation.config import EvaluateConfig


def parse(**options: Any) -> EvaluateConfig:
    return EvaluateConfig.parse(pairs=Path("a.json"), **options)


def test_budgets() -> None:
    assert parse().budget == Budget(5, 5, 1)
    assert parse(gamma=7).budget == Budget(7, 7, 1)
    assert parse(nodes=60, depth=16).budget == Budget(60, 16, 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 5, "nodes": 9, "depth": 3}, "choose one"),
        ({"nodes": 9}, "both --nodes and --depth"),
        ({"gamma": 0}, "--gamma"),
        ({"folds": 1}, "--folds"),
        ({"gap": -1}, "--gap"),
        ({"stride_clips": 0}, "--stride-clips"),
        ({"drafters": ("telepathy",)}, "no drafter is called 'telepathy'"),
        ({"arrived": "soon"}, "--arrived"),
        ({"unknown_option": 1}, "--unknown-option"),
        ({"gamma": "5"}, "--gamma"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(**options)
