"""`crossdraft estimate`: what drafts would save, by formula and by cost model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from crossdraft.cli.estimate_seed import estimate_seed
from crossdraft.cli.json_out import print_json

#: Widest line printed.
_COLUMNS = 100


#: Options that always have a value, and those of the seed study's models that are lists.
_ALWAYS = ("verify", "baseline", "kth", "eos", "seed")
_LISTS = ("free_tokens", "decode_consecutive")


def _time(help_: str) -> Any:
    return typer.Option(help=help_, metavar="MS", show_default=False)


def estimate(
    stage_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="STAGE_FILE",
            help="Recorded answers with measured stages (five-stage benchmark or crossdraft "
            "pairs). Without it and without times by flags: the seed study's published averages.",
            show_default=False,
        ),
    ] = None,
    draft_first_ms: Annotated[float | None, _time("Event model's first token.")] = None,
    draft_token_ms: Annotated[float | None, _time("Each further token of it.")] = None,
    target_prefill_start_ms: Annotated[
        float | None,
        _time(
            "Start of the target's last prefill pass; without it, times count from both prefills' "
            "start."
        ),
    ] = None,
    target_prefill_end_ms: Annotated[float | None, _time("Its end: the first token.")] = None,
    target_token_ms: Annotated[float | None, _time("One decoding step of the target.")] = None,
    egpt_prefill_ms: Annotated[float | None, _time("Same as --draft-first-ms.")] = None,
    egpt_per_token_ms: Annotated[float | None, _time("Same as --draft-token-ms.")] = None,
    vl_prefill_ms: Annotated[float | None, _time("Same as --target-prefill-end-ms.")] = None,
    vl_per_token_ms: Annotated[float | None, _time("Same as --target-token-ms.")] = None,
    adapter_latency_ms: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Drafting time that nothing hides, per decoding forward with drafts.",
            show_default="0",
        ),
    ] = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option(help="Acceptance of each draft, independently; repeatable."),
    ] = None,
    gamma: Annotated[
        list[int] | None,
        typer.Option(help="Drafts per forward; repeatable with --alpha.", show_default="5"),
    ] = None,
    answer_tokens: Annotated[
        int | None,
        typer.Option(help="Length of an answer under --alpha.", show_default="the file's, or 50"),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(metavar="DRAFTER", help="Replay this drafter on STAGE_FILE, fold by fold."),
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="Replay: draft trees of N nodes.")] = None,
    depth: Annotated[int | None, typer.Option(help="Replay: depth of the trees.")] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Replay: learn from each finished answer.")
    ] = False,
    folds: Annotated[
        int | None, typer.Option(help="Replay: folds by drive or block.", show_default="5")
    ] = None,
    gap: Annotated[
        int | None,
        typer.Option(help="Replay: clips left out between train and test.", show_default="4"),
    ] = None,
    stride_clips: Annotated[
        int | None,
        typer.Option(help="Replay: every N-th clip; neighbours overlap.", show_default="1"),
    ] = None,
    verify_ratio: Annotated[
        list[float] | None,
        typer.Option(
            help="T(k)/T(1), one constant for every k above 1; repeatable.",
            show_default="1, 1.2, 2, 4.6",
        ),
    ] = None,
    cost_curve: Annotated[
        Path | None, typer.Option(help='Measured T(n)/T(1): {"tokens": [...], "ratio": [...]}.')
    ] = None,
    verify: Annotated[
        Literal["prefill", "own"],
        typer.Option(help="Verify the first drafts on the prefill's tail, or behind the prefill."),
    ] = "prefill",
    baseline: Annotated[
        str, typer.Option(help="What a speed-up is over; only the target alone is accepted.")
    ] = "target",
    cost_model: Annotated[
        str | None,
        typer.Option(
            metavar="seed-a|seed-b",
            help="The seed study's cost model instead: its own table, or of the two values below.",
            show_default=False,
        ),
    ] = None,
    free_tokens: Annotated[
        list[float] | None,
        typer.Option(help="seed-b: accepted of the first verification; repeatable."),
    ] = None,
    decode_consecutive: Annotated[
        list[float] | None,
        typer.Option(help="seed-a, seed-b: accepted of each further one; repeatable."),
    ] = None,
    gamma_decode: Annotated[
        int | None, typer.Option(help="seed-a: drafts of a verification.", show_default="5")
    ] = None,
    num_output_tokens: Annotated[
        int | None, typer.Option(help="seed-a, seed-b: tokens of an answer.", show_default="50")
    ] = None,
    kth: Annotated[int, typer.Option(help="Also say when the K-th token is there.")] = 10,
    eos: Annotated[int, typer.Option(help="Token id that ends an answer.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for result.json and RESULTS.md.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Predict whether drafts can pay off.

    Shows the formula's tokens per forward, the measured stages of both models, how far the event
    model gets while the target is busy, and, with --alpha or --replay, the time to the first, the
    k-th and the last token and the speed-up over the target alone.

    Example: crossdraft estimate stages.json.gz --replay suffix --nodes 60 --depth 16 --online
    """
    from crossdraft.base.errors import InputError
    from crossdraft.base.result import Result, RunFolder, refuse_taken
    from crossdraft.cli.progress import progress_bar
    from crossdraft.evaluation.estimate_config import EstimateConfig
    from crossdraft.report.estimate import write_report

    given = {
        "stage_file": stage_file,
        "draft_first_ms": draft_first_ms,
        "draft_token_ms": draft_token_ms,
        "target_prefill_start_ms": target_prefill_start_ms,
        "target_prefill_end_ms": target_prefill_end_ms,
        "target_token_ms": target_token_ms,
        "egpt_prefill_ms": egpt_prefill_ms,
        "egpt_per_token_ms": egpt_per_token_ms,
        "vl_prefill_ms": vl_prefill_ms,
        "vl_per_token_ms": vl_per_token_ms,
        "adapter_latency_ms": adapter_latency_ms,
        "alpha": tuple(alpha) if alpha else None,
        "gamma": tuple(gamma) if gamma else None,
        "answer_tokens": answer_tokens,
        "replay": replay,
        "nodes": nodes,
        "depth": depth,
        "online": online or None,
        "folds": folds,
        "gap": gap,
        "stride_clips": stride_clips,
        "verify_ratio": tuple(verify_ratio) if verify_ratio else None,
        "cost_curve": cost_curve,
        "verify": verify,
        "baseline": baseline,
        "kth": kth,
        "eos": eos,
        "seed": seed,
    }
    own = {"free_tokens": free_tokens, "decode_consecutive": decode_consecutive,
           "gamma_decode": gamma_decode, "num_output_tokens": num_output_tokens}  # fmt: skip
    if cost_model is not None:
        asked = {**{k: v for k, v in given.items() if k not in _ALWAYS}, **own}
        named = {k: v for k, v in asked.items() if v is not None and k not in _LISTS}
        estimate_seed(
            cost_model, free_tokens or (), decode_consecutive or (), named, out, as_json=as_json
        )
        return
    if stray := [name for name, value in own.items() if value is not None]:
        raise InputError(
            "it belongs to --cost-model", where="--" + stray[0].replace("_", "-"),
            hint="crossdraft estimate --cost-model seed-b",
        )  # fmt: skip
    config = EstimateConfig.parse(**{k: v for k, v in given.items() if v is not None})
    if out is not None:
        refuse_taken(out)
    # After the options are checked: a wrong call need not wait for numba and torch.
    from crossdraft.evaluation.estimate import estimate as run
    from crossdraft.pairs.stored import fingerprinted

    with progress_bar() as sink:
        outcome = run(config, sink)
    resolved = config.model_dump(mode="json")
    inputs = [fingerprinted(path) for path in (stage_file, cost_curve) if path is not None]
    result = Result("estimate", outcome.payload, resolved, inputs, outcome.warnings).to_json()
    if out is not None:
        folder = RunFolder.create("estimate", out)
        folder.write_config(resolved)
        write_report(result, folder.path)
        folder.write_result(result)
    if as_json:
        print_json(result)
    else:
        _show(result, out)


