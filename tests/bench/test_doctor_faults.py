"""Faults that hide behind right answers: each turns its line red, and sound oddities turn none."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from torch import Tensor

import crossdraft.vlm.eventgpt.processing as processing
import crossdraft.vlm.pair_models as pair_models
from crossdraft.base.errors import InputError
from crossdraft.bench.checks.case import Case
from crossdraft.bench.checks.frames import _counts
from crossdraft.bench.checks.written import written_prompt
from crossdraft.bench.doctor import diagnose
from crossdraft.bench.made_scene import MadeScene
from crossdraft.scenes.render import RenderSettings
from crossdraft.scenes.windows import Window, frame_ranges
from crossdraft.vlm.batch import answer_greedily
from crossdraft.vlm.cache import GrowingCache, PreallocatedCache
from crossdraft.vlm.causal import CausalSession
from crossdraft.vlm.drafting import Follower
from crossdraft.vlm.eventgpt.modeling import EventGPTModel
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.picture import Picture, read_picture
from crossdraft.vlm.precision import lacking
from crossdraft.vlm.session import Answer, Step
from crossdraft.vlm.target import Target
from crossdraft.vlm.video_llava import VideoLlavaPrompts
from tests.bench.tiny_pair import QUESTION, Mixed, checked, red, write_pair
from tests.vlm.checkpoint_folder import llama_config, write_checkpoint


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ModelPair:
    return ModelPair.find(str(write_pair(tmp_path_factory.mktemp("pair"))))


@pytest.fixture(scope="module")
def models(pair: ModelPair) -> PairModels:
    return PairModels(pair)


# --- the prompt ---


@pytest.mark.parametrize(
    ("head", "middle"),
    [(None, "<ev_end>"), ("USER: <ev_start>", None)],
    ids=["no line break", "no system sentence"],
)
def test_a_builder_that_loses_text(
    models: PairModels, monkeypatch: pytest.MonkeyPatch, head: str | None, middle: str | None
) -> None:
    sound = processing.TEMPLATES
    text = (head or sound["official"][0], middle or sound["official"][1])
    monkeypatch.setattr(processing, "TEMPLATES", MappingProxyType({**sound, "official": text}))
    found = checked(models, "prompts", "answers")
    assert {key for key, check in found.items() if check.ok is False} == {("drafter", "prompts")}
    assert "in 1 of 6 places" in found["drafter", "prompts"].line


def test_a_video_prompt_without_its_line_break(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = VideoLlavaPrompts._tokenised
    monkeypatch.setattr(
        VideoLlavaPrompts, "_tokenised", lambda self, words, slots: sound(self, f" {words}", slots)
    )
    assert red(models, "prompts") == {("target", "prompts")}


@pytest.mark.parametrize("template", ["official", "training"])
def test_the_written_prompt_is_the_builders(pair: ModelPair, template: str) -> None:
    asked = pair.with_value(f"drafter.template={template}").with_value("drafter.keep=first")
    with PairModels(asked, ["drafter"]) as models:
        case = Case("drafter", models.drafter, MadeScene(), f" {QUESTION} ", 16, asked)
        assert written_prompt(case).hash == case.prompt.hash


# --- what is shown ---


@pytest.mark.parametrize(
    "value", ["window=all", "window=spread:20ms", "canvas=tight", "overlap=positive", "keep=first"]
)
def test_events_drawn_otherwise_than_the_pair_says(pair: ModelPair, value: str) -> None:
    with PairModels(pair.with_value(f"drafter.{value}")) as other:
        mixed = Mixed(pair, other.target, other.drafter)
        assert ("drafter", "frames") in red(mixed, "frames")


@pytest.mark.parametrize("window", ["last:50ms", "spread:20ms", "spread:900ms", "all"])
@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize("keep", ["all", "first"])
@pytest.mark.parametrize("after_us", [0, 1000], ids=["whole", "ends at an event"])
def test_events_counted_apart(window: str, parts: int, keep: str, after_us: int) -> None:
    """The doctor's own rule counts what the drawing takes."""
    stream = MadeScene().events()
    span_us = 0, MadeScene.window_us[1] - after_us
    render = RenderSettings(parts=parts, window=window, keep=keep)
    ranges = frame_ranges(stream, parts, window=Window.parse(window), span_us=span_us)
    expected = (ranges[:, 1] - ranges[:, 0]).tolist()
    assert _counts(stream, span_us, render) == (expected[:1] if keep == "first" else expected)


@pytest.mark.parametrize("value", ["keep=first", "window=spread:20ms", "frames=3"])
def test_a_pair_that_shows_something_else_is_sound(pair: ModelPair, value: str) -> None:
    with PairModels(pair.with_value(f"drafter.{value}")) as models:
        assert not red(models, "frames", "scenes", "prompts", "adaptor")


