"""The runs behind `crossdraft verify`: one target at one scene, its plain answers, and answers with
drafts that are held against them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError, gist
from crossdraft.bench.adversaries import Adversary, Knowledge
from crossdraft.bench.checks.case import joined
from crossdraft.bench.checks.reference import Noise, noise_of
from crossdraft.bench.divergence import (
    Asked,
    Beside,
    Divergence,
    Ended,
    SiblingDivergence,
    Watched,
    ended,
)
from crossdraft.bench.lossless_lines import Compared, Difference, Failure, Plain, Told
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.models import tokenizer_of
from crossdraft.decoding.rules import Rule
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Width
from crossdraft.drafters.base import Drafter, StateFollower
from crossdraft.pairs.record import Head
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session
from crossdraft.vlm.target import Target

#: Makes a width for one answer.
MakeWidth = Callable[[], Width]
#: How sessions come about.
FRESH, FORK = "a picture read anew", "a fork of a picture that other questions were asked about"
IN_TURN = "a fork of a picture, in turn with a fork that is asked another question"
#: Tokens of an answer that is given in turn with another; more would find no more.
_IN_TURN_MOST = 24
#: Tokens of the passes whose logits are compared with passes of one.
_BLOCKS = (2, 8, 32)


class Bench:
    """The target at one scene, its plain answers, and the runs that are compared with them."""

    def __init__(
        self,
        target: Target,
        scene: Any,
        questions: Sequence[str],
        streams: Sequence[AnswerStream],
        most: int,
        head: Head | None = None,
        followers: Sequence[StateFollower] = (),
    ) -> None:
        self.head, self.followers = head, followers
        self.target, self.most, self.count = target, most, len(questions)
        self.tokenizer = tokenizer_of(target)
        #: Those that are asked, and one more where forks would otherwise have but one to answer.
        self.questions: list[str] = [*questions]
        self.streams = [*streams]
        if len(set(questions)) == 1:
            other = (one.text for one in DEFAULT_QUESTIONS if one.text not in questions)
            self.questions.append(next(other))
            self.streams.append(AnswerStream(None))
        prompts = [target.prompt(scene, question) for question in self.questions]
        #: The scene is read from its files once for each, however often it is shown.
        self.prompts = [replace(prompt, inputs=cache(prompt.inputs)) for prompt in prompts]
        self._picture: Session | None = None
        self._noise: Noise | None = None
        #: Of the rule that is compared now: each answer, and [tokens, vocab] what decided it.
        self._plain: list[tuple[Generation, torch.Tensor]] = []

    def plain_answers(self, rule: Rule) -> Plain:
        """Answer every question without drafts; what is compared afterwards is compared to it."""
        self._plain, margins = [], []
        for number in range(len(self.questions)):
            watched = Watched(rule)
            answer = self._asked(number, FRESH).answered_plainly(self.target, watched)
            self._plain.append((answer, watched.logits))
            if number >= self.count:
                continue
            best = watched.logits.topk(2).values.double()
            margins.append(float((best[:, 0] - best[:, 1]).min()))
        self._noise = self._noise or self._measured()
        answers = tuple(answer.tokens for answer, _ in self._plain[: self.count])
        precision = str(self.target.dtype).removeprefix("torch.")
        margin = min(margins) if rule.name == "greedy" else None
        return Plain(rule.name, answers, precision, margin, self._noise.measured)

    def compared(
        self, drafter: Drafter | type[Adversary], rule: Rule, widths: Mapping[str, MakeWidth]
    ) -> Compared:
        """One drafter over all questions and widths; ends at the first difference or error."""
        runs = tokens = passes = siblings = drawn = 0
        difference = failure = None
        for number, (name, width), session in self._ways(drafter, widths):
            one = self._drafter(drafter, number)
            try:
                divergence, beside = self._run(one, number, width(), session, rule)
            except Exception as error:
                if _not_the_engine(error, one):
                    raise
                failure = self._failed(error, number, one, rule, name, session)
                break
            answer = divergence.drafted
            free = rule.name != "greedy" and any(p.tree.q_rows is not None for p in answer.passes)
            if found := next(
                (one for one in ([] if free else [divergence]) + beside if one.differs), None
            ):
                difference = self._told(found, one, name, session)
                break
            siblings += len(beside)
            if free:
                drawn += 1
                continue
            runs, tokens = runs + 1, tokens + len(answer.tokens)
            passes += len(answer.passes)
        ours = not isinstance(drafter, Drafter)
        return Compared(
            drafter.name, rule.name, ours, runs, tokens, passes, siblings, drawn, difference,
            failure,
        )  # fmt: skip

    def _ways(
        self, drafter: Drafter | type[Adversary], widths: Mapping[str, MakeWidth]
    ) -> Iterator[tuple[int, tuple[str, MakeWidth], str]]:
        """Number of the question, name and maker of the width, how the session comes about."""
        items = list(widths.items())
        if not isinstance(drafter, Drafter) and drafter.one_width:
            items = items[-1:]
        for number in range(self.count):
            for item in items:
                # One answer in turn with another costs two; the last width is the richest one.
                yield number, item, IN_TURN if item is items[-1] else FORK
                yield number, item, FRESH

    def _drafter(self, drafter: Drafter | type[Adversary], number: int) -> Drafter:
        """The drafter, or an adversary that knows the answer."""
        if isinstance(drafter, Drafter):
            return drafter
        target, answer = self.target, self._plain[number][0].tokens
        return drafter(
            Knowledge.of(
                answer, self.most, target.eos_ids, target.decoder.vocabulary, target.may_draft
            )
        )

    def _run(
        self, drafter: Drafter, number: int, width: Width, session: str, rule: Rule
    ) -> tuple[Divergence, list[Divergence]]:
        """One answer with drafts beside the plain one, and those that came in turn with it."""
        asked, watched = self._asked(number, session, drafter), Watched(rule)
        answer, sibling = asked.answered(self.target, watched, drafter, width)
        assert self._noise is not None
        divergence = Divergence(
            asked, *self._expected(number, asked.stopping), answer, self._plain[number][1],
            watched.logits, rule, self._noise,
        )  # fmt: skip
        if sibling is None:
            return divergence, []
        number, asked = self._other(number), sibling.asked
        beside = SiblingDivergence(
            asked, *self._expected(number, asked.stopping), sibling.answer(),
            self._plain[number][1], sibling.watched.logits, rule, self._noise, divergence,
        )  # fmt: skip
        return divergence, [beside]

    def _expected(self, number: int, stopping: StopAt) -> Ended:
        """What plain decoding says where an answer ends like this."""
        return ended(self._plain[number][0].tokens, stopping.eos_ids, stopping.most)

    def _told(
        self, divergence: Divergence, drafter: Drafter, width: str, session: str
    ) -> Difference:
        """A difference, judged."""
        place, noise, question = divergence.place, divergence.noise, divergence.asked.text
        self._picture = None  # its memory may be needed
        verdict, why = divergence.judged(self.target)
        self._picture = None  # read in float64
        return Difference(
            question, self.questions.index(question) + 1, drafter.name, divergence.rule.name,
            width, session, isinstance(divergence, SiblingDivergence),
            place, self._token(divergence.plain, place),
            self._token(divergence.drafted.tokens, place),
            (divergence.plain_end, divergence.drafted.end),
            divergence.margin, divergence.apart, noise.measured, verdict, why,
        )  # fmt: skip

    def _failed(
        self, error: Exception, number: int, drafter: Drafter, rule: Rule, width: str, session: str
    ) -> Failure:
        """An error in place of an answer."""
        raised = traceback.extract_tb(error.__traceback__)[-1]
        return Failure(
            self.questions[number], number + 1, drafter.name, rule.name, width, session,
            f"{type(error).__name__}: {gist(error)}",
            f"{Path(raised.filename).name}, line {raised.lineno}",
        )  # fmt: skip

    def _token(self, answer: Sequence[int], place: int) -> Told:
        if place >= len(answer):
            return Told(None, None)
        token = answer[place]
        piece = None if self.tokenizer is None else self.tokenizer.convert_ids_to_tokens(token)
        return Told(token, piece)

    def _asked(self, number: int, session: str, drafter: Drafter | None = None) -> Asked:
        """A question, as it is asked of this drafter."""
        prompt, target = self.prompts[number], self.target
        stopping = StopAt(target.eos_ids, self.most)
        if isinstance(drafter, Adversary):
            stopping = StopAt(drafter.eos_ids, drafter.most)
        opened = partial(target.open, prompt)
        forked = partial(self._forked, self.prompts[self._other(number)])
        return Asked(
            self.questions[number], prompt, self.streams[number], stopping,
            opened if session == FRESH else forked, opened,
            self._beside(self._other(number)) if session == IN_TURN else None,
            self.head, self.followers[number] if number < len(self.followers) else None,
        )  # fmt: skip

    def _beside(self, number: int) -> Beside:
        """A short answer to this question: half of it before, half of it in turn."""
        short = StopAt(self.target.eos_ids, min(self.most, _IN_TURN_MOST))
        asked = replace(self._asked(number, FORK), stopping=short)
        return Beside(asked, self._expected(number, short).tokens)

    def _other(self, number: int) -> int:
        """The next question that is another one."""
        asked = self.questions
        around = [*range(number + 1, len(asked)), *range(number)]
        place: int = next(place for place in around if asked[place] != asked[number])
        return place

    def _forked(self, other: Prompt) -> Session:
        """A fork of a picture whose own session was asked another question, as was a fork of it."""
        if self._picture is None:
            self._picture = self.target.open(other)
            self._picture.ask(other)
            self._picture.fork(Spans()).ask(other)
        return self._picture.fork(Spans())

    def _measured(self) -> Noise:
        """The noise of the target's number format, over the plain answers."""
        asked = zip(self.prompts[: self.count], self._plain, strict=False)
        found = [
            noise_of(self.target.model, self._read(prompt, answer, width), rows)
            for prompt, (answer, rows) in asked
            for width in _BLOCKS
        ]
        apart, scale = max(one.measured for one in found), max(one.scale for one in found)
        return replace(found[0], measured=apart, scale=scale)

    def _read(self, prompt: Prompt, answer: Generation, width: int) -> torch.Tensor:
        """[tokens, vocab] of passes over so many tokens of a plain answer."""
        session = self.target.open(prompt)
        steps, fed = [session.ask(prompt)], answer.tokens[:-1]
        steps += [session.read(fed[at : at + width]) for at in range(0, len(fed), width)]
        return joined(steps).logits


def _not_the_engine(error: Exception, drafter: Drafter) -> bool:
    """Whether an error says nothing of what is compared: too little memory, or a drafter that was
    asked for and cannot be used."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, InputError) and not isinstance(drafter, Adversary)
