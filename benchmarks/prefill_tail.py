"""What drafts on the prefill's tail cost, and what of a verification pass they save.

The picture is read once and its question asked of forks: alone, with n drafts as its tail, and
with n more ids of its own, a plain pass over as many tokens. Beside them T(1) and T(1 + n) behind
the same question. All take turns in one process; a ratio is formed within its round.

    python benchmarks/prefill_tail.py --json tail.json [--scenes DATASET] [--pair embedded]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from embedded_clock import MADE, chosen_scenes, in_memory
from measuring import refuse_below_one, reported, spread

from crossdraft.base.acceptance import best_first_shape
from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.result import machine, package_versions
from crossdraft.base.tree import DraftTree
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.scenes.scene import Scene, warnings_about
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session
from crossdraft.vlm.target import Target

#: Drafts on the tail.
TAILS = (4, 8, 16, 32)
SHAPES = ("chain", "tree")
#: The tree expects most of a drafter with this acceptance; of any width here it has branches.
ALPHA = 0.4
#: A tail may take this much longer than a plain pass over as many ids, and has to save this share
#: of the pass that would have verified the same drafts behind the prefill.
AT_MOST = {"over_plain": 1.05}
AT_LEAST = {"saved": 0.60}


class Round(NamedTuple):
    """Times of one question in one round.

    Attributes:
        ask_ms: T(question).
        step_ms: T(1).
        plain_ms: {n: T(question + n)}, a question that is n ids longer.
        tail_ms: {(shape, n): T(question with n drafts as its tail)}.
        verify_ms: {(shape, n): T(1 + n)}.
    """

    ask_ms: float
    step_ms: float
    plain_ms: dict[int, float]
    tail_ms: dict[tuple[str, int], float]
    verify_ms: dict[tuple[str, int], float]


class Place:
    """One question about one scene, its picture read and its question asked once.

    Args:
        opened: at the picture; asked by its forks alone.
        ids: that drafts and longer questions are made of; what they say changes no time.
    """

    def __init__(self, opened: Session, prompt: Prompt, ids: Sequence[int], tails: Sequence[int]):
        self._opened, self._prompt = opened, prompt
        self._asked = opened.fork()
        self._token = int(self._asked.ask(prompt).logits[0].argmax())
        rng = random.Random(len(prompt.ids))
        self._trees = {
            (shape, count): _tree(shape, rng.sample(ids, count))
            for count in tails
            for shape in SHAPES
        }
        self._longer = {
            count: Prompt((*prompt.ids, *rng.sample(ids, count)), prompt.cut, prompt.inputs)
            for count in tails
        }

    def round(self, rng: random.Random) -> Round:
        """Every pass once, in a new order."""
        tasks: dict[tuple[str, Any], Callable[[], float]] = {
            ("ask", None): partial(self._ask, self._prompt),
            ("step", None): partial(self._extend, DraftTree.empty()),
        }
        for count, longer in self._longer.items():
            tasks["plain", count] = partial(self._ask, longer)
        for key, tree in self._trees.items():
            tasks["tail", key] = partial(self._ask, self._prompt, tree)
            tasks["verify", key] = partial(self._extend, tree)
        order = list(tasks)
        rng.shuffle(order)
        took = {task: tasks[task]() for task in order}
        plain, tail, verify = (
            {key: took[kind, key] for kind, key in took if kind == wanted}
            for wanted in ("plain", "tail", "verify")
        )
        return Round(took["ask", None], took["step", None], plain, tail, verify)

    # Sessions wait for their device themselves.
    def _ask(self, prompt: Prompt, *tail: DraftTree) -> float:
        child = self._opened.fork()
        began_ms = now_ms()
        child.ask(prompt, *tail)
        return now_ms() - began_ms

    def _extend(self, tree: DraftTree) -> float:
        began_ms = now_ms()
        self._asked.extend(self._token, tree)
        ms = now_ms() - began_ms
        self._asked.rollback(1)
        return ms


def _tree(shape: str, drafts: Sequence[int]) -> DraftTree:
    if shape == "chain":
        return DraftTree.chain(drafts)
    return DraftTree.from_parents(drafts, best_first_shape(ALPHA, len(drafts))[0])


def places(
    target: Target, scenes: Iterable[Any], questions: Sequence[str], tails: Sequence[int]
) -> list[Place]:
    """Every question about every scene.

    Raises:
        InputError: a scene that cannot be read, or a tail that is longer than the model can read.
    """
    words = np.flatnonzero(target.may_draft(np.arange(target.decoder.vocabulary))).tolist()
    words = [token for token in words if token not in target.eos_ids]
    if max(tails) > len(words):
        raise InputError(
            f"{max(tails)} drafts", where="--tails", expected=f"at most {len(words)}, the ids known"
        )
    found = []
    for scene in scenes:
        held = in_memory("target", target, scene)
        prompts = [target.prompt(held, question) for question in questions]
        opened = target.open(prompts[0])
        found += [Place(opened, prompt, words, tails) for prompt in prompts]
    return found


def in_turn(asked: Sequence[Place], rounds: int) -> list[Round]:
    """Rounds that go from place to place, after one at each that does not count."""
    rng = random.Random(0)
    for place in asked:
        place.round(rng)
    return [asked[number % len(asked)].round(rng) for number in range(rounds)]


def summary(found: Sequence[Round], shape: str, tail: int) -> dict[str, Any]:
    """What a tail of this shape and width costs and saves; medians and quartiles over rounds.

    Returns:
        `ms`: cost of the tail and of as many plain ids, and the pass that is saved; `over_plain`:
        T(question, tail) / T(question + n); `saved`: 1 - cost of the tail / T(1 + n).
    """
    key = (shape, tail)
    return {
        "shape": shape,
        "drafts": tail,
        "ms": {
            "tail": median(one.tail_ms[key] - one.ask_ms for one in found),
            "plain": median(one.plain_ms[tail] - one.ask_ms for one in found),
            "verify": median(one.verify_ms[key] for one in found),
        },
        "over_plain": spread([one.tail_ms[key] / one.plain_ms[tail] for one in found]),
        "saved": spread(
            [1 - (one.tail_ms[key] - one.ask_ms) / one.verify_ms[key] for one in found]
        ),
    }


def checks(rows: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """Which limits are reached, by name of the limit, shape and width."""
    reached = {}
    for row in rows:
        name = f"{row['shape']} of {row['drafts']}"
        for limit, most in AT_MOST.items():
            reached[f"{limit}, {name}"] = row[limit]["median"] <= most
        for limit, least in AT_LEAST.items():
            reached[f"{limit}, {name}"] = row[limit]["median"] >= least
    return reached


def measured(
    pair: ModelPair,
    scenes: Sequence[Any],
    questions: Sequence[str],
    rounds: int,
    tails: Sequence[int] = TAILS,
) -> dict[str, Any]:
    """The whole measurement.

    Raises:
        InputError: as `places`, or a target that cannot be loaded.
    """
    with PairModels(pair) as models:
        target = models.target
        found = in_turn(places(target, scenes, questions, tails), rounds)
        parameters = int(target.model.num_parameters())
    rows = [summary(found, shape, tail) for tail in tails for shape in SHAPES]
    files = all(isinstance(scene, Scene) for scene in scenes)
    return {
        "benchmark": "prefill_tail",
        "pair": pair.name,
        "parameters": parameters,
        "scenes": [scene.id for scene in scenes],
        "questions": list(questions),
        "rounds": rounds,
        "ask_ms": median(one.ask_ms for one in found),
        "step_ms": median(one.step_ms for one in found),
        "tails": rows,
        "limits": {"at_least": AT_LEAST, "at_most": AT_MOST},
        "checks": checks(rows),
        "warnings": warnings_about(*scenes) if files else [MADE],
        "threads": torch.get_num_threads(),
        "packages": package_versions(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


def lines(result: dict[str, Any]) -> list[str]:
    """What is printed."""
    shown = [
        f"question {result['ask_ms']:.2f} ms, step {result['step_ms']:.2f} ms, "
        f"{result['threads']} thread(s)"
    ]
    for row in result["tails"]:
        name, ms = f"{row['shape']} of {row['drafts']}", row["ms"]
        shown.append(
            f"{name}: tail {ms['tail']:.2f} ms, plain ids {ms['plain']:.2f} ms, "
            f"T(1 + n) {ms['verify']:.2f} ms"
        )
        for limit in (*AT_MOST, *AT_LEAST):
            one, ok = row[limit], result["checks"][f"{limit}, {name}"]
            wanted = f"<= {AT_MOST[limit]:g}" if limit in AT_MOST else f">= {AT_LEAST[limit]:g}"
            shown.append(
                f"  {limit} {one['median']:.3f} ({one['low']:.3f} .. {one['high']:.3f}), "
                f"wanted {wanted}: {'reached' if ok else 'NOT REACHED'}"
            )
    return [*shown, *(f"warning: {text}" for text in result["warnings"])]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pair", default="embedded", help="a shipped pair, or a pair's file")
    parser.add_argument("--scenes", type=Path, help="a dataset; without one, a made scene")
    parser.add_argument("--limit", type=int, default=4, help="scenes of the dataset")
    parser.add_argument("--questions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--tails", type=int, nargs="+", default=list(TAILS), help="drafts")
    parser.add_argument("--threads", type=int, help="of torch; by default as many as it takes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)

    def measure() -> dict[str, Any]:
        refuse_below_one(arguments, ("limit", "questions", "rounds", "tails", "threads"))
        if arguments.threads is not None:
            torch.set_num_threads(arguments.threads)
        return measured(
            ModelPair.find(arguments.pair),
            chosen_scenes(arguments.scenes, arguments.limit),
            [question.text for question in DEFAULT_QUESTIONS[: arguments.questions]],
            arguments.rounds,
            sorted(set(arguments.tails)),
        )

    return reported(measure, arguments.json, lines)


if __name__ == "__main__":
    raise SystemExit(main())
