"""A tiny language model that has learned something, in float64: so that drafts are accepted in long
runs, as of a real target, and answers end by themselves."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import torch

from crossdraft.vlm.prompt import Prompt
from tests.vlm.models import llama

EOS = 2
QUESTION = (9, 21)
#: What the two ids of a scene can be.
THINGS = tuple(range(100, 106))


def scenes() -> list[tuple[int, int]]:
    """Every scene, in an order in which neighbours differ."""
    every = list(itertools.product(THINGS, THINGS))
    return [every[7 * place % len(every)] for place in range(len(every))]


def prompt_of(scene: tuple[int, int]) -> Prompt:
    """What it is asked about a scene."""
    return Prompt((*scene, *QUESTION), cut=len(scene))


def lesson(scene: tuple[int, int]) -> list[int]:
    """What it was taught to answer: a template that names the things, longer for some."""
    first, second = scene
    middle = [30, 31, 32, first, 33] if second % 2 else [34]
    return [5, 6, 7, first, 8, 11, 12, *middle, 13, 14, second, 15, 16, 17, first, 18, EOS]


@cache
def trained() -> Any:
    """The model, trained once in each process; a second or two."""
    model = llama(seed=3, eos_token_id=EOS)
    rows = [[*prompt_of(scene).ids, *lesson(scene)] for scene in scenes()]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = ids.masked_fill(ids == 0, -100)
    labels[:, :4] = -100
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for turn in range(70):
        part = [(12 * turn + i) % len(rows) for i in range(12)]
        optimizer.zero_grad()
        model(input_ids=ids[part], labels=labels[part]).loss.backward()
        optimizer.step()
    model.requires_grad_(False)
    model.eval()
    model.generation_config.eos_token_id = EOS
    return model
