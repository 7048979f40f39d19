"""EventGPT's prompts: the ids and pixels of the official code, scenes of every kind, limits."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.render import RenderSettings, render_frames
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.writers import write_npz
from crossdraft.vlm.eventgpt.configuration import EventGPTConfig
from crossdraft.vlm.eventgpt.processing import TEMPLATES, EventGPTPrompts
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.pixels import preprocess
from crossdraft.vlm.prompt_text import load_tokenizer
from tests.scenes.event_files import START_US, made_stream, stream_at, write_dsec
from tests.vlm.eventgpt.parity import EVENTS, KIT, SAMPLES, expanded, frames, meta, needs_kit
from tests.vlm.eventgpt.parity import reference as official_tensors
from tests.vlm.eventgpt_folder import event_tokenizer, tiny_config, write_eventgpt
from tests.vlm.video_llava_folder import IMAGE_SIZE, write_video_llava

SLOT, SLOTS = -200, 5 + 5
SIZE = PixelSettings(IMAGE_SIZE, (IMAGE_SIZE, IMAGE_SIZE))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: not any(mark in text for mark in ("<s>", "</s>", "<unk>", "<event>"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eventgpt(tmp_path_factory.mktemp("eventgpt") / "EventGPT")


@pytest.fixture(scope="module")
def prompts(folder: Path) -> EventGPTPrompts:
    return EventGPTPrompts.from_folder(folder)


@pytest.fixture(scope="module")
def stream() -> EventStream:
    """100 ms, twice the window that is drawn by default."""
    return made_stream(4_000, span_us=100_000, sensor=(60, 40))


@cache
def builder(template: str = "official") -> EventGPTPrompts:
    """One builder for all examples of a property, which fixtures do not serve."""
    with tempfile.TemporaryDirectory() as folder:
        return EventGPTPrompts.from_folder(write_eventgpt(Path(folder)), template=template)


def event_frames(n: int = 5, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (n, 40, 60, 3), dtype=np.uint8)


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


# --- ids ---


@dataclass
class RecordedTokenizer:
    """Knows the ids of recorded texts and of no other."""

    known: dict[str, list[int]]

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": self.known.get(text, [1])}

    def get_added_vocab(self) -> dict[str, int]:
        return {"<unk>": 0, "<s>": 1, "</s>": 2}


@needs_kit
def test_ids_of_the_real_tokenizer() -> None:
    """Both halves ask for exactly the text whose ids were recorded, and begin once."""
    recorded = json.loads((KIT / "tokenization.json").read_text())
    # What begins with spaces is stripped here; the recorded ids have them.
    plain = [item for item in recorded if item["query"] == item["query"].strip()]
    assert len(plain) == 4
    known: dict[str, list[int]] = {}
    for item in plain:
        place = item["ids"].index(SLOT)
        before, after = item["prompt"].split("<event>")
        known |= {before: item["ids"][:place], after: [1, *item["ids"][place + 1 :]]}
    builder = EventGPTPrompts(
        RecordedTokenizer(known), EventGPTConfig(), PixelSettings(336, (336, 336))
    )
    for item in plain:
        prompt = builder(event_frames(), f" {item['query']}\n")
        assert list(prompt.ids) == expanded(item["ids"], slots=5 + 577)
        assert len(prompt.ids) == len(item["ids"]) + 581


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [("official", "▁ < e v _ s t a r t >", "▁ < e v _ e n d >"), ("training", "▁", "▁")],
)
def test_what_stands_around_the_events(template: str, before: str, after: str) -> None:
    prompts = builder(template)
    prompt = prompts(event_frames(), "What is in this scene?")
    words = [event_tokenizer().id_to_token(token) for token in prompt.ids if token != SLOT]
    start = prompt.cut - SLOTS
    ahead = ["▁USER", ":", *before.split()]
    assert words[0] == "<s>"
    assert "<s>" not in words[1:]
    assert words[start - len(ahead) : start] == ahead
    assert prompt.ids[start : prompt.cut] == (SLOT,) * SLOTS
    assert words[start:] == [
        *after.split(), "<0x0A>", "W", "h", "a", "t", "▁is", "▁in", "▁this", "▁scene", "?",
        "▁ASSISTANT", ":",
    ]  # fmt: skip


def test_a_prompt_as_a_whole_has_other_ids() -> None:
    """A tokenizer that begins a text with a space does so once: what stands behind the events
    would lose its space, were they a token of one text."""
    tokenizer = event_tokenizer()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    config = EventGPTConfig(vocab_size=tokenizer.get_vocab_size())
    halves = EventGPTPrompts(wrapped(tokenizer), config, PixelSettings(336, (336, 336)))
    apart = [token for token in halves(event_frames(), "the road").ids if token != SLOT]
    tokenizer.add_special_tokens([AddedToken("<event>", normalized=False, special=True)])
    head, middle = TEMPLATES["official"]
    whole = tokenizer.encode(f"{head}<event>{middle}the road ASSISTANT:").ids
    place = [tokenizer.id_to_token(token) for token in whole].index("<event>")
    assert apart[:place] == whole[:place]
    assert [tokenizer.id_to_token(t) for t in (apart[place], whole[place + 1])] == ["▁", "<"]
    assert apart[place + 1 :] == whole[place + 1 :]


@given(text=TEXTS, template=st.sampled_from(sorted(TEMPLATES)))
@settings(max_examples=100)
def test_any_question_shares_one_prefix(text: str, template: str) -> None:
    prompts = builder(template)
    prompt = prompts("drive.npz", text)
    assert prompt.prefix == prompts("drive.npz", "").prefix
    assert prompt.ids.count(SLOT) == SLOTS == prompts.slots
    assert prompt.prefix[-SLOTS:] == (SLOT,) * SLOTS
    assert prompt.ids.count(1) == 1
    assert prompt.hash == prompts("other.npz", f"  {text.strip()}\n").hash
    other = "training" if template == "official" else "official"
    assert prompt.hash != builder(other)("drive.npz", text).hash


@pytest.mark.parametrize("control", ["<event>", "</s>", "<s>"])
def test_control_texts_are_refused(prompts: EventGPTPrompts, control: str) -> None:
    with pytest.raises(InputError, match=f"the question holds {control}"):
        prompts(event_frames(), f"What is in this {control} scene?")


def test_marks_are_plain_text(prompts: EventGPTPrompts) -> None:
    prompt = prompts(event_frames(), "What is <ev_start>?")
    assert prompt.ids.count(SLOT) == SLOTS


def test_it_begins_once_without_tokenizer_config(tmp_path: Path, prompts: EventGPTPrompts) -> None:
    folder = write_eventgpt(tmp_path / "e")
    (folder / "tokenizer_config.json").unlink()
    again = EventGPTPrompts.from_folder(folder)
    assert again(event_frames(), "the car").ids == prompts(event_frames(), "the car").ids


def test_a_tokenizer_that_begins_nothing_loses_no_token(
    folder: Path, prompts: EventGPTPrompts
) -> None:
    """Nothing is dropped of the second half but a begin token."""
    bare = event_tokenizer()
    bare.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    again = EventGPTPrompts(
        wrapped(bare), tiny_config(folder), prompts.settings, render=prompts.render
    )
    ids = again(event_frames(), "the car").ids
    assert ids == prompts(event_frames(), "the car").ids[1:]


def test_the_target_tokenizer_serves_as_well(tmp_path: Path, prompts: EventGPTPrompts) -> None:
    folder = write_eventgpt(tmp_path / "e", tokenizer=False)
    target = write_video_llava(tmp_path / "v")
    again = EventGPTPrompts.from_folder(folder, tokenizer=target)
    assert again(event_frames(), "the car").ids == prompts(event_frames(), "the car").ids


# --- prompts of ids ---


def test_ids_instead_of_a_question(tmp_path: Path, prompts: EventGPTPrompts) -> None:
    bare = EventGPTPrompts.from_folder(write_eventgpt(tmp_path / "e", tokenizer=False))
    text = prompts(event_frames(), "Is the car in this road?")
    ids = [token for token in text.ids if token != SLOT]
    ids.insert(text.cut - SLOTS, SLOT)
    prompt = bare.of_ids(event_frames(), ids)
    assert (prompt.ids, prompt.cut, prompt.hash) == (text.ids, text.cut, text.hash)
    assert torch.equal(prompt.inputs()["pixel_values"], text.inputs()["pixel_values"])
    with pytest.raises(InputError, match="has no tokenizer") as refused:
        bare(event_frames(), "What?")
    assert "drafter.tokenizer" in str(refused.value)


@pytest.mark.parametrize(("ids", "found"), [([1, 5], "0 places"), ([1, SLOT, 4, SLOT], "2 places")])
def test_one_place_for_events(prompts: EventGPTPrompts, ids: list[int], found: str) -> None:
    with pytest.raises(InputError, match=f"ids with {found}"):
        prompts.of_ids(event_frames(), ids)
    with pytest.raises(InputError, match="nothing behind the picture"):
        prompts.of_ids(event_frames(), [1, 5, SLOT])


# --- scenes ---


@needs_kit
@pytest.mark.parametrize("sample", SAMPLES)
def test_pixels_of_official_frames(sample: str) -> None:
    prompts = EventGPTPrompts.from_folder(KIT / "checkpoint")
    drawn = [frames()[f"{sample}.frame{number}"].numpy() for number in range(5)]
    prompt = prompts.of_ids(drawn, meta()["input_ids"][sample])
    assert list(prompt.ids) == expanded(meta()["input_ids"][sample])
    expected = official_tensors()[f"{sample}.pixel_values"]
    assert torch.equal(prompt.inputs()["pixel_values"][0], expected)


@needs_kit
@pytest.mark.parametrize("canvas", ["sensor", "tight"])
@pytest.mark.parametrize(
    ("sample", "file"),
    [("sample1", "eventgpt_sample1.npy"), ("dsec74", "interlaken_00_d_000074.npy")],
)
def test_pixels_of_real_windows(sample: str, file: str, canvas: str) -> None:
    prompts = EventGPTPrompts.from_folder(KIT / "checkpoint", canvas=canvas)
    pixels = prompts.of_ids(EVENTS / file, [1, SLOT, 5]).inputs()["pixel_values"]
    assert torch.equal(pixels[0], official_tensors()[f"{sample}.pixel_values"])


def test_scenes_files_streams_and_frames_are_one(
    prompts: EventGPTPrompts, stream: EventStream, tmp_path: Path
) -> None:
    write_npz(stream, tmp_path / "clip.npz")
    scene = Scene("drive", 0, tmp_path, events_file="clip.npz")
    drawn = render_frames(stream, RenderSettings(window="last:50ms"))
    expected = preprocess(np.stack(drawn), SIZE)[None]
    sources = (
        scene, tmp_path / "clip.npz", str(tmp_path / "clip.npz"), stream, drawn, tuple(drawn),
        np.stack(drawn), torch.from_numpy(np.stack(drawn)),
    )  # fmt: skip
    for source in sources:
        inputs = prompts(source, "").inputs()
        assert set(inputs) == {"pixel_values"}
        assert inputs["pixel_values"].dtype == torch.float32
        assert inputs["pixel_values"].shape == (1, 5, 3, IMAGE_SIZE, IMAGE_SIZE)
        assert torch.equal(inputs["pixel_values"], expected)


def test_a_scene_keeps_to_its_window(prompts: EventGPTPrompts, tmp_path: Path) -> None:
    """The clip's bounds count, not its first and last event."""
    stream = stream_at([*range(0, 90_000, 1_000)], sensor=(60, 40))
    write_npz(stream, tmp_path / "clip.npz")
    scene = Scene("drive", 0, tmp_path, events_file="clip.npz", window_us=(10_000, 100_000))
    shown = prompts.frames_of(scene)
    assert shown.spans_us[[0, -1], [0, 1]].tolist() == [50_000, 89_000]
    assert (shown.touched * 60 * 40).round().tolist() == shown.events.tolist()
    assert prompts.frames_of(stream).spans_us[[0, -1], [0, 1]].tolist() == [39_000, 89_000]


