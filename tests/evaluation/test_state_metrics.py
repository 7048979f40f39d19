"""State metrics against a plain loop over positions, and against answers that are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity

from crossdraft.drafters.states import Alignment, Predicted
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.evaluation.bootstrap import BlockBootstrap
from crossdraft.evaluation.state_metrics import ACCEPT, CALIBRATED, Gathered, gather
from crossdraft.evaluation.state_run import ALIGNMENTS, Measured
from crossdraft.evaluation.state_summary import meant, summarise_states
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from tests.evaluation.state_kit import HIDDEN, TinyHead, state_pairs

NEEDS = frozenset({"own_states", "forced_states", "target_states"})
HEAD = TinyHead()


def gathered(
    pairs: Sequence[Pair], alignment: Alignment, size: int = 3, head: TinyHead | None = HEAD
) -> tuple[Gathered, Gathered]:
    """Identity over batches of `size`."""
    same, following = Gathered(), Gathered()
    for first in range(0, len(pairs), size):
        batch = TokenBatch.of(pairs[first : first + size], 64, needs=NEEDS)
        gather(same, following, batch, Predicted(batch.states[alignment]), alignment, head)
    return same, following


def by_hand(pair: Pair, alignment: Alignment, shift: int) -> list[tuple[float, int, int]]:
    """Cosine, rank and position of every output that counts, one after the other."""
    states, truth = thoughts_of(pair).states(alignment), thoughts_of(pair).states("target")
    found = []
    for t in range(len(states)):
        if t + shift >= len(pair.target_tokens) or t >= len(pair.target_tokens):
            break
        cosine = float(cosine_similarity(states[t], truth[t + shift], dim=0))
        logits = HEAD.logits(states[t])[: HEAD.draftable]
        order = sorted(range(HEAD.draftable), key=lambda i: (-float(logits[i]), i))
        token = pair.target_tokens[t + shift]
        rank = order.index(token) if token < HEAD.draftable else HEAD.draftable
        found.append((cosine, rank, t + shift))
    return found


def first_failure(passed: Sequence[bool]) -> int:
    return (*passed, False).index(False)


@given(
    seed=st.integers(0, 10_000),
    noise=st.sampled_from([0.0, 0.2, 1.0]),
    alignment=st.sampled_from(["own", "forced"]),
    shift=st.sampled_from([0, 1]),
    size=st.integers(1, 6),
)
def test_equals_a_loop_over_positions(
    seed: int, noise: float, alignment: Alignment, shift: int, size: int
) -> None:
    pairs = state_pairs(6, noise=noise, seed=seed, head=HEAD)
    pairs = (replace(pairs[0], target_tokens=(*pairs[0].target_tokens[:-1], HEAD.draftable)),
             *pairs[1:])  # fmt: skip
    table = gathered(pairs, alignment, size)[shift].table()
    for i, pair in enumerate(pairs):
        wanted = by_hand(pair, alignment, shift)
        cosines = [cosine for cosine, _, _ in wanted]
        right = [rank == 0 for _, rank, _ in wanted]
        assert table["count"][i] == len(wanted)
        assert table["cosine"][i] == pytest.approx(sum(cosines), abs=1e-5)
        for k in (1, 5, 10):
            assert table[f"top{k}"][i] == sum(rank < k for _, rank, _ in wanted)
        assert table["token_consecutive"][i] == first_failure(right)
        for t in (*ACCEPT, *CALIBRATED):
            if any(math.isclose(c, t, abs_tol=1e-5) for c in cosines):
                continue  # float32 in another order may fall on the other side
            above = [c > t for c in cosines]
            level = f"{100 * t:.0f}"
            if t in ACCEPT:
                assert table[f"accept_{level}"][i] == sum(above)
                assert table[f"consecutive_{level}"][i] == first_failure(above)
            if t in CALIBRATED:
                both = sum(a and r for a, r in zip(above, right, strict=True))
                assert table[f"right_above_{level}"][i] == both


def test_batches_do_not_change_anything() -> None:
    pairs = state_pairs(9)
    for one, other in zip(gathered(pairs, "own", 2), gathered(pairs, "own", 9), strict=True):
        for name, column in one.table().items():
            np.testing.assert_allclose(column, other.table()[name], atol=1e-5)
        np.testing.assert_allclose(one.by_position, other.by_position, atol=1e-5)
        assert (one.histogram == other.histogram).all()


def measured(pairs: Sequence[Pair], alignment: Alignment, shift: int = 0) -> Measured:
    row = Measured("x", alignment, shift, False, 1, ("own_states",), HIDDEN, True)
    row.same, row.following = gathered(pairs, alignment)
    return row


def bootstrap(count: int) -> BlockBootstrap:
    return BlockBootstrap([[i] for i in range(count)], 200, 0)


def test_true_states_are_perfect_and_of_each_alignment_its_positions_count() -> None:
    pairs = state_pairs(8, noise=0.0)
    rows = [measured(pairs, alignment) for alignment in ALIGNMENTS]
    own, forced = summarise_states(rows, bootstrap(8), windows=(3, 5))
    for row in (own, forced):
        metrics = meant(row)["metrics"]
        assert metrics["cosine"]["value"] == pytest.approx(1, abs=1e-6)
        assert metrics["token_top1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert meant(row)["runs"]["token_consecutive"]["mean"] == meant(row)["length"]["mean"]
        assert meant(row)["runs_within"]["3"]["token_consecutive"] == 3
    assert own["same"]["positions"] == sum(len(p.draft_tokens) for p in pairs)
    assert forced["same"]["positions"] == sum(len(p.target_tokens) for p in pairs)
    assert forced["next"]["positions"] == sum(len(p.target_tokens) - 1 for p in pairs)
    assert forced["next"]["by_position"][0]["answers"] == 0, "nothing stands for token 0"
    assert meant({**forced, "shift": 1})["metrics"]["token_top1"]["value"] < 0.5


def test_percentiles_deviation_and_correlation_are_those_of_all_positions() -> None:
    pairs = state_pairs(40, noise=0.6)
    (row,) = summarise_states([measured(pairs, "forced")], bootstrap(40))
    found = [position for pair in pairs for position in by_hand(pair, "forced", 0)]
    cosines = np.array([cosine for cosine, _, _ in found])
    right = np.array([rank == 0 for _, rank, _ in found], float)
    said = row["same"]["cosine"]
    assert said["std"] == pytest.approx(cosines.std(), abs=1e-5)
    assert said["p50"] == pytest.approx(np.median(cosines), abs=0.01)
    assert (said["min"], said["max"]) == pytest.approx((cosines.min(), cosines.max()), abs=1e-5)
    wanted = np.corrcoef(cosines, right)[0, 1]
    assert row["same"]["calibration"]["pearson_r"] == pytest.approx(wanted, abs=1e-4)
    third = [cosine for cosine, _, position in found if position == 3]
    assert row["same"]["by_position"][3]["mean"] == pytest.approx(np.mean(third), abs=1e-5)


def test_equal_logits_are_no_hit_for_everybody() -> None:
    """A state of zeros says every token equally; an argmax takes the lowest id."""
    pairs = state_pairs(4)
    batch = TokenBatch.of(pairs, 64, needs=NEEDS)
    same, following = Gathered(), Gathered()
    zeros = Predicted(torch.zeros_like(batch.states["forced"]))
    gather(same, following, batch, zeros, "forced", HEAD)
    assert same.table()["top1"].sum() == 0
    assert same.table()["top5"].sum() == sum(t < 5 for p in pairs for t in p.target_tokens)


def test_scores_of_its_own_come_before_the_head() -> None:
    pairs = state_pairs(4)
    batch = TokenBatch.of(pairs, 64, needs=NEEDS)
    scores: Tensor = torch.nn.functional.one_hot(batch.target, len(HEAD.weight)).float()
    same, following = Gathered(), Gathered()
    wrong = Predicted(torch.zeros_like(batch.states["target"]), scores)
    gather(same, following, batch, wrong, "forced", HEAD)
    assert same.table()["top1"].sum() == sum(len(p.target_tokens) for p in pairs)


def test_without_a_head_there_are_no_token_numbers() -> None:
    row = measured(state_pairs(4), "own")
    row.same, row.following = gathered(state_pairs(4), "own", head=None)
    row.tokens = False
    (made,) = summarise_states([row], bootstrap(4))
    assert made["same"]["calibration"] is None
    assert not any("token" in name for name in made["same"]["metrics"])
    assert made["same"]["by_position"][0]["token_top1"] is None


def test_answers_without_positions_say_nothing() -> None:
    silent = tuple(replace(p, draft_tokens=()) for p in state_pairs(2))
    (row,) = summarise_states([measured(silent, "own")], bootstrap(2))
    assert row["same"]["answers"] == row["same"]["positions"] == 0
    assert row["same"]["metrics"]["cosine"]["value"] is None
    assert row["same"]["runs"]["consecutive_90"]["mean"] is None
