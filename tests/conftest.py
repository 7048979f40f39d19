"""Settings and data that all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest

from crossdraft.pairs.formats import write_extraction
from crossdraft.pairs.record import PairSet
from tests.make import recorded_pairs

# One profile everywhere: the same examples on every machine, no failures from a slow one.
hypothesis.settings.register_profile(
    "crossdraft", derandomize=True, deadline=None, database=None, print_blob=True
)
hypothesis.settings.load_profile("crossdraft")

# A shell starts background jobs with interrupts ignored, and programs started from there would
# inherit that; the tests that interrupt programs mean the usual case.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def extraction_file(tmp_path: Path) -> Path:
    """60 made-up clips in the extraction format."""
    path = tmp_path / "extraction.json.gz"
    write_extraction(PairSet(recorded_pairs(60), "extraction"), path)
    return path


@pytest.fixture
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does, what it measures is kept, as on a quiet one."""
    monkeypatch.setattr("crossdraft.vlm.cost_curve.CostCurves.noisy", 0)


@pytest.fixture
def real_answers() -> Path:
    """The recorded answers of the seed study, where they are."""
    path = Path(__file__).parents[2] / "shared" / "real" / "extraction_1s.json.gz"
    if not path.exists():
        pytest.skip(f"no recorded answers at {path}")
    return path
