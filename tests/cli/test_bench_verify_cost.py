"""`crossdraft bench verify-cost` from the outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from crossdraft.base.errors import InputError
from crossdraft.cli.app import app
from tests.cli.run import crossdraft
from tests.vlm.models import tiny

QUICK = ("--config", "config.json", "--device", "cpu", "--dtype", "float32", "--context", "40",
         "--widths", "1,2,6", "--repeats", "2")  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the shapes of a tiny model in it."""
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "kept"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "config.json").write_text(tiny("llama").config.to_json_string())
    return here


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "verify-cost", *arguments], catch_exceptions=False)


def test_tables_on_the_terminal_and_a_run_folder(folder: Path) -> None:
    done = crossdraft("bench", "verify-cost", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    for said in (
        "A pass over k tokens",
        "A chain of drafts on the prefill's tail",
        "Advised width by acceptance",
        "LlamaForCausalLM shaped as in config.json",
        "40 tokens in the cache, 2 rounds",
        "for --cost-curve: runs/verify-cost_",
    ):
        assert said in done.stdout, said
    assert max(map(len, done.stdout.splitlines())) <= 100
    (run,) = (folder / "runs").iterdir()
    names = {path.name for path in run.iterdir()}
    assert names == {"config.yaml", "result.json", "RESULTS.md", "verify_cost.png"}
    result = json.loads((run / "result.json").read_text())
    assert result["config"] == yaml.safe_load((run / "config.yaml").read_text())
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "bench verify-cost")
    assert [item["path"] for item in result["provenance"]["inputs"]] == ["config.json"]


def test_json_alone_and_its_folder_price_an_estimate(folder: Path) -> None:
    done = called(*QUICK, "--out", "run", "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result == json.loads((folder / "run" / "result.json").read_text())
    assert [row["tokens"] for row in result["chain"]] == [1, 2, 6]
    estimate = CliRunner().invoke(
        app, ["estimate", "--alpha", "0.7", "--cost-curve", "run/result.json", "--json"]
    )
    assert estimate.exit_code == 0
    assert json.loads(estimate.stdout)["estimates"]


@pytest.mark.usefixtures("quiet_machine")
def test_second_call_takes_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = called(*QUICK, "--out", "one")
    assert first.exit_code == 0 and "kept in" not in first.stdout.replace("\n", " ")
    with monkeypatch.context() as patched:
        patched.setattr("crossdraft.vlm.cost_store.measure", None)
        second = called(*QUICK, "--out", "two")
    assert "kept in" in second.stdout.replace("\n", " ")
    fresh = called(*QUICK, "--out", "three", "--fresh")
    assert "kept in" not in fresh.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--widths", "1,two"), "--widths: '1,two'"),
        (("--widths", "1,,2"), "--widths: '1,,2'"),
        (("--widths", "0,2"), "--widths: 0 tokens"),
        (("--dtype", "int4"), "--dtype: 'int4'"),
        (("--device", "abacus"), "--device: device 'abacus'"),
        (("--repeats", "0"), "--repeats: 0"),
        (("--context", "510"), "510 tokens of context"),
        (("--model", "there"), "exclude each other"),
        (("--config", "nothing.json"), "nothing.json: no such file"),
        (("--out", "taken"), "already holds a result"),
    ],
)
def test_wrong_calls_are_refused_and_write_nothing(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    (folder / "taken").mkdir()
    (folder / "taken" / "result.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        called(*QUICK, *arguments)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert {path.name for path in folder.iterdir()} == {"config.json", "taken"}


def test_program_says_what_is_wrong_and_exits_2(folder: Path) -> None:
    done = crossdraft("bench", "verify-cost", "--model", "nowhere", cwd=folder)
    assert done.returncode == 2
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr
    assert {path.name for path in folder.iterdir()} == {"config.json"}


def test_interrupt_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crossdraft.vlm.cost_store.measure", stopped)
    done = called(*QUICK, "--out", "run")
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert {path.name for path in folder.iterdir()} == {"config.json"}
    assert not (folder.parent / "kept").exists()
