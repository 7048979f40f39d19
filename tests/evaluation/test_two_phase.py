"""Two-phase configurations from a file, with the checkpoints of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.drafters.two_phase import split_phases
from crossdraft.evaluation.two_phase import read_two_phase

SHIPPED = Path(__file__).parents[2] / "configs" / "two_phase.yaml"
SIX = ["L1+L5F", "L2+L5F", "L3+L5F", "L4+L5F", "L5F-only", "B1-only"]


def test_the_shipped_file_holds_the_six_of_the_seed_study() -> None:
    made = read_two_phase(SHIPPED)
    assert list(made) == SIX
    assert made["L3+L5F"] == "wide-bottleneck:fused-eagle"
    assert made["B1-only"] == "none:target-eagle"
    assert all(len(split_phases(text)) == 1 for text in made.values())


def test_checkpoints_of_both_layouts(tmp_path: Path) -> None:
    for name in ("bottleneck", "l2", "L3", "l5f", "target-eagle"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best_model.safetensors").touch()
    seed = tmp_path / "L4" / "L4_20260206_192256"
    seed.mkdir(parents=True)
    (seed / "best_model.pt").touch()
    made = read_two_phase(SHIPPED, tmp_path)
    assert made["L1+L5F"] == f"{tmp_path / 'bottleneck'}:{tmp_path / 'l5f'}"
    assert made["L4+L5F"].startswith(f"{seed}:")
    assert made["B1-only"] == f"none:{tmp_path / 'target-eagle'}"
    other = tmp_path / "L4" / "L4_later"
    other.mkdir()
    (other / "best_model.pt").touch()
    with pytest.raises(InputError, match="2 runs of attention"):
        read_two_phase(SHIPPED, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["configurations: {}", "other: 1", "configurations: {A: l1}", "configurations: {A: {}}",
     "configurations: {A: {prefil: l1}}", "- 1"],
)  # fmt: skip
def test_other_content_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError):
        read_two_phase(tmp_path / "c.yaml")
    with pytest.raises(InputError, match="no run of bottleneck"):
        read_two_phase(SHIPPED, tmp_path)
