"""The translator: what it may read, what it learns, and that every way of asking it agrees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.decoding.arrival import Arrival, RecordedStream
from crossdraft.decoding.chains import chain_forwards
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.best_first import best_first_tree
from crossdraft.drafters.checkpoint import load_drafter, save_drafter
from crossdraft.drafters.level_tree import WIDTH
from crossdraft.drafters.trainable import NO_PROPOSAL, PAD, TokenBatch
from crossdraft.drafters.translator import TranslatorDrafter
from crossdraft.drafters.translator_network import TranslatorConfig
from crossdraft.pairs.record import Pair
from tests.make import QUESTION, pair_of, recorded_pairs

SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_heads": 2,
    "ffn_dim": 64,
    "max_seq_len": 24,
    "dropout": 0.0,
    "word_dropout": 0.0,
}
PAIRS = recorded_pairs(12)
WORDS = (20, 100, 21, 2)


def made(pairs: Sequence[Pair] = PAIRS, seed: int = 0, **config: Any) -> TranslatorDrafter:
    """An untrained drafter in float64, its weights large enough for opinions and without ties."""
    drafter = TranslatorDrafter(TranslatorConfig(**{**SMALL, **config}))
    drafter.build(pairs, seed)
    drafter.network.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in drafter.network.named_parameters():
            if "norm" not in name and "question" not in name:
                noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
                weight.copy_(noise * 0.3)
    return drafter


def begun(
    drafter: TranslatorDrafter, words: Sequence[int] = WORDS, question: str = QUESTION
) -> TranslatorDrafter:
    drafter.begin(Context(question, RecordedStream(words)))
    return drafter


def trained(pairs: Sequence[Pair], steps: int, **config: Any) -> TranslatorDrafter:
    """A small translator after some steps on all pairs at once."""
    drafter = TranslatorDrafter(TranslatorConfig(**{**SMALL, **config}))
    drafter.build(pairs, seed=0)
    drafter.network.train()
    batch = TokenBatch.of(pairs, drafter.max_length)
    optimizer = torch.optim.AdamW(drafter.network.parameters(), lr=5e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(steps):
            optimizer.zero_grad()
            drafter.loss(batch).value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    drafter.network.eval()
    return drafter


def log_p(drafter: TranslatorDrafter, words: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
    """[len(tokens) + 1, proposable tokens] log probabilities from one plain forward."""
    drafts, targets = drafter._drafts, drafter._targets
    assert drafts is not None
    row = torch.tensor([tokens], dtype=torch.int64)
    with torch.no_grad():
        logits = drafter.network(
            drafts.encode(torch.tensor([words], dtype=torch.int64)),
            torch.tensor([len(words)]),
            targets.encode(row),
            torch.tensor([drafter._questions.get(QUESTION, 0)]),
        )
    rows: torch.Tensor = logits[0].log_softmax(-1)
    return rows


def ranked(
    drafter: TranslatorDrafter, words: Sequence[int], prefix: Sequence[int]
) -> Callable[[tuple[int, ...]], list[tuple[int, float]]]:
    """Candidates behind a path, each from a forward of its own."""

    def expand(path: tuple[int, ...]) -> list[tuple[int, float]]:
        row = log_p(drafter, words, [*prefix, *path])[-1]
        values, order = row.sort(descending=True)
        return list(zip(drafter._targets.decode(order).tolist(), values.tolist(), strict=True))

    return expand


def same(one: DraftTree, other: DraftTree) -> bool:
    return (
        np.array_equal(one.tokens, other.tokens)
        and np.array_equal(one.parents, other.parents)
        and np.allclose(one.logq, other.logq, rtol=1e-6, atol=1e-6)
    )


# What it may read ---------------------------------------------------------------------------


def test_words_that_have_not_arrived_change_nothing() -> None:
    drafter = made()
    stream = RecordedStream(WORDS)
    stream.visible = 2
    drafter.begin(Context(QUESTION, stream))
    seen = drafter.propose((5, 6), Budget.tree(12, 4))
    for later in ((22, 2), (2, 2, 2, 2), ()):
        other = RecordedStream((*WORDS[:2], *later))
        other.visible = 2
        drafter.begin(Context(QUESTION, other))
        assert same(seen, drafter.propose((5, 6), Budget.tree(12, 4)))
    stream.visible = 3
    drafter.begin(Context(QUESTION, stream))
    assert not same(seen, drafter.propose((5, 6), Budget.tree(12, 4))), "the third word is read"


def test_a_word_that_arrives_between_two_proposals_is_read() -> None:
    drafter, stream = made(), RecordedStream(WORDS)
    drafter.begin(Context(QUESTION, stream))
    for visible in (0, 1, 4):
        stream.visible = visible
        tree = drafter.propose((5, 6), Budget.chain(4))
        again = begun(made(), WORDS[:visible]).propose((5, 6), Budget.chain(4))
        assert same(tree, again)


def test_padding_is_not_read() -> None:
    drafter = made()
    short, long = pair_of((5, 6, 7), (20,)), pair_of((5, 6, 7, 8, 9), (20, 21, 22, 100))
    together = drafter.rollouts(TokenBatch.of([short, long], 24), 2)
    alone = drafter.rollouts(TokenBatch.of([short], 24), 2)
    assert torch.equal(together[0, :2], alone[0, :2])
    padded = drafter.loss(TokenBatch.of([short], 24, pad_to=24))
    plain = drafter.loss(TokenBatch.of([short], 24))
    assert padded.value.item() == pytest.approx(plain.value.item(), abs=1e-12)
    assert (padded.tokens, padded.top1, padded.top5) == (plain.tokens, plain.top1, plain.top5)


def test_training_shows_nothing_everything_and_parts() -> None:
    drafter = made(empty_memory=0.2, full_memory=0.3)
    lengths = torch.full((8000,), 4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shown = drafter._truncated(lengths).bincount(minlength=5) / 8000
    # The uniform half adds a tenth to each of the five lengths.
    assert shown.tolist() == pytest.approx([0.3, 0.1, 0.1, 0.1, 0.4], abs=0.02)
    assert drafter._truncated(torch.zeros(50, dtype=torch.int64)).max() == 0


def test_evaluation_shows_everything_and_draws_nothing() -> None:
    drafter, batch = made(empty_memory=1.0, full_memory=0.0), TokenBatch.of(PAIRS, 24)
    before = torch.get_rng_state()
    whole = drafter.loss(batch).value.item()
    assert torch.equal(before, torch.get_rng_state())
    hidden = TokenBatch(
        batch.draft, torch.zeros_like(batch.draft_lengths), batch.target, batch.target_lengths,
        batch.questions,
    )  # fmt: skip
    drafter.network.train()
    assert drafter.loss(batch).value.item() != pytest.approx(whole, abs=1e-6)
    drafter.network.eval()
    empty = drafter.loss(hidden).value.item()
    drafter.network.train()
    assert drafter.loss(batch).value.item() == pytest.approx(empty, abs=1e-12)


# What it learns -----------------------------------------------------------------------------


def test_learns_what_follows_the_previous_target_token() -> None:
    """Every answer is another walk on a ring: only the accepted prefix says where it stands."""
    step = {token: 30 + (5 * (token - 30) + 3) % 12 for token in range(30, 42)}

    def walk(first: int) -> Pair:
        answer = list(itertools.accumulate(range(7), lambda token, _: step[token], initial=first))
        return pair_of(answer, (20, 21))

    walks = [walk(first) for first in step]
    drafter = trained(walks, steps=80)
    said = drafter.loss(TokenBatch.of(walks, 24))
    # Nothing tells the first token: at best one of twelve is guessed.
    assert said.top1 == said.tokens - len(walks) + 1
    begun(drafter, (20, 21))
    assert drafter.propose((30,), Budget.chain(2)).tokens.tolist() == [33, step[33]]


def test_learns_to_translate_through_cross_attention() -> None:
    """The target says the drafter's words in order, each in its own language."""
    rng = Random(0)

    def translated(words: Sequence[int]) -> Pair:
        return pair_of([word + 50 for word in words], words)

    pairs = [translated([rng.randrange(10, 16) for _ in range(4)]) for _ in range(300)]
    drafter = trained(pairs[:260], steps=160, empty_memory=0.0, full_memory=0.9)
    said = drafter.loss(TokenBatch.of(pairs[260:], 24))
    assert said.top1 is not None and said.top1 >= 0.98 * said.tokens
    chain = begun(drafter, pairs[-1].draft_tokens).propose((), Budget.chain(4))
    assert tuple(chain.tokens.tolist()) == pairs[-1].target_tokens


