"""Options of an estimate: one source for times, acceptance and cost; both names of a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import PUBLISHED_1S
from crossdraft.evaluation.estimate_config import RATIOS, EstimateConfig

FILE = Path("stages.json.gz")
SEEDS = {"egpt_prefill_ms": 130.0, "egpt_per_token_ms": 25.0, "vl_prefill_ms": 310.0,
         "vl_per_token_ms": 25.0}  # fmt: skip


def test_nothing_given_means_published_times_and_said_ratios() -> None:
    config = EstimateConfig.parse()
    assert config.times == PUBLISHED_1S
    assert (config.ratios, config.gammas, config.adapter_latency_ms) == (RATIOS, (5,), 0.0)


def test_the_seed_studys_names_mean_the_same() -> None:
    ours = EstimateConfig.parse(
        draft_first_ms=130.0, draft_token_ms=25.0, target_prefill_end_ms=310.0, target_token_ms=25.0
    )
    assert EstimateConfig.parse(**SEEDS) == ours
    assert EstimateConfig.parse(**SEEDS, draft_first_ms=130.0) == ours
    times = ours.times
    assert (times.draft_first_ms, times.target_prefill_start_ms) == (130.0, 0.0)
    assert (times.target_prefill_end_ms, times.target_token_ms) == (310.0, 25.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**SEEDS, "draft_first_ms": 131.0}, "--draft-first-ms is 131.0 but --egpt-prefill-ms"),
        ({"egpt_prefill_ms": 130.0}, "missing: --draft-token-ms"),
        ({**SEEDS, "stage_file": FILE}, "STAGE_FILE and --draft-first-ms exclude"),
        ({"stage_file": FILE, "target_prefill_start_ms": 0.0}, "exclude each other"),
        ({**SEEDS, "target_prefill_start_ms": 311.0}, "before it starts"),
        ({**SEEDS, "vl_per_token_ms": 0.0}, "greater than 0"),
        ({**SEEDS, "vl_prefill_ms": float("inf")}, "--target-prefill-end-ms"),
        ({"adapter_latency_ms": -1.0}, "--adapter-latency-ms"),
        ({"alpha": (float("nan"),)}, "--alpha"),
        ({"alpha": (1.5,)}, "--alpha"),
        ({"gamma": (0,)}, "--gamma"),
        ({"kth": 0}, "--kth"),
        ({"verify_ratio": (0.9,)}, "--verify-ratio"),
        ({"verify_ratio": (1.2,), "cost_curve": FILE}, "--cost-curve and --verify-ratio"),
        ({"replay": "suffix"}, "needs STAGE_FILE"),
        ({"replay": "telepathy", "stage_file": FILE}, "no drafter is called 'telepathy'"),
        ({"replay": "suffix", "stage_file": FILE, "alpha": (0.5,)}, "--alpha exclude"),
        ({"replay": "suffix", "stage_file": FILE, "answer_tokens": 9}, "--answer-tokens exclude"),
        ({"replay": "suffix", "stage_file": FILE, "gamma": (3, 5)}, "one --gamma, not 2"),
        ({"replay": "suffix", "stage_file": FILE, "nodes": 9}, "both --nodes and --depth"),
        (
            {"replay": "suffix", "stage_file": FILE, "nodes": 9, "depth": 3, "gamma": (5,)},
            "choose one",
        ),
        ({"stage_file": FILE, "nodes": 9, "depth": 3}, "--depth belongs to --replay"),
        ({"online": True}, "--online belongs to --replay"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        EstimateConfig.parse(**options)
    assert message in str(refused.value)


@pytest.mark.parametrize("baseline", ["both", "sequential", "egpt+vl", ""])
def test_a_baseline_that_runs_both_models_is_refused_with_the_reason(baseline: str) -> None:
    with pytest.raises(InputError, match="runs both models") as refused:
        EstimateConfig.parse(baseline=baseline)
    assert refused.value.where == "--baseline"
    assert EstimateConfig.parse(baseline="target") == EstimateConfig.parse()


def test_width_of_replay_and_formula() -> None:
    tree = EstimateConfig.parse(stage_file=FILE, replay="suffix", nodes=60, depth=16)
    assert (tree.budget.nodes, tree.budget.depth, tree.widest) == (60, 16, 60)
    chain = EstimateConfig.parse(stage_file=FILE, replay="suffix")
    assert (chain.budget.nodes, chain.budget.branch) == (5, 1)
    assert EstimateConfig.parse(alpha=(0.5,), gamma=(3, 7, 3)).widest == 7
