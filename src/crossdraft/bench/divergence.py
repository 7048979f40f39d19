"""The first token at which drafting changed an answer, and whether rounding did it.

Rounding is what disappears in float64 and was no larger than the noise of the model's own number
format. What stays in float64 is a fault; where neither can be shown, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from crossdraft.base.errors import gist
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.bench.checks.noise import explained
from crossdraft.bench.checks.reference import Noise
from crossdraft.bench.float64 import in_float64, obstacle
from crossdraft.bench.lossless_lines import Verdict
from crossdraft.decoding.generation import Generation, Pass, ignore
from crossdraft.decoding.loop import Drafting, decode
from crossdraft.decoding.rules import Rule
from crossdraft.decoding.stopping import End, StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import NOTHING, Fixed, Width
from crossdraft.drafters.base import Budget, Context, Drafter, StateFollower
from crossdraft.drafters.none import NoDrafter
from crossdraft.pairs.record import Head
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session, Step
from crossdraft.vlm.target import Target

#: No limit but the one of the loop.
_ANY = Fixed(Budget(1 << 20, 1 << 20, 1 << 20))
_EMPTY = DraftTree.empty()


class Ended(NamedTuple):
    """Tokens of an answer, and why it ends with them."""

    tokens: tuple[int, ...]
    end: End


def ended(answer: Sequence[int], eos_ids: frozenset[int], most: int) -> Ended:
    """Where an answer has to end. Says it anew: `StopAt` is among what is examined."""
    for count, token in enumerate(answer[:most], 1):
        if token in eos_ids:
            return Ended(tuple(answer[:count]), "eos")
    return Ended(tuple(answer[:most]), "length")


class Watched:
    """A rule, and what it was told.

    Attributes:
        rows: one for each pass, [accepted + 1, vocab]: the logits that each of its tokens was
            decided by.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.name, self.lossy = rule.name, rule.lossy
        self.rows: list[Tensor] = []

    def __call__(self, step: Step, tree: DraftTree, answer: Sequence[int]) -> Verification:
        verdict = self.rule(step, tree, answer)
        self.rows.append(step.logits[[0, *(node + 1 for node in verdict.path)]])
        return verdict

    @property
    def logits(self) -> Tensor:
        """[tokens or one more, vocab]: row t decided token t."""
        return torch.cat(self.rows)


