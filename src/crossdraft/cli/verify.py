"""`crossdraft verify`: prove that drafting leaves the target's answers as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import PairOrDefault, SceneOrMadeUp, Sensor, Set, pair_of, scene_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crossdraft.bench.lossless_lines import Compared, Plain
    from crossdraft.bench.lossless_runs import MakeWidth
    from crossdraft.decoding.rules import Rule

#: Default questions that are asked where nobody says how many.
_USUAL = 3


def verify(
    pair: PairOrDefault = None,
    overrides: Set = None,
    drafter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DRAFTER",
            help="A drafter's name, a checkpoint, or several joined by +; repeatable.",
            show_default="what the pair drafts with",
        ),
    ] = None,
    scene: SceneOrMadeUp = None,
    sensor: Sensor = None,
    questions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Ask the first N questions.",
            show_default=f"{_USUAL}, or all of --questions-file",
        ),
    ] = None,
    questions_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A JSON list of questions.",
            show_default="the most frequent ones about driving scenes",
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Longest answer.")] = 50,
    gamma: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Draft chains of N tokens only; repeatable.",
            show_default="several widths",
        ),
    ] = None,
    nodes: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Draft trees of N nodes only; repeatable.",
            show_default="several widths",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Compare sampled answers too: the same seed gives the same tokens.",
            show_default="greedy answers only",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of sampled answers.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Prove that drafting changes no answer: with and without drafts, token by token.

    Runs the drafters and others that try to change the answer: random, always wrong, always right,
    empty, past every limit, with end tokens in the middle. Each over several widths, in a fresh
    session and in a fork, also in turn with another fork. Ends at the first difference or error
    with exit code 1 and says whether the difference vanishes in float64.

    Example: crossdraft verify --pair mine.yaml --drafter suffix --questions 3
    """
    from crossdraft.bench.lossless import verify_lossless
    from crossdraft.bench.lossless_lines import summary
    from crossdraft.drafters.base import OF_THE_EVENT_MODEL
    from crossdraft.drafters.find import find_drafter
    from crossdraft.scenes.scene import warnings_about
    from crossdraft.vlm.model_spec import ROLES
    from crossdraft.vlm.pair_models import PairModels
    from crossdraft.vlm.scene_events import with_events

    asked, rules = _questions(questions, questions_file), _rules(temperature, seed)
    widths = _widths(gamma or (), nodes or ())
    chosen = pair_of(pair, overrides)
    names = drafter or [chosen.drafting]
    drafters = [find_drafter(name, chosen.drafting) for name in names]
    found = None if scene is None else scene_of(scene, sensor)
    reads = any(OF_THE_EVENT_MODEL & one.needs for one in drafters)
    if found is not None and reads:
        found = with_events(chosen, found)
    warned = [] if found is None else warnings_about(found)
    lines: list[Plain | Compared] = []
    with PairModels(chosen, ROLES if reads else ("target",)) as models:
        try:
            for line in verify_lossless(
                models, drafters, asked, found,
                max_new_tokens=max_new_tokens, widths=widths, rules=rules,
            ):  # fmt: skip
                lines.append(line)
                if not as_json:
                    _show(line)
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            raise typer.Exit(130) from None
    if as_json:
        config = {
            "pair": chosen.to_json(), "drafters": names, "scene": scene, "questions": asked,
            "max_new_tokens": max_new_tokens, "widths": list(widths),
            "temperature": temperature, "seed": seed,
        }  # fmt: skip
        _print_json(lines, summary(lines), config, warned)
    else:
        print(summary(lines))
        for text in warned:
            print(f"warning: {text}", file=sys.stderr)
    if _wrong(lines):
        raise typer.Exit(1)


def _questions(count: int | None, file: Path | None) -> list[str]:
    """What is asked.

    Raises:
        InputError: a file without questions, or fewer of them than are asked for.
    """
    from crossdraft.scenes.questions import DEFAULT_QUESTIONS, read_questions

    known = DEFAULT_QUESTIONS if file is None else read_questions(file)
    if count is None:
        count = _USUAL if file is None else len(known)
    if count > len(known):
        raise InputError(
            f"{count}",
            where="--questions",
            expected=f"at most {len(known)}",
            hint="name a --questions-file with more" if file is None else None,
        )
    return [question.text for question in known[:count]]


def _rules(temperature: float | None, seed: int) -> list[Rule]:
    from crossdraft.decoding.rules import Greedy, Sampling, Warp

    if temperature is None:
        return [Greedy()]
    return [Greedy(), Sampling(Warp(temperature=temperature), seed)]


def _widths(gamma: Sequence[int], nodes: Sequence[int]) -> dict[str, MakeWidth]:
    """Those that were asked for, else the usual ones."""
    from crossdraft.bench.lossless import WIDTHS, chain, tree

    widths: dict[str, MakeWidth] = {}
    for count in gamma:
        widths |= chain(count)
    for count in nodes:
        widths |= tree(count)
    return widths or dict(WIDTHS)


def _show(line: Plain | Compared) -> None:
    from crossdraft.bench.lossless_lines import Compared

    verdict = "measured"
    if isinstance(line, Compared):
        verdict = "ok" if line.equal else "FAILED" if line.failure else "DIFFERS"
    print(f"{verdict:<9} {line.text}", flush=True)


def _wrong(lines: Sequence[Plain | Compared]) -> bool:
    from crossdraft.bench.lossless_lines import Compared

    return any(isinstance(line, Compared) and not line.equal for line in lines)


def _print_json(
    lines: Sequence[Plain | Compared],
    said: str,
    config: Mapping[str, object],
    warned: Sequence[str],
) -> None:
    from crossdraft.base.result import Result
    from crossdraft.bench.lossless_lines import Plain

    payload = {
        "summary": said,
        "lossless": not _wrong(lines),
        "plain": [line.to_json() for line in lines if isinstance(line, Plain)],
        "drafters": [line.to_json() for line in lines if not isinstance(line, Plain)],
    }
    print_json(Result("verify", payload, config, warnings=warned).to_json())
