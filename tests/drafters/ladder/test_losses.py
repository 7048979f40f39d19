"""What the ladder learns: the right positions, by the right formula, and nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.ladder.inputs import LayeredNetwork
from crossdraft.drafters.ladder.losses import counted, divergence
from crossdraft.drafters.ladder.unrolling import unrolled
from crossdraft.drafters.registry import LADDER
from crossdraft.drafters.trainable import TokenBatch
from tests.drafters.ladder.made import VOCAB, Made, made_head, made_pairs
from tests.drafters.ladder.test_drafting import batch_of, level

PAIRS = made_pairs(6)


def rows_of(states: Tensor, lengths: Tensor, first: int = 0) -> Tensor:
    """[count, hidden] of each answer, from its row `first` on, one behind the other."""
    return torch.cat([row[first:n] for row, n in zip(states, lengths.tolist(), strict=True)])


def cosine_of(mine: Tensor, wanted: Tensor) -> float:
    return float(functional.cosine_similarity(mine, wanted, dim=-1).mean())


@pytest.mark.parametrize(
    "name", ["bottleneck", "attention", "eagle", "target-eagle", "fused-eagle"]
)
def test_loss_seed_is_its_formula(name: str) -> None:
    options: dict[str, Any] = {} if name == "target-eagle" else {"alignment": "own"}
    drafter = level(name, PAIRS, loss="seed", **options)
    batch = batch_of(drafter, PAIRS)
    own = name != "target-eagle"
    with torch.no_grad():
        loss, said = drafter.loss(batch), drafter.predicted(batch, "own").states
    here = torch.minimum(batch.target_lengths, batch.draft_lengths) if own else batch.target_lengths
    aim = batch.states["target"]
    mine, wanted = rows_of(said, here), rows_of(aim, here)
    value = functional.mse_loss(mine, wanted)
    value = value + 0.5 * (1 - functional.cosine_similarity(mine, wanted, dim=-1).mean())
    count = len(mine)
    if drafter.shift:
        ends = torch.minimum(here + 1, batch.target_lengths)
        mine, wanted = rows_of(said, ends - 1), rows_of(aim, ends, 1)
        value = 0.5 * value + 0.5 * functional.mse_loss(mine, wanted)
        count = int((ends - 1).sum())
    assert float(loss.value) == pytest.approx(float(value), rel=1e-5)
    assert loss.tokens == count
    assert loss.cosine == pytest.approx(cosine_of(mine, wanted), rel=1e-5)


@pytest.mark.parametrize("name", LADDER)
def test_loss_token_is_cross_entropy_of_the_tokens_that_outputs_stand_for(name: str) -> None:
    smooth: dict[str, Any] = {"label_smoothing": 0.0} if name == "eagle-fusion" else {}
    drafter = level(name, PAIRS, feature_weight=0.0, **smooth)
    batch = batch_of(drafter, PAIRS)
    with torch.no_grad():
        loss, said = drafter.loss(batch), drafter.predicted(batch, "forced")
        logits = said.logits(made_head())
    shift, lengths, aim = drafter.shift, batch.target_lengths, batch.states["target"]
    labels = rows_of(batch.target, lengths, shift)
    entropy = functional.cross_entropy(rows_of(logits, lengths - shift), labels)
    assert float(loss.value) == pytest.approx(float(entropy), rel=1e-5)
    assert loss.tokens == len(labels)
    best = rows_of(logits, lengths - shift).argmax(-1)
    assert loss.top1 == int((best == labels).sum())
    mine, wanted = rows_of(said.states, lengths - shift), rows_of(aim, lengths, shift)
    assert loss.cosine == pytest.approx(cosine_of(mine, wanted), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in LADDER if name != "target-eagle"])
def test_own_states_count_as_far_as_the_event_model_spoke(name: str) -> None:
    drafter = level(name, PAIRS, alignment="own")
    with torch.no_grad():
        loss = drafter.loss(batch_of(drafter, PAIRS))
    shift = drafter.shift
    counts = [min(len(p.draft_tokens), len(p.target_tokens) - shift) for p in PAIRS]
    assert loss.tokens == sum(counts) < sum(len(p.target_tokens) - shift for p in PAIRS)


@pytest.mark.parametrize("loss", ["token", "seed"])
@pytest.mark.parametrize("name", LADDER)
def test_what_the_loss_names_is_enough_for_it(name: str, loss: str) -> None:
    drafter = level(name, PAIRS, loss=loss)
    drafter.network.train()
    batch = TokenBatch.of(PAIRS, drafter.max_length, needs=drafter.loss_needs)
    assert drafter.loss(batch).value.isfinite()


def test_eagle_fusion_learns_tokens_divergence_and_states() -> None:
    """The seed study's 1, 0.5 and 0.1, and its labels smoothed by 0.1."""
    drafter = level("eagle-fusion", PAIRS, loss="seed", alignment="forced")
    batch, head = batch_of(drafter, PAIRS), made_head()
    assert batch.top is not None
    with torch.no_grad():
        loss, said = drafter.loss(batch), drafter.predicted(batch, "forced")
        rows = counted(batch, said.states.shape[1], batch.target_lengths, 1)
        logits = said.logits(head)[:, : rows.length][rows.inside]
        states = said.states[:, : rows.length][rows.inside]
        value = functional.cross_entropy(logits, rows.labels, label_smoothing=0.1)
        value = value + 0.5 * divergence(logits, batch.top, rows)
        value = value + 0.1 * functional.mse_loss(states, rows.of(batch.states["target"]))
    assert float(loss.value) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("name", LADDER)
