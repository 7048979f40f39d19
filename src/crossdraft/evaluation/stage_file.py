"""Measured times from a file of recorded answers: stages of both models, clip by clip.

Five stages (load, preprocess, vision, prefill, decode) make a clock. The seed study's older files
time three (load, preprocess, generate): their means can be shown, but where the prefill ends
cannot be told from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text
from crossdraft.decoding.answers import until_eos
from crossdraft.decoding.arrival import StageTimes, stage_times
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.record import Pair, PairSet, warnings_about_pairs

FIVE = ("load", "preprocess", "vision", "prefill", "decode")
THREE = ("load", "preprocess", "generate")
_EXPECTED = (
    "recorded answers with measured stages: the five-stage benchmark format, crossdraft pairs "
    "that carry draft_stages_ms and target_stages_ms, or (means alone) the inference format"
)
#: Spellings of the target in three-stage files; the first names another model.
_TARGETS = ("llava", "videollava", "video_llava")

Key = tuple[str, int, str]


@dataclass(frozen=True)
class StageFile:
    """What a file of recorded answers says about time.

    Attributes:
        pairs: target answers end with their first EOS; all that decode a token, timed or not.
        clocks: clip and question -> its measured times; empty for three-stage files.
        clocks_from_prefill: the same if both prefills started at time zero.
        stages: mean and sample standard deviation per model and stage, as plain JSON.
        notes: what to know before using a number.
    """

    pairs: PairSet
    clocks: Mapping[Key, StageTimes]
    clocks_from_prefill: Mapping[Key, StageTimes]
    stages: dict[str, Any]
    notes: tuple[str, ...]


def read_stage_file(path: Path, eos: int) -> StageFile:
    """Read recorded answers and their stage times, any format that has some.

    Raises:
        InputError: unreadable, or no answer has stage times.
    """
    found = read_pairs(path)
    if found.format == "inference":
        stages, notes = _three_stages(path)
        return StageFile(found, {}, {}, stages, notes)
    # Times belong to the tokens that were decoded while they were taken, after EOS or not.
    timed = [p for p in found.pairs if stage_times(p) is not None and p.target_tokens]
    if not timed:
        raise InputError(
            f"no stage times in these {len(found)} answers ({found.format} format)",
            where=path,
            expected=_EXPECTED,
            hint="give the times by flags: crossdraft estimate --help",
        )
    clocks = {p.key: stage_times(p) for p in timed}
    kept = tuple(
        replace(pair, target_tokens=until_eos(pair.target_tokens, eos))
        for pair in found.pairs
        if pair.target_tokens
    )
    cut = sum(until_eos(p.target_tokens, eos) != p.target_tokens for p in found.pairs)
    return StageFile(
        replace(found, pairs=kept),
        {key: times for key, times in clocks.items() if times is not None},
        {p.key: _from_prefill(p) for p in timed},
        _five_stages(timed),
        _notes(found, len(timed), cut),
    )


def _from_prefill(pair: Pair) -> StageTimes:
    """Times of a pair whose drafter starts with its vision stage, and whose target starts with
    its prefill, at time zero. A target with a vision stage of its own has less room this way than
    it really has."""
    draft, target, times = pair.draft_stages_ms, pair.target_stages_ms, stage_times(pair)
    assert draft is not None and target is not None and times is not None
    return replace(
        times,
        draft_first_ms=draft[2] + draft[3],
        target_prefill_start_ms=0.0,
        target_prefill_end_ms=target[3],
    )


def stage_table(pairs: Sequence[Pair]) -> dict[str, Any] | None:
    """Mean and deviation of every stage of both models, None where no pair carries times."""
    timed = [p for p in pairs if p.draft_stages_ms is not None and p.target_stages_ms is not None]
    return _five_stages(timed) if timed else None


def _five_stages(timed: Sequence[Pair]) -> dict[str, Any]:
    sides = (
        ("eventgpt", [(p.draft_stages_ms, len(p.draft_tokens)) for p in timed]),
        ("videollava", [(p.target_stages_ms, len(p.target_tokens)) for p in timed]),
    )
    table = {}
    for name, rows in sides:
        times = np.array([stages for stages, _ in rows])
        tokens = np.array([float(count) for _, count in rows])
        table[name] = {
            **_means(times),
            "clips": len(rows),
            "tokens": mean_std(tokens),
            # The prefill emits the first token, decoding the others.
            "ms_per_decoded_token": float(times[:, 4].sum() / np.maximum(1, tokens - 1).sum()),
        }
    return table


def _three_stages(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Means of a file with `egpt_stage1_time` … `egpt_stage3_time` and the same of its target."""
    value = parse_json(read_text(path), path)
    listed = value["results"] if isinstance(value, Mapping) else value
    items = [Item(item, path, f"results[{place}]") for place, item in enumerate(listed)]
    named = [name for name in _TARGETS if any(f"{name}_stage1_time" in i.value for i in items)]
    table = {}
    for prefix in ("egpt", *named):
        rows = [_three(item, prefix) for item in items]
        times = np.array([row for row in rows if row is not None])
        if len(times):
            # What the file calls llava is LLaVA-1.5, not this study's target.
            name = {"egpt": "eventgpt", "llava": "llava"}.get(prefix, "videollava")
            table[name] = {**_means(times), "clips": len(times)}
    if not table:
        raise InputError(
            f"no stage times in these {len(items)} answers (inference format)",
            where=path,
            expected=_EXPECTED,
        )
    note = (
        "three stages per model, prefill and decoding in one: means only, no window and no "
        "speed-up follows from them"
    )
    return table, (note,)


def _three(item: Item, prefix: str) -> tuple[float, ...] | None:
    times = [item.time_ms(f"{prefix}_stage{number}_time") for number in (1, 2, 3)]
    return None if any(t is None for t in times) else tuple(t or 0.0 for t in times)


def _means(times: Any) -> dict[str, Any]:
    """Mean and deviation of each column of [clips, stages], and of their sum."""
    table: dict[str, Any] = {
        f"stage{number}_ms": mean_std(column) for number, column in enumerate(times.T, start=1)
    }
    return {**table, "total_ms": mean_std(times.sum(1))}


def mean_std(values: Any) -> dict[str, float | None]:
    """Mean and sample standard deviation (n - 1) of [n]; no deviation of a single value."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": deviation}


def _notes(found: PairSet, timed: int, cut: int) -> tuple[str, ...]:
    notes = [f"not used: {n} × {reason}" for reason, n in sorted(found.skipped.items())]
    notes += warnings_about_pairs(found.pairs)
    if timed < len(found):
        notes.append(f"{len(found) - timed} answers have no stage times or no token: not timed")
    if cut:
        notes.append(f"{cut} target answers go on after EOS: what follows it is left out")
    settings = found.header.get("config")
    charged = isinstance(settings, Mapping) and settings.get("rendering") == "measured"
    if found.format == "benchmark" and not charged:
        notes.append(
            "the seed study rendered its event images before it measured: rendering is in none "
            "of these times"
        )
    return tuple(notes)