def _show(result: dict[str, Any], out: Path | None) -> None:
    """Tables, what they take for granted, what to know."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Grid

    from crossdraft.report.estimate import describe_times, tables

    console = Console(width=_COLUMNS, markup=False, highlight=False)
    _print(describe_times(result))
    for table in tables(result):
        print()
        _print(table.title)
        grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for place, title in enumerate(table.head):
            # Two-word heads and intervals stand on two lines: side by side they would not fit.
            side: Literal["left", "right"] = "left" if place < table.names else "right"
            grid.add_column(title.replace(", ", "\n"), justify=side, no_wrap=True)
        for row in table.rows:
            grid.add_row(*(_two_lines(cell) for cell in row))
        console.print(grid)
        _print(table.note)
    if result["estimates"]:
        print()
        for said in result["assumptions"]:
            _print(f"assumed: {said}")
    for warning in result["warnings"]:
        _print(f"note: {warning}")
    if out is not None:
        print(f"written: {out}")


def _print(text: str) -> None:
    """Print wrapped, continued lines indented; long names stay whole."""
    import textwrap

    if text:
        wrapped = textwrap.wrap(
            text, _COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        print("\n".join(wrapped))


def _two_lines(cell: str) -> str:
    """`1.23 [1.00, 1.50]` as the value above its interval."""
    return cell.replace(" [", "\n").replace(", ", "–").rstrip("]")