def test_every_weight_learns_and_the_head_does_not(name: str) -> None:
    drafter = level(
        name, PAIRS, kl_weight=0.5, **({"use_kl_loss": True} if "fusion" in name else {})
    )
    assert "target_logits" in drafter.batch_needs
    batch = batch_of(drafter, PAIRS)
    steps, values = torch.optim.AdamW(drafter.network.parameters(), 1e-2), []
    for _ in range(8):
        loss = drafter.loss(batch)
        values.append(float(loss.value.detach()))
        steps.zero_grad()
        loss.value.backward()  # type: ignore[no-untyped-call]
        steps.step()
    assert values[-1] < values[0]
    for weight in drafter.network.parameters():
        assert weight.grad is not None
    assert not made_head().weight.requires_grad


@pytest.mark.parametrize("name", ["target-eagle", "fused-eagle"])
def test_steps_ahead_learn_the_tokens_that_chains_propose(name: str) -> None:
    """One step more is the entropy of what the second draft of every chain says."""
    one, two = (
        level(name, PAIRS, rollout_steps=n, feature_weight=0.0, dropout=0.0) for n in (1, 2)
    )
    batch, length = batch_of(two, PAIRS), max(len(pair.target_tokens) for pair in PAIRS)
    assert isinstance(two.network, LayeredNetwork)
    for drafter in (one, two):
        drafter.network.train()
    chains = two.rollouts(batch, 2)
    states = unrolled(two.network, two._inputs(batch, "forced"), 2, two.max_length)[1]
    starts = [
        (row, p) for row, n in enumerate(batch.target_lengths.tolist()) for p in range(1, n - 1)
    ]
    assert starts
    assert length == states.shape[1]
    logits = made_head().logits(torch.stack([states[row, p] for row, p in starts]))
    said = logits[:, : made_head().draftable].argmax(-1).tolist()
    assert said == [int(chains[row, p, 1]) for row, p in starts]
    labels = torch.stack([batch.target[row, p + 1] for row, p in starts])
    wanted = (one.loss(batch).value + functional.cross_entropy(logits, labels)) / 2
    assert float(two.loss(batch).value.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_divergence_is_nothing_where_both_agree_and_something_elsewhere() -> None:
    batch = TokenBatch.of(PAIRS, 64, needs=frozenset({"target_logits", "target_states"}))
    assert batch.top is not None
    states = batch.states["target"]
    rows = counted(batch, states.shape[1], batch.target_lengths, 0)
    same = made_head().logits(rows.of(states))
    assert float(divergence(same, batch.top, rows)) == pytest.approx(0, abs=1e-5)
    assert float(divergence(same.roll(1, -1), batch.top, rows)) > 0.1


@pytest.mark.parametrize("shift", [0, 1])
def test_divergence_is_that_of_the_stored_ids_and_of_one_that_stands_for_all_others(
    shift: int,
) -> None:
    batch = TokenBatch.of(PAIRS, 64, needs=frozenset({"target_logits", "target_states"}))
    assert batch.top is not None
    states, generator = batch.states["target"], torch.Generator().manual_seed(3)
    rows = counted(batch, states.shape[1], batch.target_lengths, shift)
    theirs = made_head().logits(rows.of(states)).softmax(-1).double()
    logits = torch.randn(theirs.shape, generator=generator)
    ours, values = logits.softmax(-1).double(), []
    for p, q, ids in zip(theirs, ours, rows.of(batch.top.ids).tolist(), strict=True):
        one, other = ([*each[ids].tolist(), 1 - float(each[ids].sum())] for each in (p, q))
        values.append(sum(a * (log(a) - log(b)) for a, b in zip(one, other, strict=True)))
    wanted = sum(values) / len(values)
    assert float(divergence(logits, batch.top, rows)) == pytest.approx(wanted, rel=1e-3)


def later_changed(batch: TokenBatch, place: int) -> TokenBatch:
    """The batch with other target tokens from `place` on; states that have read them change."""
    generator = torch.Generator().manual_seed(5)
    target = batch.target.clone()
    target[:, place:] = torch.randint(3, VOCAB - 1, target[:, place:].shape, generator=generator)
    states = dict(batch.states)
    for kind in states.keys() & {"forced", "target"}:
        changed = states[kind].clone()
        changed[:, place + 1 :] = torch.randn(changed[:, place + 1 :].shape, generator=generator)
        states[kind] = changed
    return replace(batch, target=target, states=states)


@pytest.mark.parametrize("name", LADDER)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_no_proposal_knows_what_comes_later(name: str, place: int) -> None:
    gamma = 3
    for options in variants(name):
        drafter = level(name, PAIRS, **options)
        batch = batch_of(drafter, PAIRS)
        one, other = (
            drafter.rollouts(each, gamma) for each in (batch, later_changed(batch, place))
        )
        for depth in range(gamma):
            until = max(0, place - depth + 1)
            assert torch.equal(one[:, :until, depth], other[:, :until, depth])
        if place == 0:
            assert not torch.equal(one, other), "later ones do change"


def variants(name: str) -> list[dict[str, Any]]:
    if name == "target-eagle":
        return [{}]
    if name == "attention":
        return [{}, {"loss": "seed"}]
    return [{}, {"alignment": "own"}]


def test_an_empty_side_costs_nothing() -> None:
    short = [replace(pair, target_tokens=(2,)) for pair in PAIRS]
    for name in ("eagle", "target-eagle"):
        drafter: LadderDrafter = level(name, PAIRS)
        loss = drafter.loss(batch_of(drafter, short))
        assert (float(loss.value.detach()), loss.tokens) == (0.0, 0)
        loss.value.backward()  # type: ignore[no-untyped-call]


def test_an_event_model_that_said_nothing_spoils_no_batch() -> None:
    """Where all see all, rows of an empty answer see nobody but themselves."""
    silent = replace(PAIRS[0], draft_tokens=(), thoughts=None)
    silent = replace(silent, thoughts=Made(silent))
    drafter = level("attention", loss="seed")
    batch = batch_of(drafter, [silent, *PAIRS[1:]])
    said = drafter.predicted(batch, "own").states
    assert said.isfinite().all()
    drafter.loss(batch).value.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad.isfinite().all() for weight in drafter.network.parameters()
               if weight.grad is not None)  # fmt: skip
