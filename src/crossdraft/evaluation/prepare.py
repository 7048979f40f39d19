"""Drafters made ready for the folds of one evaluation: fitted, trained, calibrated or loaded.

A network is trained on the training part of its fold alone, with a share of that part held out
for validation; the ensemble is calibrated on the same share. The test part is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress, ProgressSink
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import CostCurve, Drafter
from crossdraft.drafters.checkpoint import (
    Loaded,
    clip_digest,
    is_trainable,
    load_drafter,
    trainable_class,
)
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.registry import create, part_names
from crossdraft.drafters.trainable import Trainable
from crossdraft.drafters.two_phase import TwoPhaseDrafter
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.controls import BLIND, Entrant, without_drafts
from crossdraft.pairs.record import Pair, PairSet
from crossdraft.pairs.split import Fold, hold_out
from crossdraft.pairs.store.manifest import TUNED_ON
from crossdraft.pairs.stored import FORMAT as STORE
from crossdraft.pairs.thoughts import thoughts_of
from crossdraft.training.loop import fit
from crossdraft.training.settings import TrainConfig, training_config


class Workshop:
    """Makes drafters ready; a network that several entrants need is trained once per fold."""

    def __init__(
        self,
        config: EvaluateConfig,
        arrival: Callable[[Pair], Arrival],
        curve: CostCurve,
        folder: Path | None,
        sink: ProgressSink,
    ) -> None:
        """
        Args:
            arrival, curve: as in the replay that follows.
            folder: where trainings keep their state, so that a killed evaluation goes on; None
                to keep nothing.
        """
        self._config, self._arrival, self._curve = config, arrival, curve
        self._folder, self._sink = folder, sink
        self._networks: dict[tuple[str, str, int], Trainable] = {}
        self._plans: dict[str, TrainConfig] = {}

    def plan(self, entrants: Sequence[Entrant]) -> None:
        """Check the options of every training before the first one starts.

        Raises:
            InputError: an option that no drafter to be trained knows, a value out of range, or
                options for a drafter that is not trained here.
        """
        for one in (one for entrant in entrants for one in entrant.singles):
            for name in self._parts_of(one):
                if one.checkpoint is None and is_trainable(name):
                    self._plans[name] = training_config(name, self._options(name))
        named = {key for key, value in self._config.train.items() if isinstance(value, Mapping)}
        for name in sorted(named - self._plans.keys()):
            raise InputError(
                f"options for {name!r}, which is not trained here",
                expected=", ".join(self._plans) or "a drafter with a network among those asked for",
            )

    def _options(self, name: str) -> dict[str, Any]:
        """Options for all trainings, then those for this drafter alone."""
        train = self._config.train
        for_all = {key: value for key, value in train.items() if not isinstance(value, Mapping)}
        return {**for_all, **train.get(name, {}), "pairs": self._config.pairs}

    def ready(self, entrant: Entrant, number: int, fold: Fold) -> Drafter:
        """The drafter of an entrant, ready for the test part of fold `number`."""
        if entrant.phases is not None:
            return TwoPhaseDrafter(*(self.ready(one, number, fold) for one in entrant.phases))
        if entrant.checkpoint is not None:
            # A fresh copy: what was learned online in one fold stays there.
            return load_drafter(entrant.checkpoint.path).drafter
        parts = self._parts_of(entrant)
        if parts != (entrant.source,):
            return self._ensemble(entrant.source, parts, number, fold)
        return self._single(entrant.source, entrant.twin, number, fold, fold.train)

    def _parts_of(self, entrant: Entrant) -> tuple[str, ...]:
        drafter = create(entrant.source)
        if isinstance(drafter, EnsembleDrafter):
            return drafter.sources
        return part_names(entrant.source)

    def _single(
        self, name: str, twin: str, number: int, fold: Fold, learned: Sequence[Pair]
    ) -> Drafter:
        """One drafter that has learned from `learned`, a part of the fold's training pairs."""
        if is_trainable(name):
            return self._trained(name, BLIND if twin == BLIND else "", number, fold)
        drafter = create(name)
        drafter.fit(learned)
        return drafter

    def _trained(self, name: str, twin: str, number: int, fold: Fold) -> Trainable:
        key = (name, twin, number)
        if key not in self._networks:
            plan = self._plans[name]
            kind = trainable_class(name)
            drafter = kind(kind.config_from(plan.options))
            held = self._held_out(fold)
            sides = (held.train, held.test)
            if twin == BLIND:
                sides = (tuple(without_drafts(held.train)), tuple(without_drafts(held.test)))
            stage = f"{name}{twin} fold {number + 1}"
            fit(
                drafter,
                *sides,
                plan.settings,
                folder=self._state_folder(name + twin, number),
                export=False,
                sink=lambda p: self._sink(Progress(f"{stage}: {p.stage}", p.done, p.total)),
            )
            self._networks[key] = drafter
        return self._networks[key]

    def _state_folder(self, label: str, number: int) -> Path | None:
        if self._folder is None:
            return None
        folder = self._folder / f"{label}-{number + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _held_out(self, fold: Fold) -> Fold:
        return hold_out(fold.train, self._config.val_split, self._config.gap)

    def _ensemble(self, source: str, names: Sequence[str], number: int, fold: Fold) -> Drafter:
        """Calibrate on the held-out share, then go on with parts that learned from all of it
        (networks excepted: they have no other data to stop on)."""
        held = self._held_out(fold)
        ensemble = EnsembleDrafter(self._all(names, number, fold, held.train), source)
        with ensemble.collect():
            for pair in held.test:
                replay(ensemble, pair, self._config.budget, self._arrival(pair), self._curve)
                if self._config.online:
                    ensemble.finish(pair.target_tokens)
        ensemble.calibrate()
        return ensemble.with_parts(self._all(names, number, fold, fold.train))

    def _all(
        self, names: Sequence[str], number: int, fold: Fold, learned: Sequence[Pair]
    ) -> list[Drafter]:
        return [self._single(name, "", number, fold, learned) for name in names]


