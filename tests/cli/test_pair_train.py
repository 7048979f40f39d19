"""`crossdraft pair train-embedded`: from nothing to a pair, in its short form."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from crossdraft.vlm.pair import ModelPair
from tests.cli.run import crossdraft_here

COMMAND = ("pair", "train-embedded", "--smoke")


Made = tuple[Path, str, str]


def test_from_nothing_to_a_pair(tmp_path: Path) -> None:
    """One training for all that is said of it: it takes a while, and workers would repeat it."""
    said = crossdraft_here(*COMMAND, "--out", "mine", "--json", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    made = (tmp_path / "mine", said.stdout, said.stderr)
    _it_makes_a_pair_that_loads(made)
    for role in ("target", "drafter"):
        _cards_say_what_was_measured(made, role)
    _a_second_call_trains_nothing_anew(made)
    _what_cannot_be_scored_is_not_trained(made, tmp_path)
    _a_file_in_the_folders_place_is_refused(made, tmp_path)
    _another_seed_is_refused_in_the_same_folder(made)


def _it_makes_a_pair_that_loads(made: Made) -> None:
    out, stdout, stderr = made
    pair = ModelPair.find(str(out / "embedded.yaml"))
    assert Path(pair.target.model).resolve() == (out / "target").resolve()
    assert Path(pair.drafter.model).resolve() == (out / "drafter").resolve()
    result = json.loads(stdout)
    assert result["config"]["smoke"]
    for role in ("target", "drafter"):
        assert result[role]["answers"] == 20
        assert f"{role}, epoch 2/2" in stderr


def _cards_say_what_was_measured(made: Made, role: str) -> None:
    out, stdout, _ = made
    card = (out / role / "README.md").read_text(encoding="utf-8")
    history = json.loads((out / role / "history.json").read_text(encoding="utf-8"))
    result = json.loads(stdout)[role]
    assert "train-embedded --seed 0 --smoke" in card
    made_by = history["made"]
    assert f"{made_by['threads']} threads, {made_by['date']}" in card
    for record in history["epochs"]:
        assert f"| {record['train_loss']:.3f} | {record['val_loss']:.3f} |" in card
    road = result["attributes"]["road"]
    assert f"| road | {road['right']} | {road['of']} |" in card


def _a_second_call_trains_nothing_anew(made: Made) -> None:
    """And what it says of the data is what was given, not what it would have made itself."""
    out, scenes = made[0], made[0] / "scenes"
    weights = (out / "drafter" / "model.safetensors").read_bytes()
    said = crossdraft_here(*COMMAND, "--out", out, "--scenes", scenes, "--json", cwd=out)
    assert said.returncode == 0, said.stderr
    assert "epoch" not in said.stderr
    assert (out / "drafter" / "model.safetensors").read_bytes() == weights
    card = (out / "target" / "README.md").read_text(encoding="utf-8")
    assert f"--seed 0 --smoke --scenes {scenes}" in card
    assert "scenes synth --seed" not in card
    result = json.loads(said.stdout)
    assert result["target"]["made"] == json.loads(made[1])["target"]["made"]
    assert result["config"]["scenes"] == str(scenes)
    assert result["provenance"]["inputs"]
    assert any("simulated" in warning for warning in result["warnings"])


def _what_cannot_be_scored_is_not_trained(made: Made, tmp_path: Path) -> None:
    scenes = tmp_path / "train_only"
    shutil.copytree(made[0] / "scenes", scenes)
    manifest = json.loads((scenes / "scenes.json").read_text(encoding="utf-8"))
    manifest["scenes"] = [one for one in manifest["scenes"] if one["split"] == "train"]
    (scenes / "scenes.json").write_text(json.dumps(manifest), encoding="utf-8")
    answers = (scenes / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in answers if json.loads(line)["drive"].startswith("train")]
    (scenes / "answers.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    said = crossdraft_here(*COMMAND, "--out", tmp_path / "x", "--scenes", scenes, cwd=tmp_path)
    assert said.returncode == 2
    assert "--split test" in said.stderr
    assert not (tmp_path / "x").exists()


def _a_file_in_the_folders_place_is_refused(made: Made, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    scenes = made[0] / "scenes"
    said = crossdraft_here(*COMMAND, "--out", "taken", "--scenes", scenes, cwd=tmp_path)
    assert said.returncode == 2
    assert (tmp_path / "taken").read_text() == "mine"


def _another_seed_is_refused_in_the_same_folder(made: Made) -> None:
    out, _, _ = made
    said = crossdraft_here(*COMMAND, "--out", out, "--seed", "1", cwd=out)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
