"""Video-LLaVA out of a folder in the published layout: prompts, pixels, weights, answers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    VideoLlavaConfig,
)
from transformers.models.video_llava.processing_video_llava import VideoLlavaProcessor

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.pixels import Pixels, preprocess
from crossdraft.vlm.target import Target
from crossdraft.vlm.video_llava import VideoLlavaPrompts, VideoOnlyLlava, load_video_llava
from tests.scenes.videos import FRAMES, full_decode, make_video, number_of
from tests.vlm.video_llava_folder import (
    IMAGE_SIZE,
    MAX_POSITIONS,
    hub_name,
    llama_tokenizer,
    random_weights,
    tiny_config,
    write_video_llava,
)

VOCAB = llama_tokenizer().get_vocab_size(with_added_tokens=False)
IMAGE_ID, VIDEO_ID = VOCAB, VOCAB + 1
SLOTS = 8 * 5
QUESTIONS = ("What is in this scene?", "", "Is the car in this road?", "the\nroad\t?", "é中 <b>")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(
    lambda text: not any(token in text for token in ("<s>", "</s>", "<unk>", "<pad>"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in two shards."""
    return write_video_llava(tmp_path_factory.mktemp("hub") / "Video-LLaVA", shards=2)


@pytest.fixture(scope="module")
def prompts(folder: Path) -> VideoLlavaPrompts:
    return VideoLlavaPrompts.from_folder(folder)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Target:
    """With its image tower, in float64."""
    return load_video_llava(folder, dtype=torch.float64, images=True)


def pictures(seed: int = 0, n: int = 8, size: tuple[int, int] = (40, 60)) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def generated(target: Target, scene: Any, question: str, length: int) -> list[int]:
    """What transformers' own loop answers from the prompt's ids and pixels."""
    prompt = target.prompt(scene, question)
    ids = torch.tensor([prompt.ids])
    model: Any = target.model
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=prompt.inputs()["pixel_values_videos"].to(target.dtype),
        max_new_tokens=length,
        do_sample=False,
    )
    return [int(token) for token in out[0, len(prompt.ids) :]]


def expanded(prompts: VideoLlavaPrompts, text: str, side: int = IMAGE_SIZE) -> list[int]:
    """Ids that transformers' processor makes of a text with one `<video>`.

    The processor itself cannot be built without torchvision, so its method is called on an object
    that was never initialised.
    """
    processor: Any = object.__new__(VideoLlavaProcessor)
    processor.video_token, processor.patch_size = "<video>", 14
    processor.num_additional_image_tokens = 1
    pixels = {"pixel_values_videos": [np.zeros((prompts.frames, 3, side, side))]}
    slots = processor.replace_video_token(pixels, 0)
    ids: list[int] = prompts.tokenizer(text.replace("<video>", slots))["input_ids"]
    return ids


# --- prompts ---


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
def test_ids_are_those_of_the_processor(prompts: VideoLlavaPrompts, question: str) -> None:
    prompt = prompts(pictures(), question)
    assert list(prompt.ids) == expanded(prompts, f"USER: <video>\n{question} ASSISTANT:")


@given(TEXTS)
@settings(max_examples=100)
def test_any_question_shares_one_prefix(text: str) -> None:
    prompts = _builder()
    prompt = prompts("clip.mp4", text)
    assert list(prompt.ids) == expanded(prompts, f"USER: <video>\n{text.strip()} ASSISTANT:")
    assert prompt.prefix == prompts("clip.mp4", "").prefix
    assert prompt.ids.count(VIDEO_ID) == SLOTS
    assert prompt.prefix[-SLOTS:] == (VIDEO_ID,) * SLOTS
    assert prompt.hash == prompts("other.mp4", f"  {text.strip()}\n").hash


@cache
def _builder() -> VideoLlavaPrompts:
    """One builder for all examples of a property, which fixtures do not serve."""
    with tempfile.TemporaryDirectory() as folder:
        return VideoLlavaPrompts.from_folder(write_video_llava(Path(folder)))


