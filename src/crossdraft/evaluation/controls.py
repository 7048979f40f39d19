"""What stands beside every number.

A drafter is only worth something against drafters that know nothing: plain decoding, a table of
positions, earlier answers, the event model's raw words; each drafter that reads the event model
fed with another scene's answer; and each trained network trained once more without those words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import DRAFT_STATES, DRAFT_TOKENS, Drafter
from crossdraft.drafters.checkpoint import Loaded, is_trainable, load_drafter
from crossdraft.drafters.find import phases_of
from crossdraft.drafters.registry import create, part_names
from crossdraft.drafters.two_phase import BETWEEN
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import Swapped

ALWAYS = ("none", "position", "suffix", "drafter-text")
SHUFFLED, BLIND = "@shuffled", "@blind"
#: Pairs as a shuffled twin reads them.
Shuffle = Callable[[Sequence[Pair]], list[Pair]]


@dataclass(frozen=True)
class Entrant:
    """One row of an evaluation.

    Attributes:
        label: its name in tables.
        source: a registered name, several joined by `+`, or two of these joined by `:`.
        twin: `SHUFFLED`, `BLIND`, or empty for the drafter itself.
        checkpoint: the trained drafter to run, None where it is fitted here.
        phases: who drafts in the prefill and who behind it, None where one drafter does both.
    """

    label: str
    source: str
    twin: str = ""
    checkpoint: Loaded | None = None
    phases: tuple[Entrant, Entrant] | None = None

    @property
    def singles(self) -> tuple[Entrant, ...]:
        """The drafters that it is made of: itself, or its two phases."""
        return (self,) if self.phases is None else self.phases

    @property
    def where(self) -> tuple[object, ...]:
        """What tells equal drafters: what they are made from."""
        return tuple((one.source, one.checkpoint and one.checkpoint.path) for one in self.singles)

    def sample(self) -> Drafter:
        """The drafter as it is before it has learned here: what it needs and is can be asked."""
        assert self.phases is None
        return create(self.source) if self.checkpoint is None else self.checkpoint.drafter


def entrants(asked: Sequence[str], named: Mapping[str, str] | None = None) -> list[Entrant]:
    """What runs: the controls, what was asked for, and the twins of all that read drafts.

    Args:
        asked: drafter names, names joined by `+`, or paths of checkpoints; two of these joined by
            `:` draft in turn.
        named: the same under names of their own.

    Raises:
        InputError: neither a name nor a readable checkpoint, or two drafters of one label.
    """
    own = [Entrant(name, name) for name in ALWAYS]
    for name in asked:
        entrant = _entrant(name)
        trained = any(one.checkpoint is not None for one in entrant.singles)
        if trained and entrant.label in {e.label for e in own}:
            entrant = _told_apart(entrant)
        if entrant.label in {e.label for e in own}:
            if trained:
                raise InputError(f"{name} stands twice", expected="every checkpoint once")
            continue
        own.append(entrant)
    for label, name in (named or {}).items():
        if label in {e.label for e in own}:
            raise InputError(f"{label!r} names two drafters", expected="every name once")
        own.append(replace(_entrant(name), label=label))
    shuffled = [
        replace(entrant, label=entrant.label + SHUFFLED, twin=SHUFFLED)
        for entrant in own
        if _needs(entrant) & {DRAFT_TOKENS, DRAFT_STATES}
    ]
    blind = [
        replace(entrant, label=entrant.label + BLIND, twin=BLIND)
        for entrant in own
        if entrant.checkpoint is None
        and entrant.phases is None
        and is_trainable(entrant.source)
        and DRAFT_TOKENS in _needs(entrant)
    ]
    return [*own, *shuffled, *blind]


def names_drafter(name: str) -> bool:
    """Whether this is a registered name, or several joined by `+`."""
    try:
        part_names(name)
    except InputError:
        return False
    return True


def single_entrants(running: Sequence[Entrant]) -> list[Entrant]:
    """The drafters behind all entrants, two phases taken apart, each once and under a label of its
    own; no controls and no twins."""
    found: dict[tuple[object, ...], Entrant] = {}
    for entrant in running:
        if entrant.twin or entrant.label in ALWAYS:
            continue
        for one in entrant.singles:
            if one.where in found:
                continue
            if one.label in {e.label for e in found.values()}:
                one = _told_apart(one)
            found[one.where] = one
    return list(found.values())


def checkpoint_paths(names: Sequence[str]) -> list[Path]:
    """The paths among drafters as a user names them, each once."""
    sides = [side for name in names for side in phases_of(name) or (name,)]
    return [Path(side) for side in dict.fromkeys(sides) if not names_drafter(side)]


def _entrant(name: str) -> Entrant:
    if names_drafter(name):
        return Entrant(name, name)
    if (sides := phases_of(name)) is not None:
        prefill, decode = (_entrant(side) for side in sides)
        label = f"{prefill.label}{BETWEEN}{decode.label}"
        return Entrant(label, name, phases=(prefill, decode))
    if not Path(name).exists():
        part_names(name)  # says which names there are
    loaded = load_drafter(Path(name))
    return Entrant(loaded.drafter.name, loaded.drafter.name, checkpoint=loaded)


def _told_apart(entrant: Entrant) -> Entrant:
    """The same with the names of its runs in the label."""
    runs = [_run_name(one.checkpoint) for one in entrant.singles if one.checkpoint is not None]
    return replace(entrant, label=f"{entrant.label} ({', '.join(runs)})")


def _run_name(loaded: Loaded) -> str:
    return loaded.path.parent.name or loaded.path.name


def _needs(entrant: Entrant) -> frozenset[str]:
    return frozenset[str]().union(*(one.sample().needs for one in entrant.singles))


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
            here, own = pairs[i].thoughts, other.thoughts
            swapped = None if here is None or own is None else Swapped(here, own)
            tokens = other.draft_tokens
            shuffled[i] = replace(pairs[i], draft_tokens=tokens, thoughts=swapped)
    return shuffled


def shuffled_by(others: Sequence[Pair] | None) -> Shuffle:
    """What shuffled twins read.

    Args:
        others: recorded answers for which the event model was shown other drives' events; None:
            each question's answer about another clip, see `shuffled_drafts`.
    """
    if others is None:
        return shuffled_drafts
    by_key = {pair.key: pair for pair in others}

    def shuffled(pairs: Sequence[Pair]) -> list[Pair]:
        return [_beside(pair, by_key.get(pair.key)) for pair in pairs]

    return shuffled


def _beside(pair: Pair, other: Pair | None) -> Pair:
    """The pair with what the event model said and thought about other events.

    Raises:
        InputError: nobody asked, or the target said something else.
    """
    if other is None or other.target_tokens != pair.target_tokens:
        said = "no answer" if other is None else "another answer of the target"
        raise InputError(
            f"{said} for clip {pair.clip}, {pair.question!r}",
            where="--shuffled-pairs",
            expected="the same scenes, questions and models as --pairs",
            hint="crossdraft extract --shuffle-events, with the other options as before",
        )
    here, there = pair.thoughts, other.thoughts
    swapped = None if here is None or there is None else Swapped(here, there, followed=True)
    return replace(pair, draft_tokens=other.draft_tokens, thoughts=swapped)


def without_drafts(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with nothing said by the event model."""
    return [replace(pair, draft_tokens=()) for pair in pairs]
