"""`crossdraft estimate --cost-model seed-a|seed-b`: the seed study's projections, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.cli.json_out import print_json

#: Options of an estimate that a seed cost model takes too.
_TIMES = ("egpt_prefill_ms", "egpt_per_token_ms", "vl_prefill_ms", "vl_per_token_ms",
          "adapter_latency_ms", "gamma_decode", "num_output_tokens")  # fmt: skip


def estimate_seed(
    model: str,
    free: Sequence[float],
    consecutive: Sequence[float],
    given: Mapping[str, Any],
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print one model's table, and write it where a folder is named.

    Args:
        given: every other option that was given.

    Raises:
        InputError: an option that the model does not know, or a value out of range.
    """
    from crossdraft.base.errors import InputError
    from crossdraft.base.result import Result, RunFolder
    from crossdraft.evaluation.seed_cost import SeedCost, seed_table
    from crossdraft.report.two_phase import seed_cost_markdown, seed_cost_table

    stray = sorted(given.keys() - set(_TIMES))
    if stray:
        name = "STAGE_FILE" if stray[0] == "stage_file" else "--" + stray[0].replace("_", "-")
        raise InputError(
            f"{name} beside --cost-model {model}",
            expected="times and counts of the seed study's names: "
            + ", ".join("--" + name.replace("_", "-") for name in _TIMES),
        )
    cost = SeedCost(**given)
    table = seed_table(model, cost, tuple(free), tuple(consecutive))
    config = {"cost_model": model, "free_tokens": list(free),
              "decode_consecutive": list(consecutive), **cost.to_json()}  # fmt: skip
    result = Result("estimate", {"seed_cost": table}, config).to_json()
    if out is not None:
        folder = RunFolder.create("estimate", out)
        folder.write_config(config)
        seed_cost_markdown(result, folder.path)
        folder.write_result(result)
    if as_json:
        print_json(result)
        return
    from crossdraft.cli.table import print_table

    print(table["label"])
    print(table["formula"])
    print_table(*seed_cost_table(table))
    print("P, p: prefill of target and event model; t: one step of the target; N: tokens")
    if out is not None:
        print(f"written: {out}")
