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

from crossdraft.base.errors import InputError
from crossdraft.bench.adversaries import ADVERSARIES, Adversary
from crossdraft.bench.lossless_lines import Compared, Plain
from crossdraft.bench.lossless_runs import Bench, MakeWidth
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.models import DRAFT_TOKENS, Models, bridge_to, tokenizer_of
from crossdraft.decoding.rules import Greedy, Rule
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import NOTHING, Fixed, Took
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.vlm.drafting import own_answer
from crossdraft.vlm.target import Target


class Mixed:
    """Another budget for every pass, none among them."""

    _BUDGETS = (
        Budget.tree(8, 8), Budget.chain(1), NOTHING, Budget.tree(32, 16), Budget.chain(4),
    )  # fmt: skip

    def __init__(self) -> None:
        self._next = cycle(self._BUDGETS)

    def budget(self) -> Budget:
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
    if any(DRAFT_TOKENS in drafter.needs for drafter in drafters):
        words = _Words.of(models.drafter, shown, questions, max_new_tokens)
    # Asked for last: where the pair holds one model at a time, the event model makes room here.
    target = models.target
    streams = _streams(words, target, len(questions))
    bench = Bench(target, shown, questions, streams, max_new_tokens)
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

    @classmethod
    def of(cls, model: Target, scene: Any, questions: Sequence[str], most: int) -> _Words:
        prompts = [model.prompt(scene, question) for question in questions]
        picture = model.open(prompts[0])
        answers = [
            tuple(one.token for one in own_answer(picture.fork(), prompt, most, model.eos_ids))
            for prompt in prompts
        ]
        return cls(tuple(answers), tokenizer_of(model), model.decoder.vocabulary)


def _streams(words: _Words | None, target: Target, count: int) -> list[AnswerStream]:
    """The event model's finished answers in words of the target, empty where nobody reads them."""
    bridge = None if words is None else bridge_to(target, words.tokenizer, words.vocabulary)
    streams = []
    for answer in [()] * count if words is None else words.answers:
        stream = AnswerStream(bridge)
        stream.append(answer)
        stream.close()
        streams.append(stream)
    return streams


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