def test_the_question_is_read_where_it_was_seen() -> None:
    pairs = [replace(pair_of((5, 6), ()), question=question) for question in ("one", "two")]
    pairs[1] = replace(pairs[1], target_tokens=(7, 8))
    drafter = trained(pairs, steps=40)
    for pair in pairs:
        chain = begun(drafter, (), pair.question).propose((), Budget.chain(2))
        assert tuple(chain.tokens.tolist()) == pair.target_tokens
    assert len(begun(drafter, (), "never asked").propose((), Budget.chain(2))) == 2
    assert not drafter.network.question_embedding.weight[0].any(), "unknown: the zero vector"


# Every way of asking agrees -----------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1, 2, 3, 5, 9])
def test_rollouts_count_the_forwards_of_replay(gamma: int) -> None:
    # Answers the drafter half knows: true at some places, wrong at others.
    drafter = made()
    pairs = [_half_right(drafter, pair, Random(place)) for place, pair in enumerate(PAIRS)]
    pairs.append(replace(pairs[0], draft_tokens=()))
    batch = TokenBatch.of(pairs, drafter.max_length)
    chains = drafter.rollouts(batch, gamma)
    assert chains.shape == (len(pairs), batch.target.shape[1], gamma)
    counted = chain_forwards(chains.numpy(), batch.target.numpy(), batch.target_lengths.numpy())
    budget = Budget.chain(gamma)
    replayed = [replay(drafter, pair, budget, Arrival()).forwards for pair in pairs]
    assert counted.tolist() == replayed
    assert 0 < sum(replayed) < sum(len(pair.target_tokens) for pair in pairs)


