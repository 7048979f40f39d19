"""The two ways in which an event model takes part in an answer: its own words, and following.

Before the target has said anything, `own_answer` gives the event model's free answer, token by
token with the moment each arrived. Afterwards `Follower` keeps the event model on the target's
words: what was accepted is fed as one block, what turned out otherwise is rolled back. Both keep
one convention: state t is the state whose logits emit token t.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdraft.base.clock import now_ms
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session, Step


@dataclass(frozen=True, eq=False)
class Arrival:
    """One token of an answer, when it arrived.

    Attributes:
        token: its id.
        state: [hidden], the state whose logits emitted it.
        arrival_ms: on the clock of `now_ms`, less the origin that was asked for.
    """

    token: int
    state: Tensor
    arrival_ms: float


def own_answer(
    session: Session,
    question: str | Prompt,
    max_new_tokens: int,
    eos_ids: frozenset[int],
    *,
    origin_ms: float | None = None,
) -> Iterator[Arrival]:
    """Ask, and give the model's own greedy answer as it comes.

    Ends behind a token of `eos_ids`, which still arrives, at `max_new_tokens`, or where the model
    can read no further. Each token is computed when it is asked for, so an arrival counts what
    the caller has done meanwhile.

    Args:
        session: that nobody has asked yet.
        max_new_tokens: 1 or more.
        origin_ms: moment that arrivals count from, by `now_ms`; the call by default.

    Raises:
        InputError: as `Session.ask`.
        ValueError: not one token may be said.
    """
    origin_ms = now_ms() if origin_ms is None else origin_ms
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens {max_new_tokens}")
    return Follower(session, question).speak(max_new_tokens, eos_ids, origin_ms)


class Follower:
    """A model that reads along while another one answers.

    Keeps the states and logits of every token that it has read.

    Args:
        session: that nobody has asked yet; belongs to the follower from here on.
        question: what both were asked.

    Raises:
        InputError: as `Session.ask`.
    """

    def __init__(self, session: Session, question: str | Prompt) -> None:
        self._session = session
        self._steps: list[Step] = [session.ask(question)]
        self._prompt = len(session.tokens)

    @property
    def tokens(self) -> tuple[int, ...]:
        """What has been read of the answer."""
        return self._session.tokens[self._prompt :]

    @property
    def states(self) -> Tensor:
        """[len(tokens) + 1, hidden]: state t has read the answer's first t tokens and speaks about
        token t. Copied together anew at each call."""
        return torch.cat([step.hidden for step in self._steps])

    @property
    def state(self) -> Tensor:
        """[hidden], the last of the states."""
        return self._steps[-1].hidden[-1]

    @property
    def logits(self) -> Tensor:
        """[vocab] of what this model would say next."""
        return self._steps[-1].logits[-1]

    def speak(self, count: int, eos_ids: frozenset[int], origin_ms: float) -> Iterator[Arrival]:
        """Go on alone, as `own_answer`. May be left at any token, to follow from there."""
        for left in reversed(range(count)):
            # The id crosses to the host here, so the work of a GPU is done when it arrives.
            token = int(self.logits.argmax())
            yield Arrival(token, self.state, now_ms() - origin_ms)
            if not left or token in eos_ids or self._session.room == 0:
                return
            self._steps.append(self._session.extend(token))

    def follow(self, answer: Sequence[int]) -> None:
        """Have read exactly `answer`, at the price of one pass over what is new in it.

        Tokens that were read before and differ from it are forgotten first, and stay forgotten
        where the rest is refused. Called with one token more each time, it drafts; called with
        what the target accepted, it catches up.

        Raises:
            InputError: more tokens than the model or its cache can hold.
            ValueError: ids that this model does not know.
        """
        answer = [int(token) for token in answer]
        # An interrupt may have come between a pass and its rows.
        read = self.tokens[: self._rows - 1]
        common = 0
        for mine, theirs in zip(read, answer, strict=False):
            if mine != theirs:
                break
            common += 1
        self._session.rollback(len(self.tokens) - common)
        self._forget(self._rows - 1 - common)
        if new := answer[common:]:
            self._steps.append(self._session.read(new))

    @property
    def _rows(self) -> int:
        return sum(len(step.hidden) for step in self._steps)

    def _forget(self, count: int) -> None:
        """Drop the last rows."""
        while count:
            last = self._steps.pop()
            if (rows := len(last.hidden)) > count:
                self._steps.append(last.kept(range(rows - count - 1)))
            count -= min(rows, count)
