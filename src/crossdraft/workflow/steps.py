"""A command's whole work on one folder: what `crossdraft train`, `evaluate` and `bench wallclock`
do, and what a study does step by step.

A folder with a result is never written again; one without is gone on with.
"""

from __future__ import annotations

import re
import resource
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from crossdraft.base.clock import now_ms
from crossdraft.base.device import find_device
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.base.result import Result, RunFolder, refuse_taken
from crossdraft.base.trace import write_trace
from crossdraft.decoding.answers import read_answers
from crossdraft.drafters.checkpoint import trainable_class
from crossdraft.drafters.states import StateDrafter
from crossdraft.drafters.trainable import TokenBatch, Trainable
from crossdraft.evaluation.bootstrap import few_blocks
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.controls import checkpoint_paths
from crossdraft.evaluation.run import evaluate
from crossdraft.evaluation.stage_file import stage_table
from crossdraft.evaluation.trained import held_out_blocks, summarise_training
from crossdraft.pairs.leak import check_leak
from crossdraft.pairs.record import Pair, PairSet, warnings_about_pairs
from crossdraft.pairs.split import Fold, hold_out, in_recording_order
from crossdraft.pairs.stored import fingerprinted
from crossdraft.report.acceptance import write_report
from crossdraft.report.training import write_training_report
from crossdraft.report.wallclock import write_report as write_wallclock_report
from crossdraft.training.loop import BEST, STATE, EpochSink, Trained, fit
from crossdraft.training.seed_files import write_seed_files
from crossdraft.training.settings import TrainConfig
from crossdraft.training.team import team_here

if TYPE_CHECKING:
    from crossdraft.bench.wallclock.plan import WallclockConfig
    from crossdraft.vlm.cost_store import Note

#: Where the trainings of an evaluation keep their state until its result is written.
FOLD_STATES = "trained"
_DURATION = re.compile(r"(?<![a-z0-9])\d+(?:\.\d+)?(?:ms|us|s)(?![a-z0-9])")


def run_training(
    config: TrainConfig,
    folder: Path,
    sink: ProgressSink = silent,
    on_epoch: EpochSink = lambda _: None,
) -> dict[str, Any]:
    """Train, summarise and write everything about it into `folder`.

    A folder with the state of the same training is gone on with.

    Returns:
        The content of result.json.

    Raises:
        InputError: unreadable or leaking pairs, an impossible option, a folder with a result or
            with another training.
    """
    refuse_taken(folder)
    found = read_answers(config.pairs, config.eos, config.lm_head)
    sides, split, warnings = _sides(found, config)
    drafter = _make(config)
    device = find_device(config.settings.device)
    _refuse_unfit(drafter, sides.train, config)
    team = team_here(device)
    # Everything that can be wrong with the input was checked: now there may be a folder.
    run = RunFolder.create("train", folder)
    if team.first and not (run.path / STATE).exists():
        run.write_config(config.model_dump(mode="json"))
    started_ms = now_ms()
    task = task_name(config, found)
    trained = fit(
        drafter, sides.train, sides.test, config.settings,
        folder=run.path, task=task, sink=sink, on_epoch=on_epoch, team=team,
    )  # fmt: skip
    if not team.first:
        return {}
    warnings += few_blocks(held_out_blocks(sides.test))
    warnings += warnings_about_pairs((*sides.train, *sides.test))
    summary = summarise_training(drafter, sides.train, sides.test, config.settings, sink)
    inference = summary.pop("inference_samples_per_s")
    payload = {
        "drafter": drafter.name,
        "task": task,
        "data": _data(found, sides, split),
        "model": _model(drafter, run.path / BEST),
        "history": list(trained.history),
        "best_epoch": trained.best_epoch,
        "stopped_early": trained.stopped_early,
        **summary,
        "stages": stage_table([*sides.train, *sides.test]),
        "speed": {**_speed(trained), "inference_samples_per_s": inference,
                  "total_s": (now_ms() - started_ms) / 1000},
    }  # fmt: skip
    files = (config.pairs, config.val_pairs, config.lm_head)
    inputs = [fingerprinted(path) for path in files if path is not None]
    result = Result("train", payload, config.model_dump(mode="json"), inputs, warnings).to_json()
    write_training_report(result, run.path)
    write_seed_files(drafter, result, run.path)
    run.write_result(result)
    (run.path / STATE).unlink()
    return result


def _refuse_unfit(drafter: Trainable, pairs: Sequence[Pair], config: TrainConfig) -> None:
    """Refuse pairs that lack states, or a head, which the drafter learns from.

    Raises:
        InputError: saying which.
    """
    if isinstance(drafter, StateDrafter) and pairs:
        drafter.build(pairs[:1], config.settings.seed)
        TokenBatch.of(pairs[:1], drafter.max_length, needs=drafter.batch_needs)


