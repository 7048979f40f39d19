"""From timed answers to one row per configuration.

A speed-up is given only for answers that are the baseline's own, token for token, or that differ
by a rule that says so or by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crossdraft.base.errors import InputError
from crossdraft.bench.wallclock.configuration import Kind
from crossdraft.bench.wallclock.record import Run
from crossdraft.bench.wallclock.summary_passes import costs, passes
from crossdraft.bench.wallclock.summary_questions import Answers, Questions
from crossdraft.bench.wallclock.summary_rows import judged, times, warnings_about
from crossdraft.bench.wallclock.summary_speed import RIVALS, no_speed, speed
from crossdraft.drafters.base import CostCurve
from crossdraft.evaluation.bootstrap import few_blocks


@dataclass(frozen=True)
class Equality:
    """How the answers of a configuration compare with the baseline's.

    Attributes:
        answers: how many were compared.
        equal: of them, equal token for token.
        rounding: of the others, those that differ by rounding.
        differences: `scene`, `question`, `place`, `margin`, `noise`, `verdict` (`rounding`,
            `fault` or `unknown`) and `why` of each.
    """

    answers: int
    equal: int
    rounding: int
    differences: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "answers": self.answers,
            "equal": self.equal,
            "rounding": self.rounding,
            "differences": [dict(one) for one in self.differences],
        }


@dataclass(frozen=True)
class Facts:
    """What a configuration is.

    Attributes:
        name: as in its runs.
        kind: who answers, and how.
        drafter: its label; None of one that does not draft.
        verify: drafts ride on the prefill's tail, or have a pass of their own.
        overlap: how the event model runs beside the target.
        shuffled: the drafter reads another clip, as a control.
        lossy: its rule may change the answer.
        equality: how its answers compare; None where nobody compared them.
    """

    name: str
    kind: Kind
    drafter: str | None
    verify: Literal["tail", "separate"] | None
    overlap: str | None
    shuffled: bool = False
    lossy: bool = False
    equality: Equality | None = None


@dataclass(frozen=True)
class Summary:
    """What came out, ready for a result file."""

    payload: dict[str, Any]
    warnings: tuple[str, ...]


def summarise(
    runs: Sequence[Run],
    about: Mapping[str, Facts],
    *,
    cost: CostCurve,
    step_ms: float,
    baseline: str = "none",
    predictions: Mapping[str, Mapping[str, float | None]] | None = None,
    rivals: Sequence[str] = (),
    k: int = 10,
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """One row per configuration, in the order of `about`.

    Args:
        runs: of all configurations and rounds; those of the validation part are left aside.
        about: by name of the configuration.
        cost: T(n)/T(1) of the target.
        step_ms: a plain step, T(1): all decoding of the baseline over its tokens.
        baseline: configuration that speed-ups are over.
        predictions: `total_ms` and `speedup` of configurations, from the test's tokens and none of
            its times.
        rivals: other configurations that speed-ups are given over, beside transformers' own.
        k: the later token whose arrival is compared.
        resamples, seed: of the bootstrap.

    Raises:
        InputError: the baseline has no runs, or one number stands for two questions.
        ValueError: runs of a configuration that `about` does not know.
    """
    tested = [run for run in runs if run.part == "test"]
    if unknown := sorted({run.configuration for run in tested} - about.keys()):
        raise ValueError(f"runs of {unknown[0]!r}, and nothing said about it")
    if not any(run.configuration == baseline for run in tested):
        raise InputError(f"no answer of `{baseline}`", expected="runs of the baseline")
    questions = Questions(tested, resamples, seed)
    answers = {name: questions.answers(name, tested) for name in about}
    differing = {name: _differing(answers[name], answers[baseline]) for name in about}
    refused = {
        name: None if name == baseline else refusal(about[name], differing[name]) for name in about
    }
    others = {
        name: None if refused[name] else answers[name]
        for name in dict.fromkeys((*RIVALS, *rivals))
        if name in answers and answers[name].runs
    }
    rows = []
    for name, given in answers.items():
        if not given.runs:
            continue
        row = _facts(about[name], given, answers[baseline])
        row |= times(given, k) | passes(given, questions) | costs(given, cost, step_ms)
        if refused[name]:
            row |= no_speed(others)
        else:
            row |= speed(given, answers[baseline], others, questions, k)
        row["no_speedup"] = refused[name]
        rows.append(row | {"prediction": judged((predictions or {}).get(name), row)})
    payload = {
        "configurations": rows,
        "baseline": baseline,
        "answers": len(questions.numbers),
        "drives": len(questions.drives),
        "rounds": len({run.round for run in tested}),
        "k": k,
        "step_ms": step_ms,
    }
    warnings = few_blocks(questions.drives)
    for given in answers.values():
        warnings += warnings_about(given)
    return Summary(payload, tuple(warnings))


def refusal(facts: Facts, differing: set[tuple[str, str]]) -> str | None:
    """Why these answers have no speed-up, in a sentence; None where they have one.

    Args:
        differing: scene and question of the answers that are not the baseline's.
    """
    if facts.kind == "drafter-only":
        return "another model's answer"
    if facts.lossy:
        return None
    seen = facts.equality.differences if facts.equality is not None else ()
    open_ones = [one for one in seen if one["verdict"] != "rounding"]
    if open_ones:
        # The surest first: a fault says more than a difference that could not be judged.
        worst = min(open_ones, key=lambda one: one["verdict"] != "fault")
        count = _count(len({(one["scene"], one["question"]) for one in open_ones}))
        reason = (
            "by more than rounding"
            if worst["verdict"] == "fault"
            else "and rounding is not known to be why"
        )
        return (
            f"{count} from the baseline's, {reason}; the first about {worst['scene']} at token "
            f"{worst['place']}: {worst['why']}"
        )
    if unexplained := differing - {(one["scene"], one["question"]) for one in seen}:
        return f"{_count(len(unexplained))} from the baseline's, and nobody knows why"
    return None


def _count(answers: int) -> str:
    return "1 answer differs" if answers == 1 else f"{answers} answers differ"


def _differing(given: Answers, baseline: Answers) -> set[tuple[str, str]]:
    """Scene and question where any round's tokens are not those of the baseline's first."""
    return {
        (run.scene, run.question)
        for runs, plain in zip(given.asked, baseline.asked, strict=True)
        for run in runs
        if plain and run.tokens != plain[0].tokens
    }


def _facts(facts: Facts, given: Answers, baseline: Answers) -> dict[str, Any]:
    """What the configuration is, and whether its answers are the baseline's."""
    equality = facts.equality
    if equality is None and facts.kind != "drafter-only":
        both = sum(bool(a) and bool(b) for a, b in zip(given.asked, baseline.asked, strict=True))
        equality = Equality(both, both - len(_differing(given, baseline)), 0, ())
    return {
        "name": facts.name,
        "kind": facts.kind,
        "drafter": facts.drafter,
        "verify": facts.verify,
        "overlap": facts.overlap,
        "shuffled": facts.shuffled,
        "lossy": facts.lossy,
        "equality": None if equality is None else equality.to_json(),
    }