def _half_right(drafter: TranslatorDrafter, pair: Pair, rng: Random) -> Pair:
    """The pair with an answer that follows the drafter's own choice most of the time."""
    answer: list[int] = []
    begun(drafter, pair.draft_tokens)
    while len(answer) < 14:
        choice = int(drafter.propose(answer, Budget.chain(1)).tokens[0])
        answer.append(choice if rng.random() < 0.75 else rng.choice(pair.target_tokens))
    return replace(pair, target_tokens=tuple(answer))


def test_rollouts_propose_nothing_behind_the_end() -> None:
    chains = made().rollouts(TokenBatch.of([pair_of((5, 6, 7)), pair_of((5,) * 5)], 24), 4)
    assert chains[0, 1].tolist()[2:] == [NO_PROPOSAL] * 2
    assert (chains[0, :3, 0] >= 0).all()
    assert (chains[1, 0] >= 0).all()


@given(
    prefix=st.lists(st.sampled_from([5, 6, 7, 8, 100, 101, 2, -1, 4711]), max_size=6),
    nodes=st.integers(1, 7),
    depth=st.integers(1, 5),
)
def test_a_chain_is_a_tree_of_one_branch(prefix: list[int], nodes: int, depth: int) -> None:
    drafter = begun(NARROW)
    chain = drafter.propose(prefix, Budget(nodes, depth, 1))
    assert chain.parents.tolist() == list(range(-1, len(chain) - 1))
    assert len(chain) == min(nodes, depth)
    expected = best_first_tree(
        ranked(drafter, WORDS, prefix), Budget(nodes, depth, 1), drafter.name
    )
    assert same(chain, expected)


@given(
    prefix=st.lists(st.sampled_from([5, 6, 7, 8, 100, 101, 2]), max_size=5),
    nodes=st.integers(1, WIDTH),
    depth=st.integers(1, 4),
    branch=st.integers(1, WIDTH),
)
def test_small_trees_are_the_best_first_trees(
    prefix: list[int], nodes: int, depth: int, branch: int
) -> None:
    """Up to the width of a level nothing is left out: the nodes are exactly the likeliest."""
    drafter, budget = begun(NARROW), Budget(nodes, depth, branch)
    tree = drafter.propose(prefix, budget)
    expected = best_first_tree(ranked(drafter, WORDS, prefix), budget, drafter.name)
    assert paths(tree) == paths(expected)
    assert sorted(tree.logq.tolist()) == pytest.approx(sorted(expected.logq.tolist()), abs=1e-5)


