"""A tiny drafter in the target's state space, and pairs with states that it can read.

States of the target stand for tokens: state t is the embedding of token t, so what a prediction is
worth is known beforehand.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import DRAFT_STATES, FORCED_STATES, HEAD, Budget, Context
from crossdraft.drafters.checkpoint import TrainedOn, save_drafter
from crossdraft.drafters.states import Alignment, Predicted, StateDrafter
from crossdraft.drafters.trainable import NO_PROPOSAL, Loss, TokenBatch, option
from crossdraft.pairs.record import Head, Pair
from crossdraft.pairs.store.manifest import Schema, StoredKind
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Row, Said, Top
from crossdraft.pairs.thoughts import thoughts_of
from crossdraft.vlm.lm_head import HeadFacts, LMHead, write_lm_head
from tests.pairs.store.stores import KNOWN, write_store

HIDDEN, VOCAB = 8, 40


class TinyHead:
    """A head whose rows are the states that say each token."""

    def __init__(self, hidden: int = HIDDEN, vocab: int = VOCAB, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(vocab, hidden, generator=generator)
        self.weight = rows / rows.norm(dim=1, keepdim=True)
        self.hidden, self.draftable = hidden, vocab - 1

    def to(self, target: torch.dtype | torch.device | str) -> TinyHead:
        return self

    def embed(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.weight[ids]
        return rows

    def only(self, ids: Tensor) -> TinyHead:
        some = TinyHead()
        some.weight = self.weight[ids]
        return some

    def logits(self, states: Tensor) -> Tensor:
        logits: Tensor = states @ self.weight.T
        return logits


@dataclass(frozen=True, eq=False)
class Kept:
    """Thoughts in memory."""

    by_kind: Mapping[str, Tensor]
    head_there: Head | None

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.by_kind)

    def states(self, kind: str) -> Tensor:
        return self.by_kind[kind]

    def top(self) -> Top:
        raise InputError("no logits here")

    @property
    def question_ids(self) -> tuple[int, ...]:
        return ()

    @property
    def head(self) -> Head:
        if self.head_there is None:
            raise InputError("no head", where="here")
        return self.head_there


def thinking(pair: Pair, own: Tensor, forced: Tensor, target: Tensor, head: Head | None) -> Pair:
    return replace(pair, thoughts=Kept({"own": own, "forced": forced, "target": target}, head))


def state_pairs(
    clips: int, drives: int = 3, noise: float = 0.3, seed: int = 0, head: TinyHead | None = None
) -> tuple[Pair, ...]:
    """Pairs whose event model knows the target's tokens through noise."""
    rng, head = random.Random(seed), TinyHead() if head is None else head
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for i in range(clips):
        target = [*(rng.randrange(3, VOCAB - 1) for _ in range(rng.randrange(5, 9))), 2]
        own = target[: rng.randrange(3, len(target) + 1)]
        states = head.weight[target]
        shown = states + noise * torch.randn(states.shape, generator=generator)
        pair = Pair(
            f"clip-{i:03d}", i, "What is there?", 0, tuple(own), tuple(target),
            drive=f"drive_{i * drives // clips:02d}", dataset="made",
        )  # fmt: skip
        pairs.append(thinking(pair, shown[: len(own)], shown, states, head))
    return tuple(pairs)


@dataclass(frozen=True)
class TinyConfig:
    scale: float = option(1.0, "What states are multiplied with.")


class TinyState(StateDrafter):
    """Multiplies the event model's states by a matrix that starts as the identity."""

    name = "tiny-state"
    shift = 0
    Config = TinyConfig
    needs = frozenset({DRAFT_STATES, FORCED_STATES, HEAD})
    batch_needs = frozenset({"draft_tokens", "target_tokens", "forced_states", "target_states"})
    max_length = 64

    def build(self, pairs: Sequence[Pair], seed: int) -> None:
        self.network = nn.Linear(HIDDEN, HIDDEN, bias=False)
        with torch.no_grad():
            self.network.weight.copy_(self.config.scale * torch.eye(HIDDEN))

    def loss(self, batch: TokenBatch) -> Loss:
        made = self.network(batch.states["forced"])
        tokens = int(batch.target_lengths.sum())
        return Loss((made - batch.states["target"]).square().mean(), tokens, 0, 0)

    def rollouts(self, batch: TokenBatch, gamma: int) -> Tensor:
        return torch.full((*batch.target.shape, gamma), NO_PROPOSAL)

    def describe(self) -> dict[str, Any]:
        return {"options": self.options()}

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    @classmethod
    def restore(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TinyState:
        drafter = cls(cls.config_from(about["options"]))
        drafter.build((), 0)
        drafter.network.load_state_dict(dict(tensors))
        return drafter

    def reads(self, alignment: Alignment) -> frozenset[str]:
        return frozenset({f"{alignment}_states"})

    def predicted(self, batch: TokenBatch, alignment: Alignment) -> Predicted:
        return Predicted(self.network(batch.states[alignment]))

    def begin(self, context: Context) -> None:
        self._context = context

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        follower = self._context.follower
        if not prefix or follower is None:
            own = self._context.stream.snapshot().states
            states = None if own is None else own[len(prefix) :]
        else:
            followed = follower.follow(list(prefix))
            states = None if followed is None else followed[len(prefix) :]
        if states is None or not len(states):
            return DraftTree.empty()
        assert self._context.head is not None
        with torch.no_grad():
            logits = self._context.head.logits(self.network(states))
        return DraftTree.chain(logits.argmax(-1).tolist()[: budget.depth])


class TinyNext(TinyState):
    """Is given the target's state and says it again, as if it were the next one."""

    name = "tiny-next"
    shift = 1

    def reads(self, alignment: Alignment) -> frozenset[str]:
        return frozenset({"target_states"})

    def predicted(self, batch: TokenBatch, alignment: Alignment) -> Predicted:
        return Predicted(self.network(batch.states["target"]))


#: Where a drafter of this file stands in the registry while a test runs.
PLACES = {
    "tiny-state": "tests.evaluation.state_kit:TinyState",
    "tiny-next": "tests.evaluation.state_kit:TinyNext",
}


def state_store(folder: Path, pairs: Sequence[Pair]) -> Path:
    """A store of these pairs, the head beside it as `HEAD_FILE` would be: `folder/head`."""
    kinds = tuple(StoredKind(kind, HIDDEN, "fp32") for kind in ("forced", "own", "target"))
    schema = Schema(kinds, 0, KNOWN)
    rows = [
        Row(
            replace(pair, thoughts=None),
            {
                "target": Said("eos", f"{n:016x}", len(pair.target_tokens)),
                "own": Said("eos", f"{n:016x}", len(pair.draft_tokens)),
            },
            {
                kind.name: pack(thoughts_of(pair).states(kind.name).contiguous(), "fp32")
                for kind in kinds
            },
        )
        for n, pair in enumerate(pairs)
    ]
    write_store(folder, rows, schema)
    return folder


def head_file(path: Path, head: TinyHead) -> Path:
    """The head in a file of ours."""
    vocab = len(head.weight)
    facts = HeadFacts("tiny", "", vocab, HIDDEN, head.draftable, False, None, {}, "made")
    write_lm_head(LMHead(head.weight, None, None, facts), path)
    return path


def saved(kind: type[TinyState], folder: Path, trained_on: TrainedOn | None = None) -> Path:
    """A run folder with this drafter's checkpoint."""
    folder.mkdir(parents=True)
    drafter = kind()
    drafter.build((), 0)
    save_drafter(drafter, folder / "best_model.safetensors", trained_on or TrainedOn())
    return folder