def check_unseen(loaded: Loaded, tested: Sequence[Pair]) -> None:
    """Refuse a test that a checkpoint was trained or validated on.

    Raises:
        InputError: naming a clip or drive that both share.
    """
    seen = loaded.trained_on
    if seen is None:
        return
    clips = set(seen.clips)
    shared = sorted({pair.clip for pair in tested if clip_digest(pair.clip) in clips})
    drives = sorted({str(p.drive) for p in tested} & set(seen.drives))
    if shared or drives:
        what = (
            f"the drive {drives[0]}" if drives else f"{len(shared)} clips, {shared[0]} among them"
        )
        raise InputError(
            f"this checkpoint was trained on {what} of the test",
            where=loaded.path,
            expected="a test of drives that training has not seen",
            hint="evaluate the drafter by its name: it is then trained anew in each fold",
        )


def check_untuned(found: PairSet, tested: Sequence[Pair]) -> None:
    """Refuse a test on drives that the event model behind the answers was tuned on.

    Raises:
        InputError: naming one of them.
    """
    seen = found.header.get(TUNED_ON, ())
    if shared := sorted({str(pair.drive) for pair in tested} & set(seen)):
        raise InputError(
            f"the event model was tuned on {len(shared)} drives of the test, {shared[0]} among "
            "them",
            where=found.path,
            expected="a test of drives that the tuning has not seen",
            hint="extract answers about other drives: crossdraft extract --split test",
        )


def check_widths(loaded: Loaded, tested: Sequence[Pair]) -> None:
    """Refuse a checkpoint for states of another width than these answers have.

    Raises:
        InputError: naming both widths.
    """
    widths = loaded.drafter.describe().get("widths", {})
    if not tested or tested[0].thoughts is None:  # what is missing is said where it is needed
        return
    thoughts = thoughts_of(tested[0])
    reads = loaded.drafter.batch_needs
    for kind, key in (("target", "hidden"), ("own", "draft_hidden"), ("forced", "draft_hidden")):
        if kind not in thoughts.kinds or (kind != "target" and f"{kind}_states" not in reads):
            continue
        here = thoughts.states(kind).shape[-1]
        if here != widths.get(key, here):
            raise InputError(
                f"a checkpoint for {kind} states {widths[key]} wide",
                where=loaded.path,
                expected=f"{here}, as the states of these answers",
                hint="a drafter is of the two models that it was trained with",
            )


def check_shuffled(found: PairSet, others: PairSet) -> None:
    """Refuse answers for the shuffled twins whose store says that they are none.

    Raises:
        InputError: the event model saw its own scenes, or the models are others.
    """
    if others.format != STORE or "models" not in others.header:  # it does not say
        return
    models = found.header.get("models", others.header["models"])
    if others.header.get("events") != "shuffled":
        what = "a store in which the event model saw its own scenes"
    elif others.header["models"] != models:
        what = "a store of other models, or of other settings of them"
    else:
        return
    raise InputError(
        what,
        where=f"--shuffled-pairs {others.path}",
        expected="the same models, the event model shown other drives' events",
        hint="crossdraft extract --shuffle-events, with the other options as before",
    )
