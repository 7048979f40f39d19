"""`crossdraft pair train-embedded`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossdraft.cli.json_out import print_json
from crossdraft.cli.making import resumable

if TYPE_CHECKING:
    from crossdraft.base.progress import ProgressSink
    from crossdraft.bench.score import Outcome
    from crossdraft.bench.score_source import AskedScenes
    from crossdraft.training.embedded.plan import EmbeddedPlan
    from crossdraft.training.epochs import EpochSink
    from crossdraft.vlm.model_spec import Role

#: Below the pair's folder, where no other dataset is given.
_SCENES = "scenes"


def train_embedded(
    out: Annotated[Path, typer.Option(help="Folder of the pair.")],
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the drives, the weights and the order.")
    ] = 0,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="A few steps on a few clips: shows that it works, no more."),
    ] = False,
    scenes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A dataset of both splits to take as it is.",
            show_default="made in the folder",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Train the embedded pair from nothing: make its drives, train both models, score them.

    Needs no network and no GPU. A killed training that is called again goes on from its last epoch.

    Example: crossdraft pair train-embedded --out mine --smoke
    """
    from crossdraft.base.result import Result
    from crossdraft.cli.progress import progress_bar
    from crossdraft.report.embedded_card import CARD, write_card
    from crossdraft.training.embedded.plan import full_plan, smoke_plan
    from crossdraft.vlm.model_spec import ROLES

    plan = smoke_plan(seed) if smoke else full_plan(seed)
    with resumable(), progress_bar() as sink:
        data = scenes if scenes is not None else _drives(out, plan, sink)
        # Before hours of training: is there something to score on?
        asked = _to_score_on(data)
        trained = {role: _train(role, out, data, plan, sink) for role in ROLES}
        scored = _score(_write_pair(out), asked, plan.lessons.max_new_tokens, sink)
    named = None if scenes is None else str(scenes)
    for role, one in trained.items():
        write_card(role, one, plan, scored.payload, scored.warnings, named)
    if as_json:
        payload: dict[str, Any] = {"data": scored.payload["data"]}
        for role, one in trained.items():
            told = {"made": dict(one.made), "best_epoch": one.best_epoch, **one.best}
            payload[role] = told | scored.payload[role]
        config = {"out": str(out), "scenes": named, **plan.to_json()}
        files, warnings = asked.files, scored.warnings
        print_json(Result("pair train-embedded", payload, config, files, warnings).to_json())
        return
    for one in trained.values():
        print((one.folder / CARD).read_text(encoding="utf-8"))
    print(f"the pair: {out / 'embedded.yaml'}")


def _drives(out: Path, plan: EmbeddedPlan, sink: ProgressSink) -> Path:
    """Make the scenes of both splits; those that are there already are kept."""
    from crossdraft.base.device import usable_cores
    from crossdraft.base.errors import InputError
    from crossdraft.scenes.synth import pending, plan_synth, run_synth
    from crossdraft.scenes.synth_settings import SynthSettings

    folder, lessons, settings = out / _SCENES, plan.lessons, SynthSettings(plan.seed)
    splits = (
        plan_synth(
            folder, settings, split="train",
            drives=lessons.drives, clips_per_drive=lessons.clips_per_drive,
        ),
        plan_synth(
            folder, settings, split="test",
            drives=lessons.test_drives, clips_per_drive=lessons.test_clips,
        ),
    )  # fmt: skip
    for split in splits:
        if not pending(split):
            continue
        # A few clips are made sooner than a process starts.
        workers = 1 if plan.smoke else min(4, usable_cores())
        report = run_synth(split, workers=workers, progress=sink)
        if report.failed:
            clip, reason = report.failed[0]
            raise InputError(
                f"{len(report.failed)} clips could not be made, the first {clip}: {reason}",
                where=folder,
                hint="the same call tries them again",
            )
    return folder


def _train(role: Role, out: Path, scenes: Path, plan: EmbeddedPlan, sink: ProgressSink) -> Any:
    from crossdraft.training.embedded.train import train_side

    line = _epoch_line(role, plan.settings[role].num_epochs)
    return train_side(role, out, scenes, plan, sink=sink, on_epoch=line)


def _epoch_line(role: Role, epochs: int) -> EpochSink:
    """A sink that says one line per epoch on stderr, with the time that is left."""

    def line(record: dict[str, float]) -> None:
        took_s = (record["train_ms"] + record["validation_ms"]) / 1000
        left_min = took_s * (epochs - record["epoch"]) / 60
        print(
            f"{role}, epoch {record['epoch']:.0f}/{epochs}: loss {record['train_loss']:.3f}, "
            f"validation {record['val_loss']:.3f}, {100 * record['val_top1']:.1f} % of tokens; "
            f"{took_s:.0f} s, about {left_min:.0f} min left",
            file=sys.stderr,
        )

    return line


def _write_pair(out: Path) -> Path:
    """The pair's file, which names the folders beside it."""
    from crossdraft.base.files import write_text
    from crossdraft.vlm.shipped import BESIDE, EMBEDDED, FOLDER

    text = (FOLDER / f"{EMBEDDED}.yaml").read_text(encoding="utf-8")
    path = out / f"{EMBEDDED}.yaml"
    write_text(path, text.replace(f"{BESIDE}{EMBEDDED}/", BESIDE))
    return path


def _to_score_on(scenes: Path) -> AskedScenes:
    """The test scenes, with their true answers."""
    from crossdraft.base.errors import InputError
    from crossdraft.bench.score_source import read_asked
    from crossdraft.vlm.model_spec import ROLES

    try:
        return read_asked(scenes, "test", ROLES)
    except InputError as error:
        raise InputError(
            error.found,
            where=error.where,
            expected="a dataset of both splits, test scenes of two drives or more",
            hint=f"add them: crossdraft scenes synth --out {scenes} --split test",
        ) from error


def _score(file: Path, asked: AskedScenes, max_new_tokens: int, sink: ProgressSink) -> Outcome:
    """What both models say of the test drives."""
    from crossdraft.bench.score import score
    from crossdraft.vlm.model_spec import ROLES
    from crossdraft.vlm.pair import ModelPair
    from crossdraft.vlm.pair_models import PairModels

    with PairModels(ModelPair.find(str(file))) as models:
        return score(models, asked, ROLES, max_new_tokens, sink=sink)
