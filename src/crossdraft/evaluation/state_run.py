"""State metrics of an evaluation: every drafter that predicts states, beside its controls.

Each batch of a fold's test part is read once for all of them. Intervals are those of the evaluation
itself: whole drives or blocks are drawn, never single positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from crossdraft.base.errors import InputError
from crossdraft.drafters.states import Alignment, StateDrafter
from crossdraft.drafters.trainable import TokenBatch, Trainable
from crossdraft.evaluation.controls import SHUFFLED, Shuffle, shuffled_drafts
from crossdraft.evaluation.state_controls import StateSource, controls
from crossdraft.evaluation.state_metrics import Gathered, gather
from crossdraft.pairs.record import Head, Pair
from crossdraft.pairs.split import Fold
from crossdraft.pairs.thoughts import thoughts_of

#: Answers of one batch.
_BATCH = 32
ALIGNMENTS: tuple[Alignment, ...] = ("own", "forced")


@dataclass
class Measured:
    """One row of the table: a source under one alignment.

    Attributes:
        source: name of the drafter or control.
        alignment: whose states it reads, and so which positions count.
        shift: of its outputs.
        control: whether it stands there to be compared with.
        parameters: trained values; None of a control.
        reads: what it takes of a batch.
        hidden: width of a state of the target.
        tokens: whether there was a head to read tokens with.
        same, following: output t against state t, and against state t + 1.
    """

    source: str
    alignment: Alignment
    shift: int
    control: bool
    parameters: int | None
    reads: tuple[str, ...]
    hidden: int
    tokens: bool
    same: Gathered = field(default_factory=Gathered)
    following: Gathered = field(default_factory=Gathered)


def measure_states(
    ready: Callable[[int], Mapping[str, StateDrafter]],
    splits: Sequence[Fold],
    shuffle: Shuffle = shuffled_drafts,
    *,
    followed: bool = False,
) -> tuple[list[Measured], list[str]]:
    """Metrics of all folds together, in the order of their test parts.

    Args:
        ready: the drafters of a fold by label, made ready.
        shuffle: what shuffled twins read.
        followed: that holds states over the target's answer of other scenes too.

    Returns:
        The rows, none where the answers have no states of the target, and what to warn about.

    Raises:
        InputError: damaged states.
    """
    rows: dict[tuple[str, Alignment], Measured] = {}
    notes: dict[str, None] = {}
    for number, fold in enumerate(splits):
        kinds = _kinds(fold)
        if "target" not in kinds:
            return [], ["no states of the target in these answers: no state metrics"]
        head = _head(fold.test[0], notes)
        twins = _Twins(shuffle, ("own", "forced") if followed else ("own",))
        _measure_fold(fold, ready(number), kinds, head, rows, twins)
    return list(rows.values()), list(notes)


def _kinds(fold: Fold) -> frozenset[str]:
    """Kinds of states that all pairs have."""
    pairs = (*fold.train, *fold.test)
    if any(pair.thoughts is None for pair in pairs):
        return frozenset()
    # Answers of one file have the same kinds; two files meet in a fold at most.
    return thoughts_of(pairs[0]).kinds & thoughts_of(pairs[-1]).kinds


def _head(pair: Pair, notes: dict[str, None]) -> Head | None:
    try:
        return thoughts_of(pair).head
    except InputError as error:
        notes[f"no token metrics of states: {error.found} ({error.where})"] = None
        return None


@dataclass(frozen=True)
class _Twins:
    """What shuffled twins read, and which states of it are another scene's."""

    shuffle: Shuffle
    alignments: tuple[Alignment, ...]


@dataclass(frozen=True)
class _Asked:
    """One source and whether it reads the drafts of other scenes."""

    label: str
    source: StateSource
    alignments: tuple[Alignment, ...]
    control: bool
    shuffled: bool = False


def _asked(
    drafters: Mapping[str, StateDrafter],
    known: Mapping[str, StateSource],
    kinds: frozenset[str],
    twins: _Twins,
) -> list[_Asked]:
    made = []
    for label, drafter in drafters.items():
        fitting = _fitting(drafter, kinds)
        made.append(_Asked(label, drafter, fitting, control=False))
        swapped = tuple(a for a in fitting if a in twins.alignments and _of_events(drafter, a))
        if swapped:
            made.append(_Asked(label + SHUFFLED, drafter, swapped, control=True, shuffled=True))
    wanted = {alignment for one in made for alignment in one.alignments}
    for name, source in known.items():
        fitting = tuple(a for a in ALIGNMENTS if a in wanted and a in kinds)
        made.append(_Asked(name, source, fitting, control=True))
    return made


def _fitting(drafter: StateDrafter, kinds: frozenset[str]) -> tuple[Alignment, ...]:
    """Alignments that the drafter reads and the answers have; a drafter that reads no event model
    is measured once, over the whole of the target's answers."""
    fitting = [
        alignment
        for alignment in ALIGNMENTS
        if _of_events(drafter, alignment) and alignment in kinds
    ]
    if fitting:
        return tuple(fitting)
    return () if any(_of_events(drafter, one) for one in ALIGNMENTS) else ("forced",)


def _of_events(drafter: StateDrafter, alignment: Alignment) -> bool:
    """Whether it reads states of the event model under this alignment."""
    return f"{alignment}_states" in drafter.reads(alignment)


def _measure_fold(
    fold: Fold,
    drafters: Mapping[str, StateDrafter],
    kinds: frozenset[str],
    head: Head | None,
    rows: dict[tuple[str, Alignment], Measured],
    twins: _Twins,
) -> None:
    shifts = frozenset(drafter.shift for drafter in drafters.values())
    asked = _asked(drafters, controls(fold.train, kinds, shifts), kinds, twins)
    needs = frozenset[str]().union(
        *(one.source.reads(alignment) for one in asked for alignment in one.alignments),
        {"target_states"},
    )
    if head is None:
        needs -= {"head"}
    longest = min(drafter.max_length for drafter in drafters.values())
    parts = {False: fold.test, True: tuple(twins.shuffle(fold.test))}
    with torch.inference_mode():
        for first in range(0, len(fold.test), _BATCH):
            batches = {
                shuffled: TokenBatch.of(part[first : first + _BATCH], longest, needs=needs)
                for shuffled, part in parts.items()
                if not shuffled or any(one.shuffled for one in asked)
            }
            for one in asked:
                _measure(one, batches[one.shuffled], head, rows)


def _measure(
    one: _Asked,
    batch: TokenBatch,
    head: Head | None,
    rows: dict[tuple[str, Alignment], Measured],
) -> None:
    source = one.source
    if isinstance(source, Trainable):
        batch = batch.to(source.device)
    for alignment in one.alignments:
        row = rows.setdefault(
            (one.label, alignment),
            Measured(
                one.label, alignment, source.shift, one.control,
                source.parameters if isinstance(source, Trainable) else None,
                tuple(sorted(source.reads(alignment))),
                batch.states["target"].shape[-1], head is not None,
            ),
        )  # fmt: skip
        gather(row.same, row.following, batch, source.predicted(batch, alignment), alignment, head)
