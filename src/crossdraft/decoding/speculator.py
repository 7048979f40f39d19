"""The door: a pair of models and a drafter, asked about scenes.

    speculator = Speculator("pair.yaml", "suffix")
    answer = speculator.ask(scene, "What is ahead?")

The answer is the target's own; drafts only save it passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.device import usable_cores
from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress
from crossdraft.decoding.event_words import EventWords, silent, ways_of
from crossdraft.decoding.following import Following
from crossdraft.decoding.generation import Generation, ignore
from crossdraft.decoding.last_picture import LastPicture
from crossdraft.decoding.loop import ALL_PASSES, Drafting, OnTokens, Passes, decode
from crossdraft.decoding.memory import Memory
from crossdraft.decoding.models import (
    Models,
    models_of,
    prompt_of,
    tokenizer_of,
)
from crossdraft.decoding.overlap import EventSide, OwnAnswer, Way
from crossdraft.decoding.overlap_choice import Unlearning, chosen_way
from crossdraft.decoding.rules import GREEDY, Rule
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.width import NOTHING, Auto, Fixed, Width, cost_of, cutting
from crossdraft.drafters.base import (
    FORCED_STATES,
    HEAD,
    OF_THE_EVENT_MODEL,
    Budget,
    Context,
    CostCurve,
    Drafter,
    flat_cost,
)
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.find import find_drafter
from crossdraft.drafters.trainable import Trainable
from crossdraft.drafters.two_phase import TwoPhaseDrafter
from crossdraft.vlm.cost_store import Note, measured
from crossdraft.vlm.live_head import head_of
from crossdraft.vlm.lm_head import LMHead
from crossdraft.vlm.model_spec import ROLES, Role
from crossdraft.vlm.pair import DRAFTING, ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.target import Target
from crossdraft.vlm.text_stream import TextStream

#: Widths that `auto` asks the cost of; a measurement of more is used where there is one.
_WIDTHS, _TAILS, _REPEATS = (1, 2, 4, 8, 16, 33), (7,), 5
#: Drafts of a pass where costs cannot be measured.
_FALLBACK = Budget.tree(8, 8)
#: What a drafter is asked for before the first answer.
_FIRST = Budget.tree(8, 4)

Overlap = Way | EventSide | Literal["auto"] | None


class Speculator:
    """Answers questions about scenes, drafting.

    Args:
        models: a pair's file or name, a pair, its loaded models, or a target alone.
        drafter: a registered name, several joined by `+`, a checkpoint, or a drafter. None: what
            the pair drafts with, `suffix` where no pair is known.
        width: how much may be drafted: a `Budget` always, or as much as pays by the target's
            measured costs (the default; they are measured once, and kept).
        rule: what of a draft is taken.
        memory: a file in which the drafter keeps what it learns of answers.
        overlap: how the event model works where the drafter reads its words: a `Way`, somebody who
            runs it, or `auto` for the fastest way, which is measured once and kept. None: `auto`,
            but models that were loaded elsewhere and share a CPU take turns.
        passes: which forwards may verify drafts.
        follows: whether the event model reads the target's words where the drafter needs its states
            over them. It stops its own answer for that, when it is first asked.
        cost: T(n)/T(1) of the target where it is known; it is not measured then.
        note: is told where measured costs come from.

    Raises:
        InputError: no such pair or drafter, a drafter that must be trained first, or a memory that
            cannot be read.
    """

    def __init__(
        self,
        models: str | Path | ModelPair | Models | Target,
        drafter: str | Path | Drafter | None = None,
        *,
        width: Budget | Width | None = None,
        rule: Rule = GREEDY,
        memory: Path | None = None,
        overlap: Overlap = None,
        passes: Passes = ALL_PASSES,
        follows: bool = True,
        cost: CostCurve | None = None,
        note: Note = lambda _: None,
    ) -> None:
        if isinstance(models, (str, Path)):
            models = ModelPair.find(str(models))
        self.drafter = drafter_of(models, drafter)
        self._follows = follows
        asked: tuple[Role, ...] = ROLES if self._reads_words else ("target",)
        self.models = models_of(models, asked)
        self._own_models = self.models is not models
        self.rule, self.passes, self._note = rule, passes, note
        self._asked_width = Fixed(width) if isinstance(width, Budget) else width
        self._width: Width | None = None
        self._cost: CostCurve = flat_cost if cost is None else cost
        self._known = cost is not None
        self._memory = None if memory is None else Memory(memory)
        if self._memory is not None:
            self._memory.recall(self.drafter)
        self._picture = LastPicture()
        #: How the event model works; None until it is decided.
        self.way: Way | None = Way("none") if not self._reads_words else _way(overlap)
        self._overlap = overlap
        made = overlap is None or overlap == "auto" or isinstance(overlap, Way)
        self.words = EventWords(self.models, None if made else cast(EventSide, overlap))
        if self.way is not None and self.way.mode == "process":
            self._refuse_in_turn()
            self.words.side(self.way)  # its model loads while the target does

    def ask(
        self,
        scene: Any,
        question: str | Sequence[int],
        *,
        max_new_tokens: int = 50,
        stop: str | Sequence[str] = (),
        on_tokens: OnTokens = ignore,
        events_of: Any | None = None,
    ) -> Generation:
        """Answer a question about a scene; the picture of the last scene is not read again.

        Args:
            scene: what the models' prompt builders take. Arrays are read anew every time, files
                when they were written since; other objects must not change between questions.
            question: text, or the target's prompt as ids with a single placeholder for the scene.
            stop: strings at which the answer ends, or one string.
            on_tokens: is called with each accepted run of tokens.
            events_of: what the event model sees instead of the scene, as a control does.

        Raises:
            InputError: the scene or the question cannot be read, not one token may be said, or the
                drafter needs an event model that there is not.
        """
        target = self.models.target
        tokenizer = tokenizer_of(target)
        text = None if tokenizer is None else TextStream(tokenizer).whole
        stopping = StopAt(target.eos_ids, max_new_tokens, stop, text)
        seen = scene if events_of is None else events_of
        way = self._settled(target, scene, seen, question, stopping)
        answer = self._answer(scene, seen, question, stopping, way, self.drafter, on_tokens)
        if self._memory is not None and not answer.lossy:
            self._memory.add(_as_text(question), answer.tokens)
        said = None
        if text is not None:
            said = text(answer.tokens)
            said = said[: stopping.stop_in(said)]
        return replace(answer, text=said)

    def prepare(
        self,
        scene: Any,
        question: str | Sequence[int],
        *,
        max_new_tokens: int = 50,
        events_of: Any | None = None,
    ) -> None:
        """All that the first answer would wait for otherwise: models loaded, costs measured, the
        way of the event model decided, its process ready. Later calls do nothing.

        Args:
            scene, question, max_new_tokens, events_of: as `ask`; what is measured, is measured on
                them.

        Raises:
            InputError: as `ask`.
        """
        target, seen = self.models.target, scene if events_of is None else events_of
        stopping = StopAt(target.eos_ids, max_new_tokens)
        way = self._settled(target, scene, seen, question, stopping)
        if way.mode != "none":
            self.words.prepare(way)

    def _settled(
        self,
        target: Target,
        scene: Any,
        seen: Any,
        question: str | Sequence[int],
        stopping: StopAt,
    ) -> Way:
        """Ready to answer, and the way in which the event model takes part."""
        self._prepare(target, scene, seen, question)
        if self.way is None:
            self.way = self._fastest(scene, seen, question, stopping)
        return self.way

    def _answer(
        self,
        scene: Any,
        seen: Any,
        question: str | Sequence[int],
        stopping: StopAt,
        way: Way,
        drafter: Drafter,
        on_tokens: OnTokens = ignore,
    ) -> Generation:
        """One answer, the event model working this way."""
        target, spans = self.models.target, Spans()
        assert self._width is not None
        needs = drafter.needs if self._follows else drafter.needs - {FORCED_STATES}
        stream, own = self.words.begin(way, seen, question, stopping.most, spans.origin_ms, needs)
        follower = None
        if own is not None and FORCED_STATES in needs and stream.one_vocabulary:
            follower = Following(own.follow)
        try:
            prompt = prompt_of(target, scene, question)
            session = self._picture.session(target, scene, prompt, spans)
            answer = decode(
                session,
                prompt,
                Context(
                    _as_text(question), stream, self._cost, self._head, follower, prompt.question
                ),
                Drafting(drafter, self._width, target.may_draft, self.passes),
                stopping,
                self.rule,
                on_tokens if own is None or way.goes_on else _ending(own, on_tokens),
            )
        finally:
            if own is not None:
                own.end()
            if follower is not None:
                follower.close()
        if own is None:
            return answer
        return replace(
            answer,
            # Its own may still grow: nobody waits for the event model to stop.
            drafter_spans=Spans(own.spans.origin_ms, list(own.spans.spans)),
            drafter_arrival_ms=stream.arrival_ms,
            overlap=str(way),
            warnings=() if own.warning is None else (own.warning,),
        )

    def forget(self) -> None:
        """Forget the scene that was read last."""
        self._picture.forget()
        self.words.forget_scene()

    def close(self) -> None:
        """Write the memory, and forget scenes, and the models if they were loaded here.

        Raises:
            InputError: the memory cannot be written.
        """
        self._picture.forget()
        self.words.close()
        if self._own_models and isinstance(self.models, PairModels):
            self.models.close()
        if self._memory is not None:
            self._memory.save()

    def __enter__(self) -> Speculator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _reads_words(self) -> bool:
        """Whether the drafter reads the event model's words, or the states behind them."""
        return bool(OF_THE_EVENT_MODEL & self.drafter.needs)

    @cached_property
    def _head(self) -> LMHead | None:
        """The target's head, where the drafter reads it."""
        return head_of(self.models.target) if HEAD in self.drafter.needs else None

    @property
    def _measures(self) -> bool:
        """Whether the width depends on what passes cost."""
        return self._asked_width is None and self.drafter.name != "none"

    def _prepare(
        self, target: Target, scene: Any, seen: Any, question: str | Sequence[int]
    ) -> None:
        """Once, before the first answer: move networks to the target's device, make the drafter
        ready, and decide the width, for which the target is measured."""
        if self._width is not None:
            return
        if self._reads_words:
            self._refuse_in_turn()
        if self._measures:
            self._refuse_unreadable(target, scene, seen, question)
        for network in networks_of(self.drafter):
            network.to(target.device)
        if self._measures:
            self._width = self._auto() if self._known else self._measured(target)
        else:
            self._width = self._asked_width or Fixed(NOTHING)
        # Its first proposal may compile: not while an answer is waiting.
        asked = prompt_of(target, scene, question).question
        self.drafter.begin(
            Context(_as_text(question), silent(), self._cost, self._head, question_ids=asked)
        )
        self.drafter.propose((), _FIRST)

    def _refuse_unreadable(
        self, target: Target, scene: Any, seen: Any, question: str | Sequence[int]
    ) -> None:
        """Before anything is measured: each model can be asked, and the scene has what it reads."""
        prompt_of(target, scene, question).inputs()
        if self.way is None or self.way.mode in ("sequential", "thread"):
            prompt_of(self.models.drafter, seen, question).inputs()

    def _fastest(
        self, scene: Any, seen: Any, question: str | Sequence[int], stopping: StopAt
    ) -> Way:
        """The way that is kept for these models, else the fastest."""
        if self._overlap is None and not self._own_models:
            devices = {self.models.target.device.type, self.models.drafter.device.type}
            if devices == {"cpu"}:
                return Way("sequential")
        drafter = Unlearning(self.drafter)

        def total_ms(way: Way) -> float:
            self.words.wait_until_ready(way)
            self.forget()
            self._renew_width()  # a way in which drafts did not pay must not rest the next one's
            began_ms = now_ms()
            self._answer(scene, seen, question, stopping, way, drafter)
            return now_ms() - began_ms

        ways = ways_of(self.models, usable_cores())
        best = chosen_way(self.models, self.drafter, ways, total_ms, self._note)
        self._renew_width()
        self.words.keep(best)
        self.words.wait_until_ready(best)
        return best

    def _renew_width(self) -> None:
        """Forget what the width has learned of answers that were given to measure."""
        if self._asked_width is None and isinstance(self._width, Auto):
            self._width = Auto(self._cost, stops=self.drafter.stops)

    def _measured(self, target: Target) -> Width:
        """As much as pays by the target's costs, kept or measured now."""
        told: list[Progress] = []

        def progress(event: Progress) -> None:
            if not told:
                self._note("measuring what a pass costs, once for this model and device")
            told.append(event)

        try:
            curves = measured(
                target,
                widths=_WIDTHS,
                tail_widths=_TAILS,
                repeats=_REPEATS,
                note=self._note,
                progress=progress,
            )
        except InputError as error:
            self._note(f"not measured, {_FALLBACK.nodes} drafts a pass: {error.found}")
            return Fixed(_FALLBACK)
        self._cost = cost_of(curves)
        return self._auto()

    def _auto(self) -> Width:
        """As much as pays by the costs that are known now."""
        self.drafter = cutting(self.drafter)
        return Auto(self._cost, stops=self.drafter.stops)

    def _refuse_in_turn(self) -> None:
        pair = getattr(self.models, "pair", None)
        if pair is not None and pair.load == "in_turn":
            raise InputError(
                f"drafter {self.drafter.name} reads the event model's words, and the pair holds "
                "one model at a time",
                where="load",
                expected="together",
                hint="--set load=together, or a drafter that reads the target's words alone",
            )


