"""`crossdraft evaluate`: offline acceptance with controls and intervals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdraft.cli.json_out import print_json

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[DRAFTER]...",
        help="Drafters to evaluate: names, names joined by + (an ensemble), or checkpoints. "
        "Trainable ones are trained in each fold. The controls (none, position, suffix, "
        "drafter-text, shuffled and blind twins) always run beside them.",
        show_default=False,
    ),
]


def evaluate(
    drafters: Names = None,
    pairs: Annotated[
        Path, typer.Option(help="Recorded answers of both models, any known format.")
    ] = ...,  # type: ignore[assignment]
    train_pairs: Annotated[
        Path | None,
        typer.Option(help="Recorded answers of other drives to learn from.", show_default="folds"),
    ] = None,
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
    config = EvaluateConfig.parse(
        pairs=pairs,
        drafters=tuple(drafters or ()),
        train_pairs=train_pairs,
        folds=5 if folds is None else folds,
        gap=gap,
        gamma=gamma,
        nodes=nodes,
        depth=depth,
        online=online,
        stride_clips=stride_clips,
        arrived=_arrived(arrived),
        cost_curve=cost_curve,
        strict=strict,
        seed=seed,
        eos=eos,
        train=_training_options(option or [], device=device, seed=seed, num_epochs=num_epochs),
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


def _arrived(value: str) -> str | int:
    """`clock` and `all` as they are, anything else as a number of tokens."""
    from crossdraft.base.errors import InputError

    if value in ("clock", "all"):
        return value
    if value.isdecimal():
        return int(value)
    raise InputError(f"{value!r}", where="--arrived", expected="clock, all, or a number of tokens")


def _training_options(given: Sequence[str], **for_all: Any) -> dict[str, Any]:
    """`num_epochs=3` for all trainings, `token-adapter.num_layers=2` for those of one drafter."""
    import yaml

    from crossdraft.base.errors import InputError

    options: dict[str, Any] = {name: value for name, value in for_all.items() if value is not None}
    for text in given:
        name, equals, value = text.partition("=")
        drafter, dot, own = name.rpartition(".")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed = None
        if not equals or not own or (dot and not drafter) or parsed is None:
            raise InputError(f"{text!r}", where="--option", expected="[DRAFTER.]NAME=VALUE")
        place = options.setdefault(drafter, {}) if dot else options
        place[own.replace("-", "_")] = float(value) if _is_float(value, parsed) else parsed
    return options


def _is_float(value: str, parsed: object) -> bool:
    """`1e-3`, which YAML takes for a word."""
    try:
        float(value)
    except ValueError:
        return False
    return isinstance(parsed, str)


#: What fits a terminal of 80 columns; RESULTS.md has every column.
_SHOWN = ("drafter", "tau", "tau/cost", "alpha %", "first window", "seed match %")
_COMPARED = ("drafter", "minus", "tau", "tau/cost", "seed match (points)")


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