def test_a_prompt_reads_as_documented(prompts: VideoLlavaPrompts) -> None:
    prompt = prompts(pictures(), "What is in this scene?")
    words = [llama_tokenizer().id_to_token(token) for token in prompt.ids]
    assert words[:4] == ["<s>", "▁USER", ":", "▁"]
    assert words[4 : 4 + SLOTS] == ["<video>"] * SLOTS
    assert words[prompt.cut :] == [
        "▁", "<0x0A>", "W", "h", "a", "t", "▁is", "▁in", "▁this", "▁scene", "?", "▁ASSISTANT", ":",
    ]  # fmt: skip


def test_hashes_stay_and_tell_questions_apart(folder: Path, prompts: VideoLlavaPrompts) -> None:
    again = VideoLlavaPrompts.from_folder(folder)
    hashes = [prompts("clip.mp4", question).hash for question in QUESTIONS]
    assert hashes == [again(pictures(), question).hash for question in QUESTIONS]
    assert len(set(hashes)) == len(QUESTIONS)
    # Results of earlier runs name this prompt so.
    assert hashes[0] == "40877d11c5a1b508"


def test_the_published_sizes_give_257_slots_a_frame() -> None:
    config = VideoLlavaConfig(
        vision_config=CLIPVisionConfig(image_size=224, patch_size=14),
        text_config=LlamaConfig(max_position_embeddings=4096),
        image_token_index=IMAGE_ID,
        video_token_index=VIDEO_ID,
    )
    tokenizer = _builder().tokenizer
    prompts = VideoLlavaPrompts(tokenizer, config, PixelSettings())
    prompt = prompts("clip.mp4", "What is in this scene?")
    assert prompts.tokens_per_frame == 257
    assert prompt.ids.count(VIDEO_ID) == 2056
    question = "USER: <video>\nWhat is in this scene? ASSISTANT:"
    assert list(prompt.ids) == expanded(prompts, question, side=224)
    with pytest.raises(InputError, match="16 frames are 4,112 tokens, and the model reads 4,096"):
        VideoLlavaPrompts(tokenizer, config, PixelSettings(), frames=16)


@pytest.mark.parametrize("control", ["<video>", "<image>", "<pad>", "</s>"])
def test_control_tokens_in_a_question_are_refused(prompts: VideoLlavaPrompts, control: str) -> None:
    with pytest.raises(InputError, match=f"the question holds {control}"):
        prompts(pictures(), f"What is in this {control} scene?")


def test_half_a_character_is_refused(prompts: VideoLlavaPrompts) -> None:
    with pytest.raises(InputError, match="not Unicode"):
        prompts(pictures(), "What \udc80?")


# --- scenes ---


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 frames that carry their numbers, at 20 per second."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", FRAMES)


def test_frames_are_uniform_in_time(prompts: VideoLlavaPrompts, video: Path) -> None:
    frames = prompts.frames_of(video)
    assert frames.indices.tolist() == [0, 6, 12, 18, 25, 31, 37, 43]
    assert frames.times_us.tolist() == [50_000 * i for i in frames.indices]
    assert [number_of(frame) for frame in frames.frames] == frames.indices.tolist()


def test_scenes_paths_and_arrays_are_one(prompts: VideoLlavaPrompts, video: Path) -> None:
    decoded, _ = full_decode(video)
    shown = np.stack([decoded[i] for i in (0, 6, 12, 18, 25, 31, 37, 43)])
    wanted = PixelSettings(IMAGE_SIZE, (IMAGE_SIZE, IMAGE_SIZE))
    expected = preprocess(shown, wanted)[None]
    scene = Scene("drive", 0, video.parent, video_file=video.name)
    for given_scene in (scene, video, str(video), shown, torch.from_numpy(shown)):
        inputs = prompts(given_scene, "").inputs()
        assert set(inputs) == {"pixel_values_videos"}
        assert inputs["pixel_values_videos"].shape == (1, 8, 3, IMAGE_SIZE, IMAGE_SIZE)
        assert torch.equal(inputs["pixel_values_videos"], expected)