def test_another_number_format_than_the_pair_says(pair: ModelPair) -> None:
    with PairModels(pair.with_value("target.dtype=bfloat16")) as other:
        mixed = Mixed(pair, other.target, other.drafter)
        found = checked(mixed, "vocabulary")["target", "model"]
        assert found.ok is False and "the pair says float32" in found.line
        assert not red(other, "vocabulary")


def test_events_of_the_scene_before(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, kept = EventGPTModel.event_features, dict[int, Tensor]()

    def keeping(self: EventGPTModel, pixel_values: Tensor) -> Tensor:
        return kept.setdefault(id(self), sound(self, pixel_values))

    monkeypatch.setattr(EventGPTModel, "event_features", keeping)
    assert red(models, "frames", "scenes", "answers") == {("drafter", "scenes")}


def test_pictures_kept_by_the_hash_of_the_prompt(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Picture] = {}

    def keeping(decoder: Any, prompt: Any, *rest: Any) -> Picture:
        return kept.setdefault(prompt.hash, read_picture(decoder, prompt, *rest))

    monkeypatch.setattr("crossdraft.vlm.target.read_picture", keeping)
    assert red(models, "frames", "scenes") == {("target", "scenes"), ("drafter", "scenes")}


def test_rows_that_are_wrong_for_the_second_scene(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = CausalSession._pass

    def other(self: CausalSession, *arguments: Any) -> Step:
        step = sound(self, *arguments)
        second = not isinstance(self._scene, MadeScene)
        return dataclasses.replace(step, logits=step.logits + int(second))

    monkeypatch.setattr(CausalSession, "_pass", other)
    found = checked(models, "scenes", "answers")
    assert found["target", "scenes"].numbers["own_rows"] is True
    assert found["target", "scenes"].ok is found["drafter", "scenes"].ok is False


def test_a_scene_that_is_its_own_mirror_image(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossdraft.bench.checks.scenes._mirrored", lambda case: case.scene)
    found = checked(models, "scenes")["target", "scenes"]
    assert found.verdict == "not checked" and "mirror image" in found.line


# --- questions and forks side by side ---


def backwards(answer: Answer) -> Answer:
    return dataclasses.replace(answer, tokens=answer.tokens[::-1])


def states_late(answer: Answer) -> Answer:
    hidden = None if answer.hidden is None else answer.hidden.roll(1, 0)
    return dataclasses.replace(answer, hidden=hidden)


@pytest.mark.parametrize(("wrong", "name"), [(backwards, "answers"), (states_late, "states")])
def test_all_questions_but_the_first(
    models: PairModels,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[Answer], Answer],
    name: str,
) -> None:
    def other(*arguments: Any) -> list[Answer]:
        first, *rest = answer_greedily(*arguments)
        return [first, *map(wrong, rest)]

    monkeypatch.setattr("crossdraft.vlm.causal.answer_greedily", other)
    assert red(models, name) == {("target", name), ("drafter", name)}


def test_forks_that_write_into_one_buffer(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the picture, the rows of the fork that wrote last."""
    sound, buffers = GrowingCache.fork, dict[int, GrowingCache]()

    def shared(self: GrowingCache) -> GrowingCache:
        fork = sound(self)
        if not self.length:
            return fork
        if id(self) not in buffers:
            buffers[id(self)] = wide = sound(self)
            for row, made in zip(self.rows, wide.rows, strict=True):
                parts = []
                for part in row.buffers():
                    large = part.new_zeros(1, part.shape[1], 2000, part.shape[3])
                    large[:, :, : self.length] = part[:, :, : self.length]
                    parts.append(large)
                made.use(*parts)
        for made, row in zip(buffers[id(self)].rows, fork.rows, strict=True):
            row.use(*made.buffers(), shared=False)
        return fork

    monkeypatch.setattr(GrowingCache, "fork", shared)
    found = checked(models, "rollback")["target", "rollback"]
    assert found.ok is False
    differences = found.numbers["differences"]
    assert differences["another fork"] > 1 > 1e-3 > differences["a kept path"]


def test_a_preallocated_cache_that_keeps_rows(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreallocatedCache, "truncate", lambda self, length: None)
    assert red(models, "rollback") == {("target", "rollback"), ("drafter", "rollback")}


def test_a_trace_that_shows_in_the_third_row(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, since = CausalSession._pass, dict[int, int]()
    kept = CausalSession.keep

    def keep(self: CausalSession, path: Any) -> None:
        kept(self, path)
        since[id(self)] = 0

    def late(self: CausalSession, *arguments: Any) -> Step:
        step = sound(self, *arguments)
        if id(self) not in since:
            return step
        since[id(self)] += 1
        logits = step.logits + (since[id(self)] == 3)
        return dataclasses.replace(step, logits=logits)

    monkeypatch.setattr(CausalSession, "keep", keep)
    monkeypatch.setattr(CausalSession, "_pass", late)
    assert red(models, "rollback") == {("target", "rollback"), ("drafter", "rollback")}


def test_states_that_emit_their_tokens_and_are_others(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = CausalSession._pass

    def louder(self: CausalSession, *arguments: Any) -> Step:
        step = sound(self, *arguments)
        return dataclasses.replace(step, hidden=1.01 * step.hidden)

    monkeypatch.setattr(CausalSession, "_pass", louder)
    found = checked(models, "states")["target", "states"]
    assert found.ok is False and not found.numbers["wrong"]


def test_following_speaks_of_another_token(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Follower, "logits", property(lambda self: self._steps[-1].logits[0]))
    found = checked(models, "states")["drafter", "states"]
    assert found.ok is False and "the logits of the next token are" in found.line


# --- the pair ---


def test_models_of_each_others_sensor(pair: ModelPair) -> None:
    swapped = dataclasses.replace(pair, target=pair.drafter, drafter=pair.target)
    with pytest.raises(InputError, match=r"target\.model: a model that reads events") as raised:
        checked(PairModels(swapped), "vocabulary")
    assert "drafter.model: a model that reads video" in str(raised.value)
    twice = dataclasses.replace(pair, drafter=pair.target)
    with pytest.raises(InputError, match=r"drafter\.model: a model that reads video"):
        checked(PairModels(twice), "vocabulary")


def test_a_drafter_of_text_is_no_fault(pair: ModelPair, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "text", config=llama_config(vocab_size=200))
    found = checked(PairModels(pair.with_value(f"drafter.model={folder}")), "prompts")
    assert found["target", "prompts"].ok is True
    assert found["drafter", "prompts"].verdict == "not checked"


@pytest.mark.parametrize("more", [3, -382])
def test_other_ids_drafted_than_were_trained(
    models: PairModels, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr(models.target, "draftable", models.target.draftable + more)
    assert ("pair", "vocabulary") in red(models, "vocabulary")


def test_a_model_that_was_refused_leaves_memory(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that was raised beside a loaded model must not hold it while the next is loaded."""
    refused: list[weakref.ref[Any]] = []
    sound = pair_models._loaded

    def loaded(spec: Any, role: Any) -> Target:
        assert role == "target" or refused[0]() is None
        target = sound(spec, role)
        if role == "target":
            refused.append(weakref.ref(target.model))
            raise InputError("a model that sessions cannot drive")
        return target

    monkeypatch.setattr(pair_models, "_loaded", loaded)
    with (
        PairModels(pair.with_value("load=in_turn")) as models,
        pytest.raises(InputError, match="cannot drive"),
    ):
        checked(models, "prompts")


# --- sound, and odd ---


def test_a_question_that_just_fits(models: PairModels) -> None:
    prompts: Any = models.drafter.prompts
    spare = prompts._longest - len(models.drafter.prompt(MadeScene(), "x").ids)
    question = "x" * (1 + spare)
    assert len(models.drafter.prompt(MadeScene(), question).ids) == prompts._longest
    found = diagnose(models, None, question, only=["prompts", "answers"], max_new_tokens=16)
    assert not [check for check in found if check.ok is False]


@pytest.mark.parametrize("draftable", [8, 40])
def test_an_answer_that_may_not_be_drafted(
    models: PairModels, monkeypatch: pytest.MonkeyPatch, draftable: int
) -> None:
    monkeypatch.setattr(models.target, "draftable", draftable)
    found = checked(models, "answers", "states", "rollback", "noise")
    assert found["target", "answers"].ok is True
    for name in ("states", "rollback", "noise"):
        assert found["target", name].verdict == "not checked"
        assert "may not be drafted" in found["target", name].line


@pytest.mark.skipif(lacking() is not None, reason="bitsandbytes or accelerate is missing")
@pytest.mark.parametrize("dtype", ["nf4", "int8"])
def test_quantised_models_are_sound(pair: ModelPair, dtype: str) -> None:
    packed = pair.with_value(f"target.dtype={dtype}").with_value(f"drafter.dtype={dtype}")
    with PairModels(packed) as models:
        found = checked(models, "answers", "states", "rollback", "noise")
    assert not [key for key, check in found.items() if check.ok is False]
    assert found["target", "model"].numbers["precision"] == dtype
