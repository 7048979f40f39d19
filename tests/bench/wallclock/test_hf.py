"""`generate` in the benchmark: the target's own tokens, when they came, and nothing left behind."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
import torch

from crossdraft.base.clock import now_ms, stage, told_by
from crossdraft.base.errors import InputError
from crossdraft.bench.wallclock import hf
from crossdraft.bench.wallclock.hf import HfAnswer, HfGenerate
from crossdraft.decoding.loop import Drafting, decode
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import NOTHING, Fixed
from crossdraft.drafters.base import Context
from crossdraft.drafters.none import NoDrafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.bench.staged import Ticking
from tests.vlm.models import MadeScene, Words, llama, scene_of, tiny

ASKED = [
    ("llama", "text"),
    ("mistral-sliding", "text"),
    ("gpt2", "text"),
    ("video-llava", "video"),
    ("llava-onevision", "both"),
    ("qwen2.5-vl", "video"),
]
QUESTION = "what is what is here"
MOST = 20


def own(target: Target, scene: MadeScene) -> tuple[int, ...]:
    """The answer of our loop without drafts."""
    drafting = Drafting(NoDrafter(), Fixed(NOTHING), target.may_draft)
    stopping, context = StopAt(target.eos_ids, MOST), Context(QUESTION, AnswerStream())
    prompt = target.prompt(scene, QUESTION)
    return decode(target.open(scene), prompt, context, drafting, stopping).tokens


def asked(name: str, kind: str) -> tuple[Target, MadeScene]:
    model = tiny(name)
    scene = scene_of(model, random.Random(2), kind, before=25 if kind == "text" else None)
    return Target(model, Words()), scene


def whole(answer: HfAnswer) -> None:
    """The moments and stages belong to the tokens."""
    assert len(answer.arrival_ms) == len(answer.tokens)
    assert list(answer.arrival_ms) == sorted(answer.arrival_ms)
    assert answer.total_ms == answer.arrival_ms[-1] > 0
    assert sum(answer.stages_ms.values()) == pytest.approx(answer.total_ms)
    assert min(answer.stages_ms.values()) >= -1e-9


@pytest.mark.parametrize("lookup", [False, True])
@pytest.mark.parametrize(("name", "kind"), ASKED)
def test_tokens_are_those_of_the_loop(name: str, kind: str, lookup: bool) -> None:
    target, scene = asked(name, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = HfGenerate(prompt_lookup=lookup).ask(target, scene, QUESTION, MOST)
    assert answer.tokens == own(target, scene)
    whole(answer)


@pytest.mark.parametrize("lookup", [False, True])
def test_ends_and_settings_are_the_targets(lookup: bool) -> None:
    model = llama()
    scene = scene_of(model, random.Random(2), "text", before=25)
    answer = own(Target(model, Words()), scene)
    settings = model.generation_config
    settings.eos_token_id = [answer[7], 2]
    target = Target(model, Words())
    settings.repetition_penalty, settings.do_sample, settings.temperature = 5.0, True, 9.0
    found = HfGenerate(prompt_lookup=lookup).ask(target, scene, QUESTION, MOST)
    assert found.tokens == answer[: answer.index(answer[7]) + 1]
    assert model.generation_config is settings


def test_settings_come_back_behind_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    scene, settings = scene_of(model, random.Random(2), "text"), model.generation_config

    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("no cache to cut back")

    monkeypatch.setattr(model, "_get_candidate_generator", fails)
    target = Target(model, Words())
    with pytest.raises(InputError, match=r"prompt lookup.*LlamaForCausalLM.*no cache to cut back"):
        HfGenerate(prompt_lookup=True).ask(target, scene, QUESTION, MOST)
    assert model.generation_config is settings
    assert len(HfGenerate().ask(target, scene, QUESTION, MOST).tokens) == MOST


def test_lookup_survives_slots_behind_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt ends with the word that the picture stands behind."""
    model = tiny("video-llava")
    made = scene_of(model, random.Random(2), "video", before=0)
    end = Words.ids(QUESTION)[-1]
    scene, target = MadeScene(model, (end, *made.ids), made.pictures), Target(model, Words())
    lookup = HfGenerate(prompt_lookup=True)
    assert lookup.ask(target, scene, QUESTION, MOST).tokens == own(target, scene)
    # Should transformers mend this one day, the processor can go.
    monkeypatch.setattr(hf._NoSlots, "__call__", lambda _, __, scores: scores)
    with pytest.raises(InputError, match="prompt lookup does not run with VideoLlava"):
        lookup.ask(target, scene, QUESTION, MOST)


def test_lookup_drafts_so_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    target, scene = asked("llama", "text")
    alone = HfGenerate().ask(target, scene, QUESTION, MOST)
    several = HfGenerate(prompt_lookup=True, lookup_tokens=4).ask(target, scene, QUESTION, MOST)
    assert len(set(alone.arrival_ms)) == MOST
    assert alone.tokens == several.tokens
    widths: list[int] = []
    forward = target.model.forward

    def watched(*args: Any, **inputs: Any) -> Any:
        widths.append(inputs["input_ids"].shape[1])
        return forward(*args, **inputs)

    monkeypatch.setattr(target.model, "forward", watched)
    HfGenerate(prompt_lookup=True, lookup_tokens=2).ask(target, scene, QUESTION, MOST)
    assert max(widths[1:]) == 3


def test_what_the_prompt_reads_counts() -> None:
    """From the moment before the first file on; a picture's stages stand by their names."""
    target, scene = asked("video-llava", "video")
    prompt = scene.prompt(Words.ids(QUESTION))

    def read() -> Any:
        with stage("sensor"):
            for _ in range(1000):
                now_ms()
        with stage("pixels"):
            return prompt.inputs()

    target.prompts = lambda *_: Prompt(prompt.ids, prompt.cut, read)
    with told_by(Ticking()):
        answer = HfGenerate().ask(target, scene, QUESTION, MOST)
    assert answer.stages_ms["sensor"] == 1001
    assert answer.stages_ms["pixels"] == 1
    assert answer.arrival_ms[0] > 1000
    assert answer.stages_ms["decode"] == MOST - 1
    assert set(answer.stages_ms) == {"sensor", "pixels", "prefill", "decode", "other"}


def test_no_tokens_are_refused() -> None:
    target, scene = asked("llama", "text")
    with pytest.raises(InputError, match="prompt lookup of 0 tokens"):
        HfGenerate(prompt_lookup=True, lookup_tokens=0)
    with pytest.raises(InputError, match="answers of 0 tokens"):
        HfGenerate().ask(target, scene, QUESTION, 0)


def test_pixels_come_in_the_models_number_format() -> None:
    model = tiny("video-llava")
    scene = scene_of(model, random.Random(2), "video")
    target = Target(model, Words())
    narrow = {name: value.to(torch.float32).double() for name, value in scene.pictures.items()}
    singles = {name: value.to(torch.float32) for name, value in scene.pictures.items()}
    said = [
        HfGenerate().ask(target, MadeScene(model, scene.ids, made), QUESTION, MOST).tokens
        for made in (narrow, singles)
    ]
    assert said[0] == said[1]
