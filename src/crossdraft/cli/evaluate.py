"""`crossdraft evaluate`: offline acceptance with controls and intervals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdraft.cli.evaluate_options import (
    arrived_words,
    named_drafters,
    rivals,
    training_options,
)
from crossdraft.cli.json_out import print_json

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[DRAFTER]...",
        help="Drafters to evaluate: names, names joined by + (an ensemble), checkpoints, or two of "
        "these joined by : (one in the prefill, one behind it). "
        "Trainable ones are trained in each fold. The controls (none, position, suffix, "
        "drafter-text, shuffled and blind twins) always run beside them.",
        show_default=False,
    ),
]


def _seed(help_: str, shown: str) -> Any:
    """An option of the seed study's cost models, under its name."""
    return typer.Option(help=f"{help_}, in the seed study's cost models.", show_default=shown)


def evaluate(
    drafters: Names = None,
    pairs: Annotated[
        Path, typer.Option(help="Recorded answers of both models, any known format.")
    ] = ...,  # type: ignore[assignment]
    train_pairs: Annotated[
        Path | None,
        typer.Option(help="Recorded answers of other drives to learn from.", show_default="folds"),
    ] = None,
    shuffled_pairs: Annotated[
        Path | None,
        typer.Option(
            help="The same answers with other drives' events, from crossdraft extract "
            "--shuffle-events, for the shuffled twins.",
            show_default="another clip's drafter answer",
        ),
    ] = None,
    lm_head: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The target's head, for drafters that predict states.",
            show_default="lm_head.safetensors in the store",
        ),
    ] = None,
    prefill_drafter: Annotated[
        str | None,
        typer.Option(
            metavar="DRAFTER",
            help="Also evaluate two drafters in turn: this one drafts for the prefill.",
            show_default=False,
        ),
    ] = None,
    decode_drafter: Annotated[
        str | None,
        typer.Option(
            metavar="DRAFTER", help="And this one behind it; none for either.", show_default=False
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A=B",
            help="Say what drafter A has over drafter B, both evaluated here; repeatable.",
            show_default=False,
        ),
    ] = None,
    two_phase: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="Several of these by name, such as configs/two_phase.yaml.",
            show_default=False,
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder of the runs that --two-phase names.", show_default=False),
    ] = None,
    cost_model: Annotated[
        str | None,
        typer.Option(
            metavar="seed-a|seed-b",
            help="Also show what the seed study's cost model projects.",
            show_default=False,
        ),
    ] = None,
    egpt_prefill_ms: Annotated[float | None, _seed("Event model's prefill", "130")] = None,
    egpt_per_token_ms: Annotated[float | None, _seed("Each token of it", "25")] = None,
    vl_prefill_ms: Annotated[float | None, _seed("The target's prefill", "310")] = None,
    vl_per_token_ms: Annotated[float | None, _seed("One step of the target", "25")] = None,
    adapter_latency_ms: Annotated[float | None, _seed("One pass of an adapter", "1.5")] = None,
    gamma_decode: Annotated[int | None, _seed("Drafts of a verification", "5")] = None,
    gamma_prefill: Annotated[
        int | None, _seed("Drafts of the first one", "what fits by these times: 7")
    ] = None,
    num_output_tokens: Annotated[int | None, _seed("Tokens of an answer", "50")] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Split PAIRS into this many folds by drive or block.", show_default="5"),
    ] = None,
    gap: Annotated[int, typer.Option(help="Clips left out between train and test.")] = 4,
    gamma: Annotated[
        int | None, typer.Option(help="Draft chains of N tokens.", show_default="5")
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="Draft trees of N nodes.")] = None,
    depth: Annotated[int | None, typer.Option(help="Depth of the trees.")] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Drafters learn from each finished answer.")
    ] = False,
    stride_clips: Annotated[
        int, typer.Option(help="Evaluate every N-th clip; neighbours overlap.")
    ] = 1,
    arrived: Annotated[
        str,
        typer.Option(
            metavar="clock|N|all",
            help="How much of the drafter's answer may be read: what had arrived by the measured "
            "clock, N tokens, or all of it (an upper bound).",
        ),
    ] = "clock",
    cost_curve: Annotated[
        Path | None, typer.Option(help='Measured T(n)/T(1): {"tokens": [...], "ratio": [...]}.')
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Train and test must not share questions.")
    ] = False,
    num_epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of the trainings, at most.", show_default="the drafter's own"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[DRAFTER.]NAME=VALUE",
            help="An option of crossdraft train for the trainings, of all drafters or of one: "
            "token-adapter.num_layers=2. May be given several times.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where trainings run: auto, cpu, cuda, …")] = "auto",
    trained: Annotated[
        Path | None,
        typer.Option(
            help="Keep the trainings of the folds here; the next evaluation that names this folder "
            "does not repeat them.",
            show_default="in the run folder, until it is done",
        ),
    ] = None,
    eos: Annotated[int, typer.Option(help="Token id that ends an answer.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of trainings.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for results.", show_default="runs/evaluate_<date>_<time>"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Say what drafters would give on recorded answers.

    Replays greedy verification exactly against the recorded target answers, multi-round to their
    end, and reports tokens per target forward (tau), next-token match given a correct prefix
    (alpha) and more, each with a 95 % interval and the controls beside it.

    Example: crossdraft evaluate suffix --pairs answers.json.gz --nodes 60 --depth 16 --online
    """
    from crossdraft.base.errors import InputError
    from crossdraft.base.result import RunFolder
    from crossdraft.cli.progress import progress_bar
    from crossdraft.evaluation.config import EvaluateConfig
    from crossdraft.workflow.steps import run_evaluation

    if train_pairs is not None and folds is not None:
        raise InputError("--train-pairs and --folds exclude each other")
    asked = [*(drafters or ())]
    if prefill_drafter is not None or decode_drafter is not None:
        asked.append(f"{prefill_drafter or 'none'}:{decode_drafter or 'none'}")
    times = {
        "egpt_prefill_ms": egpt_prefill_ms,
        "egpt_per_token_ms": egpt_per_token_ms,
        "vl_prefill_ms": vl_prefill_ms,
        "vl_per_token_ms": vl_per_token_ms,
        "adapter_latency_ms": adapter_latency_ms,
        "gamma_decode": gamma_decode,
        "gamma_prefill": gamma_prefill,
        "num_output_tokens": num_output_tokens,
    }
    config = EvaluateConfig.parse(
        pairs=pairs,
        drafters=tuple(asked),
        named=named_drafters(two_phase, checkpoints),
        against=rivals(against or []),
        lm_head=lm_head,
        shuffled_pairs=shuffled_pairs,
        seed_times={name: value for name, value in times.items() if value is not None},
        cost_model=cost_model,
        train_pairs=train_pairs,
        folds=5 if folds is None else folds,
        gap=gap,
        gamma=gamma,
        nodes=nodes,
        depth=depth,
        online=online,
        stride_clips=stride_clips,
        arrived=arrived_words(arrived),
        cost_curve=cost_curve,
        strict=strict,
        seed=seed,
        eos=eos,
        train=training_options(option or [], device=device, seed=seed, num_epochs=num_epochs),
    )
    folder = RunFolder.planned("evaluate") if out is None else out
    try:
        with progress_bar() as sink:
            result = run_evaluation(config, folder, sink, trained)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        if trained is not None or folder.exists():
            print(f"trainings are kept: call again with --out {folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print_json(result)
    else:
        _show(result, folder)


#: What fits a terminal of 80 columns; RESULTS.md has every column.
_SHOWN = ("drafter", "tau", "tau/cost", "alpha %", "first window", "seed match %")
_COMPARED = ("drafter", "minus", "tau", "tau/cost", "window tau", "following tau")


def _show(result: dict[str, Any], folder: Path) -> None:
    """The table, what to know, and where the files are."""
    from crossdraft.cli.table import print_table
    from crossdraft.report.acceptance import differences_table, results_table

    head, rows = results_table(result)
    data = result["data"]
    learning = "online" if result["config"]["online"] else "static"
    print(f"{data['pairs']} answers about {data['clips']} clips; {data['split']}")
    print(f"{data['proposal']}, {learning}")
    print_table(*_columns(head, rows, _SHOWN))
    print("below each value: its 95 % interval; first window: accepted of the first 22 drafts")
    head, rows = differences_table(result)
    if rows:
        print_table(*_columns(head, rows, _COMPARED))
    for warning in result["warnings"]:
        print(f"note: {warning}")
    print(f"clock: {data['clock']}")
    print(f"every column, and the figures: {folder}")
    for path in sorted(folder.iterdir()):
        print(f"  {path}")


def _columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], wanted: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Only the columns of these titles."""
    places = [place for place, title in enumerate(head) if title in wanted]
    return [head[p] for p in places], [[row[p] for p in places] for row in rows]
