"""`crossdraft pair`: the two models of a study."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import PAIR_HELP, Set
from crossdraft.cli.pair_score import score
from crossdraft.cli.pair_train import train_embedded
from crossdraft.cli.pair_tune import tune

#: Columns of labels, and of a line.
_LABEL, _COLUMNS = 14, 100

pair = typer.Typer(help="The two models of a study.", no_args_is_help=True)
pair.command()(score)
pair.command("train-embedded")(train_embedded)
pair.command()(tune)


@pair.callback()
def _group() -> None:
    """The two models of a study."""


@pair.command()
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="PAIR", help=PAIR_HELP),
    ] = "eventgpt-videollava",
    overrides: Set = None,
    as_yaml: Annotated[
        bool,
        typer.Option("--yaml", help="Print the pair as a file of one's own to start from."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts as JSON, and nothing else.")
    ] = False,
) -> None:
    """Show a pair: where its models are, what they will need, what they will be shown and asked.

    Reads the headers of checkpoints and loads no weights. What is missing is said with what to do
    about it, and is no error.

    Example: crossdraft pair show eventgpt-videollava --set drafter.model=/data/EventGPT-7b
    """
    from crossdraft.vlm.pair import ModelPair

    if as_yaml and as_json:
        raise InputError("both --yaml and --json", expected="one of them")
    found = ModelPair.find(name, overrides or ())
    if as_yaml:
        print(found.to_yaml(), end="")
        return
    from crossdraft.vlm.pair_facts import describe

    facts = describe(found)
    if as_json:
        from crossdraft.base.result import Result

        result = Result("pair show", facts, found.to_json())
        print_json(result.to_json())
        return
    for label, text in _lines(facts):
        print(_wrapped(label, text))


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Labels, and what stands behind them."""
    how = "both in memory" if facts["load"] == "together" else "one after the other"
    yield "pair", f"{facts['name']} ({how})"
    yield "file", facts["where"]
    for role in ("target", "drafter"):
        yield "", ""
        yield from _of_model(role, facts[role])
    yield "", ""
    if both := facts["both"]:
        yield "both", _of_both(both, facts["load"])
    if words := facts["vocabulary"]:
        yield "vocabulary", _of_vocabulary(words)


def _of_model(role: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield role, facts["model"]
    if facts["folder"] not in (None, facts["model"]):
        yield "found in", facts["folder"]
    if "architecture" in facts:
        yield "model", f"{facts['architecture']}, {_count(facts['parameters'])} parameters"
        yield "stored as", _stored(facts["stored_bytes"])
    yield "precision", f"{facts['dtype']} on {_device(facts['device'])}"
    if memory := facts.get("memory"):
        yield from _of_memory(memory)
    if "frames" in facts:
        yield "sees", _seen(facts)
        yield "asked with", f"template {facts['template']}" + _length(facts.get("prompt"))
    if prompt := facts.get("prompt"):
        yield "", json.dumps(prompt["text"], ensure_ascii=False)
    for problem in facts["problems"]:
        where = f"{problem['where']}: " if problem["where"] else ""
        yield "problem", f"{where}{problem['found']}"
        if problem["expected"]:
            yield "", f"expected: {problem['expected']}"
        if problem["hint"]:
            yield "", f"try: {problem['hint']}"


def _of_memory(memory: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from crossdraft.scenes.disk import format_bytes

    total, free = memory["total_bytes"], memory["free_bytes"]
    parts = ", ".join(
        f"{name} {format_bytes(memory[f'{key}_bytes'])}"
        for name, key in (
            ("weights", "weights"),
            (f"keys and values for {memory['tokens']:,} tokens", "cache"),
            ("working space", "working"),
        )
    )
    yield "needs", f"{format_bytes(total)} as {memory['precision']} ({parts})"
    if free is not None:
        fits = "it fits" if total <= free else "too little"
        devices = ", ".join(memory["devices"])
        yield "free", f"{format_bytes(free)} on {devices}: {fits}"
    if advice := memory["advice"]:
        yield "", f"try: {advice}"


def _of_both(both: Mapping[str, Any], load: str) -> str:
    from crossdraft.scenes.disk import format_bytes

    size = format_bytes(both["total_bytes"])
    text = f"{size} together" if load == "together" else f"{size} at most, one after the other"
    return f"{text}: too little is free; try: {both['advice']}" if both["advice"] else text


def _count(number: int) -> str:
    return f"{number:,}" if number < 1e8 else f"{number / 1e9:.3g} billion"


def _stored(sizes: Mapping[str, int]) -> str:
    from crossdraft.scenes.disk import format_bytes

    return ", ".join(f"{name} ({format_bytes(size)})" for name, size in sizes.items())


def _device(device: str | Mapping[str, Any]) -> str:
    if isinstance(device, str):
        return device
    return ", ".join(f"{module or 'the rest'}: {place}" for module, place in device.items())


def _seen(facts: Mapping[str, Any]) -> str:
    from crossdraft.vlm.model_spec import EVENT_KEYS

    width, height = facts["pixels"]
    count = facts["frames"]
    text = f"{count} {{}}{'frame' if count == 1 else 'frames'} of {width}x{height} pixels"
    if "window" not in facts:
        return text.format("video ") + ", uniform in time"
    settings = ", ".join(f"{key} {facts[key]}" for key in EVENT_KEYS)
    return f"{text.format('event ')}; {settings}"


def _length(prompt: Mapping[str, Any] | None) -> str:
    return "; no tokenizer here" if prompt is None else f"; {prompt['tokens']:,} tokens:"


def _of_vocabulary(words: Mapping[str, Any]) -> str:
    text = f"{words['same_id']:,} of {words['source']:,} drafter ids are the same in the target"
    if words["other_id"] or words["missing"]:
        text += f", {words['other_id']:,} have another id, {words['missing']:,} become several"
    return text


def _wrapped(label: str, text: str) -> str:
    """A line under its label, continued lines indented; long names stay whole."""
    return textwrap.fill(
        text,
        _COLUMNS,
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    ).rstrip()
