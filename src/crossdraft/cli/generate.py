"""`crossdraft generate`: answer one question about one scene."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crossdraft.base.errors import InputError
from crossdraft.base.files import output_path
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import Pair, Scene, Sensor, Set, scene_of

if TYPE_CHECKING:
    from crossdraft.decoding.generation import Generation
    from crossdraft.decoding.rules import Rule
    from crossdraft.decoding.speculator import Speculator
    from crossdraft.drafters.base import Budget
    from crossdraft.vlm.pair import ModelPair

AnswerWith = Literal["speculative", "target", "drafter"]
#: What `--nodes` without a depth means: as deep as answers are ever accepted in one pass.
_DEPTH = 16


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
            show_default="suffix",
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
    itself. The target answers from the scene's video, the drafter from its events. Text is printed
    as it is accepted.

    Example: crossdraft generate --scene drive.h5,drive.mp4 -q "What is ahead?" --drafter suffix
    """
    from crossdraft.scenes.scene import warnings_about
    from crossdraft.vlm.pair import ModelPair

    asked = _asked(question, prompt_ids)
    if timeline is not None:
        output_path(timeline)  # refused now, not behind the answer
    if answer_with != "speculative":
        drafting = {
            "--drafter": drafter, "--nodes": nodes, "--gamma": gamma, "--auto": auto or None,
            "--relaxed": relaxed, "--remember": remember or None,
        }  # fmt: skip
        _refuse_without_effect(drafting, f"--answer-with {answer_with}, where nothing is drafted")
    width = _width(nodes, gamma, auto)
    rule = _rule(temperature, top_k, top_p, seed, relaxed)
    chosen, found = ModelPair.find(pair, overrides or ()), scene_of(scene, sensor)
    config: dict[str, object] = {
        "pair": chosen.to_json(), "question": asked if isinstance(asked, str) else list(asked),
        "drafter": drafter, "nodes": nodes, "gamma": gamma, "max_new_tokens": max_new_tokens,
        "stop": stop or [], "temperature": temperature, "top_k": top_k, "top_p": top_p,
        "seed": seed, "relaxed": relaxed, "remember": remember,
    }  # fmt: skip
    with ExitStack() as stack:
        warned = stack.enter_context(_warnings())
        for text in warnings_about(found):
            warned.append(text)
            print(f"warning: {text}", file=sys.stderr)
        speculator = _speculator(
            stack, chosen, answer_with, drafter or "suffix", width, rule, remember
        )
        said = _Printer(speculator, stop or (), as_json)
        try:
            answer = speculator.ask(
                found, asked, max_new_tokens=max_new_tokens, stop=stop or (), on_tokens=said
            )
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            raise typer.Exit(130) from None
        said.close()
        # What is remembered is written behind all this: an answer is not lost with it.
        about = {"answer_with": answer_with, "scene": found.id, "drafter": speculator.drafter.name}
        if as_json:
            _print_json(answer, about, config, warned)
        else:
            _show(answer, about)
        if timeline is not None:
            told: dict[str, object] = {"question": question, "simulated": found.simulated, **about}
            _write_timeline(timeline, answer, told)


def _speculator(
    stack: ExitStack,
    pair: ModelPair,
    answer_with: AnswerWith,
    drafter: str,
    width: Budget | None,
    rule: Rule,
    remember: bool,
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
        note=lambda text: print(f"costs: {text}", file=sys.stderr),
    )
    return stack.enter_context(speculator)


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


def _width(nodes: int | None, gamma: int | None, auto: bool) -> Budget | None:
    """The budget of every pass, None for as much as pays.

    Raises:
        InputError: two widths at once.
    """
    from crossdraft.drafters.base import Budget

    if (nodes is not None) + (gamma is not None) + auto > 1:
        raise InputError("more than one of --nodes, --gamma and --auto", expected="one of them")
    if nodes is not None:
        return Budget.tree(nodes, _DEPTH)
    return None if gamma is None else Budget.chain(gamma)


def _rule(
    temperature: float, top_k: int, top_p: float, seed: int | None, relaxed: str | None
) -> Rule:
    """The verification rule.

    Raises:
        InputError: settings that would have no effect, or values out of range.
    """
    from crossdraft.decoding.rules import GREEDY, Sampling, Warp

    warping = {"--top-k": top_k or None, "--top-p": None if top_p == 1.0 else top_p, "--seed": seed}
    if relaxed is not None:
        drawing = {"--temperature": temperature or None, **warping}
        _refuse_without_effect(drawing, "--relaxed, whose rules draw nothing")
        return _relaxed(relaxed)
    if not temperature:
        _refuse_without_effect(warping, "a greedy answer: --temperature is 0")
        return GREEDY
    return Sampling(Warp(temperature, top_k, top_p), seed or 0)


