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
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session


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
    """The model's own greedy answer as it comes.

    Ends behind a token of `eos_ids`, which still arrives, at `max_new_tokens`, or where the model
    can read no further.

    Args:
        session: that nobody has asked yet.
        origin_ms: moment that arrivals count from; the call by default.

    Raises:
        InputError: as `Session.ask`.
    """
    origin_ms = now_ms() if origin_ms is None else origin_ms
    if max_new_tokens < 1:
        return
    step = session.ask(question)
    for left in reversed(range(max_new_tokens)):
        # The id crosses to the host here, so the work of a GPU is done when it arrives.
        token = int(step.logits[0].argmax())
        yield Arrival(token, step.hidden[0], now_ms() - origin_ms)
        if not left or token in eos_ids or session.room == 0:
            return
        step = session.extend(token)


class Follower:
    """A model that reads along while another one answers.

    Args:
        session: that nobody has asked yet; belongs to the follower from here on.
        question: what both were asked.

    Raises:
        InputError: as `Session.ask`.
    """

    def __init__(self, session: Session, question: str | Prompt) -> None:
        self._session = session
        self._tokens: list[int] = []
        self._steps = [session.ask(question)]

    @property
    def tokens(self) -> tuple[int, ...]:
        """What has been read of the answer."""
        return tuple(self._tokens)

    @property
    def states(self) -> Tensor:
        """[len(tokens) + 1, hidden]: state t has read the answer's first t tokens and speaks about
        token t."""
        return torch.cat([step.hidden for step in self._steps])

    @property
    def logits(self) -> Tensor:
        """[vocab] of what this model would say next."""
        return self._steps[-1].logits[-1]

    def follow(self, answer: Sequence[int]) -> None:
        """Have read exactly `answer`, at the price of one pass over what is new in it.

        Tokens that were read before and differ from it are rolled back. Called with one token more
        each time, it drafts; called with what the target accepted, it catches up.

        Raises:
            InputError: more tokens than the model or its cache can hold.
            ValueError: ids that this model does not know.
        """
        answer = [int(token) for token in answer]
        common = 0
        for read, said in zip(self._tokens, answer, strict=False):
            if read != said:
                break
            common += 1
        self._forget(len(self._tokens) - common)
        if new := answer[common:]:
            step = self._session.extend(new[0], DraftTree.chain(new[1:]))
            self._session.keep(range(len(new) - 1))
            self._tokens += new
            self._steps.append(step)

    def _forget(self, count: int) -> None:
        """Drop the last tokens and their rows."""
        self._session.rollback(count)
        del self._tokens[len(self._tokens) - count :]
        while count:
            last = self._steps.pop()
            rows = len(last.hidden)
            if rows > count:
                self._steps.append(last.kept(range(rows - count - 1)))
            count -= min(rows, count)
