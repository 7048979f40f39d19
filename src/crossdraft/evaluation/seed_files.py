"""The seed study's result files, under its names, from our measurements.

`acceptance_metrics.json` and `position_stats.json` hold one adapter, output t against state t as
there; `two_phase_results_<label>.json` holds two. What stands in them differs from the study's own
numbers where that counted wrongly (docs/state_metrics.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from crossdraft.evaluation.seed_cost import LABEL, SeedCost
from crossdraft.evaluation.state_metrics import ACCEPT
from crossdraft.evaluation.state_summary import meant

#: Positions that the study listed in its metrics file.
_LISTED = 20
_LEVELS = tuple(f"{100 * t:.0f}" for t in ACCEPT)
_EVENT_STATES = {"own_states", "forced_states"}
_SPREAD = ("mean", "std", "max", "min", "median")


def row_of(
    rows: Sequence[Mapping[str, Any]], source: str, *alignments: str
) -> Mapping[str, Any] | None:
    """The row of a source under the first of these alignments that it has; own first, as in the
    study, where none is named."""
    for alignment in alignments or ("own", "forced"):
        for row in rows:
            if (row["source"], row["alignment"]) == (source, alignment):
                return row
    return None


def acceptance_metrics(row: Mapping[str, Any], hidden: int, cost: SeedCost) -> dict[str, Any]:
    """`acceptance_metrics.json` of one drafter.

    Args:
        row: one of `summarise_states`, made with the windows of `cost`.
        hidden: width of a state.
    """
    same = row["same"]
    listed = same["by_position"][:_LISTED]
    return {
        "about": _about(row),
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "batch_size": same["answers"],
        "max_seq_len": _whole(same["length"]["max"]),
        "hidden_dim": hidden,
        "total_valid_positions": same["positions"],
        **{f"cos_sim_{key}": same["cosine"][key] for key in ("mean", "std", "min", "max")},
        "cos_sim_median": same["cosine"]["p50"],
        **{f"accept_{level}": same["metrics"][f"accept_{level}"]["value"] for level in _LEVELS},
        **{
            f"consecutive_{key}_{level}": same["runs"][f"consecutive_{level}"][key]
            for level in _LEVELS
            for key in _SPREAD
        },
        **{
            f"num_hidden_tokens_{key}": same["length"][key] for key in ("mean", "std", "min", "max")
        },
        **_projected(same, cost),
        "position_accept_90": [place["accept_90"] for place in listed],
        "position_mean_sim": [place["mean"] for place in listed],
        **(_tokens(same, cost) if same["calibration"] is not None else {}),
        **_timeline(_first(same, "consecutive_90", cost.gamma_decode), cost),
    }


def _about(row: Mapping[str, Any]) -> dict[str, str]:
    said = {
        "drafter": row["source"],
        "alignment": row["alignment"],
        "compared": "output t with the target's state t, as the seed study did",
        "times": f"every speedup, *_ms and sd_* key is the {LABEL} a: a projection",
    }
    if "target_states" in row["reads"]:
        said["copies"] = (
            "the input holds the target's state t: a high cosine here measures copying; "
            "result.json compares with state t + 1"
        )
    elif row["shift"]:
        said["beside"] = (
            "output t says token t + 1: here it stands beside the wrong state; "
            "result.json compares with state t + 1"
        )
    return said


def _first(same: Mapping[str, Any], run: str, window: int) -> float:
    """Mean consecutive count within the first `window` drafts."""
    return float(same["runs_within"][str(window)][run] or 0.0)


def _projected(same: Mapping[str, Any], cost: SeedCost) -> dict[str, Any]:
    """The keys that the study computed from acceptance by cosine and its constants."""
    consecutive = float(same["runs"]["consecutive_90"]["mean"] or 0.0)
    within = _first(same, "consecutive_90", cost.gamma_decode)
    effective = min(consecutive, cost.free_drafts)
    overhead = cost.adapter_latency_ms / cost.vl_per_token_ms
    return {
        "sd_accept_rate_prefill_gamma": _rate(
            _first(same, "consecutive_90", cost.first_drafts), cost.first_drafts
        ),
        "sd_gamma_prefill": cost.first_drafts,
        "sd_accept_rate_decode_gamma5": within / cost.gamma_decode,
        "sd_consecutive_gamma5": within,
        "sd_gamma_decode": cost.gamma_decode,
        "speedup_prefill": 1 + effective * cost.egpt_per_token_ms / cost.vl_prefill_ms,
        "prefill_overlap_window_ms": cost.window_ms,
        "prefill_free_draft_tokens": cost.free_drafts,
        "prefill_effective_tokens": effective,
        "speedup_decode_gamma5": (within + 1) / (1 + overhead),
        "decode_overhead_ratio": overhead,
        "speedup_e2e": cost.speedup("seed-a", 0.0, within),
        "e2e_baseline_time_ms": cost.baseline_ms,
        "e2e_sd_time_ms": cost.total_a_ms(within),
        "e2e_num_output_tokens": cost.num_output_tokens,
    }


def _tokens(same: Mapping[str, Any], cost: SeedCost) -> dict[str, Any]:
    metrics, run = same["metrics"], same["runs"]["token_consecutive"]
    prefill = _first(same, "token_consecutive", cost.first_drafts)
    decode = _first(same, "token_consecutive", cost.gamma_decode)
    return {
        "token_match_rate": metrics["token_top1"]["value"],
        "token_match_rate_top5": metrics["token_top5"]["value"],
        "token_match_rate_top10": metrics["token_top10"]["value"],
        **{f"token_consecutive_{key}": run[key] for key in _SPREAD},
        "position_token_accept": [p["token_top1"] for p in same["by_position"][:_LISTED]],
        "token_sd_gamma_prefill": cost.first_drafts,
        "token_sd_prefill_consecutive_mean": prefill,
        "token_sd_prefill_accept_rate": _rate(prefill, cost.first_drafts),
        "token_sd_decode_consecutive_mean": decode,
        "token_sd_decode_accept_rate": decode / cost.gamma_decode,
        "token_sd_gamma_decode": cost.gamma_decode,
        "token_sd_e2e_speedup": cost.speedup("seed-a", 0.0, decode),
        "token_sd_e2e_baseline_ms": cost.baseline_ms,
        "token_sd_e2e_sd_ms": cost.total_a_ms(decode),
        **{
            f"cosim_{100 * one['cosine']:.0f}_{name}": one[name]
            for one in same["calibration"]["above"]
            for name in ("token_match", "count")
        },
        "cosim_token_pearson_r": same["calibration"]["pearson_r"],
    }


def _timeline(consecutive: float, cost: SeedCost) -> dict[str, Any]:
    """The bars of the study's timeline; the ratios are the target alone over its projection."""
    total = cost.total_a_ms(consecutive)
    prefill = cost.vl_prefill_ms  # model a hides the event model behind it, however slow
    decode_alone = cost.num_output_tokens * cost.vl_per_token_ms
    decode = total - prefill
    return {
        "baseline_vl_prefill_ms": cost.vl_prefill_ms,
        "baseline_vl_decode_ms": decode_alone,
        "baseline_total_ms": cost.baseline_ms,
        "sd_parallel_prefill_ms": prefill,
        "sd_decode_ms": decode,
        "sd_total_ms": total,
        "sd_iterations": cost.iterations(consecutive),
        "time_ratio_prefill": cost.vl_prefill_ms / prefill,
        "time_ratio_decode": decode_alone / decode if decode else None,
    }