@dataclass(frozen=True, eq=False)
class Asked:
    """One question, and how a session for it comes about.

    Attributes:
        text: the question.
        prompt: of it.
        stream: the event model's own words where a drafter reads them.
        stopping: where its answer ends.
        session: a fresh one, in the way that is compared.
        plain: a fresh one, opened for this question alone.
        beside: what another fork of the picture answers in turn with this; None for nobody.
        head: the target's, where a drafter reads it.
        follower: the event model on the target's words, where a drafter reads its states.
    """

    text: str
    prompt: Prompt
    stream: AnswerStream
    stopping: StopAt
    session: Callable[[], Session]
    plain: Callable[[], Session]
    beside: Beside | None = None
    head: Head | None = None
    follower: StateFollower | None = None

    def answered(
        self, target: Target, rule: Rule, drafter: Drafter, width: Width
    ) -> tuple[Generation, Sibling | None]:
        """By the loop, through the session that is compared; and what was answered in turn."""
        context = Context(
            self.text,
            self.stream,
            head=self.head,
            follower=self.follower,
            question_ids=self.prompt.question,
        )
        drafting = Drafting(drafter, width, target.may_draft)
        sibling = self.sibling(rule)
        answer = decode(
            self.session(), self.prompt, context, drafting, self.stopping, rule,
            ignore if sibling is None else sibling.go_on,
        )  # fmt: skip
        if sibling is not None:
            sibling.finish()
        return answer, sibling

    def sibling(self, rule: Rule) -> Sibling | None:
        """The other answer, half of it said."""
        if self.beside is None:
            return None
        sibling = Sibling(self.beside.asked, rule)
        for _ in self.beside.plain[1 : len(self.beside.plain) // 2]:
            sibling.go_on()
        return sibling

    def answered_plainly(self, target: Target, rule: Rule) -> Generation:
        """By the loop without drafts."""
        context = Context(self.text, self.stream)
        drafting = Drafting(NoDrafter(), Fixed(NOTHING), target.may_draft)
        return decode(self.plain(), self.prompt, context, drafting, self.stopping, rule)


@dataclass(frozen=True, eq=False)
class Beside:
    """A question for another fork of the picture.

    Attributes:
        asked: the question.
        plain: its answer by plain decoding.
    """

    asked: Asked
    plain: tuple[int, ...]


class Sibling:
    """A plain answer from a fork that takes turns with one that drafts, so that rows which either
    writes where the other reads are seen in an answer."""

    def __init__(self, asked: Asked, rule: Rule) -> None:
        self.asked, self.watched = asked, Watched(rule)
        self._said: list[int] = []
        self._end: End | None = None
        self._session = asked.session()
        self._decide(self._session.ask(asked.prompt))

    def go_on(self, _: Sequence[int] = ()) -> None:
        """Say one more token, if any is left."""
        if self._end is None:
            self._decide(self._session.extend(self._said[-1]))

    def finish(self) -> None:
        """Say all the others."""
        while self._end is None:
            self.go_on()

    def answer(self) -> Generation:
        """What was said. Nobody took its times."""
        prompt, rule, count = self.asked.prompt, self.watched, len(self._said)
        return Generation(
            tuple(self._said), self._end or "length", None, prompt.hash, len(prompt.ids),
            (0.0,) * count, (Pass(_EMPTY, (), 1),) * count, rule.name, rule.lossy,
            self._session.spans,
        )  # fmt: skip

    def _decide(self, step: Step) -> None:
        token = self.watched(step, _EMPTY, self._said).token
        assert token is not None  # no node can end this answer
        _, self._end = self.asked.stopping.cut(self._said, [token])
        self._said.append(token)
        if self._session.room == 0:
            self._end = self._end or "length"


@dataclass(frozen=True, eq=False)
class Divergence:
    """Two answers to one question that may differ.

    Attributes:
        asked: the question.
        plain, drafted: the answers; `plain` up to where this question's answer has to end.
        plain_end: why it has to end there.
        plain_rows, drafted_rows: [tokens or more, vocab] the logits that decided them.
        rule: that decided.
        noise: of the model.
    """

    asked: Asked
    plain: tuple[int, ...]
    plain_end: End
    drafted: Generation
    plain_rows: Tensor
    drafted_rows: Tensor
    rule: Rule
    noise: Noise

    @property
    def differs(self) -> bool:
        """Whether it is another answer, or the same that ends for another reason."""
        return (self.drafted.tokens, self.drafted.end) != (self.plain, self.plain_end)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that a session holds, drafts among them."""
        tokens = len(self.asked.prompt.ids) + self.asked.stopping.most
        return tokens + max(len(one.tree) for one in self.drafted.passes)

    @property
    def place(self) -> int:
        """Of the first token that differs."""
        return first_difference(self.plain, self.drafted.tokens)

    @property
    def margin(self) -> float | None:
        """See `Difference.margin`."""
        place, drafted = self.place, self.drafted.tokens
        if place >= min(len(self.plain), len(drafted)):
            return None
        row = self.plain_rows[place]
        return float(row[self.plain[place]] - row[drafted[place]])

    @property
    def apart(self) -> float | None:
        """See `Difference.apart`."""
        place = self.place
        if place >= min(len(self.plain_rows), len(self.drafted_rows)):
            return None
        return _apart(self.plain_rows[place], self.drafted_rows[place])

    def judged(self, target: Target) -> tuple[Verdict, str]:
        """Whether it stays in float64. The model is as it was afterwards."""
        why = obstacle(target.model, self.longest)
        if why is not None:
            return "unknown", f"it was not tried in float64: {why}"
        try:
            with in_float64(target.model):
                stays = self._stays(target)
        except Exception as error:  # out of memory, a kernel that has no float64
            return "unknown", f"float64 failed: {type(error).__name__}: {gist(error)}"
        if stays is not None:
            return "real", f"it stays in float64: {stays}"
        if not self._explained():
            return "unknown", (
                "it does not happen again in float64, but is more than rounding explains: does it "
                "depend on what ran before?"
            )
        return "rounding", "it vanishes in float64, and is no larger than rounding makes it"

    def _explained(self) -> bool:
        """Whether the noise of the model's own number format can be all there is."""
        if self.margin is None or self.apart is None:
            return False
        # What is drawn turns at borders between probabilities, wherever the two logits lie.
        flip = self.margin if self.rule.name == "greedy" else 0.0
        return explained(self.noise, flip, self.apart)

    def _stays(self, target: Target) -> str | None:
        """What is still wrong in float64 with the same drafts; None where all is right."""
        plain = self.asked.answered_plainly(target, self.rule)
        drafted, _ = self.asked.answered(target, self.rule, _Again(self.drafted), _ANY)
        if said := self._unlike(plain, drafted):
            return said
        # In float64 the answer may take another way before it comes to this place.
        expected, found = self._plain_row(), self._drafted_row()
        return None if found is None else _far(expected, found)

    def _unlike(self, plain: Generation, found: Generation) -> str | None:
        """How a repeated answer differs from what it has to be, if it does. Where plain decoding
        goes on behind the end, so may the other, and both are wrong."""
        stopping = self.asked.stopping
        must = ended(plain.tokens, stopping.eos_ids, stopping.most)
        if must.tokens != found.tokens:
            return f"the answers differ from token {first_difference(must.tokens, found.tokens)} on"
        if must.end != found.end:
            return f"the answers end by {must.end} and by {found.end}"
        return None

    def _plain_row(self) -> Tensor:
        """[vocab] behind the tokens that both answers share, in passes of one."""
        session = self.asked.plain()
        step = session.ask(self.asked.prompt)
        for token in self.plain[: self.place]:
            step = session.extend(token)
        return step.logits[0]

    def _drafted_row(self) -> Tensor | None:
        """[vocab] at the same place, in the passes of the drafted answer; None where it ended."""
        sibling = self.asked.sibling(self.rule)
        session, said = self.asked.session(), 0
        for one in self.drafted.passes:
            step = (
                session.ask(self.asked.prompt, one.tree)
                if said == 0
                else session.extend(self.drafted.tokens[said - 1], one.tree)
            )
            if said + len(one.path) >= self.place:
                return step.kept(one.path).logits[self.place - said]
            if len(one.tree):
                session.keep(one.path)
            said += one.emitted
            if sibling is not None:
                sibling.go_on()
        return None


@dataclass(frozen=True, eq=False)
class SiblingDivergence(Divergence):
    """The answer of a `Sibling` and the plain one, which may differ.

    Attributes:
        other: the answer that it took turns with.
    """

    other: Divergence

    @property
    def longest(self) -> int:
        """See `Divergence.longest`."""
        return max(super().longest, self.other.longest)

    def _stays(self, target: Target) -> str | None:
        watched = Watched(self.rule)
        plain = self.asked.answered_plainly(target, watched)
        again = _Again(self.other.drafted)
        _, sibling = self.other.asked.answered(target, self.rule, again, _ANY)
        assert sibling is not None
        # Equal tokens came of the same passes, so every row can be compared.
        return self._unlike(plain, sibling.answer()) or _far(watched.logits, sibling.watched.logits)


class _Again(Drafter):
    """Proposes what was proposed before, behind the same tokens."""

    name = "again"

    def __init__(self, answer: Generation) -> None:
        self._trees: dict[tuple[int, ...], DraftTree] = {}
        said = 0
        for one in answer.passes:
            self._trees[answer.tokens[:said]] = one.tree
            said += one.emitted

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return self._trees.get(tuple(prefix), DraftTree.empty())


def first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    """Place of the first token that differs; where all agree, the shorter length."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _far(expected: Tensor, found: Tensor) -> str | None:
    """What is said of rows in float64 that no rounding brings so far apart; None of others."""
    limit = Noise(0.0, float(expected.abs().max()), torch.finfo(torch.float32).eps).limit
    apart = _apart(expected, found)
    return f"the rows of logits lie {apart:.3g} apart" if not apart <= limit else None


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max())
