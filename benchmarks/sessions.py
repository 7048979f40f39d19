"""What a session saves: one picture for ten questions, and a cache that copies nothing.

A random Video-LLaVA of about 15 million parameters with the real proportions of a prompt (8 frames
of 257 tokens, then a short question). All ways take turns in one process; the figure is the median
of the ratios of the rounds, and answers are compared token for token.

    python benchmarks/sessions.py --json sessions.json [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    DynamicCache,
    LlamaConfig,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
)

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session
from crossdraft.vlm.target import Target

FRAMES, QUESTIONS, NEW_TOKENS, VIDEO = 8, 10, 16, 2001
#: Steps are short: so many of them for one round of ten questions.
STEP_ROUNDS = 60
#: Ten questions must be at least so many times faster; a preallocated step at most so much slower
#: than a growing one, which is what two equal ones differ by on a busy machine.
LIMITS = {"ten_questions": 3.0, "preallocated_step": 1.02}


def small_video_llava() -> VideoLlavaForConditionalGeneration:
    """Six decoder layers of width 384, a three-layer tower at 224 pixels."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=3, num_attention_heads=3,
        image_size=224, patch_size=14, projection_dim=64,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=2064, hidden_size=384, intermediate_size=1024, num_hidden_layers=6,
        num_attention_heads=6, num_key_value_heads=6, max_position_embeddings=4096,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = VideoLlavaConfig(
        vision_config=vision, text_config=text, image_token_index=2000, video_token_index=VIDEO
    )
    model = VideoLlavaForConditionalGeneration(config)
    model.train(False)
    with torch.no_grad():
        for weight in model.model.language_model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.1)
    # The answers shall have their full length.
    model.generation_config.eos_token_id = None
    return model


def prompts(seed: int) -> list[Prompt]:
    """Ten questions of 15 tokens about one random video."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(1, FRAMES, 3, 224, 224, generator=generator)
    start = [1, *torch.randint(3, 1999, (5,), generator=generator).tolist()]
    head = [*start, *([VIDEO] * (FRAMES * 257))]
    asked = torch.randint(3, 1999, (QUESTIONS, 15), generator=generator).tolist()
    return [Prompt((*head, *q), len(head), lambda: {"pixel_values_videos": pixels}) for q in asked]


def decode(session: Session, prompt: Prompt, count: int) -> list[int]:
    """Plain greedy decoding through a session."""
    answer = [int(session.ask(prompt).logits[0].argmax())]
    while len(answer) < count:
        answer.append(int(session.extend(answer[-1]).logits[0].argmax()))
    return answer


def in_turn(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """[rounds] ms of every way after one round of warm-up; the order turns from round to round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began_ms = now_ms()
            ways[name]()
            times[name].append(now_ms() - began_ms)
    return {name: values[1:] for name, values in times.items()}


def ratio(times: Mapping[str, list[float]], top: str, bottom: str) -> float:
    return statistics.median(a / b for a, b in zip(times[top], times[bottom], strict=True))


def questions(model: VideoLlavaForConditionalGeneration, rounds: int, count: int) -> dict[str, Any]:
    """Ten questions about one scene, four ways."""
    asked, target = prompts(0), Target(model)
    whole: Any = model
    answers: dict[str, list[list[int]]] = {}

    def fresh() -> None:
        answers["fresh"] = [decode(target.open(one), one, count) for one in asked]

    def generate() -> None:
        answers["generate"] = [
            whole.generate(
                input_ids=torch.tensor([one.ids]),
                **one.inputs(),
                max_new_tokens=count,
                do_sample=False,
            )[0, len(one.ids) :].tolist()
            for one in asked
        ]

    def forks() -> None:
        session = target.open(asked[0])
        answers["forks"] = [decode(session.fork(), one, count) for one in asked]

    def together() -> None:
        many = target.open(asked[0]).answer_many(asked, count)
        answers["answer_many"] = [list(one.tokens) for one in many]

    ways = {"fresh": fresh, "generate": generate, "forks": forks, "answer_many": together}
    times = in_turn(ways, rounds)
    same = {name: answers[name] == answers["generate"] for name in answers}
    return {
        "new_tokens": count,
        "median_ms": {name: statistics.median(values) for name, values in times.items()},
        "fresh_over": {name: ratio(times, "fresh", name) for name in ways if name != "fresh"},
        "same_tokens_as_generate": same,
    }


