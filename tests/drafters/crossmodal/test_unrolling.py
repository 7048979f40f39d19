"""What training computes at every depth is what decoding computes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.tree import Verification
from crossdraft.drafters.base import Budget
from crossdraft.drafters.crossmodal.ends import Ends
from crossdraft.drafters.crossmodal.engine import TorchEngine
from crossdraft.drafters.trainable import NO_PROPOSAL
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.crossmodal.kit import PAIRS, batch_of, begun, depths, drafter_of, rows_of

STEPS = 4
LONG = [pair for pair in PAIRS if len(pair.target_tokens) >= 5][:2]
DRAFTERS = {
    memory: drafter_of(LONG, double=True, memory=memory, embed_dim=16) for memory in ("own", "none")
}


class Steered(Ends):
    """Proposes the tokens of a path, and keeps the states that it is asked about."""

    path: Sequence[int]
    seen: list[Tensor]

    @classmethod
    def along(cls, ends: Ends, path: Sequence[int]) -> Steered:
        one = cls(ends.head, ends.proposing, ends.ids, ends.vocab, ends.null)
        object.__setattr__(one, "path", list(path))
        object.__setattr__(one, "seen", [])
        return one

    def logits(self, states: Tensor) -> Tensor:
        depth = len(self.seen)
        self.seen.append(states.reshape(-1, states.shape[-1])[0])
        scores = torch.zeros(*states.shape[:-1], len(self.ids))
        if depth < len(self.path):
            scores[..., self.ids.tolist().index(self.path[depth])] = 50.0
        return scores


@pytest.mark.parametrize("memory", DRAFTERS)
@given(
    which=st.integers(0, len(LONG) - 1),
    arrivals=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    known=st.integers(0, 8),
)
def test_every_depth_of_training_is_decoded(
    memory: str, which: int, arrivals: list[int], known: int
) -> None:
    """Words arriving at any pace, states known up to any place."""
    drafter, pair = DRAFTERS[memory], LONG[which]
    tokens, thoughts = pair.target_tokens, thoughts_of(pair)
    count, words = len(tokens), len(pair.draft_tokens)
    arrived = torch.tensor(arrivals).cumsum(0)[:count].clamp(max=words)
    arrived = torch.cat([arrived, arrived[-1:].expand(count - len(arrived))])
    batch = batch_of(drafter, [pair])
    with torch.no_grad():
        answers = drafter._answers(batch)
    hidden = torch.arange(count)[None] >= known
    shown = torch.zeros_like(arrived) if memory == "none" else arrived
    answers = replace(answers, arrived=shown[None], hidden=hidden)
    trained = depths(drafter, answers, STEPS)

    ends = drafter._ends_here(thoughts.head)
    with torch.no_grad():
        engine = TorchEngine(drafter.network, ends)
        engine.begin(drafter._shown_question(thoughts.question_ids))
        there = 0
        for start in range(count):
            if memory == "own" and arrived[start] > there:
                fresh = slice(there, int(arrived[start]))
                engine.remember(thoughts.states("own")[fresh], pair.draft_tokens[fresh])
                there = fresh.stop
            if start == 0:
                engine.extend(-1, (), ())
            else:
                states = thoughts.states("target")[start - 1 : min(start, known)]
                engine.extend(start - 1, tokens[start - 1 : start], list(states))
            steps = min(STEPS, count - start)
            steered = Steered.along(ends, tokens[start : start + steps - 1])
            engine._ends = steered
            engine.grow(Budget.chain(steps), 0.0)
            engine._ends = ends
            for depth, state in enumerate(steered.seen):
                said, places, inside = trained[depth]
                assert inside[0, start] and places[0, start] == start + depth
                assert torch.allclose(said[0, start], state, atol=1e-9)


def test_behind_the_end_nothing_is_inside() -> None:
    drafter = DRAFTERS["own"]
    batch = batch_of(drafter, LONG)
    with torch.no_grad():
        answers = drafter._answers(batch)
    for depth, (_, _, inside) in enumerate(depths(drafter, answers, 3)):
        for row, pair in enumerate(LONG):
            assert int(inside[row].sum()) == max(0, len(pair.target_tokens) - depth)


@given(st.data())
@pytest.mark.parametrize("memory", DRAFTERS)
def test_chains_do_not_depend_on_which_others_there_are(memory: str, data: st.DataObject) -> None:
    drafter = DRAFTERS[memory]
    batch = batch_of(drafter, LONG)
    with torch.no_grad():
        answers = drafter._answers(batch)
    length = batch.target.shape[1]
    count = data.draw(st.integers(1, length))
    drawn = [data.draw(st.permutations(range(length)))[:count] for _ in LONG]
    chosen = torch.tensor(drawn)
    whole, some = depths(drafter, answers, STEPS), depths(drafter, answers, STEPS, chosen)
    assert all(torch.equal(one, other) for one, other in zip(whole[0], some[0], strict=True))
    for every, few in zip(whole[1:], some[1:], strict=True):
        for row, starts in enumerate(drawn):
            said, places, inside = (one[row, starts] for one in every)
            assert torch.equal(places, few[1][row]) and torch.equal(inside, few[2][row])
            assert torch.allclose(said[inside], few[0][row][inside], atol=1e-9)


def test_padding_changes_nothing() -> None:
    """Neither of the question, on the left, nor of answers and memories, on the right."""
    drafter = drafter_of(PAIRS, double=True)
    asked = [thoughts_of(pair).question_ids[i % 3 :] for i, pair in enumerate(PAIRS)]
    with torch.no_grad():
        whole = replace(batch_of(drafter), question_ids=tuple(asked))
        together = depths(drafter, drafter._answers(whole), 3)
        for row, pair in enumerate(PAIRS):
            batch = replace(batch_of(drafter, [pair]), question_ids=(asked[row],))
            for (one, _, inside), (all_of_them, _, _) in zip(
                depths(drafter, drafter._answers(batch), 3), together, strict=True
            ):
                where = inside[0]
                mine, theirs = one[0][where], all_of_them[row, : len(where)][where]
                assert torch.allclose(mine, theirs, atol=1e-9)


@pytest.mark.parametrize("memory", ["own", "none"])
@pytest.mark.parametrize("compiled", [False, True])
def test_rollouts_are_what_is_proposed(memory: str, compiled: bool) -> None:
    drafter = drafter_of(PAIRS, compiled=compiled, memory=memory)
    gamma, checked = 4, 0
    with torch.no_grad():
        chains = drafter.rollouts(batch_of(drafter), gamma)
    for row, pair in enumerate(PAIRS):
        stream = begun(drafter, pair)
        stream.visible = len(stream)
        for start in range(len(pair.target_tokens)):
            if start:
                drafter.observe(Verification((), 0), rows_of(pair, start - 1, start))
            tree = drafter.propose(pair.target_tokens[:start], Budget.chain(gamma))
            chain = chains[row, start].tolist()
            for depth, token in enumerate(tree.tokens.tolist()):
                if start + depth >= len(pair.target_tokens):
                    assert chain[depth] == NO_PROPOSAL
                    break
                assert token == chain[depth]
                checked += 1
                if token != pair.target_tokens[start + depth]:
                    break
    assert checked > 60


def test_the_future_changes_no_proposal() -> None:
    """Tokens and states from a place on, and words that have not arrived."""
    drafter = drafter_of(PAIRS, double=True)
    batch = batch_of(drafter)
    with torch.no_grad():
        before = depths(drafter, drafter._answers(batch), 3)
    for place in (1, 3):
        target, states = batch.target.clone(), batch.states["target"].clone()
        target[:, place:] = target[:, place:].flip(0)
        states[:, place:] = torch.randn_like(states[:, place:])
        changed = replace(batch, target=target, states={**batch.states, "target": states})
        with torch.no_grad():
            after = depths(drafter, drafter._answers(changed), 3)
        for depth in range(3):
            first = max(0, place - depth + 1)  # starts whose chains have read none of it
            same = torch.isclose(before[depth][0][:, :first], after[depth][0][:, :first])
            assert same.all()
        assert not torch.allclose(before[0][0][:, place + 1 :], after[0][0][:, place + 1 :])


def test_the_leak_sees_the_future_in_training_alone() -> None:
    drafter = drafter_of(PAIRS, memory="forced", double=True)
    batch = batch_of(drafter)
    forced = batch.states["forced"].clone()
    forced[:, 3:] += 1.0
    changed = replace(batch, states={**batch.states, "forced": forced})
    with torch.no_grad():
        before = depths(drafter, drafter._answers(batch), 1)[0][0]
        after = depths(drafter, drafter._answers(changed), 1)[0][0]
    longer = batch.target_lengths > 4
    assert not torch.allclose(before[longer, 0], after[longer, 0])
    assert "forced_states" not in drafter.needs
    assert "draft_states" in drafter.needs
