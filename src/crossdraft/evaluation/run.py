"""One evaluation: split, fit, replay, summarise.

Every drafter sees the same splits, the same answers in the same order and the same clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.decoding.answers import read_answers
from crossdraft.decoding.arrival import PUBLISHED_1S, Arrival, clocked, stage_times
from crossdraft.drafters.base import CostCurve, flat_cost
from crossdraft.evaluation.bootstrap import BlockBootstrap, few_blocks
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.controls import (
    ALWAYS,
    BLIND,
    SHUFFLED,
    Entrant,
    Shuffle,
    entrants,
    shuffled_by,
    single_entrants,
    without_drafts,
)
from crossdraft.evaluation.cost import read_cost_curve
from crossdraft.evaluation.metrics import AnswerRecord, differences, measure, summarise
from crossdraft.evaluation.prepare import (
    Workshop,
    check_shuffled,
    check_unseen,
    check_untuned,
    check_widths,
)
from crossdraft.evaluation.state_section import notes_on_states, states_section
from crossdraft.pairs.leak import (
    check_leak,
    check_questions,
    numbered_apart,
    without_neighbours,
)
from crossdraft.pairs.record import Pair, PairSet, warnings_about_pairs
from crossdraft.pairs.split import (
    Fold,
    blocks,
    drives_known,
    every_nth_clip,
    folds,
    in_recording_order,
)


@dataclass(frozen=True)
class Evaluation:
    """What came out, ready for a result file."""

    payload: dict[str, Any]
    warnings: tuple[str, ...]


def evaluate(
    config: EvaluateConfig, sink: ProgressSink = silent, folder: Path | None = None
) -> Evaluation:
    """Evaluate drafters on recorded answers.

    Args:
        folder: where trainings in the folds keep their state; called again with the same folder,
            a killed evaluation does not train them anew. Made when the first one starts.

    Raises:
        InputError: unreadable input, a split that leaks or leaves nothing, a bad cost curve, a
            checkpoint that has seen the test.
    """
    found = read_answers(config.pairs, config.eos, config.lm_head)
    if config.lm_head is not None:
        _check_head(config.lm_head, found)
    warnings = _notes_on_data(found, config)
    splits, split_note, split_warnings = _splits(found, config)
    warnings += split_warnings
    used = (pair for fold in splits for pair in (*fold.train, *fold.test))
    warnings += warnings_about_pairs(used)
    splits = [replace(fold, test=every_nth_clip(fold.test, config.stride_clips)) for fold in splits]
    tested = [pair for fold in splits for pair in fold.test]
    check_untuned(found, tested)
    running = entrants(config.drafters, config.named)
    _check_rivals(running, config)
    warnings += _notes_on_checkpoints(running, tested) + notes_on_states(running, config)
    curve = (
        read_cost_curve(config.cost_curve, config.budget.nodes + 1)
        if config.cost_curve
        else flat_cost
    )
    # A block is a stretch of the recording, however many of its clips are evaluated.
    groups = blocks(tested, max(1, config.block_clips // config.stride_clips))
    warnings += few_blocks(groups)
    bootstrap = BlockBootstrap(groups, config.resamples, config.seed)
    shuffle, asked_again = shuffled_by(None), config.shuffled_pairs
    if asked_again is not None:
        others = read_answers(asked_again, config.eos, config.lm_head)
        check_shuffled(found, others)
        shuffle = shuffled_by(others.pairs)
        shuffle(tested)  # what does not fit is said before hours of work
    alone = sum(
        count == 1 for fold in splits for count in Counter(p.question for p in fold.test).values()
    )
    if alone and asked_again is None:
        warnings.append(f"{alone} answers have no other clip to be shuffled with")
    workshop = Workshop(config, lambda pair: _arrival(pair, config), curve, folder, sink)
    workshop.plan(running)
    records = {
        entrant.label: _run_drafter(entrant, workshop, splits, config, curve, shuffle)
        for entrant in track(running, "drafters", len(running), sink)
    }
    with_cost = config.cost_curve is not None
    drafters = {
        label: summarise(rows, bootstrap, with_cost=with_cost) for label, rows in records.items()
    }
    compared = {
        label: {
            other: differences(records[label], records[other], bootstrap, with_cost=with_cost)
            for other in _rivals(label, records, config)
        }
        for label in records
        if label in config.against
        or (label not in ALWAYS and not label.endswith((SHUFFLED, BLIND)))
    }
    states, notes = states_section(running, workshop, splits, config, bootstrap, curve, shuffle)
    warnings += notes
    if "states" not in states and (config.cost_model or config.seed_times):
        warnings.append("no drafter here predicts states: the seed study's cost model has no row")
    payload = {
        "drafters": drafters,
        "differences": compared,
        **states,
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


def _check_head(path: Path, found: PairSet) -> None:
    """Refuse a head that nobody would read, or that is not there.

    Raises:
        InputError: naming why.
    """
    if all(pair.thoughts is None for pair in found.pairs):
        raise InputError(
            "no states in these answers", where="--lm-head", expected="a pair store with states"
        )
    if not path.is_file():
        raise InputError("no such file", where=path, hint="crossdraft lm-head writes one")


def _run_drafter(
    entrant: Entrant,
    workshop: Workshop,
    splits: Sequence[Fold],
    config: EvaluateConfig,
    curve: CostCurve,
    shuffle: Shuffle,
) -> list[AnswerRecord]:
    """Records of one drafter over the test parts of all splits, in order."""
    records: list[AnswerRecord] = []
    for number, fold in enumerate(splits):
        drafter = workshop.ready(entrant, number, fold)
        reads = {SHUFFLED: shuffle, BLIND: without_drafts}.get(entrant.twin, list)
        for pair in reads(fold.test):
            records.append(measure(drafter, pair, config.budget, _arrival(pair, config), curve))
            if config.online:
                drafter.finish(pair.target_tokens)
    return records


def _rivals(label: str, records: Mapping[str, object], config: EvaluateConfig) -> list[str]:
    """What a drafter is compared with: the controls that could explain it, and what was named."""
    twins = (label + SHUFFLED, label + BLIND)
    usual = () if label in ALWAYS else ("position", "suffix", *twins)
    named = config.against.get(label, ())
    return list(dict.fromkeys(name for name in (*usual, *named) if name in records))


def _check_rivals(running: Sequence[Entrant], config: EvaluateConfig) -> None:
    """Refuse to compare what is not evaluated.

    Raises:
        InputError: naming it, and what there is.
    """
    labels = [entrant.label for entrant in running]
    for name in (name for one, others in config.against.items() for name in (one, *others)):
        if name not in labels:
            raise InputError(
                f"{name!r} is not evaluated here",
                where="--against",
                expected=f"two of {', '.join(labels)}",
            )


def _notes_on_checkpoints(running: Sequence[Entrant], tested: Sequence[Pair]) -> list[str]:
    notes = []
    for entrant in single_entrants(running):
        if entrant.checkpoint is not None:
            check_unseen(entrant.checkpoint, tested)
            check_widths(entrant.checkpoint, tested)
            if entrant.checkpoint.trained_on is None:
                notes.append(
                    f"{entrant.label}: {entrant.checkpoint.path.name} does not say what it was "
                    "trained on; it may have seen this test"
                )
    return notes


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
    trained = in_recording_order(read_answers(config.train_pairs, config.eos, config.lm_head).pairs)
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


def _arrival(pair: Pair, config: EvaluateConfig) -> Arrival:
    if config.arrived == "clock":
        return clocked(pair)
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
