"""One evaluation: split, fit, replay, summarise.

Every drafter sees the same splits, the same answers in the same order and the same clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.decoding.arrival import PUBLISHED_1S, Arrival, stage_times
from crossdraft.decoding.replay import CostCurve, flat_cost, until_eos
from crossdraft.drafters.registry import create
from crossdraft.evaluation.bootstrap import BlockBootstrap
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.controls import SHUFFLED, shuffled_drafts, with_controls
from crossdraft.evaluation.cost import read_cost_curve
from crossdraft.evaluation.metrics import AnswerRecord, measure, summarise
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.leak import (
    check_leak,
    check_questions,
    numbered_apart,
    without_neighbours,
)
from crossdraft.pairs.record import Pair, PairSet
from crossdraft.pairs.split import Fold, blocks, drives_known, folds, in_recording_order

#: Below this many blocks a bootstrap says little about how a number would vary.
_FEW_BLOCKS = 8


@dataclass(frozen=True)
class Evaluation:
    """What came out, ready for a result file."""

    payload: dict[str, Any]
    warnings: tuple[str, ...]


def evaluate(config: EvaluateConfig, sink: ProgressSink = silent) -> Evaluation:
    """Evaluate drafters on recorded answers.

    Raises:
        InputError: unreadable input, a split that leaks or leaves nothing, a bad cost curve.
    """
    found = _read(config.pairs, config.eos)
    warnings = _notes_on_data(found, config)
    splits, split_note, split_warnings = _splits(found, config)
    warnings += split_warnings
    splits = [replace(fold, test=_every_nth(fold.test, config.stride_clips)) for fold in splits]
    tested = [pair for fold in splits for pair in fold.test]
    curve = (
        read_cost_curve(config.cost_curve, config.budget.nodes + 1)
        if config.cost_curve
        else flat_cost
    )
    # A block is a stretch of the recording, however many of its clips are evaluated.
    groups = blocks(tested, max(1, config.block_clips // config.stride_clips))
    if len(groups) < _FEW_BLOCKS:
        warnings.append(f"intervals rest on {len(groups)} blocks: too few to trust them")
    bootstrap = BlockBootstrap(groups, config.resamples, config.seed)
    alone = sum(
        count == 1 for fold in splits for count in Counter(p.question for p in fold.test).values()
    )
    if alone:
        warnings.append(f"{alone} answers have no other clip to be shuffled with")
    names = with_controls(config.drafters)
    drafters = {
        name: summarise(
            _run_drafter(name, splits, config, curve),
            bootstrap,
            with_cost=config.cost_curve is not None,
        )
        for name in track(names, "drafters", len(names), sink)
    }
    payload = {
        "drafters": drafters,
        "data": {
            "pairs": len(tested),
            "clips": len({pair.clip for pair in tested}),
            "drives": len({p.drive for p in tested}) if drives_known(tested) else None,
            "questions": len({pair.question for pair in tested}),
            "target_tokens": sum(len(pair.target_tokens) for pair in tested),
            "bootstrap_blocks": len(groups),
            "format": found.format,
            "skipped": dict(found.skipped),
            "split": split_note,
            "proposal": _describe(config),
            "clock": _clock_source(tested, config),
        },
    }
    return Evaluation(payload, tuple(warnings))


def _read(path: Path, eos: int) -> PairSet:
    """Pairs of a file, target answers ended by their first EOS as decoding ends them."""
    found = read_pairs(path)
    ended = tuple(
        replace(pair, target_tokens=until_eos(pair.target_tokens, eos)) for pair in found.pairs
    )
    cut = sum(a.target_tokens != b.target_tokens for a, b in zip(found.pairs, ended, strict=True))
    skipped = found.skipped + Counter({"tokens after EOS, left out of their pair": cut})
    return replace(found, pairs=ended, skipped=skipped)


def _run_drafter(
    name: str, splits: Sequence[Fold], config: EvaluateConfig, curve: CostCurve
) -> list[AnswerRecord]:
    """Records of one drafter over the test parts of all splits, in order."""
    records: list[AnswerRecord] = []
    for fold in splits:
        drafter = create(name.removesuffix(SHUFFLED))
        drafter.fit(fold.train)
        test = shuffled_drafts(fold.test) if name.endswith(SHUFFLED) else fold.test
        for pair in test:
            records.append(measure(drafter, pair, config.budget, _arrival(pair, config), curve))
            if config.online:
                drafter.finish(pair.target_tokens)
    return records


def _splits(found: PairSet, config: EvaluateConfig) -> tuple[list[Fold], str, list[str]]:
    """Train/test splits, what they are in words, and what to warn about."""
    if config.train_pairs is None:
        made = folds(found.pairs, config.folds, config.gap)
        if config.strict:
            for fold in made:
                check_questions(fold.train, fold.test)
        kind = "whole drives" if made[0].by_drive else f"contiguous blocks, gap {config.gap} clips"
        fewer = [f"{len(made)} drives make {len(made)} folds, not {config.folds}"]
        return made, f"{len(made)} folds of {kind}", fewer if len(made) < config.folds else []
    test = in_recording_order(found.pairs)
    trained = in_recording_order(_read(config.train_pairs, config.eos).pairs)
    train, dropped = without_neighbours(trained, test, config.gap)
    # A cut through one recording costs a gap of clips. More than a tenth means that train and
    # test are interleaved, and then leaving neighbours out would only hide it.
    if dropped * 10 > len({pair.clip for pair in trained}):
        train = tuple(trained)
    check_leak(train, test, config.gap, strict=config.strict)
    note = f"trained on {config.train_pairs.name} ({len(train)} pairs), tested on all"
    warnings = []
    if numbered_apart(train, test):
        warnings.append(
            "both files number their clips from the start: neighbours across the cut cannot be "
            "recognised"
        )
    if dropped:
        warnings.append(
            f"{dropped} training clips within {config.gap} places of a test clip were left out"
        )
    return [Fold(tuple(train), tuple(test))], note, warnings


def _every_nth(pairs: Sequence[Pair], stride: int) -> tuple[Pair, ...]:
    """The pairs of every `stride`-th clip."""
    clips = list(dict.fromkeys(pair.clip for pair in pairs))
    kept = set(clips[::stride])
    return tuple(pair for pair in pairs if pair.clip in kept)


def _arrival(pair: Pair, config: EvaluateConfig) -> Arrival:
    if config.arrived == "clock":
        return Arrival(times=stage_times(pair) or PUBLISHED_1S)
    return Arrival(limit=None if config.arrived == "all" else config.arrived)


def _clock_source(tested: Sequence[Pair], config: EvaluateConfig) -> str:
    if config.arrived == "all":
        return "none: the whole drafter answer may be read (an upper bound)"
    if config.arrived != "clock":
        return f"none: the first {config.arrived} drafter tokens may be read"
    return " and ".join(sorted({(stage_times(p) or PUBLISHED_1S).source for p in tested}))


def _describe(config: EvaluateConfig) -> str:
    budget = config.budget
    if budget.branch == 1:
        return f"chain of {budget.nodes}"
    return f"tree of {budget.nodes} nodes, depth {budget.depth}"


def _notes_on_data(found: PairSet, config: EvaluateConfig) -> list[str]:
    notes = []
    if found.skipped:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in sorted(found.skipped.items()))
        notes.append(f"not used: {reasons}")
    if not drives_known(found.pairs):
        notes.append("the file does not name drives: split and intervals use contiguous blocks")
    if config.online and config.stride_clips == 1:
        notes.append(
            "online learning on every clip: overlapping neighbours flatter it; "
            "compare with --stride-clips 2"
        )
    if config.arrived == "all":
        notes.append("--arrived all is an upper bound: no drafter answer is complete that early")
    if not any(p.target_tokens for p in found.pairs):
        raise InputError("every target answer is empty", where=config.pairs)
    return notes
