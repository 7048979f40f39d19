"""What `crossdraft verify` says: the plain answers, then what came of each drafter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["rounding", "real", "unknown"]


@dataclass(frozen=True)
class Told:
    """One token of an answer; without an id the answer had ended."""

    id: int | None
    text: str | None

    def __str__(self) -> str:
        if self.id is None:
            return "nothing: the answer has ended"
        return str(self.id) if self.text is None else f"{self.id} {self.text!r}"


@dataclass(frozen=True)
class _Answer:
    """The answer that a line is about.

    Attributes:
        question: as asked.
        number: of the question, from 1.
        drafter, rule, width: what the answer was drafted with.
        session: how its session came about.
    """

    question: str
    number: int
    drafter: str
    rule: str
    width: str
    session: str

    @property
    def about(self) -> tuple[str, str]:
        """What a reader is told of it."""
        return (
            f"question {self.number}: {self.question}",
            f"{self.drafter}, {self.rule}, {self.width}, {self.session}",
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)


@dataclass(frozen=True)
class Difference(_Answer):
    """Where an answer is not the target's own.

    Attributes:
        sibling: whether the answer is a plain one, in turn with which others were drafted.
        place: of the first token that differs, from 0.
        expected, found: what plain decoding says there, and what drafting said.
        ends: why the two answers end.
        margin: by how much plain decoding's logit of the expected token is the larger one; None
            where one of the answers has ended.
        apart: largest difference of the two rows of logits; None where there is no such row.
        noise: largest difference that the width of a pass makes in this model.
        verdict: `rounding`, `real` or `unknown`.
        why: what the verdict is founded on.
    """

    sibling: bool
    place: int
    expected: Told
    found: Told
    ends: tuple[str, str]
    margin: float | None
    apart: float | None
    noise: float
    verdict: Verdict
    why: str

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader is told."""
        numbers = [
            f"{what} {value:.3g}"
            for what, value in (
                ("plain decoding's logits of the two lie apart by", self.margin),
                ("the rows of logits behind them by", self.apart),
            )
            if value is not None
        ]
        return (
            *self.about,
            f"token {self.place}: plain decoding says {self.expected}, "
            f"{'beside' if self.sibling else 'with'} drafts it is {self.found}{self._ended}",
            "; ".join([*numbers, f"wider passes differ by up to {self.noise:.3g}"]),
            f"{self.verdict}: {self.why}",
        )

    @property
    def _ended(self) -> str:
        plain, drafted = self.ends
        return "" if plain == drafted else f"; they end by {plain} and by {drafted}"


@dataclass(frozen=True)
class Failure(_Answer):
    """An answer that came to no end.

    Attributes:
        error: what was raised.
        where: file and line that raised it.
    """

    error: str
    where: str

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader is told."""
        return (*self.about, f"{self.error} ({self.where})")


@dataclass(frozen=True)
class Plain:
    """What the target says without drafts.

    Attributes:
        rule: name of the rule.
        answers: ids of each answer.
        precision: of the target's states.
        margin: smallest distance of the two largest logits behind a greedy token; else None.
        noise: largest difference of logits between passes of one token and wider ones.
    """

    rule: str
    answers: tuple[tuple[int, ...], ...]
    precision: str
    margin: float | None
    noise: float

    @property
    def text(self) -> str:
        """One line."""
        tokens = sum(map(len, self.answers))
        said = f"{_counted(len(self.answers), 'answer')}, {tokens:,} tokens in {self.precision}"
        if self.margin is not None:
            said += (
                f"; the two best logits lie at least {self.margin:.2g} apart, wider passes change "
                f"logits by up to {self.noise:.2g}"
            )
        return f"{self.rule:<9} {'plain decoding':<18} {said}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "rule": self.rule, "answers": [list(one) for one in self.answers],
            "precision": self.precision, "smallest_margin": self.margin, "noise": self.noise,
        }  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """What came of one drafter under one rule.

    Attributes:
        drafter: its name.
        rule: name of the rule.
        adversary: whether it is one of ours.
        runs: answers that were compared.
        tokens: of them.
        passes: that they took.
        siblings: plain answers from other forks in turn with them, compared too and not among
            `runs`.
        drawn: answers that were not compared, because drafts were drawn from a distribution:
            sampling from the target's distribution is all that is promised then.
        difference: the first one, None where there is none.
        failure: the answer that raised an error, None where none did.
    """

    drafter: str
    rule: str
    adversary: bool
    runs: int
    tokens: int
    passes: int
    siblings: int
    drawn: int
    difference: Difference | None
    failure: Failure | None = None

    @property
    def equal(self) -> bool:
        """Whether every answer that was compared is the target's own."""
        return self.difference is None and self.failure is None

    @property
    def tau(self) -> float | None:
        """Tokens per pass; None where nothing was compared."""
        return self.tokens / self.passes if self.passes else None

    @property
    def text(self) -> str:
        """One line, and what differs where something does."""
        said = f"{_counted(self.runs, 'answer')}, {self.tokens:,} tokens"
        said += " equal"
        if not self.equal:
            said += ", the next answer " + ("fails" if self.failure else "is not")
        if self.tau is not None:
            said += f", {self.tau:.2f} per pass"
        if self.drawn:
            said += f"; {self.drawn} not compared, their drafts are drawn"
        wrong = self.difference or self.failure
        lines = wrong.lines if wrong is not None else ()
        return "\n    ".join([f"{self.rule:<9} {self.drafter:<18} {said}", *lines])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "drafter": self.drafter, "rule": self.rule, "adversary": self.adversary,
            "runs": self.runs, "tokens": self.tokens, "passes": self.passes, "tau": self.tau,
            "siblings": self.siblings, "drawn": self.drawn,
            "difference": None if self.difference is None else self.difference.to_json(),
            "failure": None if self.failure is None else self.failure.to_json(),
        }  # fmt: skip


def summary(lines: Sequence[Plain | Compared]) -> str:
    """What it comes to."""
    compared = [line for line in lines if isinstance(line, Compared)]
    answers, tokens = sum(one.runs for one in compared), sum(one.tokens for one in compared)
    found = next((one.difference for one in compared if one.difference is not None), None)
    failed = next((one.failure for one in compared if one.failure is not None), None)
    if failed is not None:
        return f"not lossless (failed): question {failed.number}, {failed.error}"
    if found is not None:
        return f"not lossless ({found.verdict}): token {found.place} of question {found.number}"
    return f"lossless: {answers:,} answers, {tokens:,} tokens, every one the target's own"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