def test_files_are_read_with_the_pixels(prompts: VideoLlavaPrompts, tmp_path: Path) -> None:
    prompt = prompts(Scene("drive", 0, tmp_path, video_file="gone.mp4"), "What?")
    with pytest.raises(InputError, match=r"gone\.mp4: no such file"):
        prompt.inputs()
    with pytest.raises(InputError, match="has no video"):
        prompts(Scene("drive", 0, tmp_path), "What?").inputs()
    array: Any = pictures()
    with pytest.raises(InputError, match="an array of pictures"):
        prompts.frames_of(array)


@pytest.mark.parametrize(
    ("scene", "found"),
    [
        (pictures(n=20), "20 frames"),
        (pictures(n=7), "7 frames"),
        (pictures(n=1)[0], r"shape \[40, 60, 3\]"),
        ([pictures(n=1)[0]] * 8, "type list"),
        (None, "type NoneType"),
    ],
    ids=["20", "7", "one", "list", "none"],
)
def test_other_scenes_are_refused(prompts: VideoLlavaPrompts, scene: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        prompts(scene, "What?")


def test_without_pyav_frames_can_be_given(
    prompts: VideoLlavaPrompts, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "crossdraft.scenes.video")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="give the 8 frames as an array"):
        prompts(video, "What?").inputs()
    assert prompts(pictures(), "What?").inputs()


# --- weights ---


def _weights(target: Target) -> dict[str, Tensor]:
    return target.model.state_dict()


@pytest.mark.parametrize(
    ("shards", "hub_keys"), [(1, True), (3, True), (2, False)], ids=["one", "hub", "today"]
)
def test_every_weight_finds_its_place(tmp_path: Path, shards: int, hub_keys: bool) -> None:
    write_video_llava(tmp_path / "hub", shards=shards, hub_keys=hub_keys, seed=3)
    stored = random_weights(tiny_config(VOCAB), VOCAB, seed=3)
    if hub_keys:
        assert hub_name("model.language_model.norm.weight") == "language_model.model.norm.weight"
    loaded = _weights(load_video_llava(tmp_path / "hub", images=True))
    assert set(loaded) == set(stored)
    assert all(torch.equal(loaded[name], stored[name]) for name in stored)


def test_stored_and_wanted_number_formats(tmp_path: Path) -> None:
    folder = write_video_llava(tmp_path / "hub", dtype=torch.bfloat16)
    assert load_video_llava(folder).dtype == torch.bfloat16
    target = load_video_llava(folder, dtype=torch.float32)
    assert target.dtype == torch.float32
    assert not target.model.training
    assert target.model.config._attn_implementation == "sdpa"
    assert target.eos_ids == {2}


def test_the_image_tower_is_left_out(folder: Path, whole: Target) -> None:
    """Fewer parameters by exactly that tower, the others and all answers the same."""
    without = load_video_llava(folder, dtype=torch.float64)
    kept, everything = _weights(without), _weights(whole)
    tower = {name for name in everything if name.startswith("model.image_tower.")}
    assert tower
    assert set(kept) == set(everything) - tower
    assert all(torch.equal(kept[name], everything[name]) for name in kept)
    count = [sum(p.numel() for p in target.model.parameters()) for target in (without, whole)]
    assert count[1] - count[0] == sum(everything[name].numel() for name in tower)
    prompt = whole.prompt(pictures(), QUESTIONS[0])
    given_inputs = {name: value.double() for name, value in prompt.inputs().items()}
    logits = [
        target.model(input_ids=torch.tensor([prompt.ids]), **given_inputs).logits
        for target in (without, whole)
    ]
    assert torch.equal(*logits)


