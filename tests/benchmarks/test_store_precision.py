"""What int8 costs a drafter: the same trainings come out the same, others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.training.loop import fit
from tests.benchmarks import benchmark
from tests.tiny import tiny
from tests.training.test_loop import settings
from tests.training.test_states import PAIRS, stored

precision = benchmark("store_precision")
TRAIN, TEST = PAIRS[:24], PAIRS[32:]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and three trainings: of one level short and long, and of another one."""
    folder = tmp_path_factory.mktemp("precision")
    stored(folder / "store")
    for name, drafter, epochs in (
        ("short", "bottleneck", 1), ("long", "bottleneck", 6), ("other", "attention", 1),
    ):  # fmt: skip
        fit(
            tiny(drafter),
            TRAIN,
            TRAIN[:4],
            settings(num_epochs=epochs, learning_rate=3e-2, batch_size=4),
            folder=folder / name,
        )
    return folder


def run_of(place: Path, name: str) -> str:
    return str(place / name / "best_model.safetensors")


def test_the_same_training_differs_in_nothing_and_a_longer_one_in_tau(place: Path) -> None:
    short, long = run_of(place, "short"), run_of(place, "long")
    same = precision.compared(short, short, TEST, 3)
    assert same["tau"]["difference"]["value"] == 0.0
    assert same["tau"]["difference"]["low"] == same["tau"]["difference"]["high"] == 0.0
    other = precision.compared(short, long, TEST, 3)
    assert other["tau"]["exact"] == same["tau"]["exact"]
    gained = other["tau"]["rounded"]["value"] - other["tau"]["exact"]["value"]
    assert other["tau"]["difference"]["value"] == pytest.approx(gained)
    assert gained > 0.05


def test_what_cannot_be_compared_is_refused(place: Path) -> None:
    short = run_of(place, "short")
    with pytest.raises(InputError, match="two trainings of one drafter"):
        precision.compared(short, run_of(place, "other"), TEST, 3)
    with pytest.raises(InputError, match="has seen the tested drive"):
        precision.compared(short, short, TRAIN, 3)
    with pytest.raises(InputError, match="2 and 1 checkpoints"):
        precision.measured([short, short], [short], place / "store", 3)


def test_a_call(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = run_of(place, "short")
    call = ["--exact", short, "--rounded", short, "--pairs", str(place / "store")]
    # The store holds the drives that were trained on.
    assert precision.main([*call, "--json", str(tmp_path / "out.json")]) == 2
    assert "has seen the tested drive" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
    result = {
        "rows": [precision.compared(short, short, TEST, 3)], "pairs": 8, "drives": 1, "gamma": 3,
        "warnings": ["few"],
    }  # fmt: skip
    said = precision.lines(json.loads(json.dumps(result)))
    assert said[0].startswith("8 pairs of 1 drives") and said[-1] == "warning: few"
    assert "difference 0.000" in said[1]
