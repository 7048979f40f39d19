"""Each configuration as somebody who answers questions, every answer with its times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.bench.wallclock.configuration import HF_LOOKUP, Configuration
from crossdraft.bench.wallclock.hf import HfGenerate
from crossdraft.bench.wallclock.reading import readings
from crossdraft.bench.wallclock.ready import Stable, retell
from crossdraft.bench.wallclock.record import Run
from crossdraft.decoding.event_words import EventWords
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.loop import ALL_PASSES, Drafting, Passes
from crossdraft.decoding.overlap import EventSide, Way
from crossdraft.decoding.overlap_process import InProcess
from crossdraft.decoding.rules import GREEDY, Rule, relaxed
from crossdraft.decoding.speculator import Speculator
from crossdraft.decoding.width import USUAL, Fixed, Width
from crossdraft.drafters.base import (
    DRAFT_TOKENS,
    OF_THE_EVENT_MODEL,
    Budget,
    CostCurve,
    Drafter,
    flat_cost,
)
from crossdraft.drafters.none import NoDrafter
from crossdraft.pairs.record import Pair
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.pair_models import PairModels

#: What the seed procedure verifies at most: all that has been said.
WINDOW = Budget.chain(256)

Picture = Literal["cold", "shared"]


@dataclass(frozen=True)
class Place:
    """One question of the benchmark.

    Attributes:
        part: `test` or `validation`.
        number: among those of its part.
        scene: what it is about.
        question: what is asked.
        other: another drive's scene, whose events a shuffled drafter sees.
    """

    part: str
    number: int
    scene: Scene
    question: str
    other: Scene


class Answering(Protocol):
    """Answers the questions of one configuration, one after another."""

    def ask(self, place: Place, turn: int) -> tuple[Run, Generation | None]:
        """Answer a question of a round, from its sensor files on, or from the picture on where
        the scene's last question was asked here too and pictures are shared."""
        ...

    def learn(self, question: str, answer: Sequence[int]) -> None:
        """Know an answer that was given before the benchmark was interrupted."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


@dataclass
class Ground:
    """What all configurations share.

    Attributes:
        models: the pair's, loaded.
        most: tokens of an answer.
        picture: whether every question reads its scene, or one reading serves a scene's questions.
        cost, step_ms: T(n)/T(1) and T(1) of the target.
        learned: recorded answers of training drives.
        cores: that the event model's process may run on; None: any.
    """

    models: PairModels
    most: int
    picture: Picture
    cost: CostCurve
    step_ms: float
    learned: Sequence[Pair]
    cores: Sequence[int] | None = None
    _sides: dict[bool, EventSide] = field(default_factory=dict)
    _stables: dict[str | None, Stable] = field(default_factory=dict)

    def beside(self, shuffled: bool) -> EventSide:
        """Who runs the event model while the target works; one for all configurations, another one
        for those that see other scenes, so that neither loses its picture to the other."""
        if shuffled not in self._sides:
            if self.models.target.device.type == "cpu":
                side = InProcess(self.models.pair, cores=self.cores)
                self._sides[shuffled] = side
                if not side.wait_until_ready():
                    raise InputError(
                        "the event model's process did not load its model",
                        where=self.models.pair.name,
                        expected="a pair whose event model can be loaded a second time",
                        hint="+sequential in place of +overlap, or free memory",
                    )
            else:
                self._sides[shuffled] = EventWords(self.models).side(Way("thread"))
        return self._sides[shuffled]

    def stable(self, drafter: str | None) -> Stable:
        """Where drafters of this kind come from."""
        if drafter not in self._stables:
            self._stables[drafter] = Stable(drafter, self.learned, self.cost)
        return self._stables[drafter]

    def close(self) -> None:
        """End what runs beside."""
        for side in self._sides.values():
            side.close()


def answering(configuration: Configuration, ground: Ground) -> Answering:
    """Somebody who answers as a configuration does, and has answered nothing yet.

    Raises:
        InputError: no such drafter, or one that must be trained first.
    """
    if configuration.kind == "hf":
        return _Hf(configuration, ground)
    return _Speculating(configuration, ground)


class _Hf:
    def __init__(self, configuration: Configuration, ground: Ground) -> None:
        self._configuration, self._ground = configuration, ground
        self._generate = HfGenerate(prompt_lookup=configuration.name == HF_LOOKUP)

    def ask(self, place: Place, turn: int) -> tuple[Run, None]:
        ground = self._ground
        answer = self._generate.ask(ground.models.target, place.scene, place.question, ground.most)
        run = _run(self._configuration, place, turn, vars(answer))
        return run, None

    def learn(self, question: str, answer: Sequence[int]) -> None:
        """Nothing is learned."""

    def close(self) -> None:
        """Nothing is held."""


class _Deaf(NoDrafter):
    """Has the event model answer, and drafts nothing: what it costs to have it beside."""

    needs = frozenset({DRAFT_TOKENS})


class _Speculating:
    """The project's own loop, drafting or not."""

    def __init__(self, configuration: Configuration, ground: Ground) -> None:
        self._configuration, self._ground = configuration, ground
        self._scene: Scene | None = None
        drafter = _drafter(configuration, ground)
        overlap = _overlap(configuration, ground, drafter)
        #: Whether who runs beside belongs to the ground, and serves other configurations too.
        self._lent = not (overlap is None or isinstance(overlap, Way))
        only = configuration.kind == "drafter-only"
        self.speculator = Speculator(
            ground.models.drafter if only else ground.models,
            drafter,
            width=width_of(configuration),
            overlap=overlap,
            passes=passes_of(configuration),
            # The seed procedure drafts with the event model's own answer, which goes on.
            follows=configuration.kind != "seed-procedure",
            rule=rule_of(configuration),
            cost=cost_told(configuration, ground),
        )

    def ask(self, place: Place, turn: int) -> tuple[Run, Generation]:
        speculator, ground = self.speculator, self._ground
        if ground.picture == "cold" or place.scene is not self._scene:
            speculator.forget()
            self._scene = place.scene
        most, other = ground.most, place.other if self._configuration.shuffled else None
        speculator.prepare(place.scene, place.question, max_new_tokens=most, events_of=other)
        began_ms = now_ms()
        answer = speculator.ask(place.scene, place.question, max_new_tokens=most, events_of=other)
        total_ms = now_ms() - began_ms
        if ground.picture == "cold":
            speculator.forget()  # its memory is for whoever answers next
        run = _run(self._configuration, place, turn, readings(answer, began_ms, total_ms))
        return run, answer

    def learn(self, question: str, answer: Sequence[int]) -> None:
        one, ground = self._configuration, self._ground
        if one.drafter is not None and one.rule is None:
            drafting = Drafting(
                self.speculator.drafter, width_of(one) or Fixed(USUAL),
                ground.models.target.may_draft, passes_of(one),
            )  # fmt: skip
            retell(drafting, question, answer, ground.most, cost_told(one, ground))

    def close(self) -> None:
        """Its pictures, and who runs beside unless that is the ground's."""
        if self._lent:
            self.speculator.forget()
        else:
            self.speculator.close()


