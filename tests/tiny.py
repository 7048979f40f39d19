"""Tiny networks for tests: every trainable drafter at a size that trains in a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from crossdraft.drafters.checkpoint import trainable_class
from crossdraft.drafters.trainable import Trainable
from crossdraft.pairs.record import Pair
from tests.drafters.ladder.made import thoughtful

_SMALL = {
    "embed_dim": 16, "num_heads": 2, "ffn_dim": 32, "bottleneck_dim": 8, "hidden_dim": 16,
    "num_attention_heads": 2,
}  # fmt: skip


def tiny_options(name: str) -> dict[str, Any]:
    """Options that make a registered drafter small: widths, heads, one layer of each kind."""
    small = {}
    for field in fields(trainable_class(name).Config):
        if field.name in _SMALL:
            small[field.name] = _SMALL[field.name]
        elif field.name.endswith("layers"):
            small[field.name] = 1
    return small


def tiny(name: str, **options: Any) -> Trainable:
    """An unbuilt small drafter."""
    kind = trainable_class(name)
    return kind(kind.config_from({**tiny_options(name), **options}))


def built(name: str, pairs: Sequence[Pair], seed: int = 0, **options: Any) -> Trainable:
    """A small drafter with random weights that fits these pairs; one that reads states gets made
    up ones, where only words are known."""
    drafter = tiny(name, **options)
    if "target_states" in drafter.batch_needs:
        pairs = [pair if pair.thoughts else thoughtful(pair) for pair in pairs]
    drafter.build(pairs, seed)
    return drafter
