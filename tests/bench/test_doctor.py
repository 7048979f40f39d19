"""The doctor is content with sound models, and red on the right line when one is sabotaged."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import crossdraft.vlm.pair_models as pair_models
from crossdraft.base.errors import InputError
from crossdraft.bench.checks import answers
from crossdraft.bench.doctor import diagnose, summary
from crossdraft.bench.made_scene import MadeScene
from crossdraft.vlm.attention import Block
from crossdraft.vlm.batch import answer_greedily
from crossdraft.vlm.cache import SessionCache
from crossdraft.vlm.causal import CausalSession
from crossdraft.vlm.eventgpt.event_frames import draw
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration, EventGPTModel, pool
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer, Step
from crossdraft.vlm.target import Target
from crossdraft.vlm.video_llava import VideoLlavaPrompts
from tests.bench.tiny_pair import QUESTION, Mixed, checked, red, write_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ModelPair:
    return ModelPair.find(str(write_pair(tmp_path_factory.mktemp("pair"))))


@pytest.fixture(scope="module")
def models(pair: ModelPair) -> PairModels:
    return PairModels(pair)


@pytest.fixture(autouse=True)
def _own_cost_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "cache"))


def test_a_sound_pair_passes(models: PairModels) -> None:
    found = checked(models)
    proofs = ("frames", "scenes", "prompts", "answers", "states", "rollback")
    for role in ("target", "drafter"):
        for name in proofs:
            assert found[role, name].ok is True, found[role, name]
        assert found[role, "noise"].verdict == "measured"
        assert found[role, "noise"].numbers["flips"] == 0
    assert found["target", "cost"].verdict == "measured"
    assert found["target", "adaptor"].verdict == "not checked"
    assert found["drafter", "adaptor"].ok is True
    assert found["pair", "frames"].ok is True
    assert found["pair", "vocabulary"].ok is True
    assert found["pair", "scene"].numbers == {"made_up": True}
    assert summary(list(found.values())) == "15 proofs passed, 0 failed, 2 not checked"


def test_numbers_of_a_sound_pair(models: PairModels) -> None:
    found = checked(models, "frames", "prompts", "adaptor", "answers", "states")
    assert found["target", "frames"].numbers["indices"] == list(range(0, 16, 2))
    assert found["drafter", "frames"].numbers["events"] == [4800] * 5
    prompts = found["drafter", "prompts"].numbers
    assert prompts["ids"] == len(models.drafter.prompt(MadeScene(), QUESTION).ids)
    assert len(prompts["hashes"]) == 6 and len(set(prompts["hashes"].values())) == 1
    distances = found["drafter", "adaptor"].numbers["distances"]
    assert distances["1"] < 1e-4 < 0.1 < min(distances["0"], distances["2"])
    answers = found["target", "answers"].numbers
    assert set(answers["equal"].values()) == {32} and answers["passes"] < 16
    assert "following" in found["drafter", "states"].numbers["differences"]


def test_models_are_left_as_they_were(models: PairModels) -> None:
    own = models.drafter.model.generation_config
    checked(models)
    assert models.drafter.model.generation_config is own
    for target in (models.target, models.drafter):
        model: Any = target.model
        for module in (model, model.base_model, model.get_decoder(), model.lm_head):
            assert not module._forward_pre_hooks
        assert not model._forward_hooks


# --- wrong shift ---


def test_states_shifted_in_a_step(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = CausalSession._pass

    def shifted(self: CausalSession, *arguments: Any) -> Step:
        step = sound(self, *arguments)
        return dataclasses.replace(step, hidden=step.hidden.roll(1, 0))

    monkeypatch.setattr(CausalSession, "_pass", shifted)
    assert red(models, "answers", "states") == {("target", "states"), ("drafter", "states")}


def test_states_shifted_in_answer_many(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = answer_greedily

    def shifted(*arguments: Any) -> list[Answer]:
        answers = sound(*arguments)
        return [
            one if one.hidden is None else dataclasses.replace(one, hidden=one.hidden.roll(-1, 0))
            for one in answers
        ]

    monkeypatch.setattr("crossdraft.vlm.causal.answer_greedily", shifted)
    found = checked(models, "answers", "states")
    assert found["target", "answers"].ok is True
    assert found["target", "states"].ok is False
    assert found["target", "states"].line.startswith("answer_many: ")
    assert list(found["target", "states"].numbers["wrong"]) == ["answer_many", "beside it"]


def test_following_forgets_a_state(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    from crossdraft.vlm.drafting import Follower

    monkeypatch.setattr(Follower, "_forget", lambda self, count: self._session.rollback(count))
    assert red(models, "states") == {("drafter", "states")}


# --- the adaptor ---


def never(self: EventGPTModel, pixel_values: Tensor) -> Tensor:
    return pool(self.projector(self.tower_states(pixel_values[0]))[None])


def twice(self: EventGPTModel, pixel_values: Tensor) -> Tensor:
    rows: Tensor = self.adaptor(self.adaptor(never(self, pixel_values)))
    return rows


@pytest.mark.parametrize("features", [twice, never])
def test_adaptor_twice_or_never(
    models: PairModels, monkeypatch: pytest.MonkeyPatch, features: Callable[..., Tensor]
) -> None:
    monkeypatch.setattr(EventGPTModel, "event_features", features)
    assert red(models, "adaptor", "answers", "states") == {("drafter", "adaptor")}


def test_an_adaptor_that_does_nothing(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = models.drafter.model.base_model
    monkeypatch.setattr(EventGPTModel, "event_features", never)
    monkeypatch.setitem(model._modules, "adaptor", nn.Identity())
    assert red(models, "adaptor") == {("drafter", "adaptor")}


# --- rollback ---


def test_truncate_keeps_rows(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionCache, "truncate", lambda self, length: None)
    failed = red(models, "answers", "states", "rollback")
    assert failed == {("target", "rollback"), ("drafter", "rollback"), ("drafter", "states")}


def test_keep_moves_other_rows(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = SessionCache.keep

    def wrong(self: SessionCache, start: int, rows: Any) -> None:
        sound(self, start, list(range(start, start + len(rows))))

    monkeypatch.setattr(SessionCache, "keep", wrong)
    failed = red(models, "answers", "rollback", "noise")
    assert {("target", "answers"), ("target", "rollback"), ("target", "noise")} <= failed


# --- the prompt ---


def test_session_asks_another_text(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_line_break(self: Target, scene: Any, question: str) -> Prompt:
        assert self.prompts is not None
        prompt = self.prompts(scene, question)
        line_break = prompt.ids[prompt.cut]
        return Prompt((*prompt.ids[:-2], line_break, *prompt.ids[-2:]), prompt.cut, prompt.inputs)

    monkeypatch.setattr(Target, "prompt", with_a_line_break)
    found = checked(models, "prompts")
    assert found["target", "prompts"].ok is False
    assert "session has" in found["target", "prompts"].line
    assert found["drafter", "prompts"].ok is False


def test_loaded_otherwise_than_the_pair_says(pair: ModelPair) -> None:
    with PairModels(pair.with_value("drafter.template=training")) as other:
        mixed = Mixed(pair, other.target, other.drafter)
        assert red(mixed, "prompts") == {("drafter", "prompts")}


def test_builder_answers_otherwise_later(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, seen = VideoLlavaPrompts._ids, []

    def forgetful(self: VideoLlavaPrompts, question: str) -> tuple[int, ...]:
        seen.append(question)
        ids = sound(self, question)
        return ids if len(seen) < 6 else (*ids, ids[-1])

    monkeypatch.setattr(VideoLlavaPrompts, "_ids", forgetful)
    assert red(models, "prompts") == {("target", "prompts")}


# --- frames ---


def first_frames(scene: Any, count: int = 8) -> Any:
    return scene.frames_at(np.arange(count))


def test_the_first_frames_instead_of_uniform_ones(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoLlavaPrompts, "frames_of", lambda self, scene: first_frames(scene))
    found = checked(models, "frames")
    assert found["target", "frames"].ok is False
    assert "uniform in time are 0, 2, 4, 6, 8, 10, 12, 14" in found["target", "frames"].line


def test_other_pixels_than_the_frames_it_names(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = VideoLlavaPrompts._inputs
    monkeypatch.setattr(
        VideoLlavaPrompts, "_inputs", lambda self, scene: sound(self, first_frames(scene).frames)
    )
    found = checked(models, "frames")["target", "frames"]
    assert found.ok is False and "differs from their pixels by" in found.line


def test_events_of_the_whole_clip(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        EventGPTPrompts, "frames_of",
        lambda self, scene: draw(scene, dataclasses.replace(self.render, window="all")),
    )  # fmt: skip
    found = checked(models, "frames")["drafter", "frames"]
    assert found.ok is False and "the window holds" in found.line


def test_event_frames_in_another_order(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = EventGPTPrompts._inputs
    monkeypatch.setattr(
        EventGPTPrompts, "_inputs",
        lambda self, scene: {"pixel_values": sound(self, scene)["pixel_values"].flip(1)},
    )  # fmt: skip
    assert red(models, "frames") == {("drafter", "frames")}


# --- positions and masks ---


def test_positions_off_by_one(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Target.forward

    def late(self: Target, tokens: Any, places: NDArray[np.int64], *rest: Any) -> Any:
        return sound(self, tokens, places + 1, *rest)

    monkeypatch.setattr(Target, "forward", late)
    failed = red(models, "states")
    assert failed == {("target", "states"), ("drafter", "states")}


def test_siblings_that_see_each_other(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Block.of

    def leaky(tokens: Any, tree: Any) -> Block:
        return dataclasses.replace(sound(tokens, tree), visible=None)

    monkeypatch.setattr(Block, "of", leaky)
    failed = red(models, "answers", "states", "noise")
    assert {("target", "states"), ("target", "noise"), ("drafter", "noise")} <= failed


def test_an_end_that_is_not_seen(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = models.target.open(MadeScene()).answer_many([QUESTION], 9)[0].tokens
    config = models.target.model.generation_config
    monkeypatch.setattr(config, "eos_token_id", answer[-1])
    found = checked(models, "answers")["target", "answers"]
    assert found.ok is False and "(ends after 32)" in found.line
    monkeypatch.setattr(models.target, "eos_ids", frozenset(answer[-1:]))
    found = checked(models, "answers")["target", "answers"]
    assert found.ok is True and found.numbers["tokens"] < 32


def test_an_answer_that_rounding_does_not_excuse(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first difference within the noise says nothing about the tokens behind it."""
    monkeypatch.setattr(answers, "judge", lambda *_: answers.Verdict(2, True, "(rounding)"))
    assert checked(models, "answers")["target", "answers"].ok is True
    monkeypatch.setattr(answers, "_plain", lambda case: [*case.tokens[:3], *case.wrong(3)])
    found = checked(models, "answers")["target", "answers"]
    assert found.ok is False and "below the largest logit" in found.line


