"""Two real processes against one with the double batch; pieces of a step against one batch."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import load_drafter
from crossdraft.drafters.states import StateDrafter
from crossdraft.drafters.trainable import TokenBatch, Trainable
from crossdraft.training.loop import BEST, FINAL, fit
from crossdraft.training.settings import TrainSettings
from crossdraft.training.team import Alone, team_here
from tests.drafters.ladder.made import made_head, made_pairs
from tests.tiny import tiny

#: 41 answers: the last batch of 8 has one answer, and one of two processes none.
PAIRS = made_pairs(50)
TRAIN, VAL = PAIRS[:41], PAIRS[44:]
#: Sums of the same numbers in another order, over 24 steps of AdamW: of logits, relative to the
#: largest one.
TOLERANCE = 1e-3
NAMES = ("bottleneck", "eagle-fusion")

_TEAM = """
import shutil, sys
from pathlib import Path
import torch
from crossdraft.base.errors import CrossdraftError
from crossdraft.training.loop import STATE, fit
from crossdraft.training.team import team_here
from tests.training.test_team import NAMES, TRAIN, VAL, settings
from tests.tiny import tiny
torch.set_num_threads(1)
team, out = team_here(torch.device("cpu")), Path(sys.argv[1])
told = []
for name in NAMES:
    whole, cut = out / name, out / (name + "-cut")
    if team.first:
        whole.mkdir(); cut.mkdir()
    team.sums([0.0])  # both wait for the folders
    def keep(record):
        told.append(record["epoch"])
        if record["epoch"] == 2:
            shutil.copyfile(whole / STATE, cut / STATE)
    for folder in (whole, cut):
        fit(tiny(name, dropout=0.0), TRAIN, VAL, settings(batch_size=4), folder=folder, team=team,
            on_epoch=keep)
        team.sums([0.0])
    if name == NAMES[0]:  # a folder that only one of them sees
        if team.rank:
            folder = out / "elsewhere"
            folder.mkdir()
        try:
            fit(tiny(name, dropout=0.0), TRAIN, VAL, settings(batch_size=4), folder=folder,
                team=team)
        except CrossdraftError as error:
            (out / f"apart-{team.rank}.txt").write_text(str(error))
try:
    wrong = settings(batch_size=4, learning_rate=1e30, clip_norm=1e30)
    fit(tiny("bottleneck", dropout=0.0), TRAIN, VAL, wrong, team=team)
except CrossdraftError as error:
    (out / f"wrong-{team.rank}.txt").write_text(str(error))
(out / f"told-{team.rank}.txt").write_text(str(told))
"""


def settings(**given: Any) -> TrainSettings:
    return TrainSettings(
        **{"num_epochs": 4, "batch_size": 8, "learning_rate": 1e-2, "device": "cpu", **given}
    )


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes of torchrun have left."""
    out = tmp_path_factory.mktemp("team")
    script = out / "team.py"
    script.write_text(_TEAM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(__file__).parents[2]
    called = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
         "--master-port", str(port), str(script), str(out)],
        cwd=root, capture_output=True, text=True, timeout=300, env=_environment(root),
    )  # fmt: skip
    assert called.returncode == 0, called.stderr[-3000:]
    return out


def _environment(root: Path) -> dict[str, str]:
    import os

    kept = {key: value for key, value in os.environ.items() if not key.startswith("COV_")}
    return {**kept, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def close(one: Trainable, other: Trainable) -> bool:
    """Whether two drafters say the same of the held-out answers. Their weights may not be: of a
    weight that nothing depends on, as a bias of attention's keys, AdamW makes much of little."""
    assert isinstance(one, StateDrafter) and isinstance(other, StateDrafter)
    batch = TokenBatch.of(VAL, 64, needs=one.batch_needs)
    with torch.no_grad():
        said, wanted = (
            drafter.predicted(batch, "forced").logits(batch.head or made_head())
            for drafter in (one, other)
        )
    return float((said - wanted).abs().max()) <= TOLERANCE * float(wanted.abs().max())


def figures(history: list[dict[str, float]], name: str) -> list[float]:
    return [record[name] for record in history]


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_are_one_with_the_double_batch(team: Path, name: str) -> None:
    alone = tiny(name, dropout=0.0)
    trained = fit(alone, TRAIN, VAL, settings())
    log = [json.loads(line) for line in (team / name / "log.jsonl").read_text().splitlines()]
    history = list(trained.history)
    for figure in ("train_loss", "train_top1", "val_loss"):
        assert figures(log, figure) == pytest.approx(figures(history, figure), rel=1e-3), figure
    assert history[0]["train_loss"] > 1.05 * history[-1]["train_loss"], "something was learnt"
    assert close(load_drafter(team / name / BEST).drafter, alone)
    other = fit(tiny(name, dropout=0.0), TRAIN, VAL, settings(batch_size=4))
    assert figures(log, "train_loss") != pytest.approx(
        figures(list(other.history), "train_loss"), rel=1e-3
    ), "half the batch is another training"


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_go_on_where_they_stood(team: Path, name: str) -> None:
    whole, cut = (
        load_drafter(team / one / FINAL).drafter.tensors() for one in (name, name + "-cut")
    )
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_the_first_process_alone_writes_and_tells(team: Path) -> None:
    once = [1, 2, 3, 4, 3, 4]  # whole, and from the second epoch on
    assert json.loads((team / "told-0.txt").read_text())[:6] == once
    assert json.loads((team / "told-1.txt").read_text()) == []


def test_all_processes_refuse_what_one_of_them_must_refuse(team: Path) -> None:
    for rank in (0, 1):
        assert "the loss is nan" in (team / f"wrong-{rank}.txt").read_text()
        assert "see different states of it" in (team / f"apart-{rank}.txt").read_text()


@pytest.mark.parametrize("name", ["bottleneck", "token-adapter"])
def test_pieces_of_a_step_are_one_batch(name: str) -> None:
    whole, pieces = tiny(name, dropout=0.0), tiny(name, dropout=0.0)
    together = fit(whole, TRAIN, VAL, settings())
    apart = fit(pieces, TRAIN, VAL, settings(batch_size=4, accumulate=2))
    for figure in ("train_loss", "val_loss", "learning_rate"):
        one, other = (figures(list(run.history), figure) for run in (together, apart))
        assert one == pytest.approx(other, rel=1e-3), figure
    if isinstance(whole, StateDrafter):
        assert close(pieces, whole)


def test_half_precision_learns() -> None:
    trained = fit(tiny("attention"), TRAIN, VAL, settings(precision="bf16", num_epochs=6))
    assert trained.history[-1]["train_loss"] < 0.9 * trained.history[0]["train_loss"]
    exact = fit(tiny("attention"), TRAIN, VAL, settings(num_epochs=6))
    assert trained.history[-1]["train_loss"] != exact.history[-1]["train_loss"]


def test_a_process_alone_is_no_team(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(team_here(torch.device("cpu"))) is Alone
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(InputError, match="WORLD_SIZE is 'many'"):
        team_here(torch.device("cpu"))
