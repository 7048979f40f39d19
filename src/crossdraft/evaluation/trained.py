"""What a finished training has learned, beside the controls, on its own two parts.

These numbers say whether training worked. The validation part chose the epoch, so they flatter a
little; a test on other drives is `crossdraft evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from crossdraft.base.acceptance import expected_tokens
from crossdraft.base.clock import now_ms
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.decoding.arrival import clocked
from crossdraft.drafters.base import (
    DRAFT_STATES,
    DRAFT_TOKENS,
    FORCED_STATES,
    Budget,
    Drafter,
    flat_cost,
)
from crossdraft.drafters.registry import create
from crossdraft.drafters.trainable import TokenBatch, Trainable
from crossdraft.evaluation.bootstrap import BlockBootstrap
from crossdraft.evaluation.controls import ALWAYS, SHUFFLED, shuffled_drafts
from crossdraft.evaluation.estimate_formula import GAMMAS
from crossdraft.evaluation.metrics import measure, summarise
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import blocks
from crossdraft.training.settings import TrainSettings
from crossdraft.training.validation import validate

_RESAMPLES, _BLOCK_CLIPS = 2000, 20


def summarise_training(
    drafter: Trainable,
    train: Sequence[Pair],
    val: Sequence[Pair],
    settings: TrainSettings,
    sink: ProgressSink = silent,
) -> dict[str, Any]:
    """Metrics of the trained drafter and the controls, as plain JSON values.

    Args:
        drafter: with the weights of its best epoch.
        train, val: the parts it was trained and validated on.
    """
    started_ms = now_ms()
    on_train = validate(drafter, _all(drafter, train, settings), settings.gamma)
    read_ms = now_ms() - started_ms
    held_out = _held_out(drafter, train, val, settings, sink)
    return {
        "train": {
            "loss": on_train.loss,
            "top1": on_train.top1,
            "top5": on_train.top5,
            "tau": on_train.tau,
        },
        "validation": held_out,
        "baseline_train": _summary(create("drafter-text"), train, settings),
        "inference_samples_per_s": len(train) / read_ms * 1000,
        "projection": _projection(held_out),
    }


def held_out_blocks(pairs: Sequence[Pair]) -> list[list[int]]:
    """What the intervals of a training are bootstrapped over."""
    return blocks(pairs, _BLOCK_CLIPS)


def _held_out(
    drafter: Trainable,
    train: Sequence[Pair],
    val: Sequence[Pair],
    settings: TrainSettings,
    sink: ProgressSink,
) -> dict[str, Any]:
    """Every drafter's metrics on the validation part."""
    rows: list[tuple[str, Drafter, Sequence[Pair]]] = [(drafter.name, drafter, val)]
    # What follows the target reads its own scene behind the first token, shuffled or not.
    if drafter.needs & {DRAFT_TOKENS, DRAFT_STATES} and FORCED_STATES not in drafter.needs:
        rows.append((drafter.name + SHUFFLED, drafter, shuffled_drafts(val)))
    for name in ALWAYS:
        control = create(name)
        control.fit(train)
        rows.append((name, control, val))
    return {
        label: _summary(runner, pairs, settings)
        for label, runner, pairs in track(rows, "summary", len(rows), sink)
    }


def _summary(drafter: Drafter, pairs: Sequence[Pair], settings: TrainSettings) -> dict[str, Any]:
    budget = Budget.chain(settings.gamma)
    records = [measure(drafter, pair, budget, clocked(pair), flat_cost) for pair in pairs]
    bootstrap = BlockBootstrap(held_out_blocks(pairs), _RESAMPLES, settings.seed)
    return summarise(records, bootstrap, with_cost=False)


def _all(
    drafter: Trainable, pairs: Sequence[Pair], settings: TrainSettings
) -> Iterator[TokenBatch]:
    """One batch in memory at a time: states of all of them would not fit."""
    size, needs = settings.batch_size, drafter.batch_needs
    for first in range(0, len(pairs), size):
        chosen = pairs[first : first + size]
        yield TokenBatch.of(chosen, drafter.max_length, needs=needs).to(drafter.device)


def _projection(held_out: dict[str, Any]) -> dict[str, Any]:
    """E(alpha, gamma) at the measured next-token match of every drafter."""
    alphas = {name: float(m["alpha"]["value"] or 0.0) for name, m in held_out.items()}
    return {
        "alphas": [{"name": name, "alpha": alpha} for name, alpha in alphas.items()],
        "gammas": list(GAMMAS),
        "expected_tokens": [
            [expected_tokens(alpha, gamma) for gamma in GAMMAS] for alpha in alphas.values()
        ],
    }
