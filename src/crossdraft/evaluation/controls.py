"""What stands beside every number.

A drafter is only worth something against drafters that know nothing: plain decoding, a table of
positions, earlier answers, the event model's raw words; each drafter that reads the event model
fed with another scene's answer; and each trained network trained once more without those words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import Loaded, is_trainable, load_drafter
from crossdraft.drafters.registry import create, part_names
from crossdraft.pairs.record import Pair

ALWAYS = ("none", "position", "suffix", "drafter-text")
SHUFFLED, BLIND = "@shuffled", "@blind"


@dataclass(frozen=True)
class Entrant:
    """One row of an evaluation.

    Attributes:
        label: its name in tables.
        source: a registered name, or several joined by `+`.
        twin: `SHUFFLED`, `BLIND`, or empty for the drafter itself.
        checkpoint: the trained drafter to run, None where it is fitted here.
    """

    label: str
    source: str
    twin: str = ""
    checkpoint: Loaded | None = None


def entrants(asked: Sequence[str]) -> list[Entrant]:
    """What runs: the controls, what was asked for, and the twins of all that read drafts.

    Args:
        asked: drafter names, names joined by `+`, or paths of checkpoints.

    Raises:
        InputError: neither a name nor a readable checkpoint, or two checkpoints of one label.
    """
    own = [Entrant(name, name) for name in ALWAYS]
    for name in asked:
        entrant = _entrant(name)
        if entrant.checkpoint is not None and entrant.label in {e.label for e in own}:
            entrant = replace(entrant, label=f"{entrant.label} ({_run_name(entrant.checkpoint)})")
        if entrant.label in {e.label for e in own}:
            if entrant.checkpoint is not None:
                raise InputError(f"{name} stands twice", expected="every checkpoint once")
            continue
        own.append(entrant)
    shuffled = [
        replace(entrant, label=entrant.label + SHUFFLED, twin=SHUFFLED)
        for entrant in own
        if "draft_tokens" in _needs(entrant)
    ]
    blind = [
        replace(entrant, label=entrant.label + BLIND, twin=BLIND)
        for entrant in own
        if entrant.checkpoint is None
        and is_trainable(entrant.source)
        and "draft_tokens" in _needs(entrant)
    ]
    return [*own, *shuffled, *blind]


def names_drafter(name: str) -> bool:
    """Whether this is a registered name, or several joined by `+`."""
    try:
        part_names(name)
    except InputError:
        return False
    return True


def _entrant(name: str) -> Entrant:
    if names_drafter(name):
        return Entrant(name, name)
    if not Path(name).exists():
        part_names(name)  # says which names there are
    loaded = load_drafter(Path(name))
    return Entrant(loaded.drafter.name, loaded.drafter.name, checkpoint=loaded)


def _run_name(loaded: Loaded) -> str:
    return loaded.path.parent.name or loaded.path.name


def _needs(entrant: Entrant) -> frozenset[str]:
    drafter = create(entrant.source) if entrant.checkpoint is None else entrant.checkpoint.drafter
    return drafter.needs


def shuffled_drafts(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, each with the drafter's answer to its question about a clip half the set away.

    A fixed shift, not a random one: it is the same for every drafter and never lands on an
    overlapping neighbour in a set of ordinary size. A question asked once keeps its own answer.
    """
    by_question: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        by_question.setdefault(pair.question, []).append(i)
    shuffled = list(pairs)
    for indices in by_question.values():
        half = len(indices) // 2
        for place, i in enumerate(indices):
            other = pairs[indices[(place + half) % len(indices)]]
            shuffled[i] = replace(pairs[i], draft_tokens=other.draft_tokens)
    return shuffled


def without_drafts(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with nothing said by the event model."""
    return [replace(pair, draft_tokens=()) for pair in pairs]
