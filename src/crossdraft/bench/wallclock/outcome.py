"""From timed answers to a result: equality, predictions, the summary, an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from crossdraft.base.progress import ProgressSink, track
from crossdraft.bench.wallclock.answering import Ground, Place
from crossdraft.bench.wallclock.configuration import BASELINE, Configuration
from crossdraft.bench.wallclock.equality import compare
from crossdraft.bench.wallclock.example import Example, example
from crossdraft.bench.wallclock.hidden import hidden
from crossdraft.bench.wallclock.plan import (
    Plan,
    WallclockConfig,
    follows,
    reads_states,
    reads_words,
)
from crossdraft.bench.wallclock.predict import Key, Known, predicted
from crossdraft.bench.wallclock.record import Run
from crossdraft.bench.wallclock.summary import Equality, Facts, summarise
from crossdraft.bench.wallclock.thought import Read, Thought, read_again
from crossdraft.decoding.event_words import EventWords, silent
from crossdraft.decoding.overlap import Way
from crossdraft.decoding.stream import AnswerStream
from crossdraft.drafters.base import DRAFT_STATES
from crossdraft.scenes.scene import warnings_about
from crossdraft.vlm.cost_curve import CostCurves
from crossdraft.vlm.live_head import head_of

#: Differences of one configuration that are judged; each reads the model in float64.
_JUDGED = 10


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        payload: of the result.
        warnings: what to know before using a number.
        example: one answer with its timelines.
    """

    payload: dict[str, Any]
    warnings: tuple[str, ...]
    example: Example | None


def outcome(
    config: WallclockConfig,
    plan: Plan,
    ground: Ground,
    curves: CostCurves,
    runs: Sequence[Run],
    sink: ProgressSink,
) -> Outcome:
    known = _known(plan, ground, runs, sink)
    by = {
        one.name: [run for run in runs if run.configuration == one.name]
        for one in plan.configurations
    }
    step_ms = _step_ms(by[BASELINE])
    forecasts = _forecasts(plan, ground, by, known, sink)
    about = {one.name: _facts(one, plan, ground, by) for one in plan.configurations}
    summary = summarise(
        runs, about, cost=ground.cost, step_ms=step_ms, predictions=forecasts, k=config.kth,
        seed=config.seed, rivals=config.rivals,
    )  # fmt: skip
    best = _best(summary.payload["configurations"], plan)
    shown = None
    if best is not None:
        shown = example(
            best, plan.test, ground, {r.number: r.tokens for r in by[BASELINE] if r.part == "test"}
        )
    payload = {
        "pair": config.pair.name,
        **summary.payload,
        "best": None if best is None else best.name,
        "overlap": hidden(by, config.seed),
        "cost_curves": curves.to_json(),
        "calibration": _calibration(by),
        "setting": _setting(config, plan, ground),
        "example": None if shown is None else shown.to_json(),
    }
    warnings = [*warnings_about(*(place.scene for place in plan.test)), *summary.warnings]
    if curves.noisy:
        warnings.append(
            f"the machine was busy while {curves.noisy} of the target's costs were measured: "
            "widths may be wrong, other numbers noisy"
        )
    unseen = [one.name for one in plan.configurations if follows(one)]
    if unseen and config.validation:
        warnings.append(
            f"no prediction for {', '.join(unseen)}: the event model goes over the target's words "
            "there, and the model of time has no such passes"
        )
    return Outcome(payload, tuple(warnings), shown)


def _step_ms(runs: Sequence[Run]) -> float:
    """A plain step of the target as the baseline took it."""
    tested = [run for run in runs if run.part == "test"]
    steps = sum(len(run.tokens) - 1 for run in tested)
    return sum(run.total_ms - run.first_ms for run in tested) / max(1, steps)


def _known(plan: Plan, ground: Ground, runs: Sequence[Run], sink: ProgressSink) -> dict[Key, Known]:
    """Answers of both models to every question; the event model is asked for them once more,
    untimed, where a prediction needs its words."""
    answers = {(run.part, run.number): run.tokens for run in runs if run.configuration == BASELINE}
    needs = any(reads_words(one) or one.kind == "drafter-only" for one in plan.configurations)
    shuffles = any(one.shuffled for one in plan.configurations)
    thinks = any(reads_states(one) and not follows(one) for one in plan.configurations)
    words = EventWords(ground.models)
    every = (*plan.test, *plan.validation)
    said_by_target = [answers[place.part, place.number] for place in every]
    read = read_again(ground, every, said_by_target, sink) if thinks else [None] * len(every)
    kept = frozenset({DRAFT_STATES} if thinks else ())
    head = head_of(ground.models.target) if thinks else None  # one for all: drafters keep by it

    def said(place: Place, scene: Any) -> AnswerStream:
        return words.begin(Way("sequential"), scene, place.question, ground.most, 0.0, kept)[0]

    def thought(behind: Read | None, stream: AnswerStream) -> Thought | None:
        if behind is None or head is None:
            return None
        return Thought(behind.states, stream.snapshot().states, behind.question_ids, head)

    known: dict[Key, Known] = {}
    asked = zip(every, said_by_target, read, strict=True)
    for place, answer, behind in track(asked, "the event model's words", len(every), sink):
        mine = said(place, place.scene) if needs else silent()
        other = said(place, place.other) if shuffles else silent()
        known[place.part, place.number] = Known(
            place.question,
            answer,
            mine.snapshot().tokens,
            other.snapshot().tokens,
            len(mine.own),
            thought(behind, mine),
            thought(behind, other) if shuffles else None,
        )
    words.close()
    return known


