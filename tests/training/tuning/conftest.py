"""The ground of all tests of tuning, made once."""

from __future__ import annotations

import pytest

from tests.training.tuning.ground import Ground, prepare


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepare(tmp_path_factory.mktemp("tuning"))
