"""Bridges between tokenizers: the target's own ids, arrival, and nothing that is taken back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from transformers import PreTrainedTokenizerFast

from crossdraft.base.errors import InputError
from crossdraft.vlm.spelling import Spelling, spellings
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge, Translated
from tests.vlm.eventgpt_folder import event_tokenizer
from tests.vlm.video_llava_folder import llama_tokenizer

#: How Llama 3 cuts a text: punctuation takes the line breaks behind it.
_CUTS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = ("Ġthe", "Ġcar", "Ġis", "ĠThe", "The", "Ġcars", "ĠĠ", ":Ċ", ":ĊĊ", "ĊĊ", "Ãł", "ä¸Ńæĸĩ")
PARTS = (
    " the", "the", " car", " ", "  ", "s", "The", "\n", "\n\n", ":", ".", "é", "中", "文", "👍",
    "</s>", "<s>", "\t", "\u3000", "Ġ", "road",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PARTS), max_size=8).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=12
)


def wrapped(tokenizer: Tokenizer, begin: str = "<s>", end: str = "</s>") -> Any:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end
    )


@cache
def llama() -> Any:
    """Sentencepiece's way, with a space put before every text."""
    return wrapped(event_tokenizer())


@cache
def once() -> Any:
    """The same, with the space put before the first word of a text only."""
    tokenizer = event_tokenizer()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    return wrapped(tokenizer)


@cache
def byte_level(words: tuple[str, ...] = _WORDS) -> Any:
    """The byte-level way, other ids, other ends, `<|end|>` for the end."""
    vocab = {"<|begin|>": 0, "<|end|>": 1}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=True):
        vocab[character] = len(vocab)
    merges = []
    for word in words:
        piece = word[0]
        for letter in word[1:]:
            merges.append((piece, letter))
            piece += letter
            vocab.setdefault(piece, len(vocab))
    tokenizer = Tokenizer(BPE(vocab, list(dict.fromkeys(merges))))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CUTS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in ("<|begin|>", "<|end|>")]
    )
    return wrapped(tokenizer, "<|begin|>", "<|end|>")


PAIRS = {
    "llama-bytes": (llama, byte_level),
    "bytes-llama": (byte_level, llama),
    "bytes-once": (byte_level, once),
    "once-bytes": (once, byte_level),
}


@cache
def bridge(pair: str) -> TokenizerBridge:
    source, target = PAIRS[pair]
    # Rows that no tokenizer knows, as models have them.
    return TokenizerBridge(
        source(), target(), source_vocab=len(source()) + 3, target_vocab=len(target()) + 5
    )


def encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return ids


def answer(tokenizer: Any, text: str) -> list[int]:
    """Ids of an answer behind `ASSISTANT:`; the byte-level ones would glue a break to the colon."""
    if tokenizer is byte_level():
        return encode(tokenizer, text)
    return encode(tokenizer, f":{text}")[len(encode(tokenizer, ":")) :]


@cache
def pieces(tokenizer: Any) -> list[Spelling]:
    return spellings(tokenizer, len(tokenizer))


def spelled(tokenizer: Any, ids: Sequence[int]) -> bytes:
    return b"".join(piece for i in ids if isinstance(piece := pieces(tokenizer)[i], bytes))


# --- what ids spell ---


def test_every_way_to_write_a_piece_gives_its_bytes() -> None:
    sentence, bytes_ = pieces(llama()), pieces(byte_level())
    names: tuple[tuple[Any, str, list[Any], Any], ...] = (
        (llama(), "▁the", sentence, b" the"),
        (byte_level(), "Ġthe", bytes_, b" the"),
        (llama(), "<0x0A>", sentence, b"\n"),
        (byte_level(), "Ċ", bytes_, b"\n"),
        (llama(), "<0xE4>", sentence, b"\xe4"),
        (byte_level(), "ä", bytes_, b"\xe4"),
        (byte_level(), "ä¸Ńæĸĩ", bytes_, "中文".encode()),
        (llama(), "</s>", sentence, "</s>"),
        (byte_level(), "<|end|>", bytes_, "<|end|>"),
    )
    for tokenizer, name, found, wanted in names:
        assert found[tokenizer.convert_tokens_to_ids(name)] == wanted
    assert {piece for piece in bytes_ if isinstance(piece, bytes) and len(piece) == 1} == {
        bytes([byte]) for byte in range(256)
    }
    assert spellings(llama(), len(llama()) + 2)[-3:] == [sentence[-1], None, None]
    assert spellings(llama(), 10) == sentence[:10]


