"""One estimate: times, window, the formula's table, and what drafts would save.

A prediction from measured parts, not a measurement: every assumption it makes is in its payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crossdraft.base.acceptance import expected_tokens
from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.decoding.arrival import StageTimes
from crossdraft.drafters.base import CostCurve
from crossdraft.drafters.registry import create
from crossdraft.evaluation.bootstrap import BlockBootstrap, few_blocks
from crossdraft.evaluation.cost import read_cost_curve
from crossdraft.evaluation.estimate_basis import ANSWER_TOKENS, assumptions, times_json, window_json
from crossdraft.evaluation.estimate_config import EstimateConfig
from crossdraft.evaluation.estimate_formula import ALPHAS, GAMMAS
from crossdraft.evaluation.estimate_timeline import (
    Moments,
    Setting,
    alone,
    constant_ratio,
    least_total_ms,
    replayed,
    with_odds,
)
from crossdraft.evaluation.stage_file import StageFile, read_stage_file
from crossdraft.pairs.split import Fold, blocks, drives_known, every_nth_clip, folds


@dataclass(frozen=True)
class Estimation:
    """What came out, ready for a result."""

    payload: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Case:
    """One answer whose timeline is asked for."""

    times: StageTimes
    tokens: int


def estimate(config: EstimateConfig, sink: ProgressSink = silent) -> Estimation:
    """Predict what drafts would save.

    Raises:
        InputError: unreadable input, no stage times where they are needed, a bad cost curve, a
            split that leaves nothing, or a drafter that would have to be trained.
    """
    if config.replay is not None:
        _refuse_unready(config.replay)
    source = read_stage_file(config.stage_file, config.eos) if config.stage_file else None
    warnings = [] if source is None else list(source.notes)
    settings = _settings(config)
    estimates: list[dict[str, Any]] = []
    limits: list[dict[str, Any]] = []
    split = None
    if source is not None and not source.clocks:
        _refuse_without_clock(config)
    elif config.replay is not None and source is not None:
        splits = _splits(source, config)
        split = _split_in_words(splits, config)
        warnings += _notes_on_replay(source, config)
        estimates, more = _replays(source, splits, settings, config, sink)
        depth = min(config.budget.nodes, config.budget.depth)
        limits = [
            {**_name(label, config), "depth": depth, **entry["limits"]}
            for (label, _), entry in zip(settings, estimates, strict=True)
        ]
        warnings += more
    else:
        cases = _cases(source, config)
        limits = [
            {**_name(label, config), "depth": gamma, **_limits(cases, gamma, setting)}
            for gamma in config.gammas
            for label, setting in settings
        ]
        estimates = [
            {**_name(label, config), **_under_odds(cases, alpha, gamma, setting)}
            for alpha in dict.fromkeys(config.alpha)
            for gamma in config.gammas
            for label, setting in settings
        ]
    return Estimation(
        {
            "stages": None if source is None else source.stages,
            "times": times_json(source, config),
            "expected_tokens": formula_table(config.alpha, config.gamma),
            "window": window_json(source, config),
            "estimates": estimates,
            "limits": limits,
            "kth": config.kth,
            "split": split,
            "assumptions": assumptions(config),
        },
        tuple(warnings),
    )


def formula_table(alphas: Sequence[float], gammas: Sequence[int]) -> dict[str, Any]:
    """E(alpha, gamma) for the usual and the given alphas and gammas, as plain JSON."""
    columns = sorted({*GAMMAS, *gammas})
    return {
        "meaning": "tokens per target forward if each draft is accepted with probability alpha, "
        "independently; a speed-up only where drafting is free and verifying costs one step",
        "gamma": columns,
        "rows": [
            {"alpha": alpha, "tokens": [expected_tokens(alpha, gamma) for gamma in columns]}
            for alpha in sorted({*ALPHAS, *alphas})
        ],
    }


def _settings(config: EstimateConfig) -> list[tuple[float | None, Setting]]:
    """Every cost of verifying that is asked for; the constant ratio, None for a curve."""

    def setting(curve: CostCurve) -> Setting:
        return Setting(curve, config.verify == "prefill", config.adapter_latency_ms, config.kth)

    if config.cost_curve is not None:
        return [(None, setting(read_cost_curve(config.cost_curve, config.widest + 1)))]
    return [(ratio, setting(constant_ratio(ratio))) for ratio in config.ratios]


def _cases(source: StageFile | None, config: EstimateConfig) -> list[_Case]:
    """Answers under i.i.d. acceptance: one per timed answer of a file, else one."""
    if source is None:
        return [_Case(config.times, config.answer_tokens or ANSWER_TOKENS)]
    return [
        _Case(source.clocks[pair.key], config.answer_tokens or len(pair.target_tokens))
        for pair in source.pairs.pairs
        if pair.key in source.clocks
    ]


def _under_odds(
    cases: Sequence[_Case], alpha: float, gamma: int, setting: Setting
) -> dict[str, Any]:
    moments = [with_odds(case.times, case.tokens, alpha, gamma, setting) for case in cases]
    # No interval: alpha is given, and how sure one is of it is not known here.
    one_group = BlockBootstrap([range(len(cases))], resamples=1, seed=0)
    return {
        "acceptance": {"kind": "iid", "alpha": alpha, "gamma": gamma},
        **_summary(cases, moments, setting.k, one_group),
        "limits": _limits(cases, gamma, setting),
    }


def _replays(
    source: StageFile,
    splits: Sequence[Fold],
    settings: Sequence[tuple[float | None, Setting]],
    config: EstimateConfig,
    sink: ProgressSink,
) -> tuple[list[dict[str, Any]], list[str]]:
    """One estimate per cost of verifying, and what to warn about."""
    tested = [pair for fold in splits for pair in fold.test if pair.key in source.clocks]
    if not tested:
        raise InputError("no evaluated answer has stage times", where=config.stage_file)
    cases = [_Case(source.clocks[pair.key], len(pair.target_tokens)) for pair in tested]
    groups = blocks(tested, max(1, config.block_clips // config.stride_clips))
    bootstrap = BlockBootstrap(groups, config.resamples, config.seed)
    budget = config.budget
    depth = min(budget.nodes, budget.depth)
    acceptance = {
        "kind": "replay",
        "drafter": config.replay,
        "nodes": budget.nodes,
        "depth": budget.depth,
        "chain": budget.branch == 1,
        "online": config.online,
    }
    entries = []
    for label, setting in track(settings, "replays", len(settings), sink):
        moments = _replay_all(source, splits, setting, config)
        entries.append(
            {
                **_name(label, config),
                "acceptance": acceptance,
                **_summary(cases, moments, config.kth, bootstrap),
                "limits": _limits(cases, depth, setting),
            }
        )
    return entries, few_blocks(groups)


def _replay_all(
    source: StageFile, splits: Sequence[Fold], setting: Setting, config: EstimateConfig
) -> list[Moments]:
    """Timelines of every timed test answer, in order; fitted per fold as an evaluation does."""
    moments = []
    for fold in splits:
        drafter = create(config.replay or "")
        drafter.fit(fold.train)
        for pair in fold.test:
            times = source.clocks.get(pair.key)
            if times is not None:
                moments.append(replayed(times, pair, drafter, config.budget, setting))
            if config.online:
                drafter.finish(pair.target_tokens)
    return moments


def _summary(
    cases: Sequence[_Case], moments: Sequence[Moments], k: int, bootstrap: BlockBootstrap
) -> dict[str, Any]:
    """Mean times of both ways of decoding, and the ratio of their sums with its interval."""
    without = [alone(case.times, case.tokens, k) for case in cases]
    columns = (
        ([m.total_ms for m in without], [m.total_ms for m in moments]),
        ([m.tokens for m in moments], [m.forwards for m in moments]),
        ([m.drafted for m in moments], [m.forwards for m in moments]),
    )
    speedup, tau, drafted = bootstrap.ratio(
        np.array([top for top, _ in columns], dtype=float).T,
        np.array([bottom for _, bottom in columns], dtype=float).T,
    )
    return {
        "answers": len(cases),
        "tau": tau.to_json(),
        "drafted_per_forward": drafted.to_json(),
        **_mean_times(moments),
        "target_alone": _mean_times(without),
        "speedup": speedup.to_json(),
    }


def _mean_times(moments: Sequence[Moments]) -> dict[str, float | None]:
    """Means over answers; the k-th token's over those that have one."""
    kth = [m.kth_ms for m in moments if np.isfinite(m.kth_ms)]
    return {
        "first_token_ms": float(np.mean([m.first_ms for m in moments])),
        "kth_token_ms": float(np.mean(kth)) if kth else None,
        "total_ms": float(np.mean([m.total_ms for m in moments])),
    }


