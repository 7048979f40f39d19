"""Rules with their settings: whose answer they give, and by which numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.rules import Greedy, Rule, Sampling, TopK, Typical, Warp
from crossdraft.vlm.session import Step
from tests.decoding.engine import EMPTY, Draws, Floats, Language, scores
from tests.vlm.models import scene_of, tiny

WARPS = (
    Warp(),
    Warp(0.5),
    Warp(2.0, top_k=7),
    Warp(0.7, top_p=0.8),
    Warp(3.0, top_k=9, top_p=0.6),
    Warp(0.3, top_k=1),
    Warp(1.0, top_p=0.05),
    Warp(1.0, top_k=1000),
)


def step(logits: Tensor) -> Step:
    return Step(logits, logits)


@pytest.mark.parametrize("warp", WARPS, ids=str)
def test_warping_is_that_of_generate(warp: Warp) -> None:
    model: Any = tiny("llama")
    outputs = scene_of(model, random.Random(1), "text").outputs((9, 10, 11))
    with torch.no_grad():
        said = model.generate(
            **outputs,
            max_new_tokens=4,
            do_sample=True,
            temperature=warp.temperature,
            top_k=warp.top_k,
            top_p=warp.top_p,
            output_logits=True,
            output_scores=True,
            return_dict_in_generate=True,
        )
    for logits, warped in zip(said.logits, said.scores, strict=True):
        # generate warps in single precision at least, and draws from the softmax.
        expected = warped.double().softmax(-1)
        found = warp(logits.double())
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(found > 0, expected > 0), "what is kept"


@given(
    seed=st.integers(0, 10**6),
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 9),
    top_p=st.floats(0.05, 1),
)
def test_warping_by_hand(seed: int, temperature: float, top_k: int, top_p: float) -> None:
    logits = Language().logits((seed,))
    expected = Draws(0, temperature, top_k, top_p).chances(logits)
    found = Warp(temperature, top_k, top_p)(scores(logits))[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


def test_half_precision_is_warped_in_single() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    assert Warp(0.7)(logits).dtype == torch.float32
    torch.testing.assert_close(Warp(0.7)(logits), Warp(0.7)(logits.float()))
    assert Warp(0.7)(logits.double()).dtype == torch.float64


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Warp(**wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sampling(seed=-1),
        lambda: Sampling(seed=1 << 64),
        lambda: TopK(0),
        lambda: Typical(epsilon=0.0),
        lambda: Typical(epsilon=1.1),
        lambda: Typical(delta=-0.5),
    ],
    ids=["seed below", "seed above", "k", "epsilon 0", "epsilon above", "delta"],
)
def test_other_settings_out_of_range_too(make: Any) -> None:
    with pytest.raises(InputError):
        make()


def test_relaxed_rules_say_so() -> None:
    rules: list[Rule] = [Greedy(), Sampling(), TopK(3), Typical(0.3, 0.09)]
    assert [(rule.name, rule.lossy) for rule in rules] == [
        ("greedy", False),
        ("sampling", False),
        ("lossy top-3", True),
        ("lossy typical (0.3, 0.09)", True),
    ]


def test_relaxed_rules_take_what_the_target_would_not_say() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [0.0, 0.0, 5.0]]).double()
    tree = DraftTree.chain([1])
    assert Greedy()(step(logits), tree, ()).path == ()
    assert TopK(2)(step(logits), tree, ()).path == (0,)
    assert TopK(1)(step(logits), tree, ()).path == ()
    # Of 0.665, 0.245, 0.09 the entropy is 0.83.
    assert Typical(0.24, 0.9)(step(logits), tree, ()).path == (0,)
    assert Typical(0.25, 0.9)(step(logits), tree, ()).path == ()
    assert Typical(0.25, 0.9, Warp(3.0))(step(logits), tree, ()).path == (0,)


# --- the numbers of sampling ----------------------------------------------------------------


@settings(max_examples=40)
@given(
    seed=st.sampled_from([0, 1, 77, (1 << 64) - 1]),
    said=st.lists(st.integers(0, 7), max_size=5),
    draws=st.sampled_from([Draws(0), Draws(0, 0.5), Draws(0, 2.0, 4), Draws(0, 1.3, 0, 0.7)]),
)
def test_a_token_depends_on_the_seed_and_its_place(
    seed: int, said: list[int], draws: Draws
) -> None:
    """And is drawn by inverting the distribution, ids in order."""
    logits = Language(3).logits(said)
    rule = Sampling(Warp(draws.temperature, draws.top_k, draws.top_p), seed)
    expected = replace(draws, seed=seed)(logits, len(said))
    for _ in range(2):
        assert rule(step(scores(logits)), EMPTY, said).token == expected


def test_numbers_of_a_long_path_are_those_of_its_places() -> None:
    """Each row of a chain is drawn as the same row would be, asked for alone."""
    even = torch.zeros(9, 50, dtype=torch.float64)
    rule = Sampling(seed=5)
    alone = [rule(step(even[:1]), EMPTY, [0] * place).token for place in range(3, 12)]
    chain = DraftTree.chain([int(token or 0) for token in alone[:-1]])
    found = rule(step(even), chain, [0, 0, 0])
    assert (found.path, found.token) == (tuple(range(8)), alone[-1])


def test_places_and_seeds_have_numbers_of_their_own() -> None:
    even = torch.zeros(1, 1 << 20, dtype=torch.float64)
    tokens = [
        Sampling(seed=seed)(step(even), EMPTY, [0] * place).token
        for seed in (0, 1, 2)
        for place in range(20)
    ]
    assert len(set(tokens)) == 60


def test_numbers_are_even_and_neighbours_have_nothing_in_common() -> None:
    """Tokens of neighbouring places together, over many seeds."""
    even = torch.zeros(1, 6, dtype=torch.float64)
    counts = np.zeros((6, 6))
    for seed in range(3000):
        first, second = (Sampling(seed=seed)(step(even), EMPTY, [0] * n).token for n in (0, 1))
        counts[first, second] += 1
    away = float(((counts - 3000 / 36) ** 2 / (3000 / 36)).sum())
    assert float(torch.special.gammaincc(torch.tensor(17.5), torch.tensor(away / 2))) > 1e-3


def test_drawn_drafts_are_judged_by_rejection() -> None:
    """A draft that was drawn from what the target itself would draw from is always taken."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(2, 6)))
    warp = Warp(0.8, top_k=4)
    rows = warp(logits).numpy()
    for seed in range(30):
        token = int(rng.choice(6, p=rows[0]))
        tree = replace(DraftTree.chain([token]), q_rows=rows[:1])
        assert Sampling(warp, seed)(step(logits), tree, ()).path == (0,)
        # Of a rule that only compared the draws this would be the case by chance.
        plain = Sampling(warp, seed)(step(logits[:1]), EMPTY, ()).token
        taken = Sampling(warp, seed)(step(logits), replace(tree, q_rows=None), ()).path
        assert bool(taken) == (plain == token)


@pytest.mark.parametrize("temperature", [1e-3, 1e-6])
def test_the_colder_the_greedier(temperature: float) -> None:
    for seed in range(20):
        logits: Floats = Language(seed).logits((seed,))
        best = int(logits.argmax())
        tree = DraftTree.from_parents([(best + 1) % 8, best], [-1, -1])
        rows = torch.from_numpy(np.stack([logits, -logits, np.roll(logits, 1)]))
        cold = Sampling(Warp(temperature), seed)
        assert cold(step(rows), tree, ()) == Greedy()(step(rows), tree, ())


def test_the_same_call_gives_the_same_answer() -> None:
    """Rules keep nothing between calls."""
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 8)))
    tree = replace(DraftTree.from_parents([1, 2], [-1, -1]), q_rows=np.full((2, 8), 1 / 8))
    rule = Sampling(seed=9)

    def said(of: Sequence[int]) -> tuple[Any, ...]:
        found = rule(step(logits), tree, of)
        return found.path, found.token

    first = [said([0] * place) for place in range(12)]
    assert [said([0] * place) for place in reversed(range(12))] == first[::-1]
    assert len(set(first)) > 1