@given(TEXTS)
@settings(max_examples=100)
def test_pieces_spell_the_text(text: str) -> None:
    assert spelled(byte_level(), encode(byte_level(), text)) == text.encode()
    assert spelled(llama(), encode(llama(), text)) == (f" {text}" if text else "").encode()


def test_added_words_are_spelled_as_they_stand() -> None:
    tokenizer = event_tokenizer()
    tokenizer.add_tokens([AddedToken("<0x41>ev", special=False)])
    assert spellings(wrapped(tokenizer), tokenizer.get_vocab_size())[-1] == b"<0x41>ev"


def test_pieces_of_neither_kind_are_refused() -> None:
    words = wrapped(Tokenizer(WordLevel({"the": 0, "##s": 1}, unk_token="the")))
    with pytest.raises(InputError, match="neither as ▁ nor as Ġ"):
        TokenizerBridge(words, llama(), source_vocab=2, target_vocab=300)


# --- vocabularies ---


def test_models_that_share_a_tokenizer() -> None:
    """The one with more rows and with placeholders behind the vocabulary, as Video-LLaVA."""
    size = len(llama())
    shared = TokenizerBridge(
        llama(), wrapped(llama_tokenizer()), source_vocab=size, target_vocab=size + 64
    )
    assert shared.identical
    assert shared.to_target.dtype == np.int64
    assert shared.to_target.tolist() == list(range(size))
    counts = (shared.shares.source, shared.shares.same_id, shared.shares.missing)
    assert counts == (size, size, 0)
    said = (5, 1, 300, 2)
    assert shared.translate(said, closed=False) == Translated((5, 300, 2), (0, 2, 3))
    assert shared.translate([5, 2, 6, 2], closed=True) == Translated((5, 2), (0, 1))
    assert shared.translate([-1, 5, size, 6], closed=True) == Translated((5, 6), (1, 3))
    back = TokenizerBridge(
        wrapped(llama_tokenizer()), llama(), source_vocab=size + 64, target_vocab=size
    )
    assert back.identical
    assert back.shares.missing == 3, "the placeholders"
    assert back.translate([5, size + 1, 6], closed=True) == Translated((5, 6), (0, 2))


def test_rows_that_no_token_has_are_not_the_placeholders_of_the_other() -> None:
    size = len(llama())
    both = TokenizerBridge(
        llama(), wrapped(llama_tokenizer()), source_vocab=size + 64, target_vocab=size + 64
    )
    assert both.identical
    assert both.translate([5, size, size + 1, size + 30, 6], closed=True).ids == (5, 6)


def test_a_vocabulary_without_its_end() -> None:
    cut = TokenizerBridge(byte_level(), llama(), source_vocab=1, target_vocab=len(llama()))
    assert cut.to_target.tolist() == [-1]