def test_the_image_tower_is_never_built() -> None:
    """On the device where `from_pretrained` builds models, only shapes are made."""
    with torch.device("meta"):
        model = VideoOnlyLlava(tiny_config(VOCAB))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not any("image_tower" in name for name, _ in model.named_parameters())


def test_images_need_their_tower(folder: Path) -> None:
    model: Any = load_video_llava(folder).model
    side = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with pytest.raises(InputError, match="without its image tower"):
        model.get_image_features(side)
    model = load_video_llava(folder, images=True).model
    assert model.get_image_features(side).pooler_output.shape[-1] == 64


# --- answers ---


@pytest.mark.parametrize("cache", ["growing", "preallocated"])
def test_sessions_answer_as_generate_does(
    folder: Path, whole: Target, cache: Literal["growing", "preallocated"]
) -> None:
    target = load_video_llava(folder, dtype=torch.float64, cache=cache, room=80)
    answers = set()
    for seed in range(3):
        session = target.open(pictures(seed))
        many = session.answer_many(QUESTIONS, 12)
        for question, answer in zip(QUESTIONS, many, strict=True):
            assert list(answer.tokens) == generated(whole, pictures(seed), question, 12)
            assert answer.prompt_hash == target.prompt(pictures(seed), question).hash
            answers.add(answer.tokens)
    assert len(answers) == 3 * len(QUESTIONS), "scene and question both matter"


def test_a_draft_rides_on_the_question(folder: Path, whole: Target) -> None:
    session = load_video_llava(folder, dtype=torch.float64).open(pictures())
    answer = generated(whole, pictures(), QUESTIONS[0], 4)
    step = session.fork().ask(QUESTIONS[0], DraftTree.chain(answer[:3]))
    assert step.logits.argmax(-1).tolist() == answer


def test_placeholders_and_spare_rows_are_never_drafted(folder: Path) -> None:
    target = load_video_llava(folder)
    assert target.draftable == VOCAB == IMAGE_ID
    session = target.open(pictures())
    for token in (IMAGE_ID, VIDEO_ID, VOCAB + 63):
        with pytest.raises(ValueError, match=str(token)):
            session.fork().ask("What?", DraftTree.chain([5, token]))
    session.fork().ask("What?", DraftTree.chain([5, VOCAB - 1]))


# --- what a user can get wrong ---


def test_too_many_frames(folder: Path) -> None:
    with pytest.raises(InputError, match="1000 frames are 5,000 tokens") as refused:
        load_video_llava(folder, frames=1000)
    most = int(str(refused.value.expected).split()[2])
    target = load_video_llava(folder, frames=most)
    assert target.open(pictures(n=most)).tokens.count(VIDEO_ID) == 5 * most
    assert len(target.prompt(pictures(n=most), "").ids) < MAX_POSITIONS
    with pytest.raises(InputError, match=f"at most {most} frames"):
        load_video_llava(folder, frames=most + 1)
    for frames in (0, -8, True):
        with pytest.raises(InputError, match="a whole number from 1"):
            load_video_llava(folder, frames=frames)


def _edited(file: str, **changes: Any) -> Callable[[Path], None]:
    """Damage: fields of a JSON file, replaced, or merged where they are objects."""

    def harm(folder: Path) -> None:
        path = folder / file
        values = json.loads(path.read_text())
        for key, value in changes.items():
            values[key] = values[key] | value if isinstance(value, dict) else value
        path.write_text(json.dumps(values))

    return harm


def _written(file: str, text: str) -> Callable[[Path], None]:
    """Damage: another content."""

    def harm(folder: Path) -> None:
        (folder / file).write_text(text)

    return harm


def _removed(*files: str) -> Callable[[Path], None]:
    """Damage: files that are not there."""

    def harm(folder: Path) -> None:
        for file in files:
            (folder / file).unlink()

    return harm


