"""Plain greedy answers to many questions, and other models' answers read, side by side.

Questions are branches behind their picture (`branches.py`): nothing is read twice, and an answer
that has ended costs nothing more. Row t of an answer's states emits its token t, whoever said it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from crossdraft.base.clock import Spans
from crossdraft.vlm.branches import Branches
from crossdraft.vlm.limits import refuse_beyond
from crossdraft.vlm.picture import Picture
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer, States, TopLogits
from crossdraft.vlm.top_logits import joined_top, largest, largest_of_states

if TYPE_CHECKING:
    from crossdraft.vlm.target import Target

#: Rows that one pass over given answers has at most, unless one answer alone has more: at 7B what
#: a pass of 1,024 rows needs beside the cache is about 0.2 GB.
PASS_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions about one scene.

    Attributes:
        picture: the scene, as the target has read it.
        prompts: the questions.
        spans: where the stages of answering are recorded.
    """

    picture: Picture
    prompts: Sequence[Prompt]
    spans: Spans


@dataclass
class _Growing:
    """An answer on its way.

    Attributes:
        limit: tokens it may have.
        rows: numbers of its rows among all that were kept.
    """

    limit: int
    tokens: list[int] = field(default_factory=list)
    end: Literal["eos", "length"] = "length"
    rows: list[int] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether another token follows."""
        return self.end != "eos" and len(self.tokens) < self.limit


def answer_greedily(
    target: Target, asked: Sequence[Asked], max_new_tokens: int, states: bool, top: int
) -> list[Answer]:
    """Decode the answers to all questions about all scenes together; see `answer_scenes`.

    Returns:
        Scene after scene.
    """
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens {max_new_tokens}")
    _refuse_negative(top)
    prompts = [prompt for one in asked for prompt in one.prompts]
    answers = [_Growing(_limit(target, prompt, max_new_tokens)) for prompt in prompts]
    kept = _decode(target, asked, prompts, answers, states, top)
    found = []
    for prompt, answer in zip(prompts, answers, strict=True):
        rows = _chosen(kept, answer.rows)
        hidden = rows.hidden if states else None
        tokens = tuple(answer.tokens)
        found.append(Answer(tokens, answer.end, prompt.hash, hidden, rows.layers, rows.top))
    return found


def _decode(
    target: Target,
    asked: Sequence[Asked],
    prompts: Sequence[Prompt],
    answers: Sequence[_Growing],
    states: bool,
    top: int,
) -> States:
    """Fill the answers; returns the rows that were to be kept, in the order they came."""
    lanes = [lane for lane, one in enumerate(asked) for _ in one.prompts]
    kept: list[States] = []
    count = 0
    active = [i for i, answer in enumerate(answers) if answer.open]
    feed: Mapping[int, Sequence[int]] = {i: prompts[i].question for i in active}
    branches = Branches(target, [one.picture for one in asked], lanes) if active else None
    spans, stage = [one.spans for one in asked], "prefill"
    while active:
        assert branches is not None
        with _stage(target, spans, stage):
            rows = branches.read(feed, dict.fromkeys(active, 1))
            logits = target.decoder.logits(rows.hidden)
            chosen = logits.argmax(-1).tolist()
        for row, i in enumerate(active):
            answers[i].tokens.append(chosen[row])
            if chosen[row] in target.eos_ids:
                answers[i].end = "eos"
            if states or top:
                answers[i].rows.append(count + row)
        if states or top:
            layers = rows.layers if states else {}
            kept.append(States(rows.hidden, layers, largest(logits, top) if top else None))
            count += len(active)
        stage = "decode"
        active = [i for i in active if answers[i].open]
        feed = {i: answers[i].tokens[-1:] for i in active}
    return _joined(kept) if kept else _nothing(target, states, top)


def read_answers(
    target: Target, asked: Asked, answers: Sequence[Sequence[int]], top: int
) -> list[States]:
    """Feed every question its answer; see `Session.read_many`."""
    _refuse_negative(top)
    for prompt, answer in zip(asked.prompts, answers, strict=True):
        # The last token is not read, so it may be the first too many.
        refuse_beyond(target.decoder, len(prompt.ids) + max(len(answer) - 1, 0), prompt.cut)
    fed = {
        i: (*prompt.question, *answer[:-1])
        for i, (prompt, answer) in enumerate(zip(asked.prompts, answers, strict=True))
        if len(answer)
    }
    found = [_nothing(target, True, top)] * len(answers)
    for group in _groups({i: len(ids) for i, ids in fed.items()}):
        wanted = {i: len(answers[i]) for i in group}
        with _stage(target, [asked.spans], "prefill"):
            branches = Branches(target, [asked.picture], [0] * len(answers))
            rows = branches.read({i: fed[i] for i in group}, wanted)
            best = largest_of_states(target.decoder, rows.hidden, top) if top else None
        kept, first = States(rows.hidden, rows.layers, best), 0
        for i, count in wanted.items():
            found[i] = _chosen(kept, range(first, first + count))
            first += count
    return found


def _groups(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Branches that are read in one pass: as many as `PASS_ROWS` rows hold, and at least one."""
    group: list[int] = []
    for branch, size in sizes.items():
        if group and sum(sizes[i] for i in group) + size > PASS_ROWS:
            yield group
            group = []
        group.append(branch)
    if group:
        yield group


def _limit(target: Target, prompt: Prompt, max_new_tokens: int) -> int:
    """Tokens that an answer may have. The last one is not read."""
    longest = target.decoder.longest(prompt.cut)
    if longest is None:
        return max_new_tokens
    return min(max_new_tokens, longest - len(prompt.ids) + 1)


def _joined(parts: Sequence[States]) -> States:
    """All rows of several passes, at least one, that kept the same."""
    tops = [part.top for part in parts if part.top is not None]
    return States(
        torch.cat([part.hidden for part in parts]),
        {i: torch.cat([part.layers[i] for part in parts]) for i in parts[0].layers},
        joined_top(tops) if tops else None,
    )


def _chosen(states: States, rows: Sequence[int]) -> States:
    """Copies of these rows, which do not keep the others alive."""
    index = torch.tensor(rows, dtype=torch.int64)

    def chosen(tensor: Tensor) -> Tensor:
        return tensor[index.to(tensor.device)]

    top = states.top
    return States(
        chosen(states.hidden),
        {i: chosen(layer) for i, layer in states.layers.items()},
        top and TopLogits(chosen(top.ids), chosen(top.logits), chosen(top.total)),
    )


def _nothing(target: Target, states: bool, top: int) -> States:
    """No rows."""
    decoder, device = target.decoder, target.device
    none = torch.empty(0, decoder.config.hidden_size, dtype=target.dtype, device=device)
    layers = dict.fromkeys(decoder.keeps, none) if states else {}
    if not top:
        return States(none, layers)
    logits = torch.empty(0, min(top, decoder.vocabulary), device=device, dtype=torch.float32)
    return States(none, layers, TopLogits(logits.long(), logits, logits.sum(-1)))


def _refuse_negative(top: int) -> None:
    if top < 0:
        raise ValueError(f"top {top}")


@contextmanager
def _stage(target: Target, spans: Sequence[Spans], name: str) -> Iterator[None]:
    """A stage that stands whole in each of these spans, once in those that are the same."""
    with ExitStack() as stack, torch.no_grad():
        for one in {id(one): one for one in spans}.values():
            stack.enter_context(one.measure(name, str(target.device)))
        yield
        target.decoder.synchronise()