def test_one_other_piece_or_another_end_is_another_tokenizer() -> None:
    vocab = event_tokenizer().get_vocab()
    first, second = sorted(vocab, key=lambda token: vocab[token])[-2:]
    swapped = vocab | {first: vocab[second], second: vocab[first]}
    tokenizer = event_tokenizer()
    merges = [(one, two) for one, two in json.loads(tokenizer.to_str())["model"]["merges"]]
    tokenizer.model = BPE(swapped, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    size = len(vocab)
    sizes = {"source_vocab": size, "target_vocab": size}
    changed = TokenizerBridge(llama(), wrapped(tokenizer), **sizes)
    assert not changed.identical
    assert (changed.shares.same_id, changed.shares.other_id) == (size - 2, 2)
    assert changed.to_target[-2:].tolist() == [size - 1, size - 2]
    assert not TokenizerBridge(llama(), wrapped(event_tokenizer(), end="<unk>"), **sizes).identical


def test_pieces_that_the_other_has_elsewhere_or_not_at_all() -> None:
    over = bridge("bytes-llama")
    there = over.to_target[byte_level().convert_tokens_to_ids(["Ġthe", "A", "Ġcars", "<|end|>"])]
    assert there.tolist() == [*llama().convert_tokens_to_ids(["▁the", "A"]), -1, 2]
    shares = over.shares
    assert shares.source == len(byte_level())
    assert shares.source == shares.same_id + shares.other_id + shares.missing
    assert shares.missing == sum(over.to_target[: shares.source] < 0)
    assert over.to_target[shares.source :].tolist() == [-1] * 3
    for i, token in enumerate(over.to_target[: shares.source].tolist()):
        if token >= 0 and i != byte_level().eos_token_id:
            assert pieces(byte_level())[i] == pieces(llama())[token]


# --- answers ---


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    "text", [" the car is", "the car is", "\nthe car", "  the  car", "中文 is"]
)
def test_ids_are_those_of_the_target(pair: str, text: str) -> None:
    """Behind `ASSISTANT:`, tokenizers with a space before every text say ▁the."""
    source, target = (tokenizer() for tokenizer in PAIRS[pair])
    given_ids = bridge(pair).translate(answer(source, text), closed=True).ids
    if target is byte_level():
        assert list(given_ids) == encode(target, text)
    elif text[0].isspace():
        assert list(given_ids) == answer(target, text)
    else:
        assert list(given_ids) == encode(target, text)
        assert target.convert_ids_to_tokens(given_ids[0]).startswith("▁")


@pytest.mark.parametrize("pair", PAIRS)
@given(text=TEXTS)
@settings(max_examples=100)
def test_an_answer_keeps_its_text(pair: str, text: str) -> None:
    source, target = (tokenizer() for tokenizer in PAIRS[pair])
    ids = answer(source, text)
    said = spelled(source, ids)
    found = bridge(pair).translate(ids, closed=True)
    assert spelled(target, found.ids) in (said, b" " + said)
    assert len(found.sources) == len(found.ids)


@pytest.mark.parametrize("pair", PAIRS)
@given(text=TEXTS)
@settings(max_examples=100)
def test_a_token_arrives_with_the_end_of_its_text(pair: str, text: str) -> None:
    """With the first source token behind which every character is said that it has part in."""
    source, target = (tokenizer() for tokenizer in PAIRS[pair])
    ids = answer(source, text)
    found = bridge(pair).translate(ids, closed=True)
    said = spelled(source, ids)
    lead = spelled(target, found.ids).startswith(b" ") and not said.startswith(b" ")
    assert list(found.sources) == sorted(found.sources)
    characters = list(accumulate(len(character.encode()) for character in said.decode()))
    reached = [len(spelled(source, ids[: i + 1])) for i in range(len(ids))]
    for count, place in enumerate(found.sources, 1):
        end = max(len(spelled(target, found.ids[:count])) - lead, 1)
        needed = next(byte for byte in characters if byte >= end)
        assert place == next(i for i, byte in enumerate(reached) if byte >= needed)


@pytest.mark.parametrize("pair", PAIRS)
@given(text=TEXTS, noise=st.lists(st.integers(0, 400), max_size=6), end=st.booleans())
@settings(max_examples=150)
def test_nothing_is_taken_back(pair: str, text: str, noise: list[int], end: bool) -> None:
    """What is given for part of any row of ids is the beginning of what is given for more."""
    source = PAIRS[pair][0]()
    ids = [*answer(source, text), *([source.eos_token_id] if end else []), *noise]
    parts = [bridge(pair).translate(ids[:n], closed=False) for n in range(len(ids) + 1)]
    parts.append(bridge(pair).translate(ids, closed=True))
    for part, more in pairwise(parts):
        assert more.ids[: len(part.ids)] == part.ids
        assert more.sources[: len(part.ids)] == part.sources
    for n, part in enumerate(parts[:-1]):
        assert all(place < n for place in part.sources), "known before it arrived"


