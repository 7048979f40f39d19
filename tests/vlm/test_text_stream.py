"""Pieces of an answer's text add up to its whole text, and nothing said is taken back."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from crossdraft.vlm.text_stream import TextStream
from tests.vlm.video_llava_folder import llama_tokenizer


@cache
def tokenizer(kind: str) -> Any:
    wrapped: Any = PreTrainedTokenizerFast
    if kind == "llama":
        return wrapped(tokenizer_object=llama_tokenizer(), eos_token="</s>")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(BPE({letter: i for i, letter in enumerate(letters)}, []))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    return wrapped(tokenizer_object=bytewise)


@pytest.mark.parametrize("kind", ["llama", "bytes"])
@given(data=st.data())
def test_any_ids(kind: str, data: st.DataObject) -> None:
    words = tokenizer(kind)
    ids = data.draw(st.lists(st.integers(0, len(words) - 1), max_size=30))
    stream = TextStream(words)
    said = "".join([*(stream.push(token) for token in ids), stream.close()])
    assert said == stream.text
    assert said == words.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("kind", ["llama", "bytes"])
@pytest.mark.parametrize("text", ["What is this?", "Straße, 日本\nand  more 🚗!"])
def test_text_comes_in_pieces_of_whole_characters(kind: str, text: str) -> None:
    words = tokenizer(kind)
    stream = TextStream(words)
    ids = words(text, add_special_tokens=False).input_ids
    pieces = [stream.push(token) for token in ids]
    assert "".join([*pieces, stream.close()]) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert len([piece for piece in pieces if piece]) > 3