_PIXELS = "preprocessor_config.json"
_OTHER = "LlavaForConditionalGeneration"
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no-preprocessor": (_removed(_PIXELS), f"no {_PIXELS}"),
    "half-a-preprocessor": (_written(_PIXELS, '{"size": '), "not valid JSON"),
    "list-for-preprocessor": (_written(_PIXELS, "[]"), "is a list"),
    "bilinear": (_edited(_PIXELS, resample=2), "resample is 2"),
    "other-size": (_edited(_PIXELS, crop_size=56), "56x56 pixels"),
    "no-tokenizer": (_removed("tokenizer.json", "tokenizer_config.json"), "tokenizer"),
    "half-a-tokenizer": (_written("tokenizer.json", '{"model": '), "tokenizer"),
    "panicking-tokenizer": (
        _edited("tokenizer.json", post_processor={"special_tokens": {}}),
        "PanicException",
    ),
    "other-tokenizer": (_edited("config.json", video_token_index=390), "as id 390"),
    "id-beyond": (_edited("config.json", video_token_index=99_999), "as id 99999"),
    "other-tower": (
        _edited("config.json", vision_config={"model_type": "siglip_vision_model"}),
        "siglip_vision_model",
    ),
    "no-patches": (_edited("config.json", vision_config={"patch_size": 0}), "patch_size"),
    "no-such-layer": (_edited("config.json", vision_feature_layer=-5), "vision_feature_layer -5"),
    "other-model": (_edited("config.json", architectures=[_OTHER]), f"a checkpoint of {_OTHER}"),
    "no-shard": (_removed("model-00002-of-00002.safetensors"), "model-00002-of-00002"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    folder = write_video_llava(tmp_path / "hub", shards=2)
    harm, found = DAMAGE[damage]
    harm(folder)
    with pytest.raises(InputError, match=found) as refused:
        load_video_llava(folder)
    assert str(folder) in str(refused.value)
    assert refused.value.expected or damage.startswith(("half", "list"))


def test_a_device_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match="'gpu' cannot be used"):
        load_video_llava(folder, device="gpu")


def test_settings_of_the_video_come_first(tmp_path: Path) -> None:
    """In the order in which transformers reads them."""
    folder = write_video_llava(tmp_path / "hub")
    for file, part, mean in (
        ("preprocessor_config.json", None, 0.1),
        ("processor_config.json", "image_processor", 0.2),
        ("video_preprocessor_config.json", None, 0.3),
        ("processor_config.json", "video_processor", 0.4),
    ):
        path = folder / file
        values = json.loads(path.read_text()) if path.exists() else {}
        base = json.loads((folder / "preprocessor_config.json").read_text())
        here = base | {"image_mean": [mean] * 3}
        path.write_text(json.dumps(values | ({part: here} if part else here)))
        assert VideoLlavaPrompts.from_folder(folder).settings.mean == (mean,) * 3


def test_on_a_machine_that_has_torch_alone(folder: Path) -> None:
    """Without Pillow, PyAV, pydantic and torchvision: arrays in, the same prompt and answer out."""
    program = f"""
import sys
for name in ("PIL", "av", "pydantic", "torchvision", "h5py", "hdf5plugin", "matplotlib"):
    sys.modules[name] = None
import numpy as np
from crossdraft.vlm.video_llava import load_video_llava
target = load_video_llava({str(folder)!r})
frames = np.random.default_rng(0).integers(0, 256, (8, 40, 60, 3), dtype=np.uint8)
print(target.prompt(frames, {QUESTIONS[0]!r}).inputs()["pixel_values_videos"].sum().item())
print(target.open(frames).answer_many([{QUESTIONS[0]!r}], 8)[0].tokens)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    target = load_video_llava(folder)
    pixels = target.prompt(pictures(), QUESTIONS[0]).inputs()["pixel_values_videos"]
    tokens = target.open(pictures()).answer_many([QUESTIONS[0]], 8)[0].tokens
    assert done.stdout == f"{pixels.sum().item()}\n{tokens}\n"