def _limits(cases: Sequence[_Case], depth: int, setting: Setting) -> dict[str, float | None]:
    """What no acceptance can beat: nothing but the prefill left, and every draft right."""
    target = sum(alone(case.times, case.tokens, 1).total_ms for case in cases)
    floor = sum(case.times.target_prefill_end_ms for case in cases)
    least = sum(least_total_ms(case.times, case.tokens, depth, setting) for case in cases)
    return {
        "prefill_floor": target / floor if floor > 0 else None,
        "all_accepted": target / least if least > 0 else None,
    }


def _splits(source: StageFile, config: EstimateConfig) -> list[Fold]:
    """The folds of an evaluation of the same file, every `stride_clips`-th test clip kept."""
    made = folds(source.pairs.pairs, config.folds, config.gap)
    return [replace(fold, test=every_nth_clip(fold.test, config.stride_clips)) for fold in made]


def _split_in_words(splits: Sequence[Fold], config: EstimateConfig) -> str:
    kind = "whole drives" if splits[0].by_drive else f"contiguous blocks, gap {config.gap} clips"
    every = "" if config.stride_clips == 1 else f", one clip in {config.stride_clips}"
    return f"{len(splits)} folds of {kind}{every}"


def _notes_on_replay(source: StageFile, config: EstimateConfig) -> list[str]:
    notes = []
    if not drives_known(source.pairs.pairs):
        notes.append("the file does not name drives: split and intervals use contiguous blocks")
    if config.online and config.stride_clips == 1:
        notes.append(
            "online learning on every clip: overlapping neighbours flatter it; "
            "compare with --stride-clips 2"
        )
    return notes


