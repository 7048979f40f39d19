"""`crossdraft verify` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.cli.verify import verify
from crossdraft.decoding import verify as rules
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.checkpoint import save_drafter
from crossdraft.drafters.registry import REGISTRY
from tests.bench.tiny_pair import write_pair
from tests.make import recorded_pairs
from tests.scenes.scene_folders import make_scenes
from tests.tiny import built

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(verify)


class EchoDrafter(Drafter):
    """Repeats the last token."""

    name = "echo"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain(list(prefix[-1:])[: budget.nodes], source=self.name)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


def called(pair: Path, *arguments: str | Path) -> Result:
    """In float64, for answers of six tokens to one question, with little drafted."""
    few = ["--set", "target.dtype=float64", "--max-new-tokens", "6", "--nodes", "8"]
    few += [] if "--questions" in arguments else ["--questions", "1"]
    return CliRunner().invoke(app, ["--pair", str(pair), *few, *map(str, arguments)])


def test_one_line_for_each_drafter(pair: Path) -> None:
    done = called(pair, "--drafter", "suffix", "--drafter", "drafter-text", "--gamma", "3")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("measured  greedy    plain decoding     1 answer, 6 tokens in float")
    assert lines[1].startswith("ok        greedy    suffix             4 answers, 24 tokens equal")
    assert [line.split()[2] for line in lines[2:4]] == ["drafter-text", "random"]
    assert sum(line.startswith("ok ") for line in lines) == 8
    assert lines[-1].startswith("lossless: 30 answers, ") and lines[-1].endswith("target's own")


def test_a_drafter_of_one_registry_line(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "echo", f"{__name__}:EchoDrafter")
    done = called(pair, "--drafter", "echo+suffix", "--temperature", "0.7", "--seed", "4")
    assert done.exit_code == 0, done.output
    assert "ok        sampling  echo+suffix" in done.stdout


def test_a_trained_drafter_from_its_checkpoint(pair: Path, tmp_path: Path) -> None:
    save_drafter(built("token-adapter", recorded_pairs(5)), tmp_path / "best.safetensors")
    done = called(pair, "--drafter", tmp_path / "best.safetensors")
    assert done.exit_code == 0, done.output
    assert "ok        greedy    token-adapter" in done.stdout


def test_a_difference_is_exit_1(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = rules.walk

    def first_draft_always(tree: DraftTree, says: Callable[[int], int]) -> Verification:
        return Verification((0,), says(1)) if len(tree) else walk(tree, says)

    monkeypatch.setattr(rules, "walk", first_draft_always)
    done = called(pair, "--drafter", "none")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[-7].startswith("DIFFERS   greedy    random")
    assert lines[-6] == "    question 1: What are the key elements in this scene?"
    assert lines[-4].startswith("    token 0: plain decoding says ")
    assert lines[-2].startswith("    real: it stays in float64")
    assert lines[-1] == "not lossless (real): token 0 of question 1"


def test_an_engine_that_fails_is_exit_1(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdraft.decoding.loop.draftable", lambda tree, allowed: tree)
    done = called(pair, "--drafter", "none")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[-5].startswith("FAILED    greedy    ") and "the next answer fails" in lines[-5]
    assert lines[-4] == "    question 1: What are the key elements in this scene?"
    assert ", greedy, trees of 8, a " in lines[-3]
    assert lines[-2].startswith("    ValueError: ids [")
    assert lines[-1].startswith("not lossless (failed): question 1, ValueError: ids [")
    done = called(pair, "--drafter", "none", "--json")
    result = json.loads(done.stdout)
    assert done.exit_code == 1 and result["lossless"] is False
    assert result["drafters"][-1]["failure"]["width"] == "trees of 8"


def test_json_alone(pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "questions.json").write_text(json.dumps(["What is this?", "Where is the car?"]))
    arguments = ["--json", "--questions-file", str(tmp_path / "questions.json"), "--questions", "2"]
    done = called(pair, *arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "verify")
    assert result["lossless"] is True and len(result["plain"][0]["answers"]) == 2
    assert [one["drafter"] for one in result["drafters"]][:2] == ["suffix", "random"]
    assert result["config"]["questions"] == ["What is this?", "Where is the car?"]
    assert result["config"]["widths"] == ["trees of 8"]
    monkeypatch.setattr(rules, "greedy", lambda logits, tree: Verification((), 5 + len(tree)))
    done = called(pair, *arguments)
    assert done.exit_code == 1
    told = json.loads(done.stdout)["drafters"][-1]["difference"]
    assert (told["place"], told["expected"]["id"], told["verdict"]) == (0, 5, "real")


def test_a_scene_of_a_dataset(pair: Path, tmp_path: Path) -> None:
    make_scenes(tmp_path / "clips")
    done = called(pair, "--scene", tmp_path / "clips/first/000001", "--drafter", "none")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--drafter", "sufix"], "sufix"),
        (["--drafter", "token-adapter"], "token-adapter"),
        (["--scene", "nothing.h5"], "nothing.h5"),
        (["--questions", "99"], "at most 10"),
        (["--questions-file", "nowhere.json"], "nowhere.json"),
        (["--temperature", "0"], "temperature"),
        (["--temperature", "0.5", "--seed", "-1"], "seed"),
        (["--set", "target.model=nowhere"], "nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_calls_are_exit_2(
    arguments: list[str], said: str, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = called(pair, *arguments)
    assert isinstance(done.exception, InputError) and done.exception.exit_code == 2
    assert said in str(done.exception)


def test_an_interrupt_is_exit_130(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Verification:
        raise KeyboardInterrupt

    monkeypatch.setattr(rules, "greedy", interrupted)
    done = called(pair)
    assert done.exit_code == 130 and "interrupted" in done.stderr
