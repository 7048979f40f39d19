"""`crossdraft extract`: what both models of a pair say and think, into a pair store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.options import PairOrDefault, Set

if TYPE_CHECKING:
    from crossdraft.pairs.extract.plan import Plan
    from crossdraft.pairs.extract.work import How
    from crossdraft.vlm.pair import ModelPair


def extract(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the store.", show_default=False)
    ],
    scenes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A dataset. Events that nobody recorded are simulated from the video.",
            show_default=False,
        ),
    ] = None,
    pair: PairOrDefault = None,
    overrides: Set = None,
    split: Annotated[
        Literal["train", "test", "all"], typer.Option(help="Which of its scenes.")
    ] = "all",
    questions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A JSON list of questions, asked about every scene.",
            show_default="the ten most frequent of EventGPT's",
        ),
    ] = None,
    max_questions: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="The first N questions.", show_default="all"),
    ] = None,
    max_samples: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="At most N clips, as many of each drive.", show_default="all"
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Longest answer.")] = 50,
    alignment: Annotated[
        Literal["both", "own", "forced"],
        typer.Option(
            help="The drafter's states over its own answer, over the target's, which it is fed, "
            "or both. Its own answer's ids are always kept."
        ),
    ] = "both",
    states: Annotated[
        str,
        typer.Option(
            metavar="WHICH",
            help="last: behind the final norm; layers:4,8 or layers:target.8: of those layers "
            "too; none: ids alone.",
        ),
    ] = "last",
    dtype: Annotated[
        Literal["bf16", "int8", "fp16", "fp32"], typer.Option(help="How states are stored.")
    ] = "bf16",
    top_logits: Annotated[
        int, typer.Option(metavar="K", min=0, help="Keep the K largest logits of each position.")
    ] = 0,
    shuffle_events: Annotated[
        bool,
        typer.Option(
            "--shuffle-events",
            help="Show the drafter another drive's events: a control. What still helps does not "
            "come from the scene.",
        ),
    ] = False,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Pairs of a shard, the unit that is shared out.",
            show_default="160; 500 of models above a billion parameters",
        ),
    ] = None,
    batch_clips: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Clips that are answered in one batch.",
            show_default="8; 1 of models above a billion parameters",
        ),
    ] = None,
    save_interval: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Pairs after which a shard under way is saved, at the end of a batch.",
        ),
    ] = 100,
    quant: Annotated[
        Literal["4bit", "8bit", "fp16", "bf16", "fp32"] | None,
        typer.Option(help="Precision of both models' weights.", show_default="as the pair says"),
    ] = None,
    sequential: Annotated[
        bool,
        typer.Option("--sequential", help="One model in memory at a time: the target first."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes, each with its own models.",
            show_default="one per core on a CPU that has the memory, else 1",
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(metavar="N", min=0, help="How often a clip that fails is tried again.")
    ] = 2,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Measure a few clips, say what all will take; write nothing."
        ),
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say how far it is, from outside; --out is enough.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Run both models of a pair over scenes and questions, and keep what they say and think.

    State t is the one whose logits emit token t. The same call goes on where a killed or
    interrupted one stood; several processes, ranks of torchrun and machines may work in one
    folder. On one kind of machine the store is the same bytes however it was made. Clips that fail
    are listed, the others are finished, and the exit code is 1.

    Example: crossdraft extract --scenes world --split train --out store
    """
    from crossdraft.cli import extract_out as show

    if status:
        show.status(out, as_json)
        return
    if scenes is None:
        raise InputError("no dataset", where="--scenes", expected="--scenes DIR, or --status")
    from crossdraft.pairs.extract.plan import make_plan
    from crossdraft.pairs.extract.settings import Keep

    keep = Keep.parse(alignment, states, dtype, top_logits)
    chosen = _pair(pair, overrides, quant)
    plan = make_plan(
        out, chosen, scenes,
        split=split, questions=_questions(questions, max_questions), keep=keep,
        max_new_tokens=max_new_tokens, max_samples=max_samples, chunk_size=chunk_size,
        batch_clips=batch_clips, shuffled=shuffle_events,
    )  # fmt: skip
    how, count = _how(plan, workers, save_interval, retries, sequential)
    count = min(count, plan.shards)
    config: dict[str, Any] = {
        "pair": chosen.to_json(), "scenes": str(scenes), "out": str(out), "split": split,
        "questions": list(plan.questions), "max_samples": max_samples,
        "max_new_tokens": max_new_tokens, "shuffle_events": shuffle_events, **keep.to_json(),
        "chunk_size": plan.clips_per_shard * len(plan.questions),
        "batch_clips": plan.batch_clips, "save_interval": save_interval,
        "sequential": sequential, "workers": count, "retries": retries, "dry_run": dry_run,
    }  # fmt: skip
    if dry_run:
        show.dry_run(plan, count, config if as_json else None)
    else:
        _run(plan, how, count, config, as_json)


def _run(plan: Plan, how: How, workers: int, config: dict[str, Any], as_json: bool) -> None:
    from crossdraft.cli import extract_out as show
    from crossdraft.cli.making import resumable, stoppable
    from crossdraft.cli.progress import progress_bar
    from crossdraft.pairs.extract.run import extract as extracted

    with resumable(), stoppable() as stop:
        with progress_bar() as bars:
            following = show.Following(plan, workers, bars)
            outcome = extracted(plan, how, workers=workers, tell=following.tell, stop=stop)
        if outcome.manifest is None and stop():
            raise KeyboardInterrupt
    if not show.result(plan, outcome, config if as_json else None):
        raise typer.Exit(1)


def _pair(text: str | None, overrides: list[str] | None, quant: str | None) -> ModelPair:
    """The pair, its weights at the precision that was asked for, on the GPU of this rank."""
    from crossdraft.cli.options import pair_of
    from crossdraft.pairs.extract.ranks import on_its_gpu
    from crossdraft.pairs.extract.settings import QUANT
    from crossdraft.vlm.model_spec import ROLES

    chosen = pair_of(text, overrides)
    if quant is not None:
        for role in ROLES:
            chosen = chosen.with_value(f"{role}.dtype={QUANT[quant]}")
    return on_its_gpu(chosen, os.environ)


def _questions(path: Path | None, most: int | None) -> list[str]:
    from crossdraft.scenes.questions import DEFAULT_QUESTIONS, read_questions

    asked = DEFAULT_QUESTIONS if path is None else read_questions(path)
    return [question.text for question in asked[:most]]


def _how(
    plan: Plan, workers: int | None, save_every: int, retries: int, sequential: bool
) -> tuple[How, int]:
    """How one process works, and how many do."""
    from crossdraft.base.device import usable_cores
    from crossdraft.pairs.extract.ranks import rank_of
    from crossdraft.pairs.extract.team import threads_of, workers_here
    from crossdraft.pairs.extract.work import How

    ranked = rank_of(os.environ)
    if ranked is not None and (workers or 1) > 1:
        raise InputError(
            f"{workers} processes in each of {ranked[1]} ranks",
            where="--workers",
            expected="1, or a call without torchrun",
        )
    count = 1 if ranked is not None else workers or workers_here(plan.pair, usable_cores())
    rank, world = ranked or (0, 1)
    threads = threads_of(plan, usable_cores(), count)
    return How(save_every, retries, sequential, rank, world, threads), count
