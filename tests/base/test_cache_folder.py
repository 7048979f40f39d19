"""The folder of what is kept follows the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.cache_folder import cache_root
from crossdraft.base.errors import InputError


def test_the_environment_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CROSSDRAFT_CACHE", raising=False)
    assert cache_root() == tmp_path / ".cache" / "crossdraft"
    for named in (str(tmp_path / "kept"), "~/kept"):
        monkeypatch.setenv("CROSSDRAFT_CACHE", named)
        assert cache_root() == tmp_path / "kept"
    assert not any(tmp_path.iterdir()), "nothing is made"


def test_a_home_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDRAFT_CACHE", "~nobody-of-that-name/kept")
    with pytest.raises(InputError, match="CROSSDRAFT_CACHE: ~nobody"):
        cache_root()
