"""`crossdraft pair tune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crossdraft.cli.json_out import print_json
from crossdraft.cli.making import resumable
from crossdraft.cli.options import PairOrDefault, Set, pair_of

if TYPE_CHECKING:
    from crossdraft.training.epochs import EpochSink
    from crossdraft.training.tuning.settings import TuneConfig
    from crossdraft.training.tuning.tune import Tuned
    from crossdraft.vlm.pair import ModelPair


def tune(
    scenes: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Dataset whose events are read.", show_default=False),
    ],
    pairs: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="The target's recorded answers about them: a pair store or a file.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the tuned pair.", show_default=False)
    ],
    pair: PairOrDefault = None,
    overrides: Set = None,
    method: Annotated[
        Literal["lm-head", "lora"],
        typer.Option(help="Train the output layer, or low-rank changes of the attention."),
    ] = "lm-head",
    split: Annotated[
        Literal["train", "test", "all"], typer.Option(help="Which of the scenes.")
    ] = "train",
    max_samples: Annotated[
        int | None,
        typer.Option(metavar="N", help="At most N clips, as many of each drive.",
                     show_default="all"),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(metavar="N", help="Of lora's changes.", show_default="16")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="lora's changes are multiplied by alpha / rank.", show_default="32"),
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Before lora's changes.", show_default="0.05")
    ] = None,
    num_epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Epochs at most.", show_default="10")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Answers per step.", show_default="32")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="The highest; falls to zero along a cosine.",
                     show_default="1e-4; 3e-3 of models below a billion parameters"),
    ] = None,
    warmup: Annotated[
        float | None,
        typer.Option(help="Share of all steps in which it first rises.", show_default="0"),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Of AdamW.", show_default="0.01")
    ] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(metavar="N", help="Epochs without a better validation tau before it stops.",
                     show_default="3"),
    ] = None,
    val_split: Annotated[
        float | None,
        typer.Option(help="Share of the clips held out, by whole drives.", show_default="0.1"),
    ] = None,
    gamma: Annotated[
        int | None,
        typer.Option(metavar="N", help="Chain length of the validation tau.", show_default="5"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of every random generator.", show_default="0"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, …", show_default="as the pair says"),
    ] = None,
    eos: Annotated[
        int | None,
        typer.Option(metavar="N", help="Token id that ends an answer.", show_default="2"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:  # fmt: skip
    """Train the event model of a pair to say what its target answers; the target stays as it is.

    Writes a pair like any other: --pair DIR. What sees is frozen. A killed tuning that is called
    again goes on from its last epoch. lora needs pip install 'crossdraft[lora]'.

    Example: crossdraft pair tune --scenes study --pairs answers --out tuned
    """
    from crossdraft.cli.progress import progress_bar
    from crossdraft.training.tuning.settings import tune_config
    from crossdraft.training.tuning.tune import tune as run
    from crossdraft.vlm.checkpoint import inspect

    found = pair_of(pair, overrides)
    config = tune_config(
        method,
        {
            "scenes": scenes, "pairs": pairs, "split": split, "max_samples": max_samples,
            "rank": rank, "alpha": alpha, "dropout": dropout, "num_epochs": num_epochs,
            "batch_size": batch_size, "learning_rate": learning_rate, "warmup": warmup,
            "weight_decay": weight_decay, "early_stopping": early_stopping,
            "val_split": val_split, "gamma": gamma, "seed": seed, "device": device, "eos": eos,
        },
        inspect(found.drafter.place("drafter")).parameters,
    )  # fmt: skip
    with resumable(), progress_bar() as sink:
        line = _epoch_line(config.settings.num_epochs)
        tuned = run(found, config, out, sink=sink, on_epoch=line)
    result = _finish(tuned, found, config)
    if as_json:
        print_json(result)
        return
    _show(tuned)


def _finish(tuned: Tuned, pair: ModelPair, config: TuneConfig) -> dict[str, object]:
    """Write card, curves and result; the run's state is not needed any more."""
    from crossdraft.base.result import Result, RunFolder
    from crossdraft.pairs.stored import fingerprinted
    from crossdraft.report.tuning import write_tuning_report
    from crossdraft.training.epochs import STATE

    write_tuning_report(tuned, config)
    payload = {
        "made": dict(tuned.made),
        "before": dict(tuned.before),
        "best_epoch": tuned.best_epoch,
        "history": list(tuned.history),
    }
    resolved = {"pair": pair.to_json(), **config.model_dump(mode="json")}
    inputs = [fingerprinted(config.pairs)]
    result = Result("pair tune", payload, resolved, inputs, tuned.warnings).to_json()
    RunFolder(tuned.folder).write_result(result)
    (tuned.folder / STATE).unlink(missing_ok=True)
    return result


def _epoch_line(epochs: int) -> EpochSink:
    """A sink that says one line per epoch on stderr."""

    def line(record: dict[str, float]) -> None:
        took_s = (record["train_ms"] + record["validation_ms"]) / 1000
        print(
            f"epoch {record['epoch']:.0f}/{epochs}: loss {record['train_loss']:.3f}, validation "
            f"{record['val_loss']:.3f}, top-1 {100 * record['val_top1']:.1f} %, tau "
            f"{record['val_tau']:.3f}; {took_s:.1f} s",
            file=sys.stderr,
        )

    return line


def _show(tuned: Tuned) -> None:
    from crossdraft.cli.table import print_table
    from crossdraft.report.tuning import figures_table

    made = tuned.made
    print(
        f"{made['train_answers']:,} answers to learn from, {made['val_answers']:,} held out by "
        f"{made['split']}; {made['trained_parameters']:,} parameters trained"
    )
    print_table(*figures_table(tuned))
    for warning in tuned.warnings:
        print(f"note: {warning}")
    print(f"the pair: {tuned.folder}")
