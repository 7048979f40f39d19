"""A pair's models: loaded when asked for, in memory together or in turn, refused before loading."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.vlm import free_memory, loading, pair_models
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.video_llava import VideoLlavaPrompts
from tests.vlm.checkpoint_folder import write_checkpoint
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models, and a decoder of text alone."""
    place = tmp_path_factory.mktemp("pair")
    write_video_llava(place / "video")
    write_eventgpt(place / "event")
    write_eventgpt(place / "wordless", tokenizer=False)
    write_checkpoint(place / "text")
    return place


@pytest.fixture
def pair(folder: Path) -> ModelPair:
    path = folder / "pair.yaml"
    path.write_text(
        "target: {model: video, dtype: float64, device: cpu, frames: 4}\n"
        "drafter: {model: event, device: cpu, frames: 3, window: all, template: training}\n"
    )
    return ModelPair.read(path)


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the folders that models are loaded from."""
    loads: list[str] = []

    def counted(folder: Path, **options: object) -> object:
        loads.append(folder.name)
        return loading.load_target(folder, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pair_models, "load_target", counted)
    return loads


def test_models_are_loaded_as_the_pair_says(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = count_loads(monkeypatch)
    with PairModels(pair) as models:
        assert loads == []
        target, drafter = models.target, models.drafter
        assert (models.target, models.drafter) == (target, drafter)
        assert loads == ["video", "event"]
        assert (target.dtype, drafter.dtype) == (torch.float64, torch.float32)
        assert isinstance(target.prompts, VideoLlavaPrompts)
        assert isinstance(drafter.prompts, EventGPTPrompts)
        assert (target.prompts.frames, drafter.prompts.frames) == (4, 3)
        assert (drafter.prompts.template, drafter.prompts.render.window) == ("training", "all")


def test_in_turn_one_is_freed_for_the_other(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = count_loads(monkeypatch)
    with PairModels(pair.with_value("load=in_turn")) as models:
        first = weakref.ref(models.target.model)
        assert models.target.model is first()
        second = weakref.ref(models.drafter.model)
        assert first() is None and second() is not None
        assert models.target is not None
        assert second() is None
        assert loads == ["video", "event", "video"]


def test_a_model_that_refers_to_itself_is_freed_too(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As accelerate leaves one that is spread over several GPUs: its hooks keep its methods."""

    def hooked(folder: Path, **options: Any) -> Any:
        target = loading.load_target(folder, **options)
        model: Any = target.model
        model._old_forward = model.forward
        return target

    monkeypatch.setattr(pair_models, "load_target", hooked)
    gc.disable()  # what is freed is not to be chance
    try:
        with PairModels(pair.with_value("load=in_turn")) as models:
            first = weakref.ref(models.target.model)
            assert models.drafter is not None and first() is None
    finally:
        gc.enable()


def test_together_both_stay_until_the_end(pair: ModelPair) -> None:
    models = PairModels(pair)
    held = [weakref.ref(models.target.model), weakref.ref(models.drafter.model)]
    assert all(one() is not None for one in held)
    models.close()
    assert all(one() is None for one in held)


def test_what_does_not_fit_together_is_refused_before_loading(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = count_loads(monkeypatch)
    needed = [
        loading.estimate_target(spec.model, dtype=spec.dtype).total
        for spec in (pair.target, pair.drafter)
    ]
    monkeypatch.setattr(free_memory, "available_bytes", lambda _: max(needed))
    with pytest.raises(InputError) as caught:
        _ = PairModels(pair).target
    assert loads == []
    assert "needed together" in str(caught.value) and "in_turn" in str(caught.value)
    # Alone, or one after the other, each of them fits.
    assert PairModels(pair, ["drafter"]).drafter is not None
    models = PairModels(pair.with_value("load=in_turn"))
    assert models.target is not None and models.drafter is not None
    assert loads == ["event", "video", "event"]


def test_what_is_missing_is_named_when_it_is_asked_for(pair: ModelPair) -> None:
    models = PairModels(pair.with_value("drafter.model=absent"))
    assert models.target is not None
    with pytest.raises(InputError, match=r"drafter\.model: absent: no such folder"):
        _ = models.drafter


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("target.template=official", "target.template: 'official' for a model of VideoLlava"),
        ("target.tokenizer=event", "target.tokenizer: tokenizer is 'event'"),
        ("target.model={}/text", "target.frames: frames is 4, and a model of LlamaForCausalLM"),
        ("drafter.model={}/video", "drafter.template: 'training' for a model of VideoLlava"),
        ("drafter.template=video-llava", "expected: official or training"),
    ],
)
def test_choices_that_an_architecture_does_not_have(
    pair: ModelPair, folder: Path, change: str, said: str
) -> None:
    models = PairModels(pair.with_value(change.format(folder)))
    with pytest.raises(InputError) as caught:
        _ = models.drafter if change.startswith("drafter") else models.target
    assert said in str(caught.value)


def test_an_event_model_can_be_a_target(pair: ModelPair, folder: Path) -> None:
    target = PairModels(pair.with_value(f"target.model={folder / 'event'}")).target
    assert isinstance(target.prompts, EventGPTPrompts)
    assert (target.prompts.frames, target.prompts.template) == (4, "official")


def test_the_only_template_can_be_said(pair: ModelPair) -> None:
    assert PairModels(pair.with_value("target.template=video-llava")).target is not None


def test_tokenizers_without_models(pair: ModelPair, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = count_loads(monkeypatch)
    drafter, target = PairModels(pair).tokenizers()
    assert drafter is not None and target is not None
    assert len(target) == len(drafter) + 3  # <image>, <video>, <pad>
    assert loads == []


def test_a_tokenizer_from_elsewhere(pair: ModelPair, folder: Path) -> None:
    wordless = pair.with_value(f"drafter.model={folder / 'wordless'}")
    assert PairModels(wordless).tokenizers()[0] is None
    known = PairModels(wordless.with_value(f"drafter.tokenizer={folder / 'event'}"))
    assert known.tokenizers()[0] is not None
    frames = np.zeros((3, 28, 28, 3), np.uint8)
    asked = [models.drafter.prompt(frames, "What is this?") for models in (known, PairModels(pair))]
    assert asked[0].ids == asked[1].ids
