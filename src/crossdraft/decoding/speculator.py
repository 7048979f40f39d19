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
from typing import Any, Protocol

from torch import nn

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress
from crossdraft.decoding.generation import Generation, ignore
from crossdraft.decoding.last_picture import LastPicture
from crossdraft.decoding.loop import Drafting, OnTokens, decode
from crossdraft.decoding.memory import Memory
from crossdraft.decoding.rules import GREEDY, Rule
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import NOTHING, Auto, Fixed, Width, cost_of, cutting
from crossdraft.drafters.base import Budget, Context, CostCurve, Drafter, flat_cost
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.find import find_drafter
from crossdraft.drafters.trainable import Trainable
from crossdraft.vlm.cost_store import Note, measured
from crossdraft.vlm.drafting import own_answer
from crossdraft.vlm.model_spec import ROLES, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from crossdraft.vlm.text_stream import TextStream
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge

#: What reading the event model's own words is called among a drafter's needs.
DRAFT_TOKENS = "draft_tokens"
#: Widths that `auto` asks the cost of; a measurement of more is used where there is one.
_WIDTHS, _TAILS, _REPEATS = (1, 2, 4, 8, 16, 33), (7,), 5
#: Drafts of a pass where costs cannot be measured.
_FALLBACK = Budget.tree(8, 8)
#: What a drafter is asked for before the first answer.
_FIRST = Budget.tree(8, 4)


class Models(Protocol):
    """A target, and the event model beside it."""

    @property
    def target(self) -> Target:
        """The model that verifies."""
        ...

    @property
    def drafter(self) -> Target:
        """The event model."""
        ...


