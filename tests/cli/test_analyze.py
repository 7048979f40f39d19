"""`crossdraft analyze` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.cli import main
from crossdraft.drafters.checkpoint import save_drafter
from crossdraft.drafters.token_adapter import TokenAdapterConfig, TokenAdapterDrafter
from tests.cli.run import crossdraft
from tests.make import recorded_pairs

ROWS = {"drafter": [1, 2, 3], "adapter": [4, 5, 9], "target": [4, 5, 6],
        "texts": {"target": "[bold]a red car", "adapter": "[bold]a red dog"}}  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    drafter = TokenAdapterDrafter(
        TokenAdapterConfig(embed_dim=8, num_layers=1, num_heads=2, ffn_dim=8)
    )
    drafter.build(recorded_pairs(60), seed=0)
    save_drafter(drafter, tmp_path / "best_model.safetensors")
    return tmp_path / "best_model.safetensors"


def test_rows_of_a_file_print_and_write_nothing(rows: Path, tmp_path: Path) -> None:
    done = crossdraft("analyze", "--tokens", rows, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 consecutive, 2 of 3 positions match (66.7 %)" in done.stdout
    assert "compared from position 0, rows as the file gives them" in done.stdout
    assert "car ⟨6⟩" in done.stdout
    assert "[bold]a red car" in done.stdout, "words are no markup"
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_a_checkpoint_beside_recorded_answers(
    checkpoint: Path, extraction_file: Path, tmp_path: Path
) -> None:
    done = crossdraft(
        "analyze", checkpoint, "--pairs", extraction_file, "--samples", "0,2-3",
        "--positions", "4", "--out", "out", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "compared from position 1: token-adapter proposes nothing before it" in done.stdout
    assert "more positions" in done.stdout
    assert "does not say what it was trained on" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "RESULTS.md", "config.yaml", "result.json"
    ]  # fmt: skip
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["command"] == "analyze"
    assert [sample["sample"] for sample in result["samples"]] == [0, 2, 3]
    assert len(result["provenance"]["inputs"]) == 2
    assert "\n| 8 |" in (tmp_path / "out" / "RESULTS.md").read_text(encoding="utf-8")
    again = crossdraft(
        "analyze", checkpoint, "--pairs", extraction_file, "--out", "out", cwd=tmp_path
    )
    assert again.returncode == 2
    assert "already holds a result" in again.stderr


def test_json_is_the_result_and_nothing_else(rows: Path, tmp_path: Path) -> None:
    done = crossdraft("analyze", "--tokens", rows, "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["schema"] == "crossdraft.result/1"
    assert result["config"]["tokens"] == str(rows)
    assert result["samples"][0]["adapter"]["tokens"] == [4, 5, 9]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to analyze"),
        (["absent.safetensors"], "--pairs is missing"),
        (["absent.safetensors", "--tokens", "rows.json"], "exclude each other"),
        (["absent.safetensors", "--pairs", "absent.json"], "absent.json: no such file"),
        (["--tokens", "rows.json", "--samples", "1"], "there is no sample 1"),
        (["--tokens", "rows.json", "--tokenizer", "absent"], "absent: no such folder"),
        (["--tokens", "rows.json", "--tokenizer", "."], "no tokenizer could be read"),
        (["--tokens", "rows.json", "--positions", "0"], "--positions"),
        (["--tokens", "rows.json", "--gamma", "0", "--out", "out"], "--gamma"),
    ],
    ids=range(9),
)
def test_wrong_calls(
    rows: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # In this process: nine times the imports of a new one would take long.
    monkeypatch.chdir(rows.parent)
    monkeypatch.setattr("sys.argv", ["crossdraft", "analyze", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert said in " ".join(printed.err.split())
    assert printed.out == ""
    assert [path.name for path in rows.parent.iterdir()] == ["rows.json"]