def test_frames_are_told_with_times_and_events(prompts: EventGPTPrompts) -> None:
    stream = stream_at([START_US + 10_000 * i for i in range(13)], sensor=(8, 5))
    shown = prompts.frames_of(stream)
    # The last 50 ms begin at event 7: six events, one each and the rest in the last frame.
    assert shown.events.tolist() == [1, 1, 1, 1, 2]
    times_us = [(70_000, 70_000), (80_000,) * 2, (90_000,) * 2, (100_000,) * 2, (110_000, 120_000)]
    assert (shown.spans_us - START_US).tolist() == [list(span) for span in times_us]
    assert shown.touched.tolist() == [1 / 40, 1 / 40, 1 / 40, 1 / 40, 2 / 40]
    assert [frame.shape for frame in shown.frames] == [(5, 8, 3)] * 5
    few = prompts.frames_of(stream_at([7, 9], sensor=(8, 5)))
    assert few.spans_us.tolist() == [[-1, -1]] * 4 + [[7, 9]]
    assert few.touched.tolist() == [0.0] * 4 + [0.05]


def test_other_drawings(folder: Path, stream: EventStream) -> None:
    spread = EventGPTPrompts.from_folder(folder, window="spread:10ms", canvas="tight", frames=3)
    shown = spread.frames_of(stream)
    starts_ms = (shown.spans_us[:, 0] - stream.t[0]) / 1_000
    assert np.abs(starts_ms - [0, 45, 90]).max() < 1
    prompt = spread(stream, "What?")
    assert prompt.ids.count(SLOT) == 3 + 5
    assert prompt.inputs()["pixel_values"].shape == (1, 3, 3, IMAGE_SIZE, IMAGE_SIZE)
    negative = EventGPTPrompts.from_folder(folder, overlap="negative").frames_of(stream)
    positive = EventGPTPrompts.from_folder(folder, overlap="positive").frames_of(stream)
    assert not np.array_equal(negative.frames[0], positive.frames[0])


