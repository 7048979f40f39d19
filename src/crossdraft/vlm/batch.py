"""Plain greedy answers to many questions about one picture, decoded side by side.

The questions are branches of one sequence: every row sees the picture and its own branch, so the
picture's keys and values are there once however many questions there are, nothing is padded, and
an answer that has ended costs nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossdraft.base.clock import Spans
from crossdraft.vlm.cache import GrowingCache, SessionCache
from crossdraft.vlm.picture import Picture
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer

if TYPE_CHECKING:
    from crossdraft.vlm.target import Target


class _Branches:
    """Which column of the cache belongs to whom, and where it stands in its sequence."""

    def __init__(self, prefix: int) -> None:
        #: [columns] branch of each column, -1 for the picture that all see.
        self.owner = np.full(prefix, -1, np.int64)
        #: [columns] place in the sequence.
        self.place = np.arange(prefix)

    def add(self, owner: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add the rows of a pass; returns [rows, columns] what they see."""
        self.owner = np.concatenate([self.owner, owner])
        self.place = np.concatenate([self.place, place])
        mine = (self.owner[None] == owner[:, None]) & (self.place[None] <= place[:, None])
        seen: NDArray[np.bool_] = mine | (self.owner[None] < 0)
        return seen


def answer_greedily(
    target: Target,
    picture: Picture,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    states: bool,
    spans: Spans,
) -> list[Answer]:
    """Decode every prompt's answer greedily; see `Session.answer_many`."""
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens {max_new_tokens}")
    tokens: list[list[int]] = [[] for _ in prompts]
    hidden: list[list[Tensor]] = [[] for _ in prompts]
    ends: list[Literal["eos", "length"]] = ["length"] * len(prompts)
    # Whatever the sessions use: the room of all answers together is not known before.
    cache = GrowingCache.over(picture.cache)
    branches = _Branches(len(picture.prefix))
    device = target.decoder.device
    longest = target.decoder.longest(len(picture.prefix))
    limits = [
        max_new_tokens if longest is None else min(max_new_tokens, longest - len(one.ids) + 1)
        for one in prompts
    ]
    active = [i for i, limit in enumerate(limits) if limit]
    feed = {i: list(prompts[i].question) for i in active}
    place = [len(picture.prefix)] * len(prompts)
    stage = "prefill"
    while active:
        with spans.measure(stage, str(device)), torch.no_grad():
            rows = _pass(target, picture, cache, branches, active, feed, place)
            chosen = target.decoder.logits(rows).argmax(-1).tolist()
            target.decoder.synchronise()
        stage = "decode"
        for row, i in enumerate(active):
            tokens[i].append(chosen[row])
            if states:
                hidden[i].append(rows[row])
            if chosen[row] in target.eos_ids:
                ends[i] = "eos"
        active = [i for i in active if ends[i] != "eos" and len(tokens[i]) < limits[i]]
        feed = {i: [tokens[i][-1]] for i in active}
    return [
        Answer(
            tuple(tokens[i]),
            ends[i],
            prompt.hash,
            (torch.stack(hidden[i]) if hidden[i] else _no_rows(target)) if states else None,
        )
        for i, prompt in enumerate(prompts)
    ]


def _pass(
    target: Target,
    picture: Picture,
    cache: SessionCache,
    branches: _Branches,
    active: Sequence[int],
    feed: dict[int, list[int]],
    place: list[int],
) -> Tensor:
    """Run what each active branch reads next; returns [active, hidden], its last row each."""
    tokens = np.array([token for i in active for token in feed[i]], np.int64)
    owner = np.concatenate([np.full(len(feed[i]), i, np.int64) for i in active])
    places = np.concatenate([place[i] + np.arange(len(feed[i])) for i in active])
    last = np.cumsum([len(feed[i]) for i in active]) - 1
    for i in active:
        place[i] += len(feed[i])
    visible = branches.add(owner, places)
    cache.prepare(len(tokens))
    mask = target.decoder.mask(visible, places, branches.place)
    hidden, _ = target.forward(tokens, places, mask, picture, cache)
    cache.commit(len(tokens))
    return hidden[0, torch.from_numpy(last).to(hidden.device)]


def _no_rows(target: Target) -> Tensor:
    return torch.empty(
        0, target.decoder.config.hidden_size, dtype=target.dtype, device=target.device
    )
