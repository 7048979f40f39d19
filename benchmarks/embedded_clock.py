"""The clock of the embedded pair on a CPU: does its time have the shape of the published pair's?

Per question about a scene: the target's first token (pixels, tower, language model) and its step,
the drafter's first token (frames drawn of raw events, tower, language model) and its step. Both
take turns in one process; each figure is the median over the ratios of single questions.

    python benchmarks/embedded_clock.py --json clock.json [--scenes DATASET] [--pair embedded]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from measuring import refuse_below_one, reported, spread

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.result import machine, package_versions
from crossdraft.bench.made_scene import MadeScene
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.scenes.scene import Scene, warnings_about
from crossdraft.vlm.cost_measure import measure
from crossdraft.vlm.model_spec import ROLES, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.target import Target

#: Tokens of the verification that is measured: five drafts and their root.
VERIFIED = 6
#: What the published pair's time is like: a prefill of several steps, in which the drafter can say
#: something, and verifying a handful of drafts for little more than a step.
AT_LEAST = {"prefill_over_step": 4.0}
AT_MOST = {"drafter_over_target_first_token": 1 / 3, "t6_over_t1": 1.5}

#: What a reader of a result without a dataset must know.
MADE = "one made scene, larger than the pair's own world: give a dataset (--scenes)"


@dataclass(frozen=True, eq=False)
class HeldEvents:
    """A scene's raw events in memory, with its bounds: the same frames are drawn of it."""

    stream: EventStream
    window_us: tuple[int, int] | None

    def events(self) -> EventStream:
        """The stream."""
        return self.stream


@dataclass(frozen=True)
class Asked:
    """One question, asked of one model.

    Attributes:
        load_ms: what the sensor wrote, read into memory: video decoded, event file read.
        read_ms: event frames drawn, and pixels made of frames.
        vision_ms: tower and projector.
        prefill_ms: the prompt through the language model.
        first_token_ms: all of that but `load_ms`, on one clock.
        step_ms: of each further token, the median.
    """

    load_ms: float
    read_ms: float
    vision_ms: float
    prefill_ms: float
    first_token_ms: float
    step_ms: float


def asked(role: Role, target: Target, scene: Any, question: str, tokens: int) -> Asked:
    """Ask a model that has seen nothing of the scene yet; answers run past their ends."""
    began_ms = now_ms()
    held = in_memory(role, target, scene)
    load_ms = now_ms() - began_ms
    spans = Spans()
    began_ms = now_ms()
    session = target.open(held, spans=spans)
    token = int(session.ask(question).logits[0].argmax())
    first_ms = now_ms() - began_ms
    steps_ms = []
    for _ in range(tokens):
        began_ms = now_ms()
        token = int(session.extend(token).logits[0].argmax())
        steps_ms.append(now_ms() - began_ms)
    read_ms, vision_ms, prefill_ms = map(spans.total_ms, ("read", "vision", "prefill"))
    step_ms = statistics.median(steps_ms)
    return Asked(load_ms, read_ms, vision_ms, prefill_ms, first_ms, step_ms)


def in_memory(role: Role, target: Target, scene: Any) -> Any:
    """What the model's sensor saw, before anything is made of it."""
    if role == "drafter":
        return HeldEvents(scene.events(), scene.window_us)
    prompts: Any = target.prompts
    return scene.video_frames(prompts.frames).frames


def in_turn(
    models: PairModels, scenes: Sequence[Any], questions: Sequence[str], rounds: int, tokens: int
) -> list[dict[Role, Asked]]:
    """Every question about every scene in every round, after one round of warm-up; who goes first
    changes each time."""
    found = []
    places = [(scene, question) for scene in scenes for question in questions]
    for turn in range(rounds + 1):
        for number, (scene, question) in enumerate(places):
            order = ROLES if (turn + number) % 2 else ROLES[::-1]
            took = {
                role: asked(role, _model(models, role), scene, question, tokens) for role in order
            }
            if turn:
                found.append(took)
    return found


def verify_ratio(target: Target, scene: Any, question: str, rounds: int) -> dict[str, Any]:
    """T(6)/T(1) behind a prompt of the pair's own length."""
    prompt = target.prompt(in_memory("target", target, scene), question)
    curves = measure(
        target,
        context=len(prompt.ids),
        widths=(1, VERIFIED),
        tail_widths=(),
        repeats=rounds,
        question=len(prompt.question),
    )
    cost = curves.chain[-1]
    return {"median": cost.ratio, "low": cost.low, "high": cost.high, "context": len(prompt.ids)}


