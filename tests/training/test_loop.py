"""The training loop: it learns, stops, resumes bit for bit, and never reads a test."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress
from crossdraft.drafters.checkpoint import is_trainable, load_drafter
from crossdraft.drafters.registry import REGISTRY
from crossdraft.drafters.token_adapter import TokenAdapterDrafter
from crossdraft.drafters.trainable import Trainable
from crossdraft.training.log import read_log
from crossdraft.training.loop import BEST, FINAL, STATE, fit
from crossdraft.training.settings import TrainSettings, training_config
from tests.drafters.ladder.made import thoughtful
from tests.make import recorded_pairs
from tests.tiny import tiny

PAIRS = tuple(map(thoughtful, recorded_pairs(60)))
TRAIN, VAL = PAIRS[:44], PAIRS[48:]
TRAINABLE = [name for name in REGISTRY if is_trainable(name)]


def settings(**options: Any) -> TrainSettings:
    return TrainSettings(**{"num_epochs": 4, "batch_size": 8, "learning_rate": 1e-2, **options})


def weights(drafter: Trainable) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in drafter.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without_times(history: Any) -> list[dict[str, float]]:
    timed = ("train_ms", "validation_ms", "samples_per_s")
    return [{k: v for k, v in record.items() if k not in timed} for record in history]


@pytest.mark.parametrize("name", TRAINABLE)
def test_it_learns(name: str) -> None:
    drafter = tiny(name)
    trained = fit(drafter, TRAIN, VAL, settings(num_epochs=12))
    first, best = trained.history[0], trained.best
    assert best["train_loss"] < 0.8 * first["train_loss"]
    assert best["val_top1"] > 0.3
    assert best["val_tau"] == max(record["val_tau"] for record in trained.history)


@pytest.mark.parametrize("name", TRAINABLE)
def test_resumed_equals_uninterrupted_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole = tiny(name)
    expected = fit(whole, TRAIN, VAL, settings(), folder=_made(tmp_path / "whole"))

    class StopError(Exception):
        pass

    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == 2:
            raise StopError

    folder = _made(tmp_path / "cut")
    with pytest.raises(StopError):
        fit(tiny(name), TRAIN, VAL, settings(), folder=folder, on_epoch=stop)
    torch.rand(7)  # whatever happens in between must not matter
    seen: list[float] = []
    again = tiny(name)
    resumed = fit(
        again, TRAIN, VAL, settings(), folder=folder, on_epoch=lambda r: seen.append(r["epoch"])
    )
    assert seen == [3, 4]
    assert same(weights(again), weights(whole))
    assert without_times(resumed.history) == without_times(expected.history)
    for model in (BEST, FINAL):
        ours, theirs = (load_drafter(tmp_path / run / model).drafter for run in ("cut", "whole"))
        assert same(weights(ours), weights(theirs))
    assert without_times(read_log(folder)) == without_times(expected.history)


_KILLED = """
import sys
from pathlib import Path
from tests.training.test_loop import TRAIN, VAL, settings
from tests.tiny import tiny
from crossdraft.training.loop import fit
def line(record): print(record["epoch"], flush=True)
fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=400), folder=Path(sys.argv[1]), on_epoch=line)
"""  # noqa: E501


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    """kill -9 at any moment leaves a state that the next call continues from."""
    folder = _made(tmp_path / "killed")
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(folder)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 3:
                break
        time.sleep(0.02)
        process.kill()
    finished = len(read_log(folder))
    assert finished >= 3

    class StopError(Exception):
        pass

    seen: list[float] = []

    def stop(record: dict[str, float]) -> None:
        seen.append(record["epoch"])
        if len(seen) == 2:
            raise StopError

    with pytest.raises(StopError):
        fit(
            tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=400), folder=folder,
            on_epoch=stop,
        )  # fmt: skip
    # The log is written behind the state: it may lack the last epoch, never show one too many.
    assert seen[0] in (finished + 1, finished + 2)
    assert [r["epoch"] for r in read_log(folder)] == list(range(1, int(seen[1]) + 1))


def test_best_epoch_is_what_is_left_and_saved(tmp_path: Path) -> None:
    drafter = tiny("token-adapter")
    trained = fit(drafter, TRAIN, VAL, settings(num_epochs=6), folder=_made(tmp_path / "run"))
    saved = load_drafter(tmp_path / "run").drafter
    assert same(weights(saved), weights(drafter))
    assert not drafter.network.training
    best = max(trained.history, key=lambda r: (r["val_tau"], r["val_top1"], -r["val_loss"]))
    assert trained.best == best


def test_stops_when_nothing_gets_better() -> None:
    trained = fit(
        tiny("token-adapter"), TRAIN, VAL,
        settings(num_epochs=50, learning_rate=1e-9, early_stopping=3),
    )  # fmt: skip
    assert trained.stopped_early
    assert len(trained.history) == trained.best_epoch + 3


def test_state_of_another_training_is_not_continued(tmp_path: Path) -> None:
    folder = _made(tmp_path / "run")
    fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=1), folder=folder)
    alike, others = settings(num_epochs=1), settings(num_epochs=2)
    for drafter, train, asked in (
        (tiny("token-adapter"), TRAIN, others),
        (tiny("token-adapter"), TRAIN[1:], alike),
        (tiny("token-adapter", dropout=0.3), TRAIN, alike),
    ):
        with pytest.raises(InputError, match="other options, other data"):
            fit(drafter, train, VAL, asked, folder=folder)


def test_damaged_state_is_named(tmp_path: Path) -> None:
    folder = _made(tmp_path / "run")
    fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=1), folder=folder)
    state = folder / STATE
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"state\.safetensors"):
        fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=1), folder=folder)


def test_same_seed_same_weights_other_seed_others() -> None:
    made = []
    for seed in (0, 0, 1):
        drafter = tiny("token-adapter")
        fit(drafter, TRAIN, VAL, settings(num_epochs=1, seed=seed))
        made.append(weights(drafter))
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_generators_are_left_as_found() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=1))
    assert torch.equal(torch.rand(2), expected)


def test_tensorboard_and_log_say_the_same(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = _made(tmp_path / "run")
    fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=2), folder=folder)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    shown = [point.value for point in events.Scalars("val/tau")]
    assert shown == pytest.approx([r["val_tau"] for r in read_log(folder)], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "abacus"}, "cannot be used"),
        ({"device": "cuda:99"}, "cannot be used"),
    ],
)
def test_impossible_devices_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(tiny("token-adapter"), TRAIN, VAL, settings(**change))


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    with pytest.raises(InputError, match="the loss is"):
        fit(tiny("token-adapter"), TRAIN, VAL, settings(learning_rate=1e30, clip_norm=1e30))


def test_batch_size_is_that_of_the_steps() -> None:
    steps: list[Progress] = []
    fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=1, batch_size=11), sink=steps.append)
    assert [step.total for step in steps] == [4] * 4, "44 answers in batches of 11"


@pytest.mark.parametrize("name", TRAINABLE)
def test_batches_without_a_label_are_no_fault(name: str, tmp_path: Path) -> None:
    """Answers of one token, and held-out answers of tokens never seen: nothing to count."""
    train = [thoughtful(replace(p, target_tokens=(2,))) if p.index % 2 else p for p in TRAIN]
    val = [*VAL[:2], *(thoughtful(replace(p, target_tokens=(131, 132))) for p in VAL[2:])]
    asked = settings(num_epochs=1, batch_size=1)
    trained = fit(tiny(name), train, val, asked, folder=_made(tmp_path / "run"))
    assert math.isfinite(trained.best["train_loss"])
    assert math.isfinite(trained.best["val_loss"])


def test_empty_sides_are_refused() -> None:
    with pytest.raises(InputError, match="train on"):
        fit(tiny("token-adapter"), [], VAL, settings())
    with pytest.raises(InputError, match="validate on"):
        fit(tiny("token-adapter"), TRAIN, [], settings())


def test_options_find_their_place(tmp_path: Path) -> None:
    config = training_config(
        "token-adapter",
        {"pairs": tmp_path, "num_epochs": 3, "num_layers": 6, "task_name": "1s", "out": None},
    )
    assert (config.settings.num_epochs, config.options["num_layers"]) == (3, 6)
    assert config.settings.learning_rate == 1e-4, "the seed study's"
    assert json.loads(config.model_dump_json())["task_name"] == "1s"
    with pytest.raises(InputError, match="--num-epochs"):
        training_config("token-adapter", {"pairs": tmp_path, "num_epochs": 0})
    with pytest.raises(InputError, match="no option 'width'"):
        training_config("token-adapter", {"pairs": tmp_path, "width": 3})
    with pytest.raises(InputError, match="no drafter with a network"):
        training_config("suffix", {"pairs": tmp_path})


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_defaults_are_the_seed_studys(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, drafter = TrainSettings(), TokenAdapterDrafter()
    assert (asked.num_epochs, asked.batch_size, asked.early_stopping) == (50, 32, 10)
    assert (asked.learning_rate, asked.weight_decay, asked.clip_norm) == (1e-4, 0.01, 1.0)
    assert (drafter.config.label_smoothing, drafter.config.dropout) == (0.1, 0.1)
    made: list[torch.optim.AdamW] = []

    class Kept(torch.optim.AdamW):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            made.append(self)

    norms: list[float] = []
    clip = torch.nn.utils.clip_grad_norm_

    def watched(weights: Any, largest: float) -> torch.Tensor:
        weights = list(weights)
        before = clip(weights, largest)
        squares = [float((w.grad**2).sum()) for w in weights if w.grad is not None]
        norms.append(sum(squares) ** 0.5)
        return before

    monkeypatch.setattr(torch.optim, "AdamW", Kept)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=1, clip_norm=0.01))
    assert made[0].defaults["weight_decay"] == 0.01
    assert len(norms) == 6, "44 answers in batches of 8: six steps"
    assert all(norm <= 0.01 + 1e-6 for norm in norms)


def test_weights_start_as_in_the_seed_study() -> None:
    drafter = TokenAdapterDrafter()
    drafter.build(PAIRS, seed=0)
    state = drafter.network.state_dict()
    for name, value in state.items():
        if name.endswith("in_proj_weight") or "norm" in name or name.startswith("output_proj.0"):
            continue  # attention's own start, and norms
        if name.endswith("bias"):
            assert name.endswith("in_proj_bias") or not value.any(), name
        else:
            assert float(value.std()) == pytest.approx(0.02, rel=0.1), name


def test_rate_falls_along_a_cosine_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *given: Any, **named: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    fit(tiny("token-adapter"), TRAIN, VAL, settings(num_epochs=3, learning_rate=0.01))
    assert len(rates) == 18
    expected = [0.01 * (1 + math.cos(math.pi * place / 18)) / 2 for place in range(18)]
    assert rates == pytest.approx(expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", TRAINABLE)
def test_trains_on_a_gpu(name: str) -> None:
    drafter = tiny(name)
    trained = fit(drafter, TRAIN, VAL, settings(device="cuda"))
    assert drafter.device.type == "cuda"
    assert trained.best["val_tau"] >= 1