def drafter_of(
    models: ModelPair | Models | Target, drafter: str | Path | Drafter | None
) -> Drafter:
    """What was asked for; where nothing was, what the pair drafts with.

    Raises:
        InputError: no such drafter, or one that must be trained first.
    """
    if isinstance(drafter, Drafter):
        return drafter
    pair = models if isinstance(models, ModelPair) else getattr(models, "pair", None)
    drafting = pair.drafting if isinstance(pair, ModelPair) else DRAFTING
    if drafter is None and isinstance(pair, ModelPair):
        pair.target.place("target")  # what is missing first is the model, not what drafts for it
    return find_drafter(drafting if drafter is None else str(drafter), drafting)


def networks_of(drafter: Drafter) -> list[nn.Module]:
    """The networks of a drafter and of its parts."""
    if isinstance(drafter, EnsembleDrafter):
        return [network for part in drafter.parts for network in networks_of(part)]
    if isinstance(drafter, TwoPhaseDrafter):
        return [network for part in drafter.phases for network in networks_of(part)]
    return [drafter.network] if isinstance(drafter, Trainable) else []


def _way(overlap: Overlap) -> Way | None:
    """The way that was asked for, None where the fastest was."""
    if overlap is None or overlap == "auto":
        return None
    return overlap if isinstance(overlap, Way) else Way(overlap.mode)


def _ending(own: OwnAnswer, on_tokens: OnTokens) -> OnTokens:
    """Ends the event model's answer as the target's first tokens are there."""

    def first(tokens: Sequence[int]) -> None:
        own.end()
        on_tokens(tokens)

    return first


def _as_text(question: str | Sequence[int]) -> str:
    """What drafters know a question by."""
    return question if isinstance(question, str) else " ".join(map(str, question))
