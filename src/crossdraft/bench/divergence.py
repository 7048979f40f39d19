"""The first token at which drafting changed an answer, and whether rounding did it.

Rounding is what disappears in float64 and was no larger than the noise of the model's own number
format. What stays in float64 is a fault; where neither can be shown, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdraft.base.errors import gist
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.bench.checks.noise import explained
from crossdraft.bench.checks.reference import Noise
from crossdraft.bench.float64 import in_float64, obstacle
from crossdraft.bench.lossless_lines import Verdict
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.loop import Drafting, decode
from crossdraft.decoding.rules import Rule
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import NOTHING, Fixed, Width
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.none import NoDrafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session, Step
from crossdraft.vlm.target import Target

#: No limit but the one of the loop.
_ANY = Fixed(Budget(1 << 20, 1 << 20, 1 << 20))


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
    """

    text: str
    prompt: Prompt
    stream: AnswerStream
    stopping: StopAt
    session: Callable[[], Session]
    plain: Callable[[], Session]

    def answered(self, target: Target, rule: Rule, drafter: Drafter, width: Width) -> Generation:
        """By the loop, through the session that is compared."""
        context = Context(self.text, self.stream)
        drafting = Drafting(drafter, width, target.may_draft)
        return decode(self.session(), self.prompt, context, drafting, self.stopping, rule)

    def answered_plainly(self, target: Target, rule: Rule) -> Generation:
        """By the loop without drafts."""
        context = Context(self.text, self.stream)
        drafting = Drafting(NoDrafter(), Fixed(NOTHING), target.may_draft)
        return decode(self.plain(), self.prompt, context, drafting, self.stopping, rule)


@dataclass(frozen=True, eq=False)
class Divergence:
    """Two answers to one question that differ.

    Attributes:
        asked: the question.
        plain, drafted: the answers; `plain` up to where this question's answer ends.
        plain_rows, drafted_rows: [tokens or more, vocab] the logits that decided them.
        rule: that decided.
        noise: of the model.
    """

    asked: Asked
    plain: tuple[int, ...]
    drafted: Generation
    plain_rows: Tensor
    drafted_rows: Tensor
    rule: Rule
    noise: Noise

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
        tokens = len(self.asked.prompt.ids) + self.asked.stopping.most
        tokens += max(len(one.tree) for one in self.drafted.passes)
        why = obstacle(target.model, tokens)
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
        drafted = self.asked.answered(target, self.rule, _Again(self.drafted), _ANY)
        if plain.tokens != drafted.tokens or plain.end != drafted.end:
            place = first_difference(plain.tokens, drafted.tokens)
            return f"the answers differ from token {place} on"
        # In float64 the answer may take another way before it comes to this place.
        expected, found = self._plain_row(), self._drafted_row()
        if found is None:
            return None
        limit = Noise(0.0, float(expected.abs().max()), torch.finfo(torch.float32).eps).limit
        apart = _apart(expected, found)
        return f"the rows of logits lie {apart:.3g} apart" if not apart <= limit else None

    def _plain_row(self) -> Tensor:
        """[vocab] behind the tokens that both answers share, in passes of one."""
        session = self.asked.plain()
        step = session.ask(self.asked.prompt)
        for token in self.plain[: self.place]:
            step = session.extend(token)
        return step.logits[0]

    def _drafted_row(self) -> Tensor | None:
        """[vocab] at the same place, in the passes of the drafted answer; None where it ended."""
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
        return None


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


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max())
