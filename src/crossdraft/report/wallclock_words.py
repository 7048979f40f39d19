"""Words and cells of timed answers: the headline, what the columns mean, how a value is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crossdraft.report.markdown import cell

_KINDS = {
    "hf": "transformers",
    "seed-procedure": "the seed study's procedure",
    "drafter-only": "another model's answer",
}

DEFINITIONS = {
    "times": "from the moment before the first sensor file is opened; of each question the median "
    "over the rounds, then the mean over questions",
    "tau": "tokens per forward of the target, the prefill included",
    "first window": "drafts accepted by the first forward that had any",
    "first, k-th token": "when that token of the answer was there",
    "decode": "from the first token to the last",
    "speed-up": "the baseline's summed time over the configuration's; 95 % interval, whole drives "
    "drawn with replacement",
    "× first, × token k": "the same of the time to that token",
    "× another": "the same over another configuration, question by question; `hf-generate` and "
    "`hf-prompt-lookup` are transformers with the same model and prompt, plain and with its own "
    "prompt lookup",
    "rounds": "least and most speed-up of a single round: how much the machine's noise decides",
    "equal": "answers that are the baseline's token for token; + those that differ by rounding",
    "slower": "questions that took longer than the baseline, in brackets by more than 5 %",
    "dearer": "questions whose model cost is more than 5 % above plain decoding; model cost: "
    "T(1 + drafts) of every forward and the time spent on drafts, in plain steps",
    "predicted": "from the test's tokens and none of its times; behind it by how much the measured "
    "value is above it",
    "waits": "`event model` among the stages is time that the answer waited for it, not its work",
}


def headline(result: Mapping[str, Any]) -> str:
    """The best lossless configuration in one sentence."""
    drafting = [
        row
        for row in result["configurations"]
        if row["kind"] == "speculative"
        and not row["lossy"]
        and not row["shuffled"]
        and value_of(row["speedup"]) is not None
    ]
    if not drafting:
        return "No drafting configuration has a speed-up to tell"
    best = max(drafting, key=lambda row: row["speedup"]["value"])
    low = best["speedup"]["low"]
    unsure = "" if low is None or low > 1.0 else ", which may be none at all"
    return (
        f"`{best['name']}` answers {cell(best['speedup'])} times as fast as "
        f"`{result['baseline']}`{unsure}: {best['total_ms']:.0f} ms, its first token after "
        f"{number(best['prefill_ms'], 0)} ms; {equal(best)} answers are the same"
    )


def setting(result: Mapping[str, Any]) -> list[str]:
    """What was asked, in lines; `setting` of the result says on what."""
    drives, rounds = result["drives"], result["rounds"]
    return [
        *result.get("setting", ()),
        f"{result['answers']} questions about {drives} drive{'s' if drives > 1 else ''}, "
        f"{rounds} round{'s' if rounds > 1 else ''}; speed-ups over `{result['baseline']}`",
    ]


def marks_of(row: Mapping[str, Any]) -> list[str]:
    """What a reader must know of a configuration beside its name."""
    marks = [_KINDS[row["kind"]]] if row["kind"] in _KINDS else []
    marks += ["drafts of another clip"] if row["shuffled"] else []
    return marks + (["lossy: may change the answer"] if row["lossy"] else [])


def number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"


def rivals_of(result: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for r in result["configurations"] for name in r["speedup_over"]))


def drafted(row: Mapping[str, Any]) -> tuple[str, str]:
    return estimate(row, "tau"), estimate(row, "first_window")


def moments(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(number(row[key], 1) for key in ("prefill_ms", "kth_ms", "decode_ms", "total_ms"))


def estimate(row: Mapping[str, Any], key: str) -> str:
    return "–" if row[key] is None else cell(row[key])


def over(row: Mapping[str, Any], rivals: Sequence[str]) -> list[str]:
    found = (row["speedup_over"].get(name) for name in rivals)
    return ["–" if one is None else cell(one) for one in found]


def rounds(row: Mapping[str, Any]) -> str:
    spread = row["speedup_rounds"]
    return "–" if spread is None else f"{spread['low']:.2f}–{spread['high']:.2f}"


def equal(row: Mapping[str, Any]) -> str:
    """`118/120`, `118/120 + 2` where two differ by rounding."""
    equality = row["equality"]
    if equality is None:
        return "–"
    rounding = f" + {equality['rounding']}" if equality["rounding"] else ""
    return f"{equality['equal']}/{equality['answers']}{rounding}"


def slower(row: Mapping[str, Any]) -> str:
    if row["slower"] is None:
        return "–"
    return f"{percent(row['slower'])} ({percent(row['clearly_slower'])})"


def predicted(row: Mapping[str, Any]) -> tuple[str, str]:
    said = row["prediction"]
    if said is None or said["speedup"] is None:
        return "–", "–"
    return number(said["speedup"]), error(said["speedup_error"])


def error(share: float | None) -> str:
    """`+1.5`: measured so much above what was predicted, in per cent."""
    return "–" if share is None else f"{100 * share:+.1f}"


def small(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def value_of(estimate: Mapping[str, float | None] | None) -> float | None:
    return None if estimate is None else estimate["value"]