def test_files_are_read_with_the_pixels(prompts: EventGPTPrompts, tmp_path: Path) -> None:
    prompt = prompts(Scene("drive", 0, tmp_path, events_file="gone.npz"), "What?")
    with pytest.raises(InputError, match=r"gone\.npz: no such file"):
        prompt.inputs()
    with pytest.raises(InputError, match="has no event stream"):
        prompts(Scene("drive", 0, tmp_path), "What?").inputs()
    with pytest.raises(InputError, match="event frames, drawn before"):
        prompts.frames_of(event_frames())


@pytest.mark.parametrize(
    ("scene", "found"),
    [
        (event_frames(n=6), "6 event frames"),
        (list(event_frames(n=1)), "1 event frames"),
        ([], "0 event frames"),
        (event_frames(n=1)[0], r"event frames of shape \[40, 60, 3\]"),
        (["a.png"] * 5, "other things"),
        (None, "type NoneType"),
    ],
    ids=["six", "one", "none", "flat", "paths", "nothing"],
)
def test_other_scenes_are_refused(prompts: EventGPTPrompts, scene: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        prompts(scene, "What?")


def test_without_h5py_events_can_be_given(
    prompts: EventGPTPrompts,
    stream: EventStream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_dsec(stream, tmp_path / "events.h5")
    monkeypatch.delitem(sys.modules, "crossdraft.scenes.event_file", raising=False)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="give an EventStream"):
        prompts(tmp_path / "events.h5", "What?").inputs()
    assert prompts(stream, "What?").inputs()


# --- what does not fit ---


def test_a_prompt_that_would_be_cut(tmp_path: Path) -> None:
    limit = len(builder()(event_frames(), "the road").ids)
    folder = write_eventgpt(tmp_path / "e", tokenizer_model_max_length=limit)
    prompts = EventGPTPrompts.from_folder(folder)
    assert len(prompts(event_frames(), "the road").ids) == limit
    with pytest.raises(InputError, match=f"a prompt of {limit + 1} tokens, 10 of them events"):
        prompts(event_frames(), "the road?")
    spare = limit - len(prompts(event_frames(), "").ids)
    EventGPTPrompts.from_folder(folder, frames=5 + spare)
    with pytest.raises(InputError, match=f"{6 + spare} frames are") as refused:
        EventGPTPrompts.from_folder(folder, frames=6 + spare)
    assert f"at most {5 + spare} frames" in str(refused.value)


def test_the_model_itself_may_read_less(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e", max_position_embeddings=100, tokenizer=False)
    prompts = EventGPTPrompts.from_folder(folder)
    assert len(prompts.of_ids(event_frames(), [1, SLOT, *[5] * 89]).ids) == 100
    with pytest.raises(InputError, match="a prompt of 101 tokens"):
        prompts.of_ids(event_frames(), [1, SLOT, *[5] * 90])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"template": "vicuna"}, "template: 'vicuna'"),
        ({"frames": 0}, "parts: 0"),
        ({"window": "first:50ms"}, "window: 'first:50ms'"),
        ({"canvas": "square"}, "canvas: 'square'"),
        ({"tokenizer": "nowhere"}, "nowhere: no such folder"),
    ],
    ids=["template", "frames", "window", "canvas", "tokenizer"],
)
def test_wrong_settings(folder: Path, options: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        EventGPTPrompts.from_folder(folder, **options)


def test_frames_must_have_a_number() -> None:
    with pytest.raises(InputError, match="20 frames per second"):
        EventGPTPrompts(None, EventGPTConfig(), SIZE, render=RenderSettings(hz=20))


@pytest.mark.parametrize("mark", ["<event>", "<ev_patch>", "<ev_start>", "<ev_end>"])
def test_a_tokenizer_that_knows_the_marks_is_refused(mark: str) -> None:
    tokenizer = event_tokenizer()
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False, special=True)])
    with pytest.raises(InputError, match=f"has {mark} as a token of its own"):
        EventGPTPrompts(wrapped(tokenizer), EventGPTConfig(), PixelSettings(336, (336, 336)))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e", vocab_size=300)
    with pytest.raises(InputError, match="and the model has 300"):
        EventGPTPrompts.from_folder(folder)


