"""Drafts of every level: what training counts is what is proposed, and nothing from the future."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.tree import Verification
from crossdraft.decoding.replay import RecordedRows, begin_recorded
from crossdraft.drafters.base import FORCED_STATES, Budget
from crossdraft.drafters.checkpoint import load_drafter, save_drafter
from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.registry import LADDER
from crossdraft.drafters.trainable import NO_PROPOSAL, TokenBatch, Trainable
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.ladder.made import HIDDEN, made_head, made_pairs
from tests.tiny import tiny

PAIRS = made_pairs(6)
GAMMA = 3


def level(name: str, pairs: Sequence[Pair] = PAIRS, seed: int = 3, **options: Any) -> LadderDrafter:
    """A level with random weights, those too that begin as zeros or as the identity."""
    drafter = tiny(name, **options)
    assert isinstance(drafter, LadderDrafter)
    drafter.build(pairs, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in drafter.network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    drafter.network.eval()
    return drafter


def batch_of(drafter: LadderDrafter, pairs: Sequence[Pair], **options: Any) -> TokenBatch:
    return TokenBatch.of(pairs, drafter.max_length, needs=drafter.batch_needs, **options)


def begin_at(drafter: Trainable, pair: Pair, position: int) -> None:
    """At `position` of the pair's answer, everything arrived."""
    begin_recorded(drafter, pair)
    states = thoughts_of(pair).states("target")
    if position:
        drafter.observe(Verification((), None), RecordedRows(states[:position]))


OWN = {"alignment": "own"}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LADDER),
    *((name, OWN) for name in LADDER if name != "target-eagle"),
    ("attention", {"loss": "seed"}),
    ("attention", {"num_layers": 2, "loss": "seed"}),
    ("attention", {"loss": "seed", "bidirectional": False, "alignment": "forced"}),
    ("eagle", {"loss": "seed"}),
    ("target-eagle", {"num_layers": 2}),
    ("fused-eagle", {"num_layers": 2}),
    ("eagle-fusion", {"num_fusion_layers": 2, "use_kl_loss": True}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@pytest.mark.parametrize("draft_hidden", [HIDDEN, 10])
@pytest.mark.parametrize("followed", [True, False])
def test_rollouts_are_what_is_proposed(
    name: str, options: dict[str, Any], draft_hidden: int, followed: bool
) -> None:
    known = ("own", "forced", "target") if followed else ("own", "target")
    pairs = made_pairs(6, draft_hidden=draft_hidden, known=known)
    if not followed and (name == "target-eagle" or options not in (OWN, {"loss": "seed"})):
        return
    drafter = level(name, pairs, **options)
    assert (FORCED_STATES in drafter.needs) == (followed and name != "target-eagle")
    batch = batch_of(drafter, pairs)
    chains = drafter.rollouts(batch, GAMMA)
    assert chains.shape == (*batch.target.shape, GAMMA)
    proposed = 0
    for place, pair in enumerate(pairs):
        answer = pair.target_tokens
        for position in range(len(answer)):
            begin_at(drafter, pair, position)
            tree = drafter.propose(answer[:position], Budget.chain(GAMMA))
            counted = _up_to_the_first_miss(tree.tokens.tolist(), answer[position:])
            row = chains[place, position].tolist()
            wanted = _up_to_the_first_miss(
                row[: row.index(NO_PROPOSAL)] if NO_PROPOSAL in row else row, answer[position:]
            )
            assert counted == wanted, (place, position)
            proposed += len(counted)
    assert proposed > 0


def _up_to_the_first_miss(said: Sequence[int], answer: Sequence[int]) -> list[int]:
    """What counts: behind the first wrong token nothing is ever accepted."""
    kept: list[int] = []
    for token, wanted in zip(said, answer, strict=False):
        kept.append(token)
        if token != wanted:
            break
    return kept


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_trees_keep_to_the_budget_hold_the_chain_and_survive_a_checkpoint(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    drafter = level(name, **options)
    save_drafter(drafter, tmp_path / "best_model.safetensors")
    again = load_drafter(tmp_path).drafter
    sizes = []
    for pair in PAIRS:
        for position in range(min(3, len(pair.target_tokens))):
            prefix, budget = pair.target_tokens[:position], Budget(9, 3, 3)
            for one in (drafter, again):
                begin_at(one, pair, position)
            tree, same = (one.propose(prefix, budget) for one in (drafter, again))
            assert tree.tokens.tolist() == same.tokens.tolist()
            assert tree.logq.tolist() == same.logq.tolist()
            assert tree.tokens.tolist() == drafter.propose(prefix, budget).tokens.tolist()
            assert len(tree) <= 9
            assert all(tree.depth <= 3)
            children = [tree.parents.tolist().count(node) for node in range(-1, len(tree))]
            assert max(children) <= 3
            chain = drafter.propose(prefix, Budget.chain(1)).tokens.tolist()
            assert tree.tokens.tolist()[:1] == chain
            assert all(tree.tokens < made_head().draftable)
            sizes.append(len(tree))
    assert max(sizes) == 9
    assert len(drafter.propose(PAIRS[0].target_tokens[:1], Budget(0, 3, 3))) == 0


@pytest.mark.parametrize("name", LADDER)
def test_what_has_not_arrived_is_not_proposed_from(name: str) -> None:
    drafter = level(name)
    pair = max(PAIRS, key=lambda each: len(each.draft_tokens))
    stream = begin_recorded(drafter, pair)
    trees = []
    for visible in (0, 2, len(stream)):
        stream.visible = visible
        trees.append(drafter.propose((), Budget.chain(4)).tokens.tolist())
    if drafter.shift:
        assert trees == [[], [], []]
    else:
        assert (len(trees[0]), len(trees[1])) == (0, 2)
        assert trees[2][:2] == trees[1], "causal: more words change nothing before them"


@pytest.mark.parametrize(
    ("others", "said"),
    [({"hidden": 24}, "target's states are 24 wide"), ({"draft_hidden": 10}, "10 wide")],
)
def test_states_of_other_models_are_refused(others: dict[str, int], said: str) -> None:
    drafter = level("attention")
    other = made_pairs(2, **others)[0]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said) as caught:
        begin_recorded(drafter, other)
        drafter.propose((), Budget.chain(GAMMA))
    assert f"{HIDDEN}, as it was trained on" in str(caught.value)