def paths(tree: DraftTree) -> set[tuple[int, ...]]:
    return {tuple(tree.tokens[list(tree.path(node))].tolist()) for node in range(len(tree))}


def test_probabilities_of_a_wide_tree_are_those_of_plain_forwards() -> None:
    drafter, prefix = begun(made(seed=3)), (5, 6, 7)
    with torch.inference_mode():
        fixed = drafter._decode(prefix)
        rows, parents, logq, _ = drafter._grow(fixed, Budget.tree(60, 8))
        tokens = drafter._targets.decode(rows).tolist()
    tree = DraftTree.from_parents(tokens, parents, logq)
    assert len(tree) == 60
    assert tree.depth.max() >= 3
    assert logq == sorted(logq, reverse=True)
    for node, value in enumerate(logq):
        path = [tokens[step] for step in tree.path(node)]
        each = log_p(drafter, WORDS, [*prefix, *path])
        labels = drafter._targets.labels(torch.tensor(path))
        steps = each[len(prefix) : -1].gather(1, labels[:, None])
        assert value == pytest.approx(float(steps.sum()), abs=1e-9)


def test_children_never_outrank_their_parents() -> None:
    tree = begun(made(seed=5)).propose((5,), Budget.tree(40, 6))
    for node, parent in enumerate(tree.parents.tolist()):
        if parent != ROOT:
            assert tree.logq[node] <= tree.logq[parent]
    assert np.isfinite(tree.logq).all()


@settings(max_examples=40)
@given(
    prefixes=st.lists(
        st.lists(st.sampled_from([5, 6, 7, -1, 4711]), max_size=6), min_size=1, max_size=6
    )
)
def test_what_was_asked_before_changes_nothing(prefixes: list[list[int]]) -> None:
    """Prefixes that grow, shrink and branch off, against a drafter that starts anew."""
    drafter = begun(NARROW)
    kept = [drafter.propose(prefix, Budget.tree(8, 3)) for prefix in prefixes]
    fresh = [begun(drafter).propose(prefix, Budget.tree(8, 3)) for prefix in prefixes]
    assert all(same(one, other) for one, other in zip(kept, fresh, strict=True))


def test_ranks_of_the_next_token_are_those_of_the_plain_forward() -> None:
    drafter = begun(NARROW)
    tree = drafter.propose((5, 6), Budget.next_token(30))
    expected = ranked(drafter, WORDS, (5, 6))(())
    assert tree.tokens.tolist() == [token for token, _ in expected[:30]]
    assert tree.parents.tolist() == [ROOT] * len(tree)


# Edges --------------------------------------------------------------------------------------


def test_nothing_is_proposed_behind_the_longest_answer() -> None:
    drafter = begun(made())
    assert len(drafter.propose((5,) * 22, Budget.chain(5))) == 2
    assert drafter.propose((5,) * 23, Budget.tree(9, 4)).depth.max() == 1
    assert len(drafter.propose((5,) * 24, Budget.chain(5))) == 0
    assert len(drafter.propose((5,) * 300, Budget.chain(5))) == 0
    assert len(begun(drafter, (20,) * 300).propose((5,), Budget.chain(5))) == 5
    long = TokenBatch.of([pair_of((5,) * 300, (20,) * 300)], drafter.max_length)
    assert drafter.rollouts(long, 3).shape == (1, 24, 3)


def test_unknown_tokens_share_a_row_and_are_never_proposed() -> None:
    drafter = begun(made())
    known = {token for pair in PAIRS for token in pair.target_tokens}
    one = drafter.propose((5, 4711), Budget.tree(1000, 1))
    other = drafter.propose((5, -1), Budget.tree(1000, 1))
    assert set(one.tokens.tolist()) == known, "every token that training saw, no other"
    assert same(one, other)
    assert same(
        begun(drafter, (20, 4711)).propose((), Budget.chain(3)),
        begun(drafter, (20, 2**40)).propose((), Budget.chain(3)),
    )