def test_tokenizer_files_that_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_eventgpt(tmp_path / "e")
    (folder / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(InputError, match="not valid JSON"):
        EventGPTPrompts.from_folder(folder)
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        load_tokenizer(folder / "clip")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match="sentencepiece is not installed"):
        EventGPTPrompts.from_folder(folder)


# --- how frames are prepared ---


def _pixel_file(folder: Path, mean: float, **other: Any) -> None:
    values = {"crop_size": IMAGE_SIZE, "size": IMAGE_SIZE, "image_mean": [mean] * 3, **other}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))


def _configure(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_settings_of_the_checkpoint_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_eventgpt(tmp_path / "e")
    assert EventGPTPrompts.from_folder(folder).settings == SIZE
    _pixel_file(folder / "clip", 0.1)
    assert EventGPTPrompts.from_folder(folder).settings.mean == (0.1,) * 3
    _pixel_file(folder, 0.2)
    assert EventGPTPrompts.from_folder(folder).settings.mean == (0.2,) * 3
    # A tower beside the working directory.
    elsewhere = write_eventgpt(tmp_path / "f")
    _configure(elsewhere, mm_visual_tower="towers/clip")
    (tmp_path / "towers").mkdir()
    (elsewhere / "clip").rename(tmp_path / "towers" / "clip")
    _pixel_file(tmp_path / "towers" / "clip", 0.3)
    monkeypatch.chdir(tmp_path)
    assert EventGPTPrompts.from_folder(elsewhere).settings.mean == (0.3,) * 3


def test_without_a_tower_the_published_one_counts(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e")
    _configure(folder, mm_visual_tower="/data/authors/clip-vit", tokenizer_model_max_length=800)
    prompts = EventGPTPrompts.from_folder(folder, frames=1)
    assert prompts.settings == PixelSettings(336, (336, 336))
    assert prompts.slots == 1 + 577


@pytest.mark.parametrize("damage", ["missing", "half", "other-size", "other-model"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    folder = write_eventgpt(tmp_path / "e")
    path = folder / "clip" / "preprocessor_config.json"
    found = {
        "missing": "no preprocessor_config.json, and a tower for 28 pixels",
        "half": "not valid JSON",
        "other-size": "frames are cut to 56x56 pixels",
        "other-model": "a checkpoint of LlamaForCausalLM",
    }[damage]
    if damage == "missing":
        path.unlink()
    elif damage == "half":
        path.write_text('{"size": ')
    elif damage == "other-size":
        _pixel_file(folder, 0.5, crop_size=56)
    else:
        _configure(folder, architectures=["LlamaForCausalLM"])
    with pytest.raises(InputError, match=found) as refused:
        EventGPTPrompts.from_folder(folder)
    assert str(folder) in str(refused.value)


def test_on_a_machine_that_has_torch_alone(folder: Path, stream: EventStream) -> None:
    """Without Pillow, h5py, pydantic and others: events in, the same pixels and hash out."""
    program = f"""
import sys
for name in ("PIL", "av", "pydantic", "torchvision", "h5py", "hdf5plugin", "matplotlib"):
    sys.modules[name] = None
import numpy as np
from crossdraft.scenes.events import EventStream
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
number = np.arange(4_000)
stream = EventStream.checked(number % 60, number // 100, 20 * number, number % 2, sensor=(60, 40))
prompt = EventGPTPrompts.from_folder({str(folder)!r})(stream, "the road")
print(prompt.hash, prompt.inputs()["pixel_values"].double().sum().item())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    number = np.arange(4_000)
    same = EventStream.checked(number % 60, number // 100, 20 * number, number % 2, sensor=(60, 40))
    prompt = EventGPTPrompts.from_folder(folder)(same, "the road")
    pixels = prompt.inputs()["pixel_values"].double().sum().item()
    assert done.stdout == f"{prompt.hash} {pixels}\n"
