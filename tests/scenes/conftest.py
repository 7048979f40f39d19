"""Files that several tests of scenes begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.scenes.video import write_mp4
from tests.scenes.videos import FRAMES


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """One second at 20 frames a second."""
    path = tmp_path / "clip.mp4"
    write_mp4(path, FRAMES[:20])
    return path
