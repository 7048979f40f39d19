"""What a draft of `crossmodal` costs beside a step of the target: median ratios, in alternation.

Over one answer of the target, token by token: drafts behind the prefix, the rows of what was
accepted included, then a plain step, as in the decoding loop. A chain's time over its length is the
price of a drafted token, a tree's over its depth that of a level.

    python benchmarks/crossmodal_cost.py --scene world/test-0000/0 [--drafter RUN] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import refuse_below_one, reported, spread

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.decoding.models import prompt_of
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.find import find_drafter
from crossdraft.scenes.find_scene import find_scene
from crossdraft.vlm.live_head import head_of
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels

#: Price of a drafted token that the drafter has to keep to, in steps of the target.
LIMIT = 0.12


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    refuse_below_one(arguments, ("gamma", "nodes", "rounds", "threads"))
    torch.set_num_threads(arguments.threads)
    pair, gamma = ModelPair.find(arguments.pair), arguments.gamma
    drafter = find_drafter(arguments.drafter, pair.drafting)
    scene: Any = MadeScene() if arguments.scene is None else find_scene(arguments.scene)
    budgets = {"chain": Budget.chain(gamma), "tree": Budget.tree(arguments.nodes, gamma)}
    steps_ms: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in budgets}
    with PairModels(pair) as models, torch.inference_mode():
        target, asked = models.target, arguments.question
        own = models.drafter.open(scene).answer_many([asked], 60, states=True)[0]
        said = target.open(scene).answer_many([asked], 60)[0].tokens
        prompt = prompt_of(target, scene, asked)
        picture, head = target.open(prompt), head_of(target)
        for _ in range(arguments.rounds):
            for name, budget in budgets.items():
                stream = RecordedStream(own.tokens, own.hidden)
                drafter.begin(Context(asked, stream, head=head, question_ids=prompt.question))
                session = picture.fork()
                step = session.ask(prompt, DraftTree.empty())
                for place, token in enumerate(said[:-1], start=1):
                    drafter.observe(Verification((), token), step.kept(()))
                    began_ms = now_ms()
                    drafter.propose(said[:place], budget)
                    drafted_ms = now_ms()
                    step = session.extend(token, DraftTree.empty())
                    steps_ms.append(now_ms() - drafted_ms)
                    ratios[name].append((drafted_ms - began_ms) / gamma / steps_ms[-1])
    found = {name: spread(values) for name, values in ratios.items()}
    return {
        "drafter": drafter.name,
        "step_ms": spread(steps_ms),
        "per_token": found["chain"],
        "per_level": found["tree"],
        "gamma": gamma,
        "nodes": arguments.nodes,
        "threads": arguments.threads,
        "machine": machine(),
        "checks": {f"a drafted token costs at most {LIMIT}": found["chain"]["median"] <= LIMIT},
    }


def lines(result: dict[str, Any]) -> list[str]:
    """What is printed."""
    made = [f"a step of the target takes {result['step_ms']['median']:.2f} ms"]
    for name, words in (("per_token", "a drafted token"), ("per_level", "a level of a tree")):
        one = result[name]
        made.append(f"{words}: {one['median']:.3f} [{one['low']:.3f}, {one['high']:.3f}] of a step")
    return made + [f"{name}: {passed}" for name, passed in result["checks"].items()]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pair", default="embedded", help="a pair's name or file")
    parser.add_argument("--drafter", default="crossmodal", help="a name, or a checkpoint")
    parser.add_argument("--scene", help="a clip; left out, one that is made up")
    parser.add_argument("--question", default="Describe the following scene.")
    parser.add_argument("--gamma", type=int, default=5, help="length of chains, depth of trees")
    parser.add_argument("--nodes", type=int, default=16, help="of trees")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    return reported(lambda: measure(arguments), arguments.json, lines)


if __name__ == "__main__":
    sys.exit(main())
