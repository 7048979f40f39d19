"""`crossdraft generate`: answer one question about one scene."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crossdraft.base.files import output_path
from crossdraft.cli.generate_choices import (
    asked_of,
    overlap_of,
    refuse_without_effect,
    rule_of,
    width_of,
)
from crossdraft.cli.generate_out import (
    Printer,
    print_answer,
    python_warnings,
    show_costs,
    write_timeline,
)
from crossdraft.cli.options import PairOrDefault, Scene, Sensor, Set, pair_of, scene_of

if TYPE_CHECKING:
    from crossdraft.decoding.overlap import Way
    from crossdraft.decoding.rules import Rule
    from crossdraft.decoding.speculator import Speculator
    from crossdraft.drafters.base import Budget
    from crossdraft.vlm.pair import ModelPair

AnswerWith = Literal["speculative", "target", "drafter"]


def generate(
    scene: Scene,
    sensor: Sensor = None,
    pair: PairOrDefault = None,
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="What to ask.", show_default=False)
    ] = None,
    prompt_ids: Annotated[
        str | None,
        typer.Option(
            metavar="ID,ID,...",
            help="The whole prompt as ids instead, with a single placeholder (-200) for the scene: "
            "for checkpoints without a tokenizer.",
            show_default=False,
        ),
    ] = None,
    answer_with: Annotated[
        AnswerWith,
        typer.Option(
            help="speculative: the target's own answer, drafted. target, drafter: one of the two "
            "models by itself; only that one is loaded."
        ),
    ] = "speculative",
    drafter: Annotated[
        str | None,
        typer.Option(
            metavar="DRAFTER",
            help="Who drafts: a name, names joined by + (an ensemble), or a checkpoint of "
            "crossdraft train.",
            show_default="what the pair drafts with",
        ),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Draft trees of N nodes, always.")
    ] = None,
    gamma: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Draft chains of N tokens, always.")
    ] = None,
    auto: Annotated[
        bool,
        typer.Option(
            "--auto",
            help="Draft as much as pays by the target's measured costs, which are measured once "
            "and kept. The default.",
        ),
    ] = False,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="auto|none|sequential|thread|process",
            help="When the event model says the words that drafters read: before the target, beside"
            " it in a thread or a process, or not at all. :prefill behind thread or process: only "
            "while the target prefills. auto: the fastest, measured once and kept.",
            show_default="auto",
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Longest answer.")] = 50,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End the answer before this text; repeatable."),
    ] = None,
    temperature: Annotated[
        float, typer.Option(metavar="T", min=0.0, help="Sample at this temperature; 0 is greedy.")
    ] = 0.0,
    top_k: Annotated[
        int, typer.Option(metavar="K", min=0, help="Sample from the K likeliest tokens; 0: all.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Sample from the likeliest tokens of mass P.")
    ] = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Of sampling: the same seed, the same answer.", show_default="0"
        ),
    ] = None,
    relaxed: Annotated[
        str | None,
        typer.Option(
            metavar="top-k=K|typical[=E,D]",
            help="LOSSY: also take drafts that the target merely finds likely. The answer is not "
            "the target's own any more.",
            show_default=False,
        ),
    ] = None,
    remember: Annotated[
        bool,
        typer.Option(
            "--remember",
            help="Keep what suffix learns of the answer for later calls with this target.",
        ),
    ] = False,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write when what ran, as a trace for ui.perfetto.dev.",
            show_default=False,
        ),
    ] = None,
    overrides: Set = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Answer one question about one scene: the target's own answer, drafted.

    Drafts only save the target passes; token for token the answer is what it would have said by
    itself. The target answers from the scene's video, the drafter from its events; of a video
    alone they are simulated. Text is printed as it is accepted.

    Example: crossdraft generate --scene drive.mp4 -q "What is ahead?" --drafter drafter-text
    """
    from crossdraft.drafters.base import OF_THE_EVENT_MODEL
    from crossdraft.scenes.scene import warnings_about
    from crossdraft.vlm.scene_events import with_events

    asked = asked_of(question, prompt_ids)
    if timeline is not None:
        output_path(timeline)  # refused now, not behind the answer
    if answer_with != "speculative":
        drafting = {
            "--drafter": drafter, "--nodes": nodes, "--gamma": gamma, "--auto": auto or None,
            "--relaxed": relaxed, "--remember": remember or None, "--overlap": overlap,
        }  # fmt: skip
        refuse_without_effect(drafting, f"--answer-with {answer_with}, where nothing is drafted")
    width, way = width_of(nodes, gamma, auto), overlap_of(overlap)
    rule = rule_of(temperature, top_k, top_p, seed, relaxed)
    found, chosen = scene_of(scene, sensor), pair_of(pair, overrides)
    if drafter is None and overlap is None and found.events_path is None:
        way = overlap_of("none")  # nobody asked for events to be simulated
    config: dict[str, object] = {
        "pair": chosen.to_json(), "question": asked if isinstance(asked, str) else list(asked),
        "drafter": drafter, "nodes": nodes, "gamma": gamma, "max_new_tokens": max_new_tokens,
        "stop": stop or [], "temperature": temperature, "top_k": top_k, "top_p": top_p,
        "seed": seed, "relaxed": relaxed, "remember": remember, "overlap": overlap or "auto",
    }  # fmt: skip
    with ExitStack() as stack:
        warned = stack.enter_context(python_warnings())
        speculator = _speculator(stack, chosen, answer_with, drafter, width, rule, remember, way)
        hears = bool(OF_THE_EVENT_MODEL & speculator.drafter.needs)
        if overlap is not None and not hears:
            needless = f"drafter {speculator.drafter.name}, which reads no words of an event model"
            refuse_without_effect({"--overlap": overlap}, needless)
        asked_for = hears and (way is None or way.mode != "none")
        reads = answer_with == "drafter" or asked_for
        shown = with_events(chosen, found) if reads else found
        for text in warnings_about(shown):
            warned.append(text)
            print(f"warning: {text}", file=sys.stderr)
        said = Printer(speculator, stop or (), as_json)
        try:
            if shown is not found:
                shown.events()  # before the clock runs: those of a camera would be there
            _load(speculator)
            answer = speculator.ask(
                shown, asked, max_new_tokens=max_new_tokens, stop=stop or (), on_tokens=said
            )
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            raise typer.Exit(130) from None
        said.close()
        for text in answer.warnings:
            warned.append(text)
            print(f"warning: {text}", file=sys.stderr)
        # What is remembered is written behind all this: an answer is not lost with it.
        about = {
            "answer_with": answer_with, "scene": shown.id, "simulated": shown.simulated,
            "drafter": speculator.drafter.name,
        }  # fmt: skip
        if as_json:
            print_answer(answer, about, config, warned)
        else:
            show_costs(answer, about, hears)
        if timeline is not None:
            write_timeline(timeline, answer, {"question": question, **about})


def _speculator(
    stack: ExitStack,
    pair: ModelPair,
    answer_with: AnswerWith,
    drafter: str | None,
    width: Budget | None,
    rule: Rule,
    remember: bool,
    way: Way | None,
) -> Speculator:
    """Who answers. A model by itself is a target for which nothing is drafted."""
    from crossdraft.decoding.memory import memory_path
    from crossdraft.decoding.speculator import Speculator
    from crossdraft.vlm.pair_models import PairModels

    if answer_with != "speculative":
        models = stack.enter_context(PairModels(pair, (answer_with,)))
        return Speculator(getattr(models, answer_with), "none", rule=rule)
    speculator = Speculator(
        pair,
        drafter,
        width=width,
        rule=rule,
        memory=memory_path(pair) if remember else None,
        overlap=way,
        note=lambda text: print(f"costs: {text}", file=sys.stderr),
    )
    return stack.enter_context(speculator)


def _load(speculator: Speculator) -> None:
    """Where the event model has a process, have both models there before the clock runs."""
    if speculator.way is not None and speculator.way.mode == "process":
        _ = speculator.models.target  # while the process loads its own
        speculator.words.wait_until_ready(speculator.way)
