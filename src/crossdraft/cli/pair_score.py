"""`crossdraft pair score`: do the two models of a pair really look?"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import Set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crossdraft.bench.score import Outcome
    from crossdraft.bench.score_source import AskedScenes

#: Columns of a line.
_COLUMNS = 100


def score(
    pair: Annotated[
        str,
        typer.Argument(
            metavar="PAIR", help="A YAML file, or the name of a shipped pair.", show_default=False
        ),
    ],
    scenes: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="A dataset that brings true answers along.", show_default=False
        ),
    ],
    overrides: Set = None,
    split: Annotated[
        Literal["train", "test", "all"], typer.Option(help="Which of its scenes.")
    ] = "test",
    models: Annotated[
        Literal["both", "target", "drafter"], typer.Option(help="Which models are asked.")
    ] = "both",
    clips: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="At most N clips, as many of each drive.",
            show_default="all of the split",
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Longest answer.")] = 80,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the bootstrap and of permuted labels.")
    ] = 0,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 unless the pair reaches what a pair must."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result and all answers.", show_default="none"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Hold both models' answers against what is truly to be seen, attribute by attribute.

    Beside each share of right answers stands what is right by chance, and what is right when each
    scene is shown the video or the events of another drive. Linear probes say what the states know
    of the scene, tables how predictable the answers are. Every interval is 95 %, bootstrapped over
    drives.

    Example: crossdraft pair score mine.yaml --scenes world --check
    """
    from crossdraft.bench.score import checkpoints
    from crossdraft.bench.score import score as scored
    from crossdraft.bench.score_source import read_asked
    from crossdraft.cli.progress import progress_bar
    from crossdraft.vlm.model_spec import ROLES
    from crossdraft.vlm.pair import ModelPair
    from crossdraft.vlm.pair_models import PairModels

    roles = tuple(role for role in ROLES if models in ("both", role))
    chosen = ModelPair.find(pair, overrides or ())
    _refuse_unwritable(out)
    about, files = checkpoints(chosen, roles)
    asked = read_asked(scenes, split, roles, clips)
    try:
        # No number needs both models at once.
        with progress_bar() as sink, PairModels(replace(chosen, load="in_turn"), roles) as loaded:
            outcome = scored(loaded, asked, roles, max_new_tokens, seed, sink)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is written", file=sys.stderr)
        raise typer.Exit(130) from None
    config = {
        "pair": chosen.to_json(), "scenes": str(scenes), "split": split, "models": models,
        "clips": clips, "max_new_tokens": max_new_tokens, "seed": seed, "check": check,
    }  # fmt: skip
    outcome.payload = {"models": about, **outcome.payload}
    result = _result(outcome, config, [*files, *asked.files], check)
    if out is not None:
        _write(out, result, outcome, asked)
    if as_json:
        print_json(result)
    else:
        _show(result, roles, out)
    if check and not result["passed"]:
        raise typer.Exit(1)


def _refuse_unwritable(out: Path | None) -> None:
    """Refuse a folder for results before anything is computed.

    Raises:
        InputError: it holds a result, or cannot be made or written.
    """
    from crossdraft.base.result import refuse_taken

    if out is None:
        return
    refuse_taken(out)
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(
            "cannot be written" if nearest.is_dir() else "this is no folder",
            where=nearest,
            expected="a folder for results, or a name for one in a folder that can be written",
            hint="name another folder with --out",
        )


def _result(
    outcome: Outcome, config: Mapping[str, Any], files: list[Path], check: bool
) -> dict[str, Any]:
    """The result, checks included where they were asked for."""
    from crossdraft.base.result import Result
    from crossdraft.bench.score_checks import check as checked

    payload = dict(outcome.payload)
    if check:
        checks = list(checked(payload))
        payload["passed"] = all(one.ok for one in checks)
        payload["checks"] = [one.to_json() for one in checks]
    return Result("pair score", payload, config, files, outcome.warnings).to_json()


def _write(out: Path, result: dict[str, Any], outcome: Outcome, asked: AskedScenes) -> None:
    from crossdraft.base.files import write_text
    from crossdraft.base.result import RunFolder
    from crossdraft.bench.score_answers import answer_lines

    folder = RunFolder.create("pair-score", out)
    folder.write_config(result["config"])
    lines = answer_lines(asked, outcome.said)
    write_text(folder.path / "answers.jsonl", "".join(f"{line}\n" for line in lines))
    folder.write_result(result)


def _show(result: dict[str, Any], roles: tuple[str, ...], out: Path | None) -> None:
    """Tables of each model, what to know, and the checks."""
    from crossdraft.cli.table import print_table
    from crossdraft.report.score import attribute_table, checked_lines, lines, probe_table

    data = result["data"]
    print(
        f"{data['clips']:,} clips of {data['drives']} drives, {len(data['questions'])} questions, "
        f"split {data['split']}"
    )
    for role in roles:
        scored = result[role]
        print(f"\n{role}, held against the {scored['voice']} voice")
        print_table(*attribute_table(scored))
        print_table(*probe_table(scored))
        for line in lines(scored):
            _wrapped(line)
    print("\nbelow each value: its 95 % interval; swapped: shown the data of another drive")
    for warning in result["warnings"]:
        _wrapped(f"note: {warning}")
    for line in checked_lines(result.get("checks", ())):
        print(line)
    if out is not None:
        print(f"result and answers: {out}")


def _wrapped(text: str) -> None:
    """Print lines that fit a terminal."""
    import textwrap

    print("\n".join(textwrap.wrap(text, _COLUMNS, break_long_words=False, break_on_hyphens=False)))
