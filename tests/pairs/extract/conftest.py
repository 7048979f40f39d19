"""A pair, a world and their store, once for all tests of extraction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crossdraft.pairs.extract.work import Work
from tests.pairs.extract.ground import Ground, content, made_up, prepare


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepare(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="session")
def whole(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store as one undisturbed call makes it."""
    out = tmp_path_factory.mktemp("whole") / "store"
    ground.extract(out)
    return out


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up answers: who works on what, and what is written when, needs no model."""
    _make_up(monkeypatch)


def _make_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work, "rows", made_up)
    monkeypatch.setattr(Work, "prepare", lambda *_: None)


@pytest.fixture(scope="session")
def wanted(
    ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, str]]:
    """What is in a store of made-up answers that one undisturbed call makes."""
    out = tmp_path_factory.mktemp("wanted") / "store"
    with pytest.MonkeyPatch.context() as patched:
        _make_up(patched)
        ground.extract(out)
    return content(out)