def _shorten(cache: Any, rows: int) -> None:
    """`Cache.crop` counts differently from release to release."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[:, :, :-rows], layer.values[:, :, :-rows]


def steps(model: VideoLlavaForConditionalGeneration, rounds: int) -> list[dict[str, Any]]:
    """One step behind the whole prompt: the two caches, and transformers' own."""
    prompt = prompts(0)[0]
    sessions = {
        kind: Target(model, cache=kind).open(prompt) for kind in ("growing", "preallocated")
    }
    for session in sessions.values():
        session.ask(prompt)
    cache = DynamicCache()
    with torch.no_grad():
        model(torch.tensor([prompt.ids]), **prompt.inputs(), past_key_values=cache)
    rows = []
    for width in (1, 8):
        tree = DraftTree.chain(list(range(3, 2 + width)))
        found: dict[str, Tensor] = {}

        def through(kind: str, tree: DraftTree = tree, found: dict[str, Tensor] = found) -> None:
            found[kind] = sessions[kind].extend(3, tree).logits
            sessions[kind].rollback(1)

        def transformers(width: int = width, found: dict[str, Tensor] = found) -> None:
            with torch.no_grad():
                ids = torch.tensor([[3, *range(3, 2 + width)]])
                found["transformers"] = model(ids, past_key_values=cache).logits[0]
            _shorten(cache, width)

        ways: dict[str, Callable[[], None]] = {
            "growing": lambda: through("growing"),
            "preallocated": lambda: through("preallocated"),
            "transformers": transformers,
        }
        times = in_turn(ways, rounds)
        rows.append(
            {
                "tokens": width,
                "median_ms": {name: statistics.median(values) for name, values in times.items()},
                "preallocated_over_growing": ratio(times, "preallocated", "growing"),
                "transformers_over_growing": ratio(times, "transformers", "growing"),
                "equal": bool(torch.equal(found["growing"], found["preallocated"])),
                "largest_difference_to_transformers": float(
                    (found["growing"] - found["transformers"]).abs().max()
                ),
            }
        )
    return rows


def checks(result: dict[str, Any]) -> dict[str, bool]:
    """What the figures must show."""
    asked = result["questions"]
    return {
        "ten questions": asked["fresh_over"]["forks"] >= LIMITS["ten_questions"],
        "same tokens": all(asked["same_tokens_as_generate"].values()),
        "preallocated step": all(
            row["preallocated_over_growing"] <= LIMITS["preallocated_step"]
            for row in result["steps"]
        ),
        "same logits": all(row["equal"] for row in result["steps"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = small_video_llava()
    result: dict[str, Any] = {
        "model": f"random Video-LLaVA, {model.num_parameters():,} parameters, float32",
        "prompt_tokens": len(prompts(0)[0].ids),
        "questions": questions(model, arguments.rounds, NEW_TOKENS),
        "steps": steps(model, STEP_ROUNDS * arguments.rounds),
        "limits": LIMITS,
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }
    result["checks"] = checks(result)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    asked = result["questions"]
    over = ", ".join(f"{name} {value:.2f}x" for name, value in asked["fresh_over"].items())
    print(f"ten questions, {NEW_TOKENS} new tokens each, against ten fresh runs: {over}")
    for row in result["steps"]:
        print(
            f"{row['tokens']} tokens: preallocated / growing {row['preallocated_over_growing']:.3f}"
            f", transformers' cache / growing {row['transformers_over_growing']:.3f}"
        )
    for name, right in result["checks"].items():
        print(f"{'PASS' if right else 'FAIL'}  {name}")
    return 0 if all(result["checks"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
