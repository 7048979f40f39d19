"""Prompts of processor outputs: where the picture ends, and outputs that cannot be one."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.image_text import picture_ids, prompt_from, same_picture
from crossdraft.vlm.prompt import PictureOf, Prompt
from crossdraft.vlm.target import Target
from tests.vlm.models import VIDEO, llama, scene_of, video_llava
from tests.vlm.test_decoder import PROMPT

CONFIG = SimpleNamespace(image_token_id=90, vision_end_token_id=91, video_token_index=[92, 93])
PIXELS = torch.zeros(1, 3, 4, 4)


def made(ids: list[int], config: Any = CONFIG, **more: Any) -> Any:
    return prompt_from({"input_ids": torch.tensor([ids]), **more}, config)


def test_the_cut_is_behind_the_last_slot_or_mark() -> None:
    assert picture_ids(CONFIG) == {90, 91, 92, 93}
    assert made([1, 90, 90, 5, 6], pixel_values=PIXELS).cut == 3
    assert made([1, 90, 4, 90, 91, 5], pixel_values=PIXELS).cut == 5
    assert made([1, 2, 3]).cut == 0


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"pixel_values": PIXELS}, "no input_ids"),
        ({"input_ids": [[1, 2]]}, "input_ids of list"),
        ({"input_ids": torch.tensor([1, 2])}, r"input_ids of \[2\]"),
        ({"input_ids": torch.tensor([[1], [2]])}, r"input_ids of \[2, 1\]"),
        ({"input_ids": torch.tensor([[1, 90]]), "pixel_values": PIXELS}, "nothing behind"),
        ({"input_ids": torch.tensor([[1, 2]]), "pixel_values": PIXELS}, "no picture slot"),
        ({"input_ids": torch.tensor([[1, 90, 2]])}, "2 ids up to the last picture slot and no"),
        ({"input_ids": torch.tensor([[1, 2]]), "sizes": object()}, "sizes is of type object"),
        ({"input_ids": torch.zeros(1, 0, dtype=torch.long)}, "empty"),
    ],
)
def test_outputs_that_are_no_prompt_are_refused(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prompt_from(outputs, CONFIG)


def test_lists_and_arrays_become_tensors_and_remarks_are_left_out() -> None:
    prompt = made(
        [1, 90, 5], pixel_values=np.zeros((1, 3, 4, 4)), second_per_grid_ts=[0.5],
        video_metadata=["from a file"], pixel_values_videos=None,
    )  # fmt: skip
    assert {name: tuple(value.shape) for name, value in prompt.inputs().items()} == {
        "pixel_values": (1, 3, 4, 4),
        "second_per_grid_ts": (1,),
    }


def test_the_same_ids_about_another_picture_are_refused() -> None:
    model, rng = video_llava(), random.Random(0)
    one = scene_of(model, rng, before=2)
    other = scene_of(model, rng, before=2)
    target = Target(model)
    first = target.prompt_of(one.outputs((5, 6)))
    again = target.prompt_of({k: v.clone() for k, v in one.outputs((7, 8, 9)).items()})
    session = target.open(first)
    session.fork().ask(first)
    session.fork().ask(again)
    ids = torch.tensor([[*one.ids, 5, 6]])
    another = target.prompt_of({**one.outputs((5, 6)), **other.pictures, "input_ids": ids})
    with pytest.raises(InputError, match="another picture"):
        session.fork().ask(another)


def test_marks_behind_the_picture_are_refused() -> None:
    model = video_llava()
    scene = scene_of(model, random.Random(0), before=2)
    outputs = scene.outputs((5, 6))
    kinds = (outputs["input_ids"] == VIDEO).long()
    kinds[0, -1] = 1
    with pytest.raises(InputError, match="token_type_ids marks something else than text"):
        Target(model).open(Target(model).prompt_of({**outputs, "token_type_ids": kinds}))


def test_what_the_model_itself_refuses_names_the_model() -> None:
    model = video_llava()
    scene = scene_of(model, random.Random(0), before=2)
    ids = torch.tensor([[VIDEO, *scene.ids, 5, 6]])
    prompt = Target(model).prompt_of({"input_ids": ids, **scene.pictures})
    with pytest.raises(InputError, match="VideoLlavaForConditionalGeneration cannot read this"):
        Target(model).open(prompt)


def test_ids_that_no_model_knows_are_refused_before_they_are_read() -> None:
    target = Target(llama())
    for ids in ((3, 4, -1), (3, 4, 120), (500, 4, 5)):
        with pytest.raises(InputError, match="ids that the model does not know"):
            target.open(Prompt(ids, 2))
    with pytest.raises(InputError, match="ids that the model does not know"):
        target.open(PROMPT).ask(Prompt((*PROMPT.prefix, 120), PROMPT.cut))


def test_padding_is_refused() -> None:
    model = video_llava()
    outputs = scene_of(model, random.Random(0), before=2).outputs((5, 6))
    outputs["attention_mask"][0, 0] = 0
    with pytest.raises(InputError, match="padded"):
        Target(model).open(Target(model).prompt_of(outputs))


class _Builder:
    """Prompts of any scene, all with the same ids."""

    def prompt(self, scene: Any) -> Prompt:
        return Prompt((1, 90, 2), 2, PictureOf(self.inputs, scene))

    def inputs(self, scene: Any) -> dict[str, Tensor]:
        return {"pixels": torch.zeros(1)}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.npy", "a.npy", True),
        ("a.npy", "b.npy", False),
        ("a.npy", Path("a.npy"), False),
        (np.zeros((2, 3)), np.zeros((2, 3)), True),
        (np.zeros((2, 3)), np.ones((2, 3)), False),
        (np.zeros((2, 3)), torch.zeros(2, 3), True),
        ([np.zeros(2), np.zeros(3)], [np.zeros(2), np.zeros(3)], True),
        ([np.zeros(2), np.zeros(3)], [np.zeros(2)], False),
        (Scene("a", 1, Path()), Scene("a", 1, Path()), True),
        (Scene("a", 1, Path()), Scene("a", 2, Path()), False),
    ],
)
def test_prompts_of_a_builder_show_the_scene_that_it_was_given(
    one: Any, other: Any, same: bool
) -> None:
    prompts = [_Builder().prompt(scene) for scene in (one, other)]
    assert same_picture(prompts[0].inputs, prompts[1].inputs) is same
