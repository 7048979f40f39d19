"""Measurements against stated times, and on tiny models that really run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.cost_measure import (
    TAILS,
    WIDTHS,
    _accepted,
    _chain,
    _tree,
    measure,
    usual_context,
)
from crossdraft.vlm.target import Target
from tests.vlm.costs import MadeTarget, linear
from tests.vlm.models import tiny

Patch = pytest.MonkeyPatch


def made(monkeypatch: Patch, duration: Any = linear, **options: Any) -> Any:
    return cast(Any, MadeTarget(monkeypatch, duration, **options))


def test_stated_times_come_out(monkeypatch: Patch) -> None:
    curves = measure(
        made(monkeypatch), context=100, widths=(1, 4, 11), tail_widths=(4, 8), repeats=5
    )
    assert [(cost.tokens, cost.ms, cost.ratio) for cost in curves.chain] == [
        (1, 10.0, 1.0), (4, 13.0, 1.3), (11, 20.0, 2.0),
    ]  # fmt: skip
    assert curves.tree == curves.chain
    assert [tail.tokens for tail in curves.tail] == [4, 8]
    assert [tail.ms for tail in curves.tail] == pytest.approx([2.0, 4.0])
    assert [tail.ratio for tail in curves.tail] == pytest.approx([0.2, 0.4])
    assert (curves.step_ms, curves.prefill_ms, curves.repeats) == (10.0, 30.0, 5)


def test_a_slowing_machine_changes_times_but_no_ratio(monkeypatch: Patch) -> None:
    per_round = 2 * 3 + 1 + 1

    def slower(kind: str, tree: DraftTree, before: int) -> float:
        # The probe's own first question stands before all rounds.
        return linear(kind, tree, before) * 1.5 ** ((before - 1) // per_round)

    target = made(monkeypatch, slower)
    curves = measure(target, context=100, widths=(1, 4, 11), tail_widths=(8,), repeats=9, warmup=2)
    assert target.passes == 1 + 11 * per_round
    for cost, ratio in zip(curves.chain, (1.0, 1.3, 2.0), strict=True):
        assert (cost.low, cost.ratio, cost.high) == pytest.approx((ratio, ratio, ratio))
    assert curves.tail[0].ratio == pytest.approx(0.4)
    assert curves.step_ms == pytest.approx(10 * 1.5**6), "the fifth of nine rounds, after two"


def test_warmup_does_not_count(monkeypatch: Patch) -> None:
    def slow_at_first(kind: str, tree: DraftTree, before: int) -> float:
        return linear(kind, tree, before) + (1000 * len(tree) if before < 1 + 2 * 4 else 0)

    curves = measure(
        made(monkeypatch, slow_at_first), context=50, widths=(1, 3), tail_widths=(), repeats=1,
        warmup=2,
    )  # fmt: skip
    assert curves.chain[1].ratio == pytest.approx(1.2)


def test_median_and_quartiles_are_those_of_the_ratios(monkeypatch: Patch) -> None:
    extra = iter(range(100))

    def noisy(kind: str, tree: DraftTree, _: int) -> float:
        return 10.0 + (next(extra) if len(tree) else 0)

    curves = measure(
        made(monkeypatch, noisy), context=50, widths=(1, 2), tail_widths=(), repeats=50, warmup=0
    )
    chain, tree = curves.chain[1], curves.tree[1]
    assert chain.low < chain.ratio < chain.high
    assert 10 * chain.ratio == pytest.approx(chain.ms)
    low, middle, high = np.quantile(1 + np.arange(100) / 10, (0.25, 0.5, 0.75))
    assert (chain.low + tree.low) / 2 == pytest.approx(low, rel=0.1)
    assert (chain.ratio + tree.ratio) / 2 == pytest.approx(middle, rel=0.1)
    assert (chain.high + tree.high) / 2 == pytest.approx(high, rel=0.1)


def test_a_tree_that_is_a_chain_costs_what_the_chain_does(monkeypatch: Patch) -> None:
    """Two measurements of one pass must not advise against each other."""
    noise: Iterator[float] = iter(np.random.default_rng(0).random(1000).tolist())

    def noisy(kind: str, tree: DraftTree, _: int) -> float:
        return 10.0 + len(tree) + next(noise)

    curves = measure(
        made(monkeypatch, noisy), context=50, widths=(1, 2, 4, 61), tail_widths=(), repeats=9
    )
    assert curves.chain[:3] == curves.tree[:3]
    assert curves.chain[3] != curves.tree[3]


def test_a_tree_keeps_rows_that_lie_apart() -> None:
    """Rows in their place are kept without moving any, which is not what a tree pays."""
    tree = _tree(range(60))
    path = _accepted(tree)
    assert path == tree.path(path[-1])
    assert path != tuple(range(len(path)))
    assert len(path) == (int(tree.depth.max()) + 1) // 2
    assert _accepted(_chain(range(9))) == (0, 1, 2, 3, 4)


def test_a_model_shorter_than_the_usual_widths_says_so(monkeypatch: Patch) -> None:
    with pytest.raises(InputError, match="behind a question of 15") as caught:
        usual_context(made(monkeypatch, max_positions=40))
    assert "narrower passes" in str(caught.value)


def test_reading_the_tokens_is_part_of_a_pass(monkeypatch: Patch) -> None:
    curves = measure(
        made(monkeypatch, read_ms=10.0), context=50, widths=(1, 11), tail_widths=(), repeats=1
    )
    assert (curves.step_ms, curves.chain[1].ms) == (20.0, 30.0)


def test_every_round_takes_each_width_once_in_a_new_order(monkeypatch: Patch) -> None:
    target = made(monkeypatch)
    measure(target, context=90, widths=(1, 3, 9), tail_widths=(2,), repeats=8, warmup=0)
    ran = [
        (kind, len(tree), tree.parents.tolist() != list(range(-1, len(tree) - 1)))
        for kind, tree in target.machine.ran[1:]
    ]
    rounds = [tuple(ran[start : start + 8]) for start in range(0, len(ran), 8)]
    assert len(rounds) == 8
    assert len({frozenset(Counter(one).items()) for one in rounds}) == 1
    assert len(set(rounds)) == 8
    assert ("extend", 8, True) in rounds[0] and ("extend", 8, False) in rounds[0]
    assert ("ask", 0, False) in rounds[0] and ("ask", 2, False) in rounds[0]


def test_ids_are_words(monkeypatch: Patch) -> None:
    target = made(monkeypatch)
    measure(target, context=3000, question=20, repeats=1, warmup=0)
    prompt = target.opened[0]
    assert (len(prompt.ids), prompt.cut, len(target.opened)) == (3000, 2980, 1)
    used = set(prompt.ids).union(*(tree.tokens.tolist() for _, tree in target.machine.ran))
    assert used.isdisjoint({2, 400}) and max(used) < 410 and len(used) > 350


def test_usual_widths_price_a_tree_of_sixty_nodes(monkeypatch: Patch) -> None:
    curves = measure(made(monkeypatch), repeats=1)
    assert [cost.tokens for cost in curves.tree] == list(WIDTHS)
    assert [cost.tokens for cost in curves.tail] == list(TAILS)
    assert curves.widest == 61
    assert curves.setup.context == 2071


@pytest.mark.parametrize(("positions", "context"), [(None, 2071), (4096, 2071), (512, 451)])
def test_usual_context(monkeypatch: Patch, positions: int | None, context: int) -> None:
    assert usual_context(made(monkeypatch, max_positions=positions)) == context


def test_one_token_is_always_measured(monkeypatch: Patch) -> None:
    curves = measure(made(monkeypatch), context=50, widths=(9, 5, 9), tail_widths=(), repeats=1)
    assert [cost.tokens for cost in curves.chain] == [1, 5, 9]
    assert (curves.tail, curves.prefill_ms) == ((), 0.0)


def test_progress_counts_rounds(monkeypatch: Patch) -> None:
    seen: list[Progress] = []
    measure(
        made(monkeypatch), context=50, widths=(2,), tail_widths=(), repeats=2, warmup=1,
        progress=seen.append,
    )  # fmt: skip
    assert seen == [Progress("verify cost", done, 3) for done in range(4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 0}, "0 repeats"),
        ({"widths": (0, 4)}, "a pass over 0 tokens"),
        ({"tail_widths": (0,)}, "a tail of 0 drafts"),
        ({"context": 10}, "a question of 15 tokens in a context of 10"),
        ({"question": 0}, "a question of 0 tokens"),
        ({"context": 4050}, "4050 tokens of context and up to 61 of a pass"),
        ({"widths": (1, 500)}, "499 drafts"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    monkeypatch: Patch, options: dict[str, Any], message: str
) -> None:
    target = made(monkeypatch)
    with pytest.raises(InputError, match=message):
        measure(target, **options)
    assert not target.opened, "nothing ran"


@pytest.mark.parametrize("cache", ["growing", "preallocated"])
@pytest.mark.parametrize("name", ["llama", "video-llava", "qwen2.5-vl"])
def test_real_sessions(name: str, cache: Any) -> None:
    """Text stands in for the picture; the numbers are real, so only their form is tested."""
    target = Target(tiny(name), cache=cache, room=64)
    curves = measure(
        target, context=40, question=5, widths=(1, 2, 9), tail_widths=(4,), repeats=2, warmup=1
    )
    for costs in (curves.chain, curves.tree, curves.tail):
        assert all(cost.low <= cost.ratio <= cost.high for cost in costs)
    assert all(cost.ms > 0 for cost in (*curves.chain, *curves.tree))
    setup = curves.setup
    assert (setup.cache, setup.dtype, setup.layers) == (cache, "float64", 2)
    assert (setup.context, setup.question) == (40, 5)
    assert setup.attention == "sdpa" and setup.device.startswith("cpu: ") and setup.threads > 0


def test_a_cache_without_room_is_refused() -> None:
    target = Target(tiny("llama"), cache="preallocated", room=16)
    with pytest.raises(InputError, match="size of the preallocated cache"):
        measure(target, context=40, question=5, widths=(1, 30), tail_widths=(), repeats=1)
