"""The runs behind `crossdraft verify`: one target at one scene, its plain answers, and answers with
drafts that are held against them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch

from crossdraft.base.clock import Spans
from crossdraft.bench.adversaries import Adversary, Knowledge
from crossdraft.bench.checks.case import joined
from crossdraft.bench.checks.reference import Noise, largest_difference
from crossdraft.bench.divergence import Asked, Divergence, Watched
from crossdraft.bench.lossless_lines import Compared, Difference, Plain, Told
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.rules import Rule
from crossdraft.decoding.speculator import tokenizer_of
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Width
from crossdraft.drafters.base import Drafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session
from crossdraft.vlm.target import Target

#: Makes a width for one answer.
MakeWidth = Callable[[], Width]
#: How sessions come about.
FRESH, FORK = "a picture read anew", "a fork of a picture that other questions were asked about"
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
    ) -> None:
        self.target, self.questions, self.streams, self.most = target, questions, streams, most
        self.tokenizer = tokenizer_of(target)
        prompts = [target.prompt(scene, question) for question in questions]
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
            best = watched.logits.topk(2).values.double()
            margins.append(float((best[:, 0] - best[:, 1]).min()))
        self._noise = self._noise or self._measured()
        answers = tuple(answer.tokens for answer, _ in self._plain)
        precision = str(self.target.dtype).removeprefix("torch.")
        margin = min(margins) if rule.name == "greedy" else None
        return Plain(rule.name, answers, precision, margin, self._noise.measured)

    def compared(
        self, drafter: Drafter | type[Adversary], rule: Rule, widths: Mapping[str, MakeWidth]
    ) -> Compared:
        """One drafter over all questions and widths; ends at the first difference."""
        runs = tokens = passes = drawn = 0
        difference = None
        for number, (name, width), session in self._ways(drafter, widths):
            one = self._drafter(drafter, number)
            divergence = self._run(one, number, width(), session, rule)
            answer = divergence.drafted
            if rule.name != "greedy" and any(p.tree.q_rows is not None for p in answer.passes):
                drawn += 1
                continue
            if (answer.tokens, answer.end) != (divergence.plain, self._end(one, divergence.plain)):
                difference = self._told(divergence, number, one, name, session)
                break
            runs, tokens = runs + 1, tokens + len(answer.tokens)
            passes += len(answer.passes)
        ours = not isinstance(drafter, Drafter)
        return Compared(drafter.name, rule.name, ours, runs, tokens, passes, drawn, difference)

    def _ways(
        self, drafter: Drafter | type[Adversary], widths: Mapping[str, MakeWidth]
    ) -> Iterator[tuple[int, tuple[str, MakeWidth], str]]:
        """Number of the question, name and maker of the width, how the session comes about."""
        items = list(widths.items())
        if not isinstance(drafter, Drafter) and drafter.one_width:
            items = items[-1:]
        for number in range(len(self.questions)):
            for item in items:
                for session in (FORK, FRESH):
                    yield number, item, session

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
    ) -> Divergence:
        """One answer with drafts, beside the plain one."""
        asked = self._asked(number, session, drafter)
        watched = Watched(rule)
        answer = asked.answered(self.target, watched, drafter, width)
        plain, rows = self._plain[number]
        expected = drafter.expected if isinstance(drafter, Adversary) else plain.tokens
        assert self._noise is not None
        return Divergence(asked, expected, answer, rows, watched.logits, rule, self._noise)

    def _end(self, drafter: Drafter, expected: Sequence[int]) -> str:
        """Why plain decoding ends where this drafter's answer has to."""
        ends = drafter.eos_ids if isinstance(drafter, Adversary) else self.target.eos_ids
        return "eos" if expected[-1] in ends else "length"

    def _told(
        self, divergence: Divergence, number: int, drafter: Drafter, width: str, session: str
    ) -> Difference:
        """A difference, judged."""
        place, noise = divergence.place, divergence.noise
        self._picture = None  # its memory may be needed
        verdict, why = divergence.judged(self.target)
        self._picture = None  # read in float64
        return Difference(
            self.questions[number], number + 1, drafter.name, divergence.rule.name, width, session,
            place, self._token(divergence.plain, place),
            self._token(divergence.drafted.tokens, place),
            (self._end(drafter, divergence.plain), divergence.drafted.end),
            divergence.margin, divergence.apart, noise.measured, verdict, why,
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
        forked = partial(self._forked, self._other(number))
        return Asked(
            self.questions[number], prompt, self.streams[number], stopping,
            forked if session == FORK else opened, opened,
        )  # fmt: skip

    def _other(self, number: int) -> Prompt:
        return self.prompts[(number + 1) % len(self.prompts)]

    def _forked(self, other: Prompt) -> Session:
        """A fork of a picture whose own session was asked another question, as was a fork of it."""
        if self._picture is None:
            self._picture = self.target.open(other)
            self._picture.ask(other)
            self._picture.fork(Spans()).ask(other)
        return self._picture.fork(Spans())

    def _measured(self) -> Noise:
        """The noise of the target's number format, over the plain answers."""
        apart = scale = 0.0
        for prompt, (answer, rows) in zip(self.prompts, self._plain, strict=True):
            scale = max(scale, float(rows.abs().max()))
            for width in _BLOCKS:
                apart = max(apart, largest_difference(self._read(prompt, answer, width), rows))
        model: Any = self.target.model
        # In float64 too: the norms of transformers round to float32.
        eps = max(torch.finfo(rows.dtype).eps, torch.finfo(torch.float32).eps)
        if getattr(model, "is_quantized", False):
            eps = max(eps, torch.finfo(torch.bfloat16).eps)
        coupled = bool(getattr(model, "is_loaded_in_8bit", False))
        return Noise(apart, scale, eps, coupled)

    def _read(self, prompt: Prompt, answer: Generation, width: int) -> torch.Tensor:
        """[tokens, vocab] of passes over so many tokens of a plain answer."""
        session = self.target.open(prompt)
        steps, fed = [session.ask(prompt)], answer.tokens[:-1]
        steps += [session.read(fed[at : at + width]) for at in range(0, len(fed), width)]
        return joined(steps).logits