def run_evaluation(
    config: EvaluateConfig,
    folder: Path,
    sink: ProgressSink = silent,
    trained: Path | None = None,
) -> dict[str, Any]:
    """Evaluate and write everything about it into `folder`.

    Trainings in the folds keep their state there until the result is written; a killed evaluation
    that is called again does not repeat them.

    Args:
        trained: keep the trainings here instead, for good: evaluations that differ in nothing
            that training depends on share them.

    Returns:
        The content of result.json.

    Raises:
        InputError: as `evaluate`, or a folder with a result.
    """
    refuse_taken(folder)
    outcome = evaluate(config, sink, trained or folder / FOLD_STATES)
    resolved = config.model_dump(mode="json")
    checkpoints = checkpoint_paths((*config.drafters, *config.named.values()))
    inputs = [
        config.pairs, config.train_pairs, config.shuffled_pairs, config.cost_curve, config.lm_head,
        *checkpoints,
    ]  # fmt: skip
    result = Result(
        "evaluate",
        outcome.payload,
        resolved,
        [fingerprinted(path) for path in inputs if path is not None],
        outcome.warnings,
    ).to_json()
    run = RunFolder.create("evaluate", folder)
    run.write_config(resolved)
    write_report(result, run.path)
    run.write_result(result)
    shutil.rmtree(folder / FOLD_STATES, ignore_errors=True)
    return result


def run_wallclock(
    config: WallclockConfig,
    folder: Path,
    sink: ProgressSink = silent,
    note: Note = lambda _: None,
) -> dict[str, Any]:
    """Measure what is not measured yet and write everything about it into `folder`.

    Args:
        note: is told what the costs of the target say.

    Returns:
        The content of result.json.

    Raises:
        InputError: as `bench.wallclock.run.run`, or a folder with a result.
    """
    # It loads models, which takes seconds; the other commands do without.
    from crossdraft.bench.wallclock.run import run as measure_wallclock

    refuse_taken(folder)
    outcome = measure_wallclock(config, folder, sink, note)
    resolved = config.to_json()
    result = Result("bench wallclock", outcome.payload, resolved, (), outcome.warnings).to_json()
    run = RunFolder.create("wallclock", folder)
    run.write_config(resolved)
    write_wallclock_report(result, run.path)
    if outcome.example is not None:
        about = {key: result["example"][key] for key in ("scene", "question")}
        shown = outcome.example
        write_trace(run.path / "trace.json.gz", shown.tracks(), about, shown.moments())
    run.write_result(result)
    return result


def task_name(config: TrainConfig, found: PairSet) -> str:
    """The name given, else the clip length that the data itself names (`1s`, `500ms`), else the
    drafter's."""
    if config.task_name is not None:
        return config.task_name
    named = [*sorted({pair.dataset.lower() for pair in found.pairs}), config.pairs.name.lower()]
    for text in named:
        durations = _DURATION.findall(text.replace("_", " "))
        if durations:
            return str(durations[-1])
    return config.drafter


def _make(config: TrainConfig) -> Trainable:
    kind = trainable_class(config.drafter)
    return kind(kind.config_from(config.options))


def _sides(found: PairSet, config: TrainConfig) -> tuple[Fold, str, list[str]]:
    """Training and validation part, how they were made, and what to know."""
    settings = config.settings
    pairs: Sequence[Pair] = in_recording_order(found.pairs)[: config.max_train_samples]
    warnings = [f"not used: {n} × {reason}" for reason, n in sorted(found.skipped.items())]
    if config.val_pairs is None:
        fold = hold_out(pairs, settings.val_split, settings.gap)
        kind = "whole drives" if fold.by_drive else f"blocks, gap {settings.gap} clips"
        return fold, f"validation: {settings.val_split:.0%} of the clips in {kind}", warnings
    val = in_recording_order(read_answers(config.val_pairs, config.eos, config.lm_head).pairs)
    check_leak(pairs, val, settings.gap)
    return Fold(tuple(pairs), tuple(val)), f"validation: {config.val_pairs.name}", warnings


def _data(found: PairSet, sides: Fold, split: str) -> dict[str, Any]:
    parts = (("train", sides.train), ("val", sides.test))
    counts: dict[str, Any] = {}
    for name, part in parts:
        counts[f"{name}_pairs"] = len(part)
        counts[f"{name}_clips"] = len({pair.clip for pair in part})
        counts[f"{name}_tokens"] = sum(len(pair.target_tokens) for pair in part)
    return {**counts, "split": split, "format": found.format, "skipped": dict(found.skipped)}


def _model(drafter: Trainable, best: Path) -> dict[str, Any]:
    return {
        "parameters": sum(t.numel() for t in drafter.tensors().values() if t.is_floating_point()),
        "trained_parameters": drafter.parameters,
        "megabytes": best.stat().st_size / 1e6,
        "peak_memory_mb": _peak_memory_mb(drafter.device),
        "device": str(drafter.device),
    }


def _peak_memory_mb(device: torch.device) -> float:
    """Most memory that was taken: of the GPU where it trained there, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _speed(trained: Trained) -> dict[str, float]:
    history = trained.history
    epochs = [record["train_ms"] + record["validation_ms"] for record in history]
    return {
        "train_samples_per_s": statistics.median(r["samples_per_s"] for r in history),
        "epoch_ms": statistics.median(epochs),
        "validation_share": sum(r["validation_ms"] for r in history) / sum(epochs),
    }