class _TargetAlone:
    """A target without an event model."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def drafter(self) -> Target:
        raise InputError(
            "a drafter that reads an event model's words, and a target alone",
            expected="a pair of models",
            hint="name a pair, or a drafter that reads the target's own words, such as suffix",
        )


class Speculator:
    """Answers questions about scenes, drafting.

    Args:
        models: a pair's file or name, a pair, its loaded models, or a target alone.
        drafter: a registered name, several joined by `+`, a checkpoint, or a drafter.
        width: how much may be drafted: a `Budget` always, or as much as pays by the target's
            measured costs (the default; they are measured once, and kept).
        rule: what of a draft is taken.
        memory: a file in which the drafter keeps what it learns of answers.
        note: is told where measured costs come from.

    Raises:
        InputError: no such pair or drafter, a drafter that must be trained first, or a memory that
            cannot be read.
    """

    def __init__(
        self,
        models: str | Path | ModelPair | Models | Target,
        drafter: str | Path | Drafter = "suffix",
        *,
        width: Budget | Width | None = None,
        rule: Rule = GREEDY,
        memory: Path | None = None,
        note: Note = lambda _: None,
    ) -> None:
        self.drafter = drafter if isinstance(drafter, Drafter) else find_drafter(str(drafter))
        asked: tuple[Role, ...] = ROLES if DRAFT_TOKENS in self.drafter.needs else ("target",)
        self.models = _models(models, asked)
        self._own_models = self.models is not models
        self.rule, self._note = rule, note
        self._asked_width = Fixed(width) if isinstance(width, Budget) else width
        self._width: Width | None = None
        self._cost: CostCurve = flat_cost
        self._memory = None if memory is None else Memory(memory)
        if self._memory is not None:
            self._memory.recall(self.drafter)
        self._pictures = {role: LastPicture() for role in ROLES}

    def ask(
        self,
        scene: Any,
        question: str | Sequence[int],
        *,
        max_new_tokens: int = 50,
        stop: str | Sequence[str] = (),
        on_tokens: OnTokens = ignore,
    ) -> Generation:
        """Answer a question about a scene; the picture of the last scene is not read again.

        Args:
            scene: what the models' prompt builders take. Arrays are read anew every time, files
                when they were written since; other objects must not change between questions.
            question: text, or the target's prompt as ids with a single placeholder for the scene.
            stop: strings at which the answer ends, or one string.
            on_tokens: is called with each accepted run of tokens.

        Raises:
            InputError: the scene or the question cannot be read, not one token may be said, or the
                drafter needs an event model that there is not.
        """
        target = self.models.target
        tokenizer = tokenizer_of(target)
        text = None if tokenizer is None else TextStream(tokenizer).whole
        stopping = StopAt(target.eos_ids, max_new_tokens, stop, text)
        asked = question if isinstance(question, str) else " ".join(map(str, question))
        if self._width is None:
            if self._measures:
                self._refuse_unreadable(scene, question)
            self._prepare(target, asked)
        assert self._width is not None
        spans = Spans()
        stream, drafter_spans = self._own_words(scene, question, max_new_tokens, spans.origin_ms)
        prompt = prompt_of(target, scene, question)
        session = self._pictures["target"].session(target, scene, prompt, spans)
        answer = decode(
            session,
            prompt,
            Context(asked, stream, self._cost),
            Drafting(self.drafter, self._width, target.may_draft),
            stopping,
            self.rule,
            on_tokens,
        )
        if self._memory is not None and not answer.lossy:
            self._memory.add(asked, answer.tokens)
        said = None
        if text is not None:
            said = text(answer.tokens)
            said = said[: stopping.stop_in(said)]
        return replace(answer, text=said, drafter_spans=drafter_spans)

    def close(self) -> None:
        """Write the memory, and forget scenes, and the models if they were loaded here.

        Raises:
            InputError: the memory cannot be written.
        """
        for picture in self._pictures.values():
            picture.forget()
        if self._own_models and isinstance(self.models, PairModels):
            self.models.close()
        if self._memory is not None:
            self._memory.save()

    def __enter__(self) -> Speculator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _measures(self) -> bool:
        """Whether the width depends on what passes cost."""
        return self._asked_width is None and self.drafter.name != "none"

    def _refuse_unreadable(self, scene: Any, question: str | Sequence[int]) -> None:
        """Before anything is measured: each model can be asked, and the scene has what it reads."""
        models = [self.models.target]
        if DRAFT_TOKENS in self.drafter.needs:
            self._refuse_in_turn()
            models.append(self.models.drafter)
        for model in models:
            prompt_of(model, scene, question).inputs()

    def _prepare(self, target: Target, question: str) -> None:
        """Move networks to the target's device, make the drafter ready, and decide the width, for
        which the target is measured."""
        for network in networks_of(self.drafter):
            network.to(target.device)
        if self._measures:
            self._width = self._measured(target)
        else:
            self._width = self._asked_width or Fixed(NOTHING)
        # Its first proposal may compile: not while an answer is waiting.
        stream = AnswerStream()
        stream.close()
        self.drafter.begin(Context(question, stream, self._cost))
        self.drafter.propose((), _FIRST)

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
        self.drafter = cutting(self.drafter)
        return Auto(self._cost)

    def _own_words(
        self, scene: Any, question: str | Sequence[int], most: int, origin_ms: float
    ) -> tuple[AnswerStream, Spans | None]:
        """The event model's own answer where the drafter reads it. It is complete before the
        target begins, and its time counts."""
        if DRAFT_TOKENS not in self.drafter.needs:
            stream = AnswerStream()
            stream.close()
            return stream, None
        self._refuse_in_turn()
        model, spans = self.models.drafter, Spans(origin_ms)
        stream = AnswerStream(self._bridge)
        prompt = prompt_of(model, scene, question)
        session = self._pictures["drafter"].session(model, scene, prompt, spans)
        for arrival in own_answer(session, prompt, most, model.eos_ids, origin_ms=origin_ms):
            stream.append((arrival.token,))
        stream.close()
        return stream, spans

    @cached_property
    def _bridge(self) -> TokenizerBridge | None:
        """From the event model's tokens to the target's."""
        source = self.models.drafter
        return bridge_to(self.models.target, tokenizer_of(source), source.decoder.vocabulary)

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


def networks_of(drafter: Drafter) -> list[nn.Module]:
    """The networks of a drafter and of its parts."""
    if isinstance(drafter, EnsembleDrafter):
        return [network for part in drafter.parts for network in networks_of(part)]
    return [drafter.network] if isinstance(drafter, Trainable) else []


def tokenizer_of(model: Target) -> Any | None:
    """The tokenizer that builds a model's prompts, None where it has none."""
    return getattr(model.prompts, "tokenizer", None)


def bridge_to(target: Target, tokenizer: Any | None, vocabulary: int) -> TokenizerBridge | None:
    """From the tokens of an event model to the target's; None where one of the two has no
    tokenizer, and ids are taken to mean the same.

    Args:
        tokenizer, vocabulary: of the event model, and how many ids it has.
    """
    theirs = tokenizer_of(target)
    if tokenizer is None or theirs is None:
        return None
    return TokenizerBridge(
        tokenizer, theirs, source_vocab=vocabulary, target_vocab=target.decoder.vocabulary
    )


def prompt_of(model: Target, scene: Any, question: str | Sequence[int]) -> Prompt:
    """The prompt of a question, or of ids where a model takes those.

    Raises:
        InputError: the model takes text alone.
    """
    if isinstance(question, str):
        return model.prompt(scene, question)
    of_ids = getattr(model.prompts, "of_ids", None)
    if of_ids is None:
        raise InputError(
            f"ids in place of a question, and {type(model.model).__name__} takes text",
            expected="a question",
        )
    prompt: Prompt = of_ids(scene, question)
    return prompt


def _models(models: str | Path | ModelPair | Models | Target, asked: Sequence[Role]) -> Models:
    """The models; of a pair, those of the roles that will be asked for."""
    if isinstance(models, Target):
        return _TargetAlone(models)
    if isinstance(models, (str, Path)):
        models = ModelPair.find(str(models))
    if isinstance(models, ModelPair):
        return PairModels(models, asked)
    return models