def ratios(found: Sequence[dict[Role, Asked]], files: bool) -> dict[str, Any]:
    """Median and quartiles over questions, each ratio formed within its question.

    Args:
        files: whether scenes lie in files, so that reading them is part of a real clock.
    """
    pairs = [(one["target"], one["drafter"]) for one in found]
    values = {
        "prefill_over_step": [t.first_token_ms / t.step_ms for t, _ in pairs],
        "drafter_over_target_first_token": [d.first_token_ms / t.first_token_ms for t, d in pairs],
        "drafter_over_target_step": [d.step_ms / t.step_ms for t, d in pairs],
    }
    if files:
        values["drafter_over_target_first_token_from_files"] = [
            (d.load_ms + d.first_token_ms) / (t.load_ms + t.first_token_ms) for t, d in pairs
        ]
    return {name: spread(list_of) for name, list_of in values.items()}


def _model(models: PairModels, role: Role) -> Target:
    return models.target if role == "target" else models.drafter


def clocked(
    pair: ModelPair, scenes: Sequence[Any], questions: Sequence[str], rounds: int, tokens: int
) -> dict[str, Any]:
    """The whole measurement.

    Raises:
        InputError: a model that cannot be loaded, a scene that cannot be read, or answers that
            are longer than a model can say.
    """
    import torch

    files = all(isinstance(scene, Scene) for scene in scenes)
    with PairModels(pair) as models:
        found = in_turn(models, scenes, questions, rounds, tokens)
        shape = ratios(found, files)
        shape["t6_over_t1"] = verify_ratio(models.target, scenes[0], questions[0], 10 * rounds)
        parameters = {role: int(_model(models, role).model.num_parameters()) for role in ROLES}
    fields = [name for name in Asked.__dataclass_fields__ if files or name != "load_ms"]
    return {
        "benchmark": "embedded_clock",
        "pair": pair.name,
        "parameters": parameters,
        "scenes": [scene.id for scene in scenes],
        "questions": list(questions),
        "tokens": tokens,
        "rounds": rounds,
        "median": {
            role: {
                name: statistics.median(getattr(one[role], name) for one in found)
                for name in fields
            }
            for role in ROLES
        },
        "ratios": shape,
        "limits": {"at_least": AT_LEAST, "at_most": AT_MOST},
        "checks": checks(shape),
        "warnings": warnings_about(*scenes) if files else [MADE],
        "threads": torch.get_num_threads(),
        "packages": package_versions(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


def checks(shape: dict[str, Any]) -> dict[str, bool]:
    """Which limits are reached."""
    above = {name: shape[name]["median"] >= limit for name, limit in AT_LEAST.items()}
    return above | {name: shape[name]["median"] <= limit for name, limit in AT_MOST.items()}


def chosen_scenes(folder: Path | None, count: int) -> list[Any]:
    """Scenes of a dataset, evenly spaced over its test drives where it has some; else a made one.

    Raises:
        InputError: no dataset, or no scene that both sensors saw.
    """
    if folder is None:
        return [MadeScene()]
    whole = SceneDataset.open(folder)
    seen = [scene for scene in whole if scene.events_file and scene.video_file]
    if not seen:
        raise InputError(
            "no scene with events and a video", where=folder, expected="scenes of both sensors"
        )
    seen = [scene for scene in seen if scene.split == "test"] or seen
    count = min(count, len(seen))
    return [seen[i * len(seen) // count] for i in range(count)]


def lines(result: dict[str, Any]) -> list[str]:
    """What is printed."""
    shown = []
    for role, stages in result["median"].items():
        each = ", ".join(f"{name.removesuffix('_ms')} {ms:.2f}" for name, ms in stages.items())
        shown.append(f"{role} ({result['parameters'][role]:,} parameters), ms: {each}")
    for name, one in result["ratios"].items():
        line = f"{name} {one['median']:.3f} ({one['low']:.3f} .. {one['high']:.3f})"
        if name in AT_LEAST:
            line += f", wanted >= {AT_LEAST[name]:g}"
        if name in AT_MOST:
            line += f", wanted <= {AT_MOST[name]:.3g}"
        if name in result["checks"]:
            line += ": reached" if result["checks"][name] else ": NOT REACHED"
        shown.append(line)
    return [*shown, *(f"warning: {text}" for text in result["warnings"])]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pair", default="embedded", help="a shipped pair, or a pair's file")
    parser.add_argument("--scenes", type=Path, help="a dataset; without one, a made scene")
    parser.add_argument("--limit", type=int, default=4, help="scenes of the dataset")
    parser.add_argument("--questions", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16, help="steps behind the first token")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)

    def measure() -> dict[str, Any]:
        refuse_below_one(arguments, ("limit", "questions", "tokens", "rounds"))
        return clocked(
            ModelPair.find(arguments.pair),
            chosen_scenes(arguments.scenes, arguments.limit),
            [question.text for question in DEFAULT_QUESTIONS[: arguments.questions]],
            arguments.rounds,
            arguments.tokens,
        )

    return reported(measure, arguments.json, lines)


if __name__ == "__main__":
    raise SystemExit(main())
