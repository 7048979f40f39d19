"""How `crossmodal` learns: from its own predictions, several tokens deep, through the target's
frozen head.

Tokens by cross entropy, and the target's whole distribution, which its stored states give, by
divergence. The memory arrives at random paces, or not at all, as it does when answers are drafted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import DRAFT_STATES, DRAFT_TOKENS, HEAD, TARGET_STATES
from crossdraft.drafters.crossmodal.config import CrossmodalConfig
from crossdraft.drafters.crossmodal.ends import Ends
from crossdraft.drafters.crossmodal.network import NO_TOKEN, Crossmodal
from crossdraft.drafters.crossmodal.unrolling import Answers, unrolled
from crossdraft.drafters.trainable import (
    IGNORE,
    NO_PROPOSAL,
    Loss,
    TokenBatch,
    Trainable,
    hits,
)
from crossdraft.drafters.vocabulary import Vocabulary, distinct
from crossdraft.pairs.record import Head, Pair
from crossdraft.pairs.thoughts import thoughts_of

#: Paces at which training has words arrive, in words per token of the target: up to this.
_FASTEST = 2.5


class LearningCrossmodal(Trainable):
    """The half of the drafter that needs no answer."""

    name = "crossmodal"
    needs = frozenset({DRAFT_TOKENS, DRAFT_STATES, TARGET_STATES, HEAD})
    Config = CrossmodalConfig
    config: CrossmodalConfig
    network: Crossmodal
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 2e-3,
        "batch_size": 16,
        "num_epochs": 10,
        "warmup": 0.05,
    }

    def __init__(self, config: CrossmodalConfig | None = None) -> None:
        super().__init__(config)
        self.max_length = self.config.max_seq_len
        self._hidden = self._draft_hidden = self._draftable = 0
        self._vocabulary: Vocabulary
        self._ends: tuple[Head, Tensor, Ends] | None = None
        if self.config.memory == "none":
            self.needs = frozenset({TARGET_STATES, HEAD})

    @property
    def batch_needs(self) -> frozenset[str]:  # type: ignore[override]
        """What `loss` and `rollouts` read."""
        memory = {"own": "own_states", "forced": "forced_states"}.get(self.config.memory)
        needs = {"draft_tokens", "target_tokens", "target_states", "head", "question_ids"}
        return frozenset(needs if memory is None else needs | {memory})

    def build(self, pairs: Sequence[Pair], seed: int) -> None:
        thoughts = thoughts_of(pairs[0])
        head = thoughts.head
        kind = self.config.memory if self.config.memory != "none" else "target"
        if kind not in thoughts.kinds:
            raise InputError(
                f"no {kind} states of the event model",
                where="--memory",
                expected=f"a store with them, or another memory than {kind}",
            )
        vocab = head.logits(thoughts.states("target")[:1]).shape[-1]
        targets = None
        if self.config.trim_vocabulary:
            said = distinct(pair.target_tokens[: self.max_length] for pair in pairs)
            targets = [token for token in said if token < head.draftable]
            if not targets:
                raise InputError("no target answer has a token", hint="nothing to learn")
        self._make(head.hidden, thoughts.states(kind).shape[-1], vocab, head.draftable, targets)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.network = Crossmodal(self.config, self._hidden, self._draft_hidden).eval()

    def _make(
        self, hidden: int, draft_hidden: int, vocab: int, draftable: int,
        targets: Sequence[int] | None,
    ) -> None:  # fmt: skip
        self._hidden, self._draft_hidden, self._draftable = hidden, draft_hidden, draftable
        ids = range(min(draftable, vocab)) if targets is None else targets
        self._vocabulary = Vocabulary(vocab, None, torch.tensor(list(ids), dtype=torch.int64))
        self._ends = None

    def loss(self, batch: TokenBatch) -> Loss:
        """Of all depths, later ones counting less."""
        config, ends = self.config, self._ends_here(batch.head)
        labels = self._vocabulary.labels(batch.target)
        with torch.no_grad():
            wanted = ends.logits(batch.states["target"]).log_softmax(-1)
        answers = self._answers(batch)
        values, weights = [], []
        counted = (0, 0, 0)
        depths = unrolled(self.network, answers, config.rollout_steps, self._chosen(batch))
        for depth, (states, places, inside) in enumerate(depths):
            row, column = inside.nonzero(as_tuple=True)
            place = places[row, column]
            known = labels[row, place] != IGNORE
            row, column, place = row[known], column[known], place[known]
            if not len(row):
                break
            logits = ends.logits(states[row, column])
            label, truth = labels[row, place], wanted[row, place]
            if depth == 0:
                counted = hits(logits.detach(), label)
            values.append(self._of_step(logits, label, truth))
            weights.append(config.rollout_decay**depth)
        beyond = int(batch.target_lengths.sum())
        if not values:
            return Loss(answers.tokens.sum() * 0.0 + self._nothing(), beyond, 0, 0)
        value = torch.stack([w * v for w, v in zip(weights, values, strict=True)]).sum()
        return Loss(value / sum(weights), beyond, counted[1], counted[2])

    def _chosen(self, batch: TokenBatch) -> Tensor | None:
        """[batch, rollout_starts] of each answer, drawn anew for every batch; None: all of them."""
        count, length = self.config.rollout_starts, batch.target.shape[1]
        if not self.network.training or not count or count >= length:
            return None
        inside = torch.arange(length) < batch.target_lengths.cpu()[:, None]
        drawn = torch.rand(inside.shape).masked_fill(~inside, -1.0)
        return drawn.topk(count, dim=1).indices.to(batch.target.device)

    def _nothing(self) -> Tensor:
        return sum((weight.sum() * 0.0 for weight in self.network.parameters()), torch.zeros(()))

    def _of_step(self, logits: Tensor, label: Tensor, truth: Tensor) -> Tensor:
        """One depth's: entropy, divergence and what sampling would reject, weighted means."""
        config, said = self.config, logits.log_softmax(-1)
        value = functional.nll_loss(said, label)
        if config.kl_weight:
            divergence = functional.kl_div(said, truth, log_target=True, reduction="batchmean")
            value = value + config.kl_weight * divergence
        if config.acceptance_weight:
            apart = (said.exp() - truth.exp()).abs().sum(-1).mean() / 2
            value = value + config.acceptance_weight * apart
        return value / (1 + config.kl_weight + config.acceptance_weight)

    def rollouts(self, batch: TokenBatch, gamma: int) -> Tensor:
        ends = self._ends_here(batch.head)
        chains = torch.full((*batch.target.shape, gamma), NO_PROPOSAL, device=batch.target.device)
        # Behind a draft that is not the target's token nothing counts, so true tokens will do.
        steps = unrolled(self.network, self._answers(batch), gamma)
        for depth, (states, _, inside) in enumerate(steps):
            best = ends.ids[ends.logits(states).argmax(-1)]
            chains[:, :, depth] = torch.where(inside, best, NO_PROPOSAL)
        return chains

    def _answers(self, batch: TokenBatch) -> Answers:
        """A batch as the network reads it; in training with as much hidden as may be missing."""
        ends = self._ends_here(batch.head)
        dtype = self.network.null_state.dtype
        question, question_lengths = self._questions(batch, ends)
        hidden = None
        if self.network.training and self.config.state_dropout:
            share = torch.rand(batch.target.shape).to(batch.target.device)
            hidden = share < self.config.state_dropout
        memory, lengths = self._memory(batch, ends)
        return Answers(
            question,
            question_lengths,
            batch.states["target"].to(dtype),
            hidden,
            ends.embedded(batch.target),
            batch.target_lengths,
            memory,
            self._arrived(lengths, batch.target.shape[1]),
        )

    def _questions(self, batch: TokenBatch, ends: Ends) -> tuple[Tensor, Tensor]:
        """[batch, q, hidden] padded on the left, and how long each is."""
        asked = [self._shown_question(ids) for ids in batch.question_ids]
        longest = max(map(len, asked))
        padded = [[NO_TOKEN] * (longest - len(ids)) + list(ids) for ids in asked]
        ids = torch.tensor(padded, dtype=torch.int64, device=batch.target.device)
        lengths = torch.tensor([len(ids) for ids in asked], device=batch.target.device)
        return ends.embedded(ids), lengths

    def _shown_question(self, ids: Sequence[int]) -> tuple[int, ...]:
        """What is read of a question: its end, or one row where nobody knows it."""
        return tuple(ids[-self.config.max_question :]) or (NO_TOKEN,)

    def _memory(self, batch: TokenBatch, ends: Ends) -> tuple[Any, Tensor]:
        """Keys and values of what there is to remember, and how many words that is, [batch]."""
        kind, count = self.config.memory, len(batch)
        if kind == "none":
            nothing = self.network.remember(None)
            memory = tuple(
                (k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1)) for k, v in nothing
            )
            return memory, torch.zeros(count, dtype=torch.int64, device=batch.target.device)
        tokens, lengths = batch.draft, batch.draft_lengths
        if kind == "forced":
            tokens, lengths = batch.target, batch.target_lengths
        states = batch.states[kind].to(self.network.null_state.dtype)
        return self.network.remember(states, ends.embedded(tokens)), lengths

    def _arrived(self, lengths: Tensor, starts: int) -> Tensor:
        """[batch, starts] words that are there when the chain of each start begins.

        All of them, or in training: nothing ever, all at once, or some at first and then more at a
        steady pace, as they do while the event model still speaks.
        """
        whole = lengths[:, None].expand(-1, starts)
        if not self.network.training or self.config.memory == "forced":
            return whole
        # Drawn on the CPU: the same draws on every device.
        case, first, pace = torch.rand(3, len(lengths)).to(lengths.device)[..., None]
        place = torch.arange(starts, device=lengths.device)
        part = first * (lengths[:, None] + 1) + place * pace * _FASTEST
        # Some paces stand still: words that never come.
        part = torch.where(pace < 0.2, first * (lengths[:, None] + 1), part)
        arrived = torch.minimum(part.long(), whole)
        arrived = torch.where(case < self.config.empty_memory, 0, arrived)
        return torch.where(case >= 1 - self.config.full_memory, whole, arrived)

    def _ends_here(self, head: Head | None) -> Ends:
        """The target's ends where the network lives."""
        if head is None:
            raise InputError(f"{self.name} reads tokens off states", expected="the target's head")
        known = self._ends
        if known is None or known[0] is not head or known[1] is not self.network.null_token:
            ids = self._vocabulary.outputs
            assert ids is not None
            ends = Ends.of(head, ids, self._vocabulary.size, self.network)
            known = self._ends = (head, self.network.null_token, ends)
        return known[2]

    def describe(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "hidden": self._hidden,
            "draft_hidden": self._draft_hidden,
            "vocab": self._vocabulary.size,
            "draftable": self._draftable,
            "targets": self._vocabulary.rows()["outputs"] if self.config.trim_vocabulary else None,
        }

    @classmethod
    def restore(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        drafter = cls(cls.config_from(about["config"]))
        drafter._make(
            about["hidden"], about["draft_hidden"], about["vocab"], about["draftable"],
            about["targets"],
        )  # fmt: skip
        drafter.network = Crossmodal(drafter.config, drafter._hidden, drafter._draft_hidden).eval()
        try:
            drafter.network.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise InputError(f"tensors do not fit a crossmodal drafter ({error})") from error
        return drafter
