"""EventGPT's prompts: the ids of the official code, ids in place of a question, limits."""

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
from crossdraft.scenes.render import RenderSettings
from crossdraft.vlm.eventgpt.configuration import EventGPTConfig
from crossdraft.vlm.eventgpt.processing import TEMPLATES, EventGPTPrompts
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.prompt_text import load_tokenizer
from tests.vlm.eventgpt.parity import KIT, expanded, needs_kit
from tests.vlm.eventgpt_folder import event_frames, event_tokenizer, tiny_config, write_eventgpt
from tests.vlm.video_llava_folder import IMAGE_SIZE, write_video_llava

SLOT, SLOTS = -200, 5 + 5
SIZE = PixelSettings(IMAGE_SIZE, (IMAGE_SIZE, IMAGE_SIZE))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: not any(mark in text for mark in ("<s>", "</s>", "<unk>", "<event>"))
)


@cache
def builder(template: str = "official") -> EventGPTPrompts:
    """One builder for all examples of a property, which fixtures do not serve."""
    with tempfile.TemporaryDirectory() as folder:
        return EventGPTPrompts.from_folder(write_eventgpt(Path(folder)), template=template)


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