def position_stats(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`position_stats.json`: one entry for each of the first 50 positions, as in the study."""
    return [
        {
            "position": place["position"],
            "mean": place["mean"],
            "std": place["std"],
            "num_samples": place["answers"],
            **{f"accept_{level}": place[f"accept_{level}"] for level in _LEVELS},
        }
        for place in row["same"]["by_position"]
    ]


def two_phase_results(
    label: str,
    prefill: Mapping[str, Any] | None,
    decode: Mapping[str, Any] | None,
    cost: SeedCost,
) -> dict[str, Any]:
    """`two_phase_results_<label>.json`, its times by the study's cost model b.

    Args:
        prefill, decode: rows of the two drafters; None where nobody drafts in that phase.
    """
    later, shifted = (None if decode is None else decode[way] for way in ("same", "next"))
    # What says the next token has nothing to go on before there is a first one.
    first = None if prefill is None or prefill["shift"] else prefill["same"]
    free = 0.0 if first is None else _first(first, "token_consecutive", cost.first_drafts)
    accepted = (
        0.0 if decode is None
        else _first(meant(decode), "token_consecutive", cost.gamma_decode)
    )  # fmt: skip
    total_ms = cost.total_b_ms(free, accepted)
    if decode is None:  # nothing but the target works behind the first verification
        left = cost.num_output_tokens - free
        total_ms = cost.parallel_prefill_ms + left * cost.vl_per_token_ms
    return {
        "about": {
            "times": f"{LABEL} b: a projection, not a measurement",
            "phase2": "counted from the start of an answer with every true state given; in a row: "
            + ("nobody drafts" if decode is None else f"as token {_said(decode)}"),
            "alignment_prefill": None if prefill is None else prefill["alignment"],
            "alignment_decode": None if decode is None else decode["alignment"],
        },
        "label": label,
        "no_prefill": prefill is None,
        "prefill_adapter": None if prefill is None else prefill["source"],
        "decode_adapter": None if decode is None else decode["source"],
        "decode_vlm_only": decode is not None and not _EVENT_STATES & set(decode["reads"]),
        "gamma_prefill": cost.first_drafts,
        "gamma_decode": cost.gamma_decode,
        "num_output_tokens": cost.num_output_tokens,
        "phase1_prefill_top1": _metric(first, "token_top1"),
        "phase1_free_tokens": free,
        "phase1_time_saved_ms": free * cost.vl_per_token_ms,
        "phase2_same_pos_top1": _metric(later, "token_top1"),
        "phase2_shifted_top1": _metric(shifted, "token_top1"),
        "phase2_shifted_top5": _metric(shifted, "token_top5"),
        "phase2_decode_consecutive": accepted,
        "baseline_time_ms": cost.baseline_ms,
        "sd_time_ms": total_ms,
        "e2e_speedup": cost.baseline_ms / total_ms,
    }


def _said(row: Mapping[str, Any]) -> str:
    """Which token output t says."""
    return "t + 1" if row["shift"] else "t"


def _metric(comparison: Mapping[str, Any] | None, name: str) -> float | None:
    if comparison is None:
        return None
    value: float | None = comparison["metrics"].get(name, {}).get("value")
    return value


def _rate(accepted: float, drafts: int) -> float | None:
    return accepted / drafts if drafts else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