def test_generate_and_forward_that_disagree(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No noise explains it, whatever the tokens are."""
    sound: Any = EventGPTForConditionalGeneration.forward

    @functools.wraps(sound)
    def louder(self: Any, input_ids: Tensor, **arguments: Any) -> Any:
        out = sound(self, input_ids, **arguments)
        return type(out)(**{**out, "logits": out.logits * (2 if input_ids.shape[1] == 1 else 1)})

    monkeypatch.setattr(EventGPTForConditionalGeneration, "forward", louder)
    found = checked(models, "answers")["drafter", "answers"]
    assert found.ok is False and "generate and one forward over everything lie" in found.line


# --- what cannot be checked ---


def test_a_proof_that_raises_has_failed(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of order\nmore of it")

    monkeypatch.setattr(CausalSession, "rollback", broken)
    found = checked(models, "rollback", "noise")
    assert found["target", "rollback"].line == "RuntimeError: out of order"
    assert found["target", "noise"].verdict == "measured"


def test_weights_that_are_no_numbers(models: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    head = models.drafter.decoder.head
    assert head is not None
    broken = nn.Parameter(head.get_parameter("weight").detach().clone())
    with torch.no_grad():
        broken[3] = torch.nan
    monkeypatch.setitem(head._parameters, "weight", broken)
    failed = red(models, "answers", "states", "rollback", "noise")
    assert failed == {("drafter", name) for name in ("answers", "states", "rollback", "noise")}


def test_one_model_that_is_not_there(pair: ModelPair) -> None:
    checks = diagnose(PairModels(pair.with_value("target.model=nowhere")), None, QUESTION)
    found = {}
    with pytest.raises(InputError, match=r"target\.model: nowhere"):
        for check in checks:
            found[check.model, check.name] = check
    assert found["target", "states"].verdict == "not checked"
    assert found["target", "states"].line.startswith("target.model: nowhere")
    assert found["drafter", "states"].ok is True
    assert found["pair", "vocabulary"].verdict == "not checked"
    assert found["pair", "frames"].verdict == "not checked"


def test_no_model_at_all(pair: ModelPair) -> None:
    nowhere = pair.with_value("target.model=nowhere").with_value("drafter.model=nowhere")
    with pytest.raises(InputError, match=r"target\.model: nowhere") as raised:
        checked(PairModels(nowhere))
    assert "\ndrafter.model: nowhere: no such folder" in str(raised.value)


def test_what_is_asked_wrongly(models: PairModels) -> None:
    with pytest.raises(InputError, match="no check 'state'"):
        checked(models, "state")
    with pytest.raises(InputError, match="no check"):
        list(diagnose(models, None, QUESTION, only=()))
    with pytest.raises(InputError, match="16 or more"):
        list(diagnose(models, None, QUESTION, max_new_tokens=15))
    with pytest.raises(InputError, match="<video>"):
        list(diagnose(models, None, "Is <video> in this?", only=["prompts"]))


def test_models_in_turn_are_never_loaded_together(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []
    sound = pair_models._loaded

    def loaded(*arguments: Any) -> Target:
        assert not [model for model in alive if model() is not None]
        target = sound(*arguments)
        alive.append(weakref.ref(target.model))
        return target

    monkeypatch.setattr(pair_models, "_loaded", loaded)
    with PairModels(pair.with_value("load=in_turn")) as models:
        found = checked(models)
    assert len(alive) == 2 and found["pair", "vocabulary"].ok is True
