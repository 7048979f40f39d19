"""Comparisons join what may be compared, and only that."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.report.compare import comparison, read_runs

PROVENANCE = {
    "created": "2026-01-01T00:00:00+00:00", "command_line": ["crossdraft", "evaluate"],
    "git_revision": "abc", "packages": {}, "machine": {},
    "inputs": [{"path": "test/store.json", "sha256": "1"}, {"path": "l1/best", "sha256": "2"}],
}  # fmt: skip


def estimate(value: float | None) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def drafter(tau: float) -> dict[str, Any]:
    return {"tau": estimate(tau), "first_window": estimate(tau / 2)}


def state_row(source: str, alignment: str, cosine: float, control: bool = False) -> dict[str, Any]:
    metrics = {"cosine": estimate(cosine), "accept_90": estimate(cosine / 2),
               "token_top1": estimate(cosine / 3)}  # fmt: skip
    return {"source": source, "alignment": alignment, "shift": 0, "control": control,
            "reads": [], "same": {"metrics": metrics}, "next": {"metrics": {}}}  # fmt: skip


def evaluation(name: str, tau: float, cosine: float) -> dict[str, Any]:
    return {
        "schema": "crossdraft.result/1",
        "command": "evaluate",
        "drafters": {
            "none": drafter(1.0), "suffix": drafter(2.5), name: drafter(tau),
            name + "@shuffled": drafter(1.25),
        },
        "networks": {name: {"parameters": 2_113_537, "level": name.upper()}},
        "states": {"rows": [state_row(name, "own", cosine - 0.1),
                            state_row(name, "forced", cosine),
                            state_row("mean-state", "forced", 0.7, control=True)]},
        "data": {"pairs": 100, "clips": 10, "drives": 4, "target_tokens": 3000,
                 "split": "5 folds", "proposal": "chain of 5", "clock": "measured"},
        "config": {"pairs": "test", "train_pairs": None, "stride_clips": 1, "online": False,
                   "arrived": "clock", "eos": 2, "cost_curve": None},
        "warnings": ["simulated events"],
        "provenance": PROVENANCE,
    }  # fmt: skip


def training(name: str, tau: float) -> dict[str, Any]:
    return {
        "schema": "crossdraft.result/1",
        "command": "train",
        "drafter": name,
        "validation": {name: drafter(tau), name + "@shuffled": drafter(1.1), "none": drafter(1.0)},
        "model": {"trained_parameters": 77},
        "data": {"val_pairs": 20, "split": "validation: 10 %"},
        "config": {"pairs": "train", "val_pairs": None,
                   "settings": {"val_split": 0.1, "gap": 4, "gamma": 5}},
        "warnings": [],
        "provenance": {**PROVENANCE, "inputs": [{"path": "train", "sha256": "9"}]},
    }  # fmt: skip


def runs(tmp_path: Path, **results: dict[str, Any]) -> list[Path]:
    for name, result in results.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result))
    return [tmp_path / name for name in results]


def tables(text: str) -> list[list[str]]:
    """Rows of each table, heads left out."""
    found: list[list[str]] = []
    before = ""
    for line in text.splitlines():
        if line.startswith("|---"):
            found.append([])
        elif line.startswith("| ") and before.startswith("|"):
            found[-1].append(line)
        before = line
    return found


def test_levels_stand_in_one_table_with_controls_once_and_the_best_bold(tmp_path: Path) -> None:
    folders = runs(tmp_path, a=evaluation("l1", 1.5, 0.8), b=evaluation("l3", 1.75, 0.75))
    text = comparison(read_runs(folders))
    (rows,) = tables(text)
    named = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert named == ["none", "suffix", "l1 (L1)", "mean-state", "l3 (L3)"]
    one, other = rows[2], rows[4]
    assert "| a | 2,113,537 | 1.50 [1.40, 1.60] |" in one, "a control is never the best"
    assert "| **1.75 [1.65, 1.85]** |" in other and "**0.800" in one
    assert one.endswith("| 1.25 [1.15, 1.35] |"), "the shuffled twin beside it"
    assert "- a: 2026-01-01" in text and text.count("simulated events") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["provenance"]["inputs"][0].update(sha256="other"),
        lambda r: r["data"].update(proposal="chain of 9"),
        lambda r: r["config"].update(online=True),
        lambda r: r["config"].update(stride_clips=2),
        lambda r: (
            r["config"].update(shuffled_pairs="others"),
            r["provenance"]["inputs"].append({"path": "others/store.json", "sha256": "3"}),
        ),
    ],
)
def test_what_was_measured_otherwise_stands_apart(tmp_path: Path, change: Any) -> None:
    other = copy.deepcopy(evaluation("l3", 1.75, 0.75))
    change(other)
    text = comparison(read_runs(runs(tmp_path, a=evaluation("l1", 1.5, 0.8), b=other)))
    assert len(tables(text)) == 2
    assert text.count("**1.") == 2, "each table has a best of its own"


def test_another_checkpoint_does_not_part_them(tmp_path: Path) -> None:
    other = copy.deepcopy(evaluation("l1", 1.75, 0.75))
    other["provenance"]["inputs"][1]["sha256"] = "3"
    folders = runs(tmp_path, a=evaluation("l1", 1.5, 0.8), b=other)
    assert len(tables(comparison(read_runs(folders)))) == 1


def test_trainings_stand_apart_and_say_that_they_flatter(tmp_path: Path) -> None:
    folders = runs(
        tmp_path, a=evaluation("l1", 1.5, 0.8), t=training("l1", 1.4), u=training("l2", 1.3)
    )
    text = comparison(read_runs(folders))
    assert [len(rows) for rows in tables(text)] == [4, 3]
    assert "these numbers flatter" in text and "| 77 |" in text


def test_runs_of_one_name_are_called_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    one = runs(tmp_path / "x", a=evaluation("l1", 1.5, 0.8))
    other = runs(tmp_path / "y", a=evaluation("l3", 1.5, 0.8))
    assert [run.name for run in read_runs([*one, *other, *one])] == [str(p) for p in one + other]


def test_a_drafter_of_two_phases_alone_is_there_by_its_states(tmp_path: Path) -> None:
    result = evaluation("l1", 1.5, 0.8)
    result["drafters"]["l1:l5"] = result["drafters"].pop("l1")
    del result["drafters"]["l1@shuffled"]
    (rows,) = tables(comparison(read_runs(runs(tmp_path, a=result))))
    (alone,) = (row for row in rows if row.startswith("| l1 (L1) |"))
    assert "| 2,113,537 | – | – | **0.800 [0.700, 0.900]** |" in alone


def test_missing_values_are_dashes(tmp_path: Path) -> None:
    result = evaluation("l1", 1.5, 0.8)
    result["drafters"]["l1"]["first_window"] = estimate(None)
    del result["states"], result["networks"]
    (rows,) = tables(comparison(read_runs(runs(tmp_path, a=result))))
    assert rows[2] == "| l1 | a | – | **1.50 [1.40, 1.60]** | – | 1.25 [1.15, 1.35] |"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "config.yaml").touch()
    folders = runs(
        tmp_path, other={"schema": "crossdraft.result/1", "command": "doctor"}, alien={"a": 1}
    )
    for folder, said in (
        (tmp_path / "nix", "no such folder"), (tmp_path / "killed", "no result.json"),
        (tmp_path / "killed" / "config.yaml", "a file"),
        (folders[0], "crossdraft doctor"), (folders[1], "not a result"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_runs([folder])
    with pytest.raises(InputError, match="no run"):
        comparison([])
