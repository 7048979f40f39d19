"""A vocabulary of our own: Llama's shape, any text survives, the same texts give the same one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from crossdraft.base.errors import InputError
from crossdraft.vlm.bpe import END_ID, SPECIAL, START_ID, UNKNOWN_ID, train_bpe

TEXTS = [f"A {paint} car is {verb} on the road, in the snow." for paint in ("red", "blue", "gray")
         for verb in ("waiting", "parked", "speeding")]  # fmt: skip


@cache
def trained() -> Tokenizer:
    return train_bpe(TEXTS)


def test_special_entries_and_bytes_stand_first() -> None:
    tokenizer = trained()
    assert [tokenizer.id_to_token(i) for i in range(3)] == list(SPECIAL)
    assert (UNKNOWN_ID, START_ID, END_ID) == (0, 1, 2)
    assert [tokenizer.id_to_token(3 + i) for i in (0, 255)] == ["<0x00>", "<0xFF>"]


def test_frequent_words_are_one_token_and_punctuation_stands_alone() -> None:
    encoded = trained().encode("A red car, parked.", add_special_tokens=False)
    assert encoded.tokens == ["▁A", "▁red", "▁car", ",", "▁parked", "."]
    assert encoded.offsets == [(0, 1), (1, 5), (5, 9), (9, 10), (10, 17), (17, 18)]


def test_a_text_begins_with_the_start_mark_unless_told_otherwise() -> None:
    assert trained().encode("A car").tokens[0] == "<s>"
    assert "<s>" not in trained().encode("A car", add_special_tokens=False).tokens


@given(st.text(alphabet=st.characters(exclude_characters="▁", exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    if any(mark in text for mark in SPECIAL):
        return
    tokenizer = trained()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert UNKNOWN_ID not in ids
    assert tokenizer.decode(ids) == text


def test_bytes_written_out_are_text() -> None:
    ids = trained().encode("<0x41>", add_special_tokens=False).ids
    assert trained().decode(ids) == "<0x41>"


@pytest.mark.parametrize("size", [290, 300, 1500])
def test_there_are_no_more_entries_than_asked_for(size: int) -> None:
    assert train_bpe(TEXTS, size).get_vocab_size() <= size


@pytest.mark.parametrize("size", [0, 3, 259])
def test_a_vocabulary_without_room_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"{size} entries"):
        train_bpe(TEXTS, size)


@pytest.mark.parametrize("texts", [[], ["", " "]], ids=["none", "blank"])
def test_no_texts_are_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="no texts"):
        train_bpe(texts)


@given(st.permutations([*TEXTS, *TEXTS[:2]]))
@settings(max_examples=8)
def test_order_of_the_texts_does_not_matter(texts: list[str]) -> None:
    assert train_bpe(texts, 300).to_str() == train_bpe(TEXTS, 300).to_str()


def test_each_text_counts_once() -> None:
    texts = ["aa ab", "ab cd", *["cd cd cd"] * 9]
    assert train_bpe(texts, 270).to_str() == train_bpe(texts[:3], 270).to_str()


def test_another_process_learns_the_same() -> None:
    code = (
        "import hashlib; from tests.vlm.test_bpe import trained; "
        "print(hashlib.sha256(trained().to_str().encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == hashlib.sha256(trained().to_str().encode()).hexdigest()