def test_padding_id_is_proposed_only_where_it_was_said() -> None:
    said = made([pair_of((PAD, 5, 6), (20,))])
    silent = made([pair_of((5, 6), (20,))])
    for drafter, expected in ((said, {PAD, 5, 6}), (silent, {5, 6})):
        begun(drafter)
        assert set(drafter.propose((), Budget.next_token(9)).tokens.tolist()) == expected


def test_tokens_without_a_row_count_as_missed() -> None:
    drafter = made()
    known = drafter.loss(TokenBatch.of([pair_of((5, 6, 7, 8))], 24))
    partly = drafter.loss(TokenBatch.of([pair_of((5, 6, 7, 4711))], 24))
    assert known.tokens == partly.tokens == 4
    assert partly.top5 is not None and partly.top5 <= 3
    nothing = drafter.loss(TokenBatch.of([pair_of((4711,)), pair_of(())], 24))
    assert (nothing.tokens, nothing.top1, nothing.top5) == (1, 0, 0)
    assert nothing.value.item() == 0.0
    assert drafter.loss(TokenBatch.of([pair_of(())], 24)).tokens == 0


def test_answers_without_words_are_learned_from() -> None:
    pairs = [pair_of((5, 6, 7)), pair_of((5, 6, 8))]
    drafter = trained(pairs, steps=30)
    assert begun(drafter, ()).propose((), Budget.chain(2)).tokens.tolist() == [5, 6]


def test_nothing_to_learn_is_said() -> None:
    with pytest.raises(InputError, match="no target answer has a token"):
        made([pair_of((), (20,))])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embed_dim", 0),
        ("embed_dim", 30),
        ("encoder_layers", 0),
        ("max_seq_len", -1),
        ("dropout", 1.0),
        ("word_dropout", -0.1),
        ("empty_memory", 1.5),
        ("full_memory", 0.9),
    ],
)
def test_contradictory_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        TranslatorDrafter.config_from({name: value})


def test_shapes_follow_the_configuration() -> None:
    drafter = made()
    network, config = drafter.network, drafter.config
    targets = {token for pair in PAIRS for token in pair.target_tokens}
    assert network.target_embedding.weight.shape == (len(targets) + 2, config.embed_dim)
    assert network.head_bias.shape == (len(targets),)
    layer = 4 * 32 * 33 + 2 * 32 * 64 + 64 + 32 + 4 * 32
    cross = 4 * 32 * 33 + 2 * 32
    drafts = {token for pair in PAIRS for token in pair.draft_tokens}
    rows = (len(drafts) + 2) + (len(targets) + 2) + (24 + 1) + 24 + 2 + 2  # null, start, questions
    norms = 2 * 2 * 32
    expected = layer + 2 * (layer + cross) + norms + rows * 32 + len(targets)
    assert drafter.parameters == expected


def test_saved_and_loaded_it_proposes_the_same(tmp_path: Path) -> None:
    drafter = TranslatorDrafter(TranslatorConfig(**SMALL))
    drafter.build(PAIRS, seed=1)
    path = tmp_path / "translator.safetensors"
    save_drafter(drafter, path)
    loaded = load_drafter(path).drafter
    assert isinstance(loaded, TranslatorDrafter)
    assert loaded.config == drafter.config
    for prefix in ((), (5, 6), (4711, 5)):
        tree = begun(drafter).propose(prefix, Budget.tree(20, 5))
        again = begun(loaded).propose(prefix, Budget.tree(20, 5))
        assert np.array_equal(tree.tokens, again.tokens)
        assert np.array_equal(tree.logq, again.logq)
    torch.testing.assert_close(
        loaded.loss(TokenBatch.of(PAIRS, 24)).value, drafter.loss(TokenBatch.of(PAIRS, 24)).value
    )


def test_tensors_that_do_not_fit_are_refused() -> None:
    drafter = made()
    tensors = drafter.tensors()
    del tensors["start"]
    with pytest.raises(InputError, match="do not fit a translator"):
        TranslatorDrafter.restore(drafter.describe(), tensors)


NARROW = made(seed=7)
