"""How fast `crossdraft extract` is against one `generate` per question, as the older study did it.

That procedure, written down again: for every question about every clip and for both models one call
of transformers' `generate` at batch 1 with `output_hidden_states=True`, which looks at the picture
anew; at every step the last state goes to the CPU as float32; states are cut to the shorter answer,
padded and saved with `torch.save`. In its favour, pixels are made once for all questions of a clip.
Ours is the command itself: own and forced states, ids, texts, checksums. Both take turns; a rate
counts from the moment when the models are loaded to the last written byte.

    python benchmarks/extraction.py --scenes DATASET --json extraction.json
    python benchmarks/extraction.py --size 7b --json extraction_7b.json

The second form runs models of random weights of the published shapes, in one process and without
files of ours, on a GPU where there is one; answers of random weights end with their length.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from gpu_7b_models import SIZES, drafter_of, event_prompt, target_of, video_prompt
from measuring import refuse_below_one
from torch import Tensor

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.files import output_path, write_json
from crossdraft.base.result import machine, package_versions
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target

#: What an extraction must reach.
AT_LEAST = 8.0
#: The older study dropped pairs that are shorter than this.
_SHORTEST = 5


@dataclass(frozen=True)
class Clip:
    """One clip as both models are asked about it: prompts by question."""

    target: Sequence[Prompt]
    drafter: Sequence[Prompt]


def per_question(
    target: Target, drafter: Target, clips: Sequence[Clip], tokens: int, out: Path
) -> int:
    """The older study's procedure; returns how many pairs it made."""
    pairs = []
    for clip in clips:
        sides = ((drafter, clip.drafter), (target, clip.target))
        pixels = [dict(prompts[0].inputs()) for _, prompts in sides]
        for number in range(len(clip.target)):
            pairs.append(
                [
                    generated(model, prompts[number], inputs, tokens)
                    for (model, prompts), inputs in zip(sides, pixels, strict=True)
                ]
            )
    lengths = [min(len(states) for states in pair) for pair in pairs]
    kept = [(pair, n) for pair, n in zip(pairs, lengths, strict=True) if n >= _SHORTEST]
    longest = max((n for _, n in kept), default=0)
    chunk: dict[str, Any] = {"seq_lens": torch.tensor([n for _, n in kept])}
    for side, name in enumerate(("egpt_hidden", "vl_hidden")):
        rows = [_padded(pair[side][:n], longest) for pair, n in kept]
        chunk[name] = torch.stack(rows) if rows else torch.empty(0)
    torch.save(chunk, out)
    return len(pairs)


@torch.no_grad()
def generated(model: Target, prompt: Prompt, inputs: Mapping[str, Tensor], tokens: int) -> Tensor:
    """[tokens, hidden] float32 on the CPU: the last state of every step of one `generate`."""
    ids = torch.tensor([prompt.ids], device=model.device)
    found: Any = model.model.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        output_hidden_states=True,
        return_dict_in_generate=True,
        **inputs,
    )
    return torch.stack([step[-1][0, -1].float().cpu() for step in found.hidden_states])


def side_by_side(target: Target, drafter: Target, clips: Sequence[Clip], tokens: int) -> int:
    """What the command does with a clip, less its files; returns how many pairs it made."""
    for clip in clips:
        answers = target.open(clip.target[0]).answer_many(clip.target, tokens, states=True)
        session = drafter.open(clip.drafter[0])
        own = session.answer_many(clip.drafter, tokens, states=True)
        forced = session.read_many(clip.drafter, [answer.tokens for answer in answers])
        for states in [*(one.hidden for one in (*answers, *own)), *(one.hidden for one in forced)]:
            assert states is not None
            states.to(torch.bfloat16).cpu()
    return sum(len(clip.target) for clip in clips)


def _padded(states: Tensor, length: int) -> Tensor:
    padded = torch.zeros(length, states.shape[1])
    padded[: len(states)] = states
    return padded