def _refuse_unready(name: str) -> None:
    """Refuse a drafter that `fit` alone does not make ready.

    Raises:
        InputError: it has to be trained or calibrated first.
    """
    # Networks are slow to import, and an estimate by formula needs none.
    from crossdraft.drafters.checkpoint import is_trainable
    from crossdraft.drafters.ensemble import EnsembleDrafter

    if is_trainable(name) or isinstance(create(name), EnsembleDrafter):
        raise InputError(
            f"drafter {name!r} has to be trained or calibrated first",
            where="--replay",
            expected="a drafter that learns from recorded answers at once, such as suffix",
            hint="crossdraft evaluate measures it; give its alpha by --alpha",
        )


def _refuse_without_clock(config: EstimateConfig) -> None:
    """A file of three stages shows its means; nothing can be predicted from it.

    Raises:
        InputError: something was to be predicted.
    """
    if config.alpha or config.replay:
        raise InputError(
            "three stages per model (load, preprocess, generate): where the prefill ends cannot "
            "be told",
            where=config.stage_file,
            expected="five stages: load, preprocess, vision, prefill, decode",
            hint="leave --alpha and --replay out to see the means, or give the times by flags",
        )


def _name(label: float | None, config: EstimateConfig) -> dict[str, Any]:
    """What an estimate rests on beside the acceptance."""
    curve = None if config.cost_curve is None else str(config.cost_curve)
    return {"verify_ratio": label, "cost_curve": curve, "verify": config.verify}