def _refuse_without_effect(given: Mapping[str, object], beside: str) -> None:
    """Refuse options that were given and would change nothing."""
    for option, value in given.items():
        if value is not None:
            raise InputError(
                f"{option} beside {beside}", expected=f"one of the two; {option} changes nothing"
            )


def _relaxed(text: str) -> Rule:
    from crossdraft.decoding.rules import TopK, Typical

    name, _, values = text.partition("=")
    try:
        if name == "top-k":
            return TopK(int(values))
        if name == "typical":
            epsilon, delta = map(float, (values or "0.3,0.09").split(","))
            return Typical(epsilon, delta)
    except ValueError:
        pass
    raise InputError(
        f"{text!r}", where="--relaxed", expected="top-k=3, typical or typical=0.3,0.09"
    )


class _Printer:
    """Prints what each accepted run adds: text, or ids where there is no tokenizer."""

    def __init__(self, speculator: Speculator, stop: Sequence[str], silent: bool) -> None:
        self._speculator, self._stop, self._silent = speculator, stop, silent
        self._push: Callable[[int], str] | None = None
        self._close: Callable[[], str] = str

    def __call__(self, tokens: Sequence[int]) -> None:
        if self._silent:
            return
        if self._push is None:
            self._begin()
        assert self._push is not None
        print("".join(map(self._push, tokens)), end="", flush=True)

    def close(self) -> None:
        """Print what was held back, and end the line."""
        if not self._silent:
            print(self._close())

    def _begin(self) -> None:
        """Look at the model only now: it is loaded by the question, and errors come from there."""
        from crossdraft.decoding.speculator import tokenizer_of
        from crossdraft.decoding.stopping import TextUntil
        from crossdraft.vlm.text_stream import TextStream

        tokenizer = tokenizer_of(self._speculator.models.target)
        if tokenizer is None:
            self._push = lambda token: f"{token} "
            return
        stream, until = TextStream(tokenizer), TextUntil(self._stop)
        self._push = lambda token: until.push(stream.push(token))
        self._close = lambda: until.push(stream.close()) + until.close()


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Warnings of Python as lines on the error stream; they are in the list, too."""
    said: list[str] = []

    def show(message: Warning | str, *_: object) -> None:
        said.append(str(message))
        print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # ours reads the message alone
        yield said


def _show(answer: Generation, about: Mapping[str, str]) -> None:
    """What it took, on the error stream, so that the answer alone can be kept."""
    names = ("read", "vision", "prefill", "decode", "draft")
    stages = ", ".join(
        f"{name} {total:.0f} ms"
        for name in names
        if (total := answer.spans.total_ms(name)) or name != "draft"
    )
    who = about["answer_with"]
    if who == "speculative":
        who += f" ({about['drafter']})"
    print(
        f"{who}: {len(answer.tokens)} tokens ({answer.end}) in {len(answer.passes)} passes, "
        f"{answer.tau:.2f} a pass; first after {answer.arrival_ms[0]:.0f} ms, last after "
        f"{answer.arrival_ms[-1]:.0f} ms; {stages}; prompt of {answer.prompt_tokens:,} ids, hash "
        f"{answer.prompt_hash}",
        file=sys.stderr,
    )
    if answer.drafter_spans is not None:
        own_ms = max(span.end_ms for span in answer.drafter_spans.spans)
        print(f"event model's own words: all there after {own_ms:.0f} ms", file=sys.stderr)
    if answer.lossy:
        print(_lossy(answer), file=sys.stderr)


def _lossy(answer: Generation) -> str:
    return f"LOSSY: by the rule {answer.rule}, not the target's own answer"


def _write_timeline(path: Path, answer: Generation, about: dict[str, object]) -> None:
    from crossdraft.base.trace import Moment, write_trace

    who = "drafter" if about["answer_with"] == "drafter" else "target"
    tracks = {who: answer.spans}
    if answer.drafter_spans is not None:
        tracks["drafter"] = answer.drafter_spans
    about |= {"text": answer.text, "tau": answer.tau, "rule": answer.rule, "lossy": answer.lossy}
    moments, said = [], 0
    for one in answer.passes:
        accepted = {"drafted": len(one.tree), "accepted": len(one.path)}
        moments.append(Moment(who, f"{one.emitted} tokens", answer.arrival_ms[said], accepted))
        said += one.emitted
    write_trace(path, tracks, about, moments)


def _print_json(
    answer: Generation, about: Mapping[str, str], config: dict[str, object], warned: list[str]
) -> None:
    from crossdraft.base.result import Result

    warned = [*warned, _lossy(answer)] if answer.lossy else warned
    result = Result("generate", {**about, **answer.to_json()}, config, warnings=warned)
    print_json(result.to_json())
