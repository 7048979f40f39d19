"""The loop: draft, verify in one pass of the target, keep what it would have said itself.

The only decoding loop there is: with the drafter `none` it is plain decoding, with any other the
answer is the same and comes in fewer passes. Drafts ride on the tail of the prefill already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.generation import Generation, Pass, ignore
from crossdraft.decoding.rules import GREEDY, Rule
from crossdraft.decoding.stopping import End, Stopping
from crossdraft.decoding.verify import draftable
from crossdraft.decoding.width import Took, Width
from crossdraft.drafters.base import TARGET_STATES, Context, Drafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session

_EMPTY = DraftTree.empty()
#: Takes the tokens of each accepted run as it is there.
OnTokens = Callable[[Sequence[int]], None]


class Proposal(NamedTuple):
    """What is verified of what a drafter has proposed.

    Attributes:
        tree: what the target runs over.
        whole: what the drafter proposed; None where it was not asked.
        draft_ms: time of proposing.
        depth: how deep a tree was asked for.
    """

    tree: DraftTree = _EMPTY
    whole: DraftTree | None = None
    draft_ms: float = 0.0
    depth: int = 0

    def heard(self, verdict: Verification) -> Verification:
        """A verdict on `tree` in nodes of `whole`, as the drafter knows them."""
        if self.whole is None or self.tree is self.whole:
            return verdict
        path = self.whole.follow(self.tree.tokens[list(verdict.path)].tolist())
        return Verification(path, verdict.token)


class Passes(NamedTuple):
    """Which forwards of the target may verify drafts.

    Attributes:
        first: 0 is the prefill, whose tail they ride on; 1 leaves the prefill as it is.
        last: the last of them; None: all that follow.
    """

    first: int = 0
    last: int | None = None

    def drafted(self, number: int) -> bool:
        """Whether the forward of this number may."""
        return self.first <= number and (self.last is None or number <= self.last)


ALL_PASSES = Passes()


@dataclass(frozen=True)
class Drafting:
    """Who drafts, and how much.

    Attributes:
        drafter: proposes.
        width: decides how much it may propose.
        may_draft: [n] ids -> [n] whether the target's vocabulary lets each be drafted.
        passes: which forwards it is for.
    """

    drafter: Drafter
    width: Width
    may_draft: Callable[[NDArray[np.integer[Any]]], NDArray[np.bool_]]
    passes: Passes = ALL_PASSES

    def propose(
        self, number: int, answer: Sequence[int], most: int, room: int | None, spans: Spans
    ) -> Proposal:
        """A tree of at most `most` tokens below each other that fits in `room`, for the target's
        forward of this number. What the drafter proposes beyond its nodes or depth is cut off."""
        if not self.passes.drafted(number):
            return Proposal()
        wanted = self.width.budget(number)
        nodes = wanted.nodes if room is None else min(wanted.nodes, room)
        depth = min(wanted.depth, most)
        if nodes < 1 or depth < 1:
            return Proposal()
        began_ms = now_ms()
        asked = replace(wanted, nodes=nodes, depth=depth)
        tree = whole = self.drafter.propose(tuple(answer), asked)
        draft_ms = spans.add("draft", began_ms)
        if not len(tree):
            return Proposal(tree, whole, draft_ms, depth)
        if len(tree) > nodes or tree.depth.max() > depth:
            tree = tree.pruned((np.arange(len(tree)) < nodes) & (tree.depth <= depth))
        return Proposal(draftable(tree, self.may_draft), whole, draft_ms, depth)


def decode(
    session: Session,
    prompt: Prompt,
    context: Context,
    drafting: Drafting,
    stopping: Stopping,
    rule: Rule = GREEDY,
    on_tokens: OnTokens = ignore,
) -> Generation:
    """Answer a question.

    Args:
        session: of the target, at the picture; nobody has asked it yet.
        context: what the drafter is told of the answer before it starts.
        on_tokens: is called with each accepted run.

    Raises:
        InputError: as `Session.ask`.
    """
    drafter, width, spans = drafting.drafter, drafting.width, session.spans
    wants_rows = TARGET_STATES in drafter.needs
    answer: list[int] = []
    arrival_ms: list[float] = []
    passes: list[Pass] = []
    room = None if session.room is None else session.room - len(prompt.question)
    drafter.begin(context)
    proposed = drafting.propose(0, answer, stopping.most - 1, room, spans)
    start_ms = now_ms()
    step = session.ask(prompt, proposed.tree)
    while True:
        tree, began_ms = proposed.tree, now_ms()
        verdict = rule(step, tree, answer)
        new, verdict, end = _ending(verdict, tree, answer, stopping)
        if len(tree):
            session.keep(verdict.path)
        answer += new
        spans.add("commit", began_ms)
        done_ms = now_ms()
        arrival_ms += [done_ms - spans.origin_ms] * len(new)
        passes.append(Pass(tree, verdict.path, len(new)))
        on_tokens(new)
        told_ms = now_ms()
        # Of an answer that was cut, the rows of what is left of it.
        kept = step.kept(verdict.path[: len(new) - 1]) if wants_rows else None
        drafter.observe(proposed.heard(verdict), kept)
        heard_ms = spans.add("draft", told_ms) if proposed.whole is not None else 0.0
        width.saw(
            Took(
                asked=proposed.whole is not None,
                drafted=len(tree),
                emitted=len(new),
                draft_ms=proposed.draft_ms + heard_ms,
                pass_ms=done_ms - start_ms,
                depth=proposed.depth,
                verified=int(tree.depth.max(initial=0)),
                number=len(passes) - 1,
            )
        )
        room = session.room
        if end or room == 0:
            break
        left = stopping.most - len(answer)
        room = None if room is None else room - 1
        proposed = drafting.propose(len(passes), answer, left - 1, room, spans)
        start_ms = now_ms()
        step = session.extend(answer[-1], proposed.tree)
    if not rule.lossy:  # what the target did not say itself is nothing to learn from
        drafter.finish(tuple(answer))
    return Generation(
        tuple(answer),
        end or "length",
        None,
        prompt.hash,
        len(prompt.ids),
        tuple(arrival_ms),
        tuple(passes),
        rule.name,
        rule.lossy,
        spans,
    )


def _ending(
    verdict: Verification, tree: DraftTree, answer: Sequence[int], stopping: Stopping
) -> tuple[list[int], Verification, End | None]:
    """What of a verdict belongs to the answer: its tokens, the verdict up to there, and why the
    answer ends with them."""
    new = tree.tokens[list(verdict.path)].tolist() if verdict.path else []
    if verdict.token is not None:
        new.append(verdict.token)
    count, end = stopping.cut(answer, new)
    if count < len(new):
        return new[:count], Verification(verdict.path[:count], None), end
    return new, verdict, end
