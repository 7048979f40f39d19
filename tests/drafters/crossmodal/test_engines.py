"""The compiled kernels against torch: the same rows, the same trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.drafters.base import Budget
from crossdraft.drafters.crossmodal.compiled import CompiledEngine, fits
from crossdraft.drafters.crossmodal.drafter import CrossmodalDrafter
from crossdraft.drafters.crossmodal.ends import Ends
from crossdraft.drafters.crossmodal.engine import Engine, TorchEngine
from crossdraft.drafters.level_tree import Grown
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.crossmodal.kit import PAIRS, begun, drafter_of
from tests.drafters.ladder.made import HIDDEN, VOCAB, made_head

SIZES: list[dict[str, Any]] = [
    {},
    {"num_layers": 1, "num_heads": 1, "memory": "none"},
    {"num_layers": 3, "embed_dim": 32, "num_heads": 4, "ffn_dim": 24, "trim_vocabulary": False},
]
DRAFTERS = [drafter_of(PAIRS, max_question=3, **sizes) for sizes in SIZES]
#: Between sums of the same float32 numbers in another order, behind three layers of large weights.
NOISE = 5e-3
IDS = st.integers(-1, VOCAB - 2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("words"), st.lists(IDS, min_size=1, max_size=4)),
        st.tuples(st.just("tokens"), st.lists(IDS, min_size=1, max_size=4)),
        st.tuples(st.just("blind"), st.lists(IDS, min_size=1, max_size=2)),
        st.tuples(st.just("back"), st.integers(0, 3)),
    ),
    max_size=6,
)
BUDGETS = st.one_of(
    st.builds(Budget.chain, st.integers(1, 8)),
    st.builds(Budget, st.integers(1, 24), st.integers(1, 8), st.integers(1, 12)),
)


def ends_of(drafter: CrossmodalDrafter) -> Ends:
    return drafter._ends_here(thoughts_of(PAIRS[0]).head)


ENGINES: list[tuple[Engine, Engine]] = [
    (TorchEngine(one.network, ends_of(one)), CompiledEngine(one.network, ends_of(one)))
    for one in DRAFTERS
]


def live(engine: Engine, question: list[int], steps: list[tuple[str, Any]], budget: Budget,
         least: float, reads: bool) -> Grown:  # fmt: skip
    """Go through an answer's events and draft behind it."""
    generator = torch.Generator().manual_seed(1)
    engine.begin(question)
    answer: list[int] = []
    begun = False
    for what, value in steps:
        if what == "words" and reads:
            engine.remember(torch.randn(len(value), HIDDEN, generator=generator), value)
        elif what in ("tokens", "blind"):
            states = list(torch.randn(len(value), HIDDEN, generator=generator))
            known = states if what == "tokens" else states[:1]
            first = len(answer) if begun else -1
            tokens = value if begun else [*answer, *value]
            engine.extend(first, tokens, known)
            answer, begun = [*answer, *value], True
        elif what == "back" and begun and answer:
            keep = min(value, len(answer) - 1)
            states = list(torch.randn(len(answer) - keep, HIDDEN, generator=generator))
            engine.extend(keep, answer[keep:], states)
    if not begun:
        engine.extend(-1, (), ())
    return engine.grow(budget, least)


@pytest.mark.parametrize("which", range(len(SIZES)))
@given(
    question=st.lists(IDS, min_size=1, max_size=3), steps=STEPS, budget=BUDGETS,
    least=st.sampled_from([0.0, 0.02, 0.3]),
)  # fmt: skip
def test_both_engines_grow_the_same_trees(
    which: int, question: list[int], steps: list[tuple[str, Any]], budget: Budget, least: float
) -> None:
    reads = DRAFTERS[which].config.memory == "own"
    with torch.inference_mode():
        one, other = (
            live(engine, question, steps, budget, least, reads) for engine in ENGINES[which]
        )
    assert np.allclose(one.logq, other.logq, atol=NOISE)
    gaps = -np.diff(one.logq)
    if (gaps > NOISE).all():  # else rounding decides the order
        assert one.rows.tolist() == other.rows.tolist()
        assert one.parents == other.parents


def test_a_head_with_a_bias_is_the_same_in_both() -> None:
    plain = made_head()
    pushed = torch.linspace(-6, 6, VOCAB)
    drafter = DRAFTERS[0]
    ids = drafter._vocabulary.outputs
    assert ids is not None
    trees = []
    with torch.inference_mode():
        for bias in (None, pushed):
            ends = Ends.of(replace(plain, bias=bias), ids, VOCAB, drafter.network)
            assert fits(drafter.network, ends)
            for engine in (TorchEngine, CompiledEngine):
                steps = [("words", [3, -1]), ("tokens", [5, 6])]
                one = engine(drafter.network, ends)
                trees.append(live(one, [7, 8], steps, Budget(12, 3, 4), 0.0, True))
    for by_torch, by_kernels in (trees[:2], trees[2:]):
        assert by_torch.rows.tolist() == by_kernels.rows.tolist()
        assert by_torch.logq == pytest.approx(by_kernels.logq, abs=NOISE)
    assert trees[0].rows.tolist() != trees[2].rows.tolist(), "the bias decides"


def test_what_kernels_cannot_do_torch_does() -> None:
    drafter = drafter_of(PAIRS)
    ends = ends_of(drafter)
    assert fits(drafter.network, ends)
    soft = ends.proposing
    object.__setattr__(soft.facts, "finish", {"final_logit_softcapping": 30.0})  # type: ignore[attr-defined]
    assert not fits(drafter.network, ends)
    double = drafter_of(PAIRS, double=True)
    assert not fits(double.network, ends_of(double))
    deaf = drafter_of(PAIRS, token_conditioning=False)
    assert not fits(deaf.network, ends_of(deaf))


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, CompiledEngine), ({"token_conditioning": False}, TorchEngine),
     ({"double": True}, TorchEngine)],
)  # fmt: skip
def test_the_drafter_takes_the_engine_that_fits(options: dict[str, Any], kind: type) -> None:
    drafter = drafter_of(PAIRS, compiled=True, **options)
    begun(drafter, PAIRS[0])
    assert isinstance(drafter._engine, kind)
    first = drafter._engine
    begun(drafter, PAIRS[1])
    assert drafter._engine is first, "tables are made once for a head"
