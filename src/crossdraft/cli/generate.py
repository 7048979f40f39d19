"""`crossdraft generate`: answer one question about one scene."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import Pair, Scene, Sensor, Set, scene_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossdraft.decoding.generation import Generation, OnToken
    from crossdraft.vlm.pair import ModelPair
    from crossdraft.vlm.target import Target
    from crossdraft.vlm.text_stream import TextStream


def generate(
    scene: Scene,
    sensor: Sensor = None,
    pair: Pair = "eventgpt-videollava",
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
        Literal["target", "drafter"],
        typer.Option(help="Which of the two models answers. Only that one is loaded."),
    ] = "target",
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Longest answer.")] = 50,
    overrides: Set = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Answer one question about one scene, greedily, with one of a pair's models.

    The target answers from the scene's video, the drafter from its events. Text is printed as it
    comes.

    Example: crossdraft generate --scene drive.h5 --answer-with drafter -q "What is ahead?"
    """
    from crossdraft.decoding.generation import answer_plainly, ignore
    from crossdraft.vlm.pair import ModelPair
    from crossdraft.vlm.pair_models import PairModels
    from crossdraft.vlm.text_stream import TextStream

    asked = _asked(question, prompt_ids)
    chosen, found = ModelPair.find(pair, overrides or ()), scene_of(scene, sensor)
    with PairModels(chosen, (answer_with,)) as models:
        model: Target = getattr(models, answer_with)
        tokenizer = getattr(model.prompts, "tokenizer", None)
        stream = None if tokenizer is None else TextStream(tokenizer)
        said = ignore if as_json else _printer(stream)
        try:
            answer = answer_plainly(model, found, asked, max_new_tokens, said)
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            raise typer.Exit(130) from None
    if as_json:
        text = None if stream is None else stream.whole(answer.tokens)
        _print_json(answer, text, chosen, answer_with, found.id, asked)
    else:
        print("" if stream is None else stream.close())
        _show(answer, answer_with)


def _asked(question: str | None, prompt_ids: str | None) -> str | tuple[int, ...]:
    """The question, or the ids of a prompt.

    Raises:
        InputError: none of the two or both, or ids that are no whole numbers.
    """
    if (question is None) == (prompt_ids is None):
        raise InputError(
            "neither --question nor --prompt-ids"
            if question is None
            else "--question and --prompt-ids exclude each other",
            expected="one of the two",
        )
    if prompt_ids is None:
        assert question is not None
        return question
    parts = [part.strip() for part in prompt_ids.split(",")]
    if not all(re.fullmatch(r"-?[0-9]{1,10}", part) for part in parts):
        raise InputError(
            f"{prompt_ids!r}", where="--prompt-ids", expected="ids such as 1,17,-200,33"
        )
    return tuple(int(part) for part in parts)


def _printer(stream: TextStream | None) -> OnToken:
    """Prints what each token adds: text, or its id where there is no tokenizer."""

    def say(token: int) -> None:
        print(f"{token} " if stream is None else stream.push(token), end="", flush=True)

    return say


def _show(answer: Generation, answer_with: str) -> None:
    """What it took, on the error stream, so that the answer alone can be kept."""
    stages = ", ".join(
        f"{name} {answer.spans.total_ms(name):.0f} ms"
        for name in ("read", "vision", "prefill", "decode")
    )
    print(
        f"{answer_with}: {len(answer.tokens)} tokens ({answer.end}), first after "
        f"{answer.arrival_ms[0]:.0f} ms, last after {answer.arrival_ms[-1]:.0f} ms; {stages}; "
        f"prompt of {answer.prompt_tokens:,} ids, hash {answer.prompt_hash}",
        file=sys.stderr,
    )


def _print_json(
    answer: Generation,
    text: str | None,
    pair: ModelPair,
    answer_with: Literal["target", "drafter"],
    scene: str,
    asked: str | Sequence[int],
) -> None:
    from crossdraft.base.result import Result

    payload = {"answer_with": answer_with, "scene": scene, "text": text, **answer.to_json()}
    config = {"pair": pair.to_json(), "question": asked if isinstance(asked, str) else list(asked)}
    result = Result("generate", payload, config).to_json()
    print_json(result)
