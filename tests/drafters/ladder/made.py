"""Pairs with states made up for tests: the target's say its tokens, the event model's hint at them.

States are computed when they are asked for, the same ones each time.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.pairs.record import Head, Pair
from crossdraft.pairs.store.rows import Top
from crossdraft.vlm.lm_head import HeadFacts, LMHead

HIDDEN, VOCAB, TOP = 16, 140, 4


@cache
def made_head(hidden: int = HIDDEN, vocab: int = VOCAB) -> LMHead:
    """A head whose rows are far from each other; its last id is never drafted."""
    weight = torch.randn(vocab, hidden, generator=torch.Generator().manual_seed(1))
    weight = 4 * weight / weight.norm(dim=1, keepdim=True)
    facts = HeadFacts("made", "Made", vocab, hidden, vocab - 1, False, None, {}, "made")
    embedding = torch.randn(vocab, hidden, generator=torch.Generator().manual_seed(4))
    return LMHead(weight, None, embedding, facts)


@dataclass(frozen=True, eq=False)
class Made:
    """Thoughts behind one pair.

    Attributes:
        pair: whose answers they stand behind.
        draft_hidden: width of the event model's.
        known: kinds that are there.
        noise: on everything.
    """

    pair: Pair
    hidden: int = HIDDEN
    vocab: int = VOCAB
    draft_hidden: int = HIDDEN
    known: frozenset[str] = frozenset({"own", "forced", "target"})
    noise: float = 0.2

    @property
    def kinds(self) -> frozenset[str]:
        return self.known

    @property
    def question_ids(self) -> tuple[int, ...]:
        """Three ids, the same for the same question."""
        start = zlib.crc32(self.pair.question.encode())
        return tuple((start + step) % self.vocab for step in (0, 7, 31))

    @property
    def head(self) -> Head:
        return made_head(self.hidden, self.vocab)

    def states(self, kind: str) -> Tensor:
        if kind not in self.known:
            raise InputError(f"no {kind} states", expected="a store that has them")
        tokens = self.pair.draft_tokens if kind == "own" else self.pair.target_tokens
        weight = made_head(self.hidden, self.vocab).weight
        rows = weight[[token % self.vocab for token in tokens]]
        seed = zlib.crc32(repr((kind, self.pair.clip, self.pair.question, tokens)).encode())
        generator = torch.Generator().manual_seed(seed)
        rows = rows + self.noise * torch.randn(rows.shape, generator=generator)
        if kind == "target":
            return rows
        turn = torch.randn(
            self.hidden, self.draft_hidden, generator=torch.Generator().manual_seed(2)
        )
        turned: Tensor = rows @ turn / self.hidden**0.5
        return turned

    def top(self) -> Top:
        logits = self.head.logits(self.states("target"))
        best = logits.topk(TOP)
        return Top(best.indices.int(), best.values, logits.logsumexp(-1))


def thoughtful(pair: Pair, draft_hidden: int = HIDDEN, **options: object) -> Pair:
    """The pair with thoughts behind its answers."""
    return replace(pair, thoughts=Made(pair, draft_hidden=draft_hidden, **options))  # type: ignore[arg-type]


def made_pairs(
    count: int,
    hidden: int = HIDDEN,
    vocab: int = VOCAB,
    draft_hidden: int | None = None,
    *,
    seed: int = 0,
    drives: int = 3,
    longest: int = 9,
    known: Sequence[str] = ("own", "forced", "target"),
) -> tuple[Pair, ...]:
    """Pairs of random answers, the event model's partly the target's."""
    rng, pairs = random.Random(seed), []
    for i in range(count):
        target = [rng.randrange(3, vocab - 1) for _ in range(rng.randrange(1, longest))]
        own = [t if rng.random() < 0.6 else rng.randrange(3, vocab - 1) for t in target]
        pair = Pair(
            f"clip-{i:03d}", i, f"What is {i % 2}?", i % 2,
            (*own[: rng.randrange(0, len(own) + 1)], 2), (*target, 2),
            drive=f"drive_{i * drives // count:02d}", dataset="made",
        )  # fmt: skip
        made = Made(pair, hidden, vocab, draft_hidden or hidden, frozenset(known))
        pairs.append(replace(pair, thoughts=made))
    return tuple(pairs)
