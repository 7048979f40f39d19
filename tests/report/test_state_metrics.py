"""Files and pictures of drafters that predict states come from the result alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.result import Result
from crossdraft.drafters.registry import REGISTRY
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.run import evaluate
from crossdraft.evaluation.seed_cost import SeedCost
from crossdraft.evaluation.seed_files import acceptance_metrics, row_of, two_phase_results
from crossdraft.report.acceptance import results_markdown, write_report
from crossdraft.report.state_figures import timeline_title
from crossdraft.report.state_metrics import file_name
from crossdraft.report.two_phase import seed_cost_section
from tests.evaluation.state_kit import (
    PLACES,
    TinyHead,
    TinyNext,
    TinyState,
    head_file,
    saved,
    state_pairs,
    state_store,
)

#: Of the seed study's acceptance_metrics.json (with an LM head), besides patterns.
KEYS = {
    "timestamp", "batch_size", "max_seq_len", "hidden_dim", "total_valid_positions",
    "sd_accept_rate_prefill_gamma", "sd_gamma_prefill", "sd_accept_rate_decode_gamma5",
    "sd_consecutive_gamma5", "sd_gamma_decode", "speedup_prefill", "prefill_overlap_window_ms",
    "prefill_free_draft_tokens", "prefill_effective_tokens", "speedup_decode_gamma5",
    "decode_overhead_ratio", "speedup_e2e", "e2e_baseline_time_ms", "e2e_sd_time_ms",
    "e2e_num_output_tokens", "position_accept_90", "position_mean_sim", "token_match_rate",
    "token_match_rate_top5", "token_match_rate_top10", "position_token_accept",
    "token_sd_gamma_prefill", "token_sd_prefill_consecutive_mean", "token_sd_prefill_accept_rate",
    "token_sd_decode_consecutive_mean", "token_sd_decode_accept_rate", "token_sd_gamma_decode",
    "token_sd_e2e_speedup", "token_sd_e2e_baseline_ms", "token_sd_e2e_sd_ms",
    "cosim_token_pearson_r", "baseline_vl_prefill_ms", "baseline_vl_decode_ms",
    "baseline_total_ms", "sd_parallel_prefill_ms", "sd_decode_ms", "sd_total_ms",
    "sd_iterations", "time_ratio_prefill", "time_ratio_decode",
    *(f"cos_sim_{k}" for k in ("mean", "std", "min", "max", "median")),
    *(f"accept_{t}" for t in (80, 85, 90, 95)),
    *(f"consecutive_{k}_{t}" for t in (80, 85, 90, 95)
      for k in ("mean", "std", "max", "min", "median")),
    *(f"num_hidden_tokens_{k}" for k in ("mean", "std", "min", "max")),
    *(f"token_consecutive_{k}" for k in ("mean", "std", "median", "max", "min")),
    *(f"cosim_{t}_{k}" for t in (80, 85, 90, 92, 95, 98) for k in ("token_match", "count")),
}  # fmt: skip
TWO_PHASE = {
    "label", "no_prefill", "prefill_adapter", "decode_adapter", "decode_vlm_only",
    "gamma_prefill", "gamma_decode", "num_output_tokens", "phase1_prefill_top1",
    "phase1_free_tokens", "phase1_time_saved_ms", "phase2_same_pos_top1", "phase2_shifted_top1",
    "phase2_shifted_top5", "phase2_decode_consecutive", "baseline_time_ms", "sd_time_ms",
    "e2e_speedup",
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """An evaluation of one state drafter, and one of two that also work in turn."""
    folder = tmp_path_factory.mktemp("states")
    with pytest.MonkeyPatch.context() as patch:
        for name, place in PLACES.items():
            patch.setitem(REGISTRY, name, place)
        store = state_store(folder / "store", state_pairs(16, noise=0.2))
        head = head_file(folder / "head.safetensors", TinyHead())
        first = str(saved(TinyState, folder / "state"))
        later = str(saved(TinyNext, folder / "next"))
        asked = {
            "one": ((first,), {}),
            "two": (
                (first, later),
                {
                    "A+B": f"{first}:{later}",
                    "A+s": f"{first}:suffix",
                    "B": f"none:{later}",
                    "B+A": f"{later}:{first}",
                },
            ),
        }
        made = {}
        for label, (drafters, named) in asked.items():
            config = EvaluateConfig.parse(
                pairs=store, drafters=drafters, named=named, lm_head=head, folds=2, arrived="all",
                resamples=100, cost_model="seed-a", seed_times={"gamma_prefill": 3},
            )  # fmt: skip
            outcome = evaluate(config)
            resolved = config.model_dump(mode="json")
            made[label] = Result(
                "evaluate", outcome.payload, resolved, [head], outcome.warnings
            ).to_json()
    return made


def test_one_drafter_writes_the_seed_studys_files_into_the_run(
    results: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    write_report(results["one"], tmp_path)
    metrics = json.loads((tmp_path / "acceptance_metrics.json").read_text())
    assert metrics.keys() == KEYS | {"about"}
    assert metrics["sd_gamma_prefill"] == 3, "flags reach the cost model"
    assert metrics["token_match_rate"] > 0.6 and metrics["cos_sim_mean"] > 0.7
    assert metrics["batch_size"] == 16 and metrics["hidden_dim"] == 8
    assert metrics["e2e_sd_time_ms"] == pytest.approx(
        310 + 50 / (metrics["sd_consecutive_gamma5"] + 1) * 151.5
    )
    assert metrics["token_sd_e2e_speedup"] == pytest.approx(1560 / metrics["token_sd_e2e_sd_ms"])
    positions = json.loads((tmp_path / "position_stats.json").read_text())
    assert len(positions) == 50
    assert positions[0].keys() == {
        "position", "mean", "std", "num_samples", "accept_80", "accept_85", "accept_90", "accept_95"
    }  # fmt: skip
    assert (positions[0]["num_samples"], positions[49]["num_samples"]) == (16, 0)
    for name in ("metrics_summary.png", "stage_timeline.png", "token_metrics.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    assert not list(tmp_path.glob("two_phase*"))


def test_several_have_folders_and_two_phases_a_file_each(
    results: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    write_report(results["two"], tmp_path)
    assert {p.name for p in (tmp_path / "states").iterdir()} == {"tiny-state", "tiny-next"}
    file, _, alone = sorted(tmp_path.glob("two_phase_results_*.json"))
    assert file.name == "two_phase_results_A+B.json", "of suffix no states are known"
    decode_only = json.loads(alone.read_text())
    assert decode_only["no_prefill"] and decode_only["phase1_free_tokens"] == 0
    said = json.loads(file.read_text())
    assert said.keys() == TWO_PHASE | {"about"}
    assert (said["prefill_adapter"], said["decode_adapter"]) == ("tiny-state", "tiny-next")
    assert said["decode_vlm_only"] and not said["no_prefill"]
    assert 0 < said["phase1_free_tokens"] <= 3
    assert said["sd_time_ms"] == pytest.approx(
        310 + (50 - said["phase1_free_tokens"]) / (said["phase2_decode_consecutive"] + 1) * 26.5
    )
    copied = json.loads((tmp_path / "states/tiny-next/acceptance_metrics.json").read_text())
    assert "copying" in copied["about"]["copies"]
    assert copied["cos_sim_mean"] == pytest.approx(1, abs=1e-6)


def test_results_say_what_is_a_projection_and_what_is_a_control(
    results: dict[str, dict[str, Any]],
) -> None:
    text = results_markdown(results["two"])
    for said in (
        "## Predicted states", "| mean-state |", "| position-state (next) |", "copying, not draft",
        "## Two phases", "## Seed study's cost model a", "a projection, not a measurement",
        "states/tiny-next/metrics_summary.png",
    ):  # fmt: skip
        assert said in text, said
    for link in ("acceptance_by_position.png", "metrics_summary.png"):
        assert f"({link})" in results_markdown(results["one"])
    plain = {k: v for k, v in results["one"].items() if k != "states"}
    assert "Predicted states" not in results_markdown(plain)


def test_drafters_in_the_other_phase_count_what_they_say(
    results: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    write_report(results["two"], tmp_path)
    said = json.loads((tmp_path / "two_phase_results_B+A.json").read_text())
    assert (said["prefill_adapter"], said["decode_adapter"]) == ("tiny-next", "tiny-state")
    assert said["phase1_free_tokens"] == 0, "what copies state t drafts nothing before token 0"
    assert said["phase1_prefill_top1"] is None
    row = row_of(results["two"]["states"]["rows"], "tiny-state", "forced")
    assert row is not None
    within = row["same"]["runs_within"]["5"]["token_consecutive"]
    assert said["phase2_decode_consecutive"] == within > 0.5
    assert said["phase2_shifted_top1"] < 0.3 < said["phase2_same_pos_top1"]


def test_cost_model_b_counts_a_drafter_as_its_two_phase_row_does(
    results: dict[str, dict[str, Any]],
) -> None:
    result = copy.deepcopy(results["two"])
    result["config"]["cost_model"] = "seed-b"
    rows = result["states"]["rows"]
    worse = copy.deepcopy(row_of(rows, "tiny-next", "forced"))
    assert worse is not None
    worse["alignment"] = "own"  # type: ignore[index]
    worse["next"]["runs_within"]["5"]["token_consecutive"] += 1.5
    rows.append(worse)
    behind = two_phase_results("B", None, row_of(rows, "tiny-next", "forced"), SeedCost())
    section = seed_cost_section(result)
    assert f"| tiny-next | {behind['e2e_speedup']:.2f} |" in section


def test_the_timeline_adds_up_and_says_what_it_rests_on(
    results: dict[str, dict[str, Any]],
) -> None:
    row = row_of(results["one"]["states"]["rows"], "tiny-state")
    assert row is not None
    slow = acceptance_metrics(row, 8, SeedCost(egpt_prefill_ms=900, gamma_prefill=3))
    bars = slow["sd_parallel_prefill_ms"] + slow["sd_decode_ms"]
    assert bars == pytest.approx(slow["sd_total_ms"])
    assert bars == pytest.approx(slow["e2e_sd_time_ms"])
    assert "accepted by cosine > .90" in timeline_title(slow)
    assert "nothing drafted" in timeline_title({**slow, "sd_consecutive_gamma5": 0.0})
    for reads, said in (("own_states", "where it says the next"), ("target_states", "of copying")):
        other = acceptance_metrics(
            {**row, "shift": 1, "reads": [reads]}, 8, SeedCost(gamma_prefill=3)
        )
        assert said in timeline_title(other)


def test_pictures_are_the_same_twice(results: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_report(results["one"], tmp_path / name)
    for file in (tmp_path / "a").glob("*.png"):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_labels_make_file_names() -> None:
    assert file_name("l1 (a/b)") == "l1__a_b"
    assert file_name("l1:l5f") == "l1_l5f" and file_name("../..") == "_"