def _run(configuration: Configuration, place: Place, turn: int, said: Mapping[str, Any]) -> Run:
    return Run(
        configuration.name, place.part, turn, place.number, place.scene.id, place.scene.drive,
        place.question, **said,
    )  # fmt: skip


def _drafter(configuration: Configuration, ground: Ground) -> Drafter:
    if configuration.kind == "plain" and configuration.beside != "unsaid":
        return _Deaf()
    if configuration.kind == "seed-procedure":
        return ground.stable(configuration.drafter).bare()
    return ground.stable(configuration.drafter).fresh()


def width_of(configuration: Configuration) -> Width | None:
    """The width of a configuration, None where it is as wide as pays."""
    if configuration.kind == "seed-procedure":
        return Fixed(WINDOW)
    if configuration.nodes is not None:
        return Fixed(Budget.tree(configuration.nodes, 16))
    return None if configuration.gamma is None else Fixed(Budget.chain(configuration.gamma))


def cost_told(configuration: Configuration, ground: Ground) -> CostCurve:
    """T(n)/T(1) as drafters are told it. Where the width is fixed every node is free, or they would
    cut what they were asked for to what pays."""
    return ground.cost if width_of(configuration) is None else flat_cost


def passes_of(configuration: Configuration) -> Passes:
    """The forwards that verify drafts in a configuration."""
    if configuration.kind == "seed-procedure":
        return Passes(1, 1)
    return ALL_PASSES if configuration.tail else Passes(1)


def rule_of(configuration: Configuration) -> Rule:
    """What of a draft is taken: what the target would have said, unless a lossy rule is named."""
    return GREEDY if configuration.rule is None else relaxed(configuration.rule)


def _overlap(
    configuration: Configuration, ground: Ground, drafter: Drafter
) -> EventSide | Way | None:
    if not OF_THE_EVENT_MODEL & drafter.needs:
        return None
    if configuration.beside == "sequential":
        return Way("sequential")
    if configuration.beside == "unasked":
        return Way("none")
    return ground.beside(configuration.shuffled)
