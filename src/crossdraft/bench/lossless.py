"""`crossdraft verify` as a library: with and without drafting, token by token.

    for line in verify_lossless(models, [find_drafter("suffix")], ["What is ahead?"]):
        print(line.text)

Every question is answered plainly, then with the drafters that were asked for and with drafters
that try to change the answer (`adversaries.py`), at several widths, in sessions opened anew and in
forks of a picture that other questions were asked about before, or are asked about in turn. It
ends at the first difference, or error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.bench.adversaries import ADVERSARIES, Adversary
from crossdraft.bench.lossless_lines import Compared, Plain
from crossdraft.bench.lossless_runs import Bench, MakeWidth
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.following import Following
from crossdraft.decoding.models import Models, bridge_to, tokenizer_of
from crossdraft.decoding.overlap_given import states_over
from crossdraft.decoding.rules import Greedy, Rule
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import NOTHING, Fixed, Took
from crossdraft.drafters.base import (
    DRAFT_STATES,
    FORCED_STATES,
    HEAD,
    OF_THE_EVENT_MODEL,
    Budget,
    Drafter,
)
from crossdraft.vlm.drafting import Follower, own_answer
from crossdraft.vlm.live_head import head_of
from crossdraft.vlm.target import Target


class Mixed:
    """Another budget for every pass, none among them."""

    _BUDGETS = (
        Budget.tree(8, 8), Budget.chain(1), NOTHING, Budget.tree(32, 16), Budget.chain(4),
    )  # fmt: skip

    def __init__(self) -> None:
        self._next = cycle(self._BUDGETS)

    def budget(self, number: int) -> Budget:
        """The next one in turn."""
        return next(self._next)

    def saw(self, took: Took) -> None:
        """Changes nothing."""


def chain(gamma: int) -> dict[str, MakeWidth]:
    """Chains of so many drafts, under their name."""
    return {f"chains of {gamma}": partial(Fixed, Budget.chain(gamma))}


def tree(nodes: int) -> dict[str, MakeWidth]:
    """Trees of so many nodes, at most 16 of them below each other."""
    return {f"trees of {nodes}": partial(Fixed, Budget.tree(nodes, min(nodes, 16)))}


#: Widths that are tried where nothing else is said.
WIDTHS: Mapping[str, MakeWidth] = {
    "no drafts": partial(Fixed, NOTHING),
    **chain(1), **chain(4), **chain(16), **tree(8), **tree(32),
    "a width that changes": Mixed,
}  # fmt: skip


def verify_lossless(
    models: Models,
    drafters: Sequence[Drafter],
    questions: Sequence[str],
    scene: Any | None = None,
    *,
    max_new_tokens: int = 50,
    widths: Mapping[str, MakeWidth] = WIDTHS,
    rules: Sequence[Rule] = (Greedy(),),
) -> Iterator[Plain | Compared]:
    """Compare answers with drafts to answers without, each drafter yielded as it is done.

    For every rule first the plain answers, then the drafters, then the adversaries. A difference is
    in the last line there is, and so is an answer that failed.

    Args:
        scene: a `Scene`; None for one that is made up.
        widths: by name, how much may be drafted.

    Raises:
        InputError: nothing to compare, a lossy rule, or a model, scene or question that cannot be
            read; whatever of it one of `drafters` raises.
    """
    _refuse(questions, widths, rules, max_new_tokens)
    shown = MadeScene() if scene is None else scene
    words = None
    needs = frozenset[str]().union(*(drafter.needs for drafter in drafters))
    if OF_THE_EVENT_MODEL & needs:
        words = _Words.of(models.drafter, shown, questions, max_new_tokens, DRAFT_STATES in needs)
    # Asked for last: where the pair holds one model at a time, the event model makes room here.
    target = models.target
    streams = _streams(words, target, len(questions))
    head = head_of(target) if HEAD in needs else None
    followers: list[Following] = []
    if FORCED_STATES in needs:
        followers = _followers(models, streams[0], shown, questions)
    bench = Bench(target, shown, questions, streams, max_new_tokens, head, followers)
    made: list[Drafter | type[Adversary]] = [*drafters, *ADVERSARIES]
    for rule in rules:
        yield bench.plain_answers(rule)
        for drafter in made:
            line = bench.compared(drafter, rule, widths)
            yield line
            if not line.equal:
                return


@dataclass(frozen=True, eq=False)
class _Words:
    """What an event model answers, and what its ids mean; nothing that holds its memory."""

    answers: tuple[tuple[int, ...], ...]
    tokenizer: Any | None
    vocabulary: int
    states: tuple[Tensor, ...] | None

    @classmethod
    def of(
        cls, model: Target, scene: Any, questions: Sequence[str], most: int, states: bool
    ) -> _Words:
        prompts = [model.prompt(scene, question) for question in questions]
        picture = model.open(prompts[0])
        said = [list(own_answer(picture.fork(), prompt, most, model.eos_ids)) for prompt in prompts]
        thoughts = [
            torch.stack([one.state for one in answer]).to("cpu", torch.float32) for answer in said
        ]
        return cls(
            tuple(tuple(one.token for one in answer) for answer in said),
            tokenizer_of(model),
            model.decoder.vocabulary,
            tuple(thoughts) if states else None,
        )


def _streams(words: _Words | None, target: Target, count: int) -> list[AnswerStream]:
    """The event model's finished answers in words of the target, empty where nobody reads them."""
    bridge = None if words is None else bridge_to(target, words.tokenizer, words.vocabulary)
    streams = []
    for number, answer in enumerate([()] * count if words is None else words.answers):
        kept = None if words is None else words.states
        stream = AnswerStream(bridge, needs=frozenset(() if kept is None else {DRAFT_STATES}))
        stream.append(answer, states=None if kept is None else kept[number])
        stream.close()
        streams.append(stream)
    return streams


def _followers(
    models: Models, stream: AnswerStream, scene: Any, questions: Sequence[str]
) -> list[Following]:
    """The event model on the target's words, for each question; none where one model is held at a
    time, or the two have different tokenizers: drafters then read its own answer's states."""
    pair = getattr(models, "pair", None)
    if not stream.one_vocabulary or (pair is not None and pair.load == "in_turn"):
        return []
    model = models.drafter
    prompts = [model.prompt(scene, question) for question in questions]
    picture = model.open(prompts[0])
    readings = [Follower(picture.fork(), prompt) for prompt in prompts]
    return [Following(partial(states_over, reading)) for reading in readings]


def _refuse(
    questions: Sequence[str],
    widths: Mapping[str, MakeWidth],
    rules: Sequence[Rule],
    max_new_tokens: int,
) -> None:
    for what, given in (("question", questions), ("width", widths), ("rule", rules)):
        if not given:
            raise InputError(f"no {what}", expected="at least one")
    if max_new_tokens < 1:
        raise InputError(
            f"{max_new_tokens}", where="max_new_tokens", expected="a whole number from 1"
        )
    for rule in rules:
        if rule.lossy:
            raise InputError(
                f"the rule {rule.name}, whose answers depend on the drafts",
                expected="a rule that keeps the target's answers: greedy or sampling",
            )