def test_words_arrive_one_behind_the_drafter() -> None:
    ids = encode(byte_level(), " the cars is")
    over = bridge("bytes-llama")
    words = [over.translate(ids[:n], closed=False) for n in range(4)]
    assert [llama().convert_ids_to_tokens(part.ids) for part in words] == [
        [], [], ["▁the"], ["▁the", "▁car", "s"]
    ]  # fmt: skip
    assert words[-1].sources == (0, 1, 1)
    # Not even the space before a first word: it may become part of the word.
    assert over.translate(encode(byte_level(), "xy"), closed=False) == Translated()
    whole = over.translate(ids, closed=True)
    assert llama().convert_ids_to_tokens(whole.ids) == ["▁the", "▁car", "s", "▁is"]


def test_an_incomplete_character_waits() -> None:
    ids = encode(byte_level(), "é the")
    broken = [ids[0], *encode(byte_level(), " the")]
    over = bridge("bytes-llama")
    assert over.translate(ids[:1], closed=False) == Translated()
    assert spelled(llama(), over.translate(ids[:3], closed=False).ids) == " é".encode()
    assert spelled(llama(), over.translate(broken, closed=True).ids) == " \ufffd the".encode()
    assert spelled(llama(), over.translate(ids[:1], closed=True).ids) == " \ufffd".encode()


# --- special tokens ---


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("closed", [False, True])
def test_the_end_becomes_the_targets(pair: str, closed: bool) -> None:
    source, target = (tokenizer() for tokenizer in PAIRS[pair])
    ids = answer(source, " the car")
    whole = bridge(pair).translate(ids, closed=True)
    ended = bridge(pair).translate([*ids, source.eos_token_id, *ids], closed=closed)
    assert ended.ids == (*whole.ids, target.eos_token_id)
    assert ended.sources == (*whole.sources, len(ids))
    assert bridge(pair).translate([source.eos_token_id], closed=closed).ids == (
        target.eos_token_id,
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_other_special_ids_drop_out(pair: str) -> None:
    source = PAIRS[pair][0]()
    first, second = answer(source, " the car")
    ids = [source.bos_token_id, first, len(source) + 1, source.bos_token_id, second, 10**6, -200]
    found = bridge(pair).translate(ids, closed=True)
    assert found.ids == bridge(pair).translate([first, second], closed=True).ids
    assert found.sources == (1, 4)


def test_control_text_stays_text() -> None:
    """A drafter that writes the characters of an end mark does not end the answer."""
    found = bridge("bytes-llama").translate(encode(byte_level(), " </s> the"), closed=True)
    assert 2 not in found.ids
    assert spelled(llama(), found.ids) == b" </s> the"


def test_what_the_target_cannot_spell_ends_the_answer() -> None:
    """Sentencepiece reads ▁ as a space, so no ids of it mean that character."""
    eos = byte_level().eos_token_id
    ids = [*encode(byte_level(), " the ▁car is"), eos]
    for tokens, closed in ((ids, False), (ids[:-1], True)):
        found = bridge("bytes-llama").translate(tokens, closed=closed)
        assert spelled(llama(), found.ids) == b" the "


def test_pieces_of_several_words_wait_for_the_end() -> None:
    """With them, no place in a text is safe from what comes behind."""
    target = byte_level((*_WORDS, "sĠĠ", "sĠĠis"))
    over = TokenizerBridge(llama(), target, source_vocab=len(llama()), target_vocab=len(target))
    ids = answer(llama(), " the cars is")
    assert over.translate(ids, closed=False) == Translated()
    assert spelled(target, over.translate(ids, closed=True).ids) == b" the cars is"
