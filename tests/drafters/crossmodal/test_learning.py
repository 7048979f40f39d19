"""What the drafter learns from: the loss by hand, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from crossdraft.drafters.crossmodal.drafter import CrossmodalDrafter
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.crossmodal.kit import PAIRS, batch_of, depths, drafter_of
from tests.drafters.ladder.made import Made, made_pairs
from tests.tiny import built


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"kl_weight": 0.0, "rollout_steps": 1}, 1),
        ({"kl_weight": 0.0, "rollout_steps": 3, "rollout_decay": 0.5}, 3),
        ({"kl_weight": 2.0, "rollout_steps": 2}, 2),
        ({"kl_weight": 0.0, "acceptance_weight": 3.0, "rollout_steps": 2}, 2),
    ],
)
def test_the_loss_by_hand(options: dict[str, Any], steps: int) -> None:
    drafter = drafter_of(PAIRS, **options)
    config, batch = drafter.config, batch_of(drafter)
    with torch.no_grad():
        found = float(drafter.loss(batch).value)
        answers = drafter._answers(batch)
    head = thoughts_of(PAIRS[0]).head
    ids = drafter._vocabulary.outputs
    assert ids is not None
    total, weights = 0.0, 0.0
    for depth, (said, _, _) in enumerate(depths(drafter, answers, steps)):
        rows, tokens, true = [], [], []
        for row, pair in enumerate(PAIRS):
            states = thoughts_of(pair).states("target")
            for start in range(len(pair.target_tokens) - depth):
                rows.append(said[row, start])
                tokens.append(ids.tolist().index(pair.target_tokens[start + depth]))
                true.append(head.logits(states[start + depth])[ids].log_softmax(-1))
        logp, p = head.logits(torch.stack(rows))[:, ids].log_softmax(-1), torch.stack(true)
        value = functional.nll_loss(logp, torch.tensor(tokens))
        value += config.kl_weight * (p.exp() * (p - logp)).sum(-1).mean()
        apart = (p.exp() - logp.exp()).abs().sum(-1).mean() / 2
        value += config.acceptance_weight * apart
        value /= 1 + config.kl_weight + config.acceptance_weight
        total += config.rollout_decay**depth * float(value)
        weights += config.rollout_decay**depth
    assert found == pytest.approx(total / weights, rel=1e-4)


def test_tokens_that_cannot_be_proposed_count_as_missed() -> None:
    drafter = drafter_of(made_pairs(3, seed=1))
    batch = TokenBatch.of(PAIRS, drafter.max_length, needs=drafter.batch_needs)
    said = drafter.loss(batch)
    assert said.tokens == sum(len(pair.target_tokens) for pair in PAIRS)
    assert torch.isfinite(said.value)
    strangers = replace(batch, target=torch.full_like(batch.target, 1))
    nothing = drafter.loss(strangers)
    assert float(nothing.value.detach()) == 0.0
    nothing.value.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("memory", ["own", "forced", "none"])
def test_every_weight_learns(memory: str) -> None:
    drafter = drafter_of(PAIRS, memory=memory, state_dropout=0.3)
    drafter.network.train()
    drafter.loss(batch_of(drafter)).value.backward()  # type: ignore[no-untyped-call]
    # Of places that no answer reaches nothing is learnt; where a question is unknown, of no token.
    for name, weight in drafter.network.named_parameters():
        if name != "null_token":
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name


def test_training_rolls_out_some_places_of_each_answer() -> None:
    drafter = drafter_of(PAIRS, rollout_starts=4)
    batch = batch_of(drafter)
    assert drafter._chosen(batch) is None, "outside training it is all of them"
    drafter.network.train()
    torch.manual_seed(0)
    seen: set[int] = set()
    for _ in range(60):
        chosen = drafter._chosen(batch)
        assert chosen is not None and chosen.shape == (len(PAIRS), 4)
        for starts, pair in zip(chosen.tolist(), PAIRS, strict=True):
            length = len(pair.target_tokens)
            assert len(set(starts)) == 4
            assert sum(start < length for start in starts) == min(4, length)
        seen.update(chosen[0].tolist())
    assert seen == set(range(len(PAIRS[0].target_tokens)))
    drafter = drafter_of(PAIRS, rollout_starts=0)
    drafter.network.train()
    assert drafter._chosen(batch) is None


def test_what_is_hidden_follows_the_generator() -> None:
    drafter = drafter_of(PAIRS, dropout=0.2)
    drafter.network.train()
    batch = batch_of(drafter)

    def value(seed: int) -> float:
        torch.manual_seed(seed)
        return float(drafter.loss(batch).value.detach())

    assert value(1) == value(1) != value(2)
    drafter.network.eval()
    assert value(1) == value(2)


def test_words_arrive_at_every_pace_in_training() -> None:
    drafter = drafter_of(PAIRS, empty_memory=0.2, full_memory=0.3)
    drafter.network.train()
    lengths = torch.full((4000,), 20)
    torch.manual_seed(0)
    arrived = drafter._arrived(lengths, 10)
    assert arrived.shape == (4000, 10)
    assert (arrived[:, 1:] >= arrived[:, :-1]).all(), "what has arrived stays"
    assert arrived.min() == 0
    assert arrived.max() == 20
    nothing = (arrived[:, -1] == 0).float().mean()
    everything = (arrived[:, 0] == 20).float().mean()
    assert 0.19 < nothing < 0.25
    assert 0.3 < everything < 0.4
    grows = (arrived[:, -1] > arrived[:, 0]).float().mean()
    assert grows > 0.3
    drafter.network.eval()
    assert (drafter._arrived(lengths, 10) == 20).all()
    leak = drafter_of(PAIRS, memory="forced")
    leak.network.train()
    assert (leak._arrived(lengths, 10) == 20).all(), "the leak is there as a whole"


def told(memory: str) -> float:
    """Share of first tokens that are right behind some training: only the memory says them."""
    pairs = []
    for i, pair in enumerate(made_pairs(24, seed=2)):
        first = 20 + i % 4
        tokens = (first, *pair.target_tokens[1:])
        own = (9, first, 2)
        changed = replace(pair, question="?", draft_tokens=own, target_tokens=tokens)
        pairs.append(replace(changed, thoughts=Made(changed)))
    drafter = _trained(pairs, memory)
    with torch.no_grad():
        chains = drafter.rollouts(batch_of(drafter, pairs), 1)
    right = [chains[row, 0, 0].item() == pair.target_tokens[0] for row, pair in enumerate(pairs)]
    return sum(right) / len(right)


def _trained(pairs: list[Pair], memory: str) -> CrossmodalDrafter:
    drafter = built("crossmodal", pairs, memory=memory, embed_dim=32, rollout_steps=2, dropout=0.0)
    assert isinstance(drafter, CrossmodalDrafter)
    drafter.network.train()
    optimizer = torch.optim.AdamW(drafter.network.parameters(), lr=5e-3)
    batch = batch_of(drafter, pairs)
    torch.manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        drafter.loss(batch).value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    drafter.network.eval()
    return drafter


def test_what_only_the_memory_says_is_learnt_from_it() -> None:
    assert told("own") > 0.9
    assert told("none") < 0.6