def _forecasts(
    plan: Plan,
    ground: Ground,
    by: Mapping[str, Sequence[Run]],
    known: Mapping[Key, Known],
    sink: ProgressSink,
) -> dict[str, dict[str, float | None]]:
    totals = {}
    for one in track(plan.configurations, "predictions", len(plan.configurations), sink):
        if follows(one):
            continue
        total = predicted(one, ground, by[one.name], known)
        if total is not None:
            totals[one.name] = total
    plain = totals.get(BASELINE)
    return {
        name: {"total_ms": total, "speedup": None if plain is None else plain / total}
        for name, total in totals.items()
    }


def _facts(
    one: Configuration, plan: Plan, ground: Ground, by: Mapping[str, Sequence[Run]]
) -> Facts:
    drafts = one.kind in ("speculative", "seed-procedure")
    # Of other answers, and of those that a rule lets differ, no difference is a fault.
    judged = one.kind != "drafter-only" and one.rule is None
    modes = sorted({run.mode for run in by[one.name] if run.mode is not None})
    return Facts(
        one.name, one.kind, one.drafter,
        (("tail" if one.tail else "separate") if drafts else None),
        " or ".join(modes) or None, one.shuffled,
        lossy=one.rule is not None,
        equality=_equality(one, plan, ground, by) if judged else None,
    )  # fmt: skip


def _equality(
    one: Configuration, plan: Plan, ground: Ground, by: Mapping[str, Sequence[Run]]
) -> Equality:
    """Every answer of every round against plain decoding's, differences judged."""
    test = {place.number: place for place in plan.test}
    mine = [run for run in by[one.name] if run.part == "test"]
    found = compare([run for run in by[BASELINE] if run.part == "test"], mine)
    found = [each for each in found if each.configuration == one.name]
    judged = [
        each.judged(ground.models.target, test[each.number].scene, ground.most)
        for each in found[:_JUDGED]
    ]
    unread = {"verdict": "unknown", "why": "not judged: too many differences"}
    judged += [
        {**each.to_json(), "margin": None, "noise": None, **unread} for each in found[_JUDGED:]
    ]
    answers = len({run.number for run in mine})
    differing = {each.number for each in found}
    rounding = {e.number for e, j in zip(found, judged, strict=True) if j["verdict"] == "rounding"}
    return Equality(answers, answers - len(differing), len(rounding), tuple(judged))


def _best(rows: Sequence[Mapping[str, Any]], plan: Plan) -> Configuration | None:
    """The lossless configuration of ours with the largest speed-up."""
    drafting = (one for one in plan.configurations if one.kind == "speculative")
    ours = {one.name: one for one in drafting if not one.shuffled and one.rule is None}
    sped = [
        (row["speedup"]["value"], row["name"])
        for row in rows
        if row["name"] in ours and row.get("speedup") is not None
    ]
    return ours[max(sped)[1]] if sped else None


def _calibration(by: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """What the predictions were calibrated on."""
    runs = [run for run in by[BASELINE] if run.part == "validation"]
    return {
        "questions": len({run.number for run in runs}),
        "drives": sorted({run.drive for run in runs}),
    }


def _setting(config: WallclockConfig, plan: Plan, ground: Ground) -> list[str]:
    """Lines about how it was measured."""
    clips = len({place.scene.id for place in plan.test})
    said = [
        f"pair {config.pair.name}, {config.max_new_tokens} tokens at most, {clips} clips",
        "every question from its sensor files on"
        if config.picture == "cold"
        else "a scene is read once for its questions, by every configuration but transformers'",
    ]
    if ground.models.target.device.type == "cpu":
        threads = torch.get_num_threads()
        where = (
            "target and event model pinned to a core each"
            if config.cores == "apart"
            else "target and event model share all cores"
        )
        said.append(f"CPU, {threads} thread{'s' if threads > 1 else ''} for the target; {where}")
    if plan.learned:
        drives = len({pair.drive for pair in plan.learned})
        said.append(
            f"drafters know {len(plan.learned):,} recorded answers of {drives} other drives"
        )
    return said