def of_dataset(
    models: PairModels, folder: Path, clips: int, questions: Sequence[str]
) -> list[Clip]:
    """Clips of a dataset, evenly spaced, as both models are asked about them."""
    scenes = list(SceneDataset.open(folder))
    scenes = [scenes[i * len(scenes) // clips] for i in range(min(clips, len(scenes)))]
    return [
        Clip(
            [models.target.prompt(scene, question) for question in questions],
            [models.drafter.prompt(scene, question) for question in questions],
        )
        for scene in scenes
    ]


def with_files(
    folder: Path, name: str, theirs: int, ours: int, questions: int, tokens: int, rounds: int
) -> dict[str, Any]:
    """Both on a dataset, in turns: theirs in this process, ours as the command.

    Args:
        name: of the pair.
        theirs, ours: clips of a round.

    Raises:
        InputError: a model that cannot be loaded, or the command failed.
    """
    texts = [question.text for question in DEFAULT_QUESTIONS[:questions]]
    rates: list[tuple[float, float]] = []
    with PairModels(ModelPair.find(name)) as models, tempfile.TemporaryDirectory() as scratch:
        clips = of_dataset(models, folder, theirs, texts)
        target, drafter = models.target, models.drafter
        per_question(target, drafter, clips[:1], tokens, Path(scratch) / "warm.pt")
        for turn in range(rounds):
            began_ms = now_ms()
            made = per_question(target, drafter, clips, tokens, Path(scratch) / "chunk.pt")
            slow = made / (now_ms() - began_ms) * 1e3
            rates.append((slow, _command(folder, name, ours, questions, tokens, scratch, turn)))
    return _shown_rates(rates) | {"pair": name, "clips": {"per_question": theirs, "ours": ours}}


def _command(
    folder: Path, name: str, clips: int, questions: int, tokens: int, scratch: str, turn: int
) -> float:
    """Pairs per second of one run of `crossdraft extract`, loading left out."""
    call = [
        str(Path(sys.executable).with_name("crossdraft")), "extract", "--json",
        "--pair", name, "--scenes", str(folder), "--out", str(Path(scratch) / f"store-{turn}"),
        "--max-samples", str(clips), "--max-questions", str(questions),
        "--max-new-tokens", str(tokens),
    ]  # fmt: skip
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"crossdraft extract failed: {done.stderr.strip()[-500:]}")
    return float(json.loads(done.stdout)["pairs_per_s"])


def of_size(
    name: str, device: str, clips: int, questions: int, tokens: int, rounds: int
) -> dict[str, Any]:
    """Both with models of random weights, in turns in this process.

    Raises:
        InputError: no such size, or it does not fit.
    """
    if name not in SIZES:
        raise InputError(f"{name!r}", where="--size", expected=f"one of {', '.join(SIZES)}")
    place = torch.device(device)
    dtype = torch.float16 if place.type == "cuda" else torch.float32
    target = Target(target_of(SIZES[name], place, dtype))
    drafter = Target(drafter_of(SIZES[name], place, dtype))
    asked = [
        Clip(
            _asked(video_prompt(target.model), questions, number),
            _asked(event_prompt(drafter.model), questions, number),
        )
        for number in range(clips)
    ]
    rates: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "chunk.pt"
        for turn in range(rounds + 1):
            began_ms = now_ms()
            made = per_question(target, drafter, asked[:1], tokens, out)
            middle_ms = now_ms()
            fast = side_by_side(target, drafter, asked, tokens)
            if turn:  # the first is warm-up
                both = (made / (middle_ms - began_ms), fast / (now_ms() - middle_ms))
                rates.append((both[0] * 1e3, both[1] * 1e3))
    return _shown_rates(rates) | {
        "size": name, "device": str(place), "dtype": str(dtype),
        "clips": {"per_question": 1, "ours": clips},
    }  # fmt: skip


def _asked(prompt: Prompt, questions: int, seed: int) -> list[Prompt]:
    """The same picture under questions of other ids, as long as the prompt's own."""
    rng = random.Random(seed)
    behind = list(prompt.ids[prompt.cut :])
    picture = prompt.ids[: prompt.cut]
    return [
        Prompt((*picture, *rng.sample(behind, len(behind))), prompt.cut, prompt.inputs)
        for _ in range(questions)
    ]


def _shown_rates(rates: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "pairs_per_second": [{"per_question": slow, "ours": fast} for slow, fast in rates],
        "ratio": statistics.median(fast / slow for slow, fast in rates),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=Path, help="a dataset")
    parser.add_argument("--pair", default="embedded", help="a shipped pair, or a pair's file")
    parser.add_argument("--size", help="random weights of these shapes instead: 7b or tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clips", type=int, default=64, help="of one run of ours")
    parser.add_argument("--per-question-clips", type=int, default=3, help="of theirs")
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    try:
        counted = ("clips", "per_question_clips", "questions", "tokens", "rounds")
        refuse_below_one(arguments, counted)
        if (arguments.scenes is None) == (arguments.size is None):
            raise InputError("no work to do", expected="either --scenes or --size")
        out = None if arguments.json is None else output_path(arguments.json)
        counts = (arguments.questions, arguments.tokens, arguments.rounds)
        if arguments.size is not None:
            found = of_size(arguments.size, arguments.device, arguments.clips, *counts)
        else:
            theirs = arguments.per_question_clips
            found = with_files(arguments.scenes, arguments.pair, theirs, arguments.clips, *counts)
        result = {
            "benchmark": "extraction", "questions": arguments.questions,
            "max_new_tokens": arguments.tokens, **found, "at_least": AT_LEAST,
            "reached": found["ratio"] >= AT_LEAST, "threads": torch.get_num_threads(),
            "packages": package_versions(), "machine": machine(),
            "date": date.today().isoformat(),
        }  # fmt: skip
        if out is not None:
            write_json(out, result)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for rates in result["pairs_per_second"]:
        print(f"one generate per question {rates['per_question']:.2f} pairs/s, "
              f"extract {rates['ours']:.2f}")  # fmt: skip
    print(
        f"ratio {result['ratio']:.2f}, wanted >= {AT_LEAST:g}: "
        f"{'reached' if result['reached'] else 'NOT REACHED'}"
    )
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
