"""`crossdraft train DRAFTER`: one subcommand per trainable drafter.

The options of a subcommand are those of the run and the loop, and the fields of the drafter's own
`Config`: a new drafter brings its flags with it.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
import typer.core

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json

if TYPE_CHECKING:
    from typer._click.core import Command, Context

    from crossdraft.drafters.trainable import Trainable


class _Drafters(typer.core.TyperGroup):
    """Finds the trainable drafters in the registry when it is asked for one."""

    def list_commands(self, ctx: Context) -> list[str]:
        from crossdraft.drafters.checkpoint import is_trainable
        from crossdraft.drafters.registry import REGISTRY

        return [name for name in REGISTRY if is_trainable(name)]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        from crossdraft.drafters.registry import LADDER

        # The seed study's numbers name the levels of the ladder too.
        numbered = {number.lower(): name for name, number in LADDER.items() if number}
        cmd_name = numbered.get(cmd_name.lower(), cmd_name)
        if cmd_name not in self.list_commands(ctx):
            return None
        single = typer.Typer(rich_markup_mode=None, add_completion=False)
        single.command(cmd_name)(_command(cmd_name))
        command: Command = typer.main.get_command(single)
        return command


train = typer.Typer(
    cls=_Drafters,
    help="Fit a drafter to recorded answers: crossdraft train DRAFTER --pairs FILE.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@train.callback()
def _group() -> None:
    """Fit a drafter to recorded answers: crossdraft train DRAFTER --pairs FILE."""


def _command(name: str) -> Any:
    """The subcommand of one drafter, its signature made from the configurations."""
    from crossdraft.drafters.checkpoint import trainable_class

    kind = trainable_class(name)

    def command(**values: Any) -> None:
        _train(name, values)

    options = [*_of_run(), *_of_loop(kind), *_of_drafter(kind)]
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    command.__doc__ = f"""Train `{name}` on recorded answers.

    Holds a share of the answers out by drive or by blocks, stops when the validation tau no
    longer improves, and writes best and final model, curves and tables. A killed training that
    is called again with the same --out goes on where it stood.

    Example: crossdraft train {name} --pairs answers.json.gz --out runs/first
    """
    return command


def _of_run() -> list[inspect.Parameter]:
    from crossdraft.training.settings import TrainConfig

    described = {name: field.description for name, field in TrainConfig.model_fields.items()}
    return [
        _parameter("pairs", Path, described["pairs"], required=True),
        _parameter("val_pairs", Path, described["val_pairs"], shown="a part of PAIRS"),
        _parameter("task_name", str, described["task_name"], shown="1s, 500ms, … as in the data"),
        _parameter("max_train_samples", int, described["max_train_samples"], shown="all"),
        _parameter("eos", int, described["eos"], shown="2"),
        _parameter("lm_head", Path, described["lm_head"], shown="lm_head.safetensors in PAIRS"),
        _parameter("out", Path, "Folder for the run.", shown="runs/<task>_<date>_<time>"),
        inspect.Parameter(
            "as_json", inspect.Parameter.KEYWORD_ONLY, default=False,
            annotation=Annotated[
                bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
            ],
        ),
    ]  # fmt: skip


def _of_loop(kind: type[Trainable]) -> list[inspect.Parameter]:
    from crossdraft.training.settings import TrainSettings

    return [
        _parameter(
            name,
            field.annotation,
            field.description,
            shown=kind.training_defaults.get(name, field.default),
        )
        for name, field in TrainSettings.model_fields.items()
    ]


def _of_drafter(kind: type[Trainable]) -> list[inspect.Parameter]:
    types = get_type_hints(kind.Config)
    return [
        _parameter(
            field.name, types[field.name], field.metadata.get("help", ""), shown=field.default
        )
        for field in fields(kind.Config)
    ]


def _parameter(
    name: str, kind: Any, text: str | None, *, shown: Any = None, required: bool = False
) -> inspect.Parameter:
    """One option; None stands for its default, which the configuration knows."""
    option = typer.Option(help=text, show_default=False if shown is None else str(shown))
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[kind if required else kind | None, option],
    )


def _train(name: str, values: Mapping[str, Any]) -> None:
    """Run one training and show what came out."""
    from crossdraft.base.result import RunFolder
    from crossdraft.cli.progress import progress_bar
    from crossdraft.decoding.answers import read_answers
    from crossdraft.training.settings import training_config
    from crossdraft.workflow.steps import run_training, task_name

    options = {key: value for key, value in values.items() if key not in ("out", "as_json")}
    config = training_config(name, options)
    folder = values["out"]
    if folder is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "several processes train together", expected="--out DIR, the same for all of them"
        )
    if folder is None:
        folder = RunFolder.planned(task_name(config, read_answers(config.pairs, config.eos)))
    try:
        with progress_bar() as sink:
            result = run_training(config, folder, sink, _epoch_line(config.settings.num_epochs))
    except KeyboardInterrupt:
        print(f"\ninterrupted; go on with the same call and --out {folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    if not result:  # the first process says it
        return
    if values["as_json"]:
        print_json(result)
    else:
        _show(result, folder)


def _epoch_line(epochs: int) -> Any:
    """A sink that says one line per epoch on stderr, with the time that is left at most."""

    def line(record: dict[str, float]) -> None:
        took_s = (record["train_ms"] + record["validation_ms"]) / 1000
        left_s = took_s * (epochs - record["epoch"])
        print(
            f"epoch {record['epoch']:.0f}/{epochs}: loss {record['train_loss']:.3f}, "
            f"validation top-1 {100 * record['val_top1']:.1f} %, tau {record['val_tau']:.3f}; "
            f"{took_s:.1f} s, at most {left_s / 60:.0f} min left",
            file=sys.stderr,
        )

    return line


def _show(result: Mapping[str, Any], folder: Path) -> None:
    from crossdraft.cli.table import print_table
    from crossdraft.report.training import training_table

    data, best = result["data"], result["best_epoch"]
    print(f"{data['train_pairs']} answers to learn from, {data['val_pairs']} held out")
    print(f"best of {len(result['history'])} epochs: {best}; on the held-out answers:")
    head, rows = training_table(result)
    print_table(head, rows)
    for warning in result["warnings"]:
        print(f"note: {warning}")
    print(f"model, curves and every table: {folder}")
