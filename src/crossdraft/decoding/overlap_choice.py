"""Which way the event model takes part: measured once for a pair, a drafter and a device, and kept.

The question that waits for its answer is answered every way in turn, from its sensor files on, and
the way with the smallest median time is kept; not to ask the event model at all is one of them.
What is kept lies in `$CROSSDRAFT_CACHE/overlap`, or in `~/.cache/crossdraft/overlap`.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from crossdraft.base.cache_folder import cache_root
from crossdraft.base.device import usable_cores
from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.models import Models
from crossdraft.decoding.overlap import Way
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.vlm.cost_setup import Setup
from crossdraft.vlm.cost_store import Note
from crossdraft.vlm.pair_models import PairModels

FORMAT = "crossdraft.overlap/1"
#: Answers of each way; the first one warms up and does not count.
_ROUNDS = 4


def chosen_way(
    models: Models,
    drafter: Drafter,
    ways: Sequence[Way],
    total_ms: Callable[[Way], float],
    note: Note,
) -> Way:
    """The way that is kept for these models, else the fastest one, measured now and kept.

    Args:
        ways: that are tried.
        total_ms: time of the whole answer one way, from the sensor files on.
    """
    if len(ways) == 1:
        return ways[0]
    path = overlap_file(models, drafter)
    kept = _kept(path, ways)
    if kept is not None:
        return kept
    note("measuring whether the event model pays beside the target, once for this pair and device")
    medians = measured_ways(ways, total_ms)
    best = min(ways, key=medians.__getitem__)
    shown = ", ".join(f"{way} {ms:.0f} ms" for way, ms in medians.items())
    note(f"the event model works {best}: {shown}")
    _keep(path, best, medians, note)
    return best


def measured_ways(
    ways: Sequence[Way], total_ms: Callable[[Way], float], rounds: int = _ROUNDS
) -> Mapping[Way, float]:
    """Median time of each way over rounds in which all take turns; the first round warms up."""
    times: dict[Way, list[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        order = [*ways[turn % len(ways) :], *ways[: turn % len(ways)]]
        for way in order:
            times[way].append(total_ms(way))
    return {way: statistics.median(each[1:] or each) for way, each in times.items()}


def overlap_file(models: Models, drafter: Drafter) -> Path:
    """Where the choice for these models is kept; nothing is made."""
    event_model = (
        models.pair.to_json()  # it need not be loaded here
        if isinstance(models, PairModels)
        else Setup.of(models.drafter, 0, 0).fingerprint
    )
    about = {
        "target": Setup.of(models.target, 0, 0).fingerprint,
        "event model": event_model,
        "drafter": drafter.name,
        "cores": usable_cores(),
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return cache_root() / "overlap" / f"{digest[:16]}.json"


def _kept(path: Path, ways: Sequence[Way]) -> Way | None:
    """The choice that a file holds, None where it holds none that could be made now."""
    try:
        if not path.exists():
            return None
        value: Any = parse_json(read_text(path), path)
        way = Way.parse(str(value["way"])) if value["format"] == FORMAT else None
    except (InputError, KeyError, OSError, TypeError, ValueError):
        return None  # it is measured again
    return way if way in ways else None


def _keep(path: Path, best: Way, medians: Mapping[Way, float], note: Note) -> None:
    value = {
        "format": FORMAT,
        "way": str(best),
        "median_ms": {str(way): ms for way, ms in medians.items()},
        "date": date.today().isoformat(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, value)
    except (OSError, InputError) as error:
        note(f"not kept, {path.parent} cannot be written ({error})")


class Unlearning(Drafter):
    """A drafter that is asked as always and does not learn the answer: it will be asked again."""

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter
        self.name, self.needs = drafter.name, drafter.needs

    def begin(self, context: Context) -> None:
        self._drafter.begin(context)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return self._drafter.propose(prefix, budget)

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        self._drafter.observe(verification, rows)
