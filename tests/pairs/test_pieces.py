"""Pieces are learned from ids and texts, and never a wrong one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.pieces import LearnedPieces, TokenizerPieces, learn_pieces

EOS = 2
VOCAB = {10: " The", 11: " road", 12: " is", 13: " w", 14: "inding", 15: " snow", 16: "y",
         17: ",", 18: ".", 19: " car", 20: " dust", 21: "\n", EOS: ""}  # fmt: skip
Answers = list[tuple[Sequence[int], str | None]]


def read(tokens: Sequence[int], vocab: Mapping[int, str] = VOCAB) -> str:
    """The text of some ids, as decoding leaves it: ends stripped."""
    return "".join(vocab[token] for token in tokens).removeprefix(" ").rstrip()


def lessons(*answers: Sequence[int]) -> Answers:
    return [(tokens, read(tokens)) for tokens in answers]


ROADS = lessons(
    (10, 11, 12, 13, 14, 18, EOS), (10, 11, 12, 15, 16, 18, EOS), (10, 13, 14, 15, 16, 11, 18, EOS),
    (10, 19, 12, 20, 16, 17, 11, EOS), (10, 20, 16, 18, 10, 19),
)  # fmt: skip


def test_splits_words_into_pieces() -> None:
    found = learn_pieces(ROADS)
    assert found.set_aside == 0
    assert found.piece(16) == "y"
    assert found.piece(15) == " snow"
    assert found.text((10, 19, 12, 15, 16, 18, EOS)) == "The car is snowy."


def test_what_always_stands_together_stays_an_id() -> None:
    found = learn_pieces(ROADS)
    assert found.piece(13) is None
    assert found.piece(14) is None
    assert found.text((10, 13, 14, 11)) == "The⟨13⟩⟨14⟩ road"
    apart = learn_pieces([*ROADS, *lessons((10, 13, 16))])
    assert (apart.piece(13), apart.piece(14)) == (" w", "inding")


def test_the_end_mark_reads_as_nothing() -> None:
    found = learn_pieces(ROADS)
    assert found.pieces[EOS] == b""
    assert found.piece(EOS) is None
    assert found.text((11, EOS)) == "road"


def test_blanks_at_the_end_may_be_stripped() -> None:
    found = learn_pieces([*ROADS, *lessons((10, 11, 21, 10, 19, 18), (10, 19, 21), (10, 11, 21))])
    assert found.set_aside == 0
    assert found.piece(21) == "\n"


def test_bytes_of_one_character() -> None:
    parts = {30: b" caf", 31: b"\xc3", 32: b"\xa9", 33: b"\xa8", 34: b" tr", 35: b"s", 36: b"e"}
    rows = [(30, 31, 32), (34, 31, 33, 35), (30, 36), (34, 36, 35), (30, 35)]
    texts = [b"".join(parts[t] for t in row).decode().removeprefix(" ") for row in rows]
    found = learn_pieces(list(zip(rows, texts, strict=True)))
    assert found.pieces[31] == b"\xc3"
    assert found.piece(31) is None, "half a character is not shown"
    assert found.text((34, 31, 33, 35)) == "très"


def test_texts_that_do_not_follow_from_their_ids_are_set_aside() -> None:
    rng = random.Random(0)
    many = lessons(*((10, 11, 12, *rng.choices(range(15, 20), k=4), 18) for _ in range(40)))
    clean = learn_pieces(many)
    damaged = learn_pieces([((10, 11, 12, 15, 18), "Something else altogether"), *many])
    assert damaged.set_aside == 1
    assert "1 set aside" in damaged.source
    assert damaged.pieces == clean.pieces
    assert clean.pieces[11] == b" road"


def test_contradicting_texts_leave_ids_alone() -> None:
    found = learn_pieces([((40,), "left"), ((40,), "right")])
    assert found.pieces == {}


def test_nothing_to_learn_from() -> None:
    for answers in ([], [((1, 2), None), ((), "words"), ((1,), ""), ((1,), "lost �")]):
        found = learn_pieces(answers)
        assert found == LearnedPieces()
        assert found.text((1, 2)) == "⟨1⟩⟨2⟩"
        assert found.source.startswith("none")


@given(st.data())
def test_a_learned_piece_is_the_true_one(data: st.DataObject) -> None:
    letters = st.text("ab,\u00e9", min_size=1, max_size=3)
    starts = data.draw(st.lists(letters, min_size=1, max_size=6, unique=True))
    insides = data.draw(st.lists(letters, max_size=4, unique=True))
    vocab = {EOS: ""} | {100 + i: f" {word}" for i, word in enumerate(starts)}
    vocab |= {200 + i: word for i, word in enumerate(insides)}
    first = st.sampled_from([token for token in vocab if 100 <= token < 200])
    rest = st.lists(st.sampled_from([token for token in vocab if token != EOS]), max_size=7)
    rows = data.draw(st.lists(st.tuples(first, rest, st.booleans()), min_size=1, max_size=8))
    answers = [([a, *b, EOS] if ended else [a, *b]) for a, b, ended in rows]
    found = learn_pieces([(row, read(row, vocab)) for row in answers])
    assert found.set_aside == 0
    assert {token: vocab[token] for token in found.pieces} == {
        token: piece.decode() for token, piece in found.pieces.items()
    }


def test_many_ways_to_cut_end_in_ids_and_soon() -> None:
    rng = random.Random(0)
    rows = [[rng.randrange(50) for _ in range(400)] for _ in range(20)]
    found = learn_pieces([(row, "".join("ab"[t % 2] * (1 + t % 5) for t in row)) for row in rows])
    assert found.set_aside == 20


def test_real_answers(real_answers: Path) -> None:
    answers: Answers = []
    for pair in read_pairs(real_answers).pairs:
        answers += [(pair.draft_tokens, pair.draft_text), (pair.target_tokens, pair.target_text)]
    found = learn_pieces(answers)
    occurs = Counter(token for tokens, _ in answers for token in tokens)
    known = sum(count for token, count in occurs.items() if token in found.pieces)
    assert found.set_aside == 0
    assert len(found.pieces) >= 0.75 * len(occurs)
    assert known >= 0.98 * occurs.total()
    for tokens, text in answers:
        if all(token in found.pieces for token in tokens):
            assert found.text(tokens) == text
    # Ids of Llama's vocabulary, known from its file.
    for token, piece in ((278, " the"), (29879, "s"), (4015, "inding"), (281, " w"), (29892, ",")):
        assert found.piece(token) == piece


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    """A tokenizer in the manner of sentencepiece, trained on a few made-up sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    raw.train_from_iterator([text for _, text in ROADS if text], trainer)
    folder = tmp_path / "tokenizer"
    made: Any = PreTrainedTokenizerFast
    made(tokenizer_object=raw, eos_token="</s>").save_pretrained(folder)
    return folder


def test_tokenizer_pieces_and_what_is_learned_without_it(tokenizer_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_folder))
    wording = TokenizerPieces(tokenizer_folder)
    rows = [[*tokenizer.encode(text), EOS] for _, text in ROADS]
    for row, (_, text) in zip(rows, ROADS, strict=True):
        assert wording.text(row) == text
    assert wording.text([*rows[0][:-1], 9999]) == f"{ROADS[0][1]}⟨9999⟩"
    assert wording.piece(EOS) is None
    assert wording.piece(9999) is None
    assert str(tokenizer_folder) in wording.source
    learned = learn_pieces(zip(rows, (text for _, text in ROADS), strict=True))
    names = {token: str(tokenizer.convert_ids_to_tokens(token)) for token in learned.pieces}
    assert len(names) > 3
    for token, name in names.items():
        expected = "" if token == EOS else name.replace("▁", " ")
        assert learned.pieces[token].decode() == expected


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        TokenizerPieces(tmp_path / "absent")
    with pytest.raises(InputError, match="no tokenizer could be read"):
        TokenizerPieces(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    with pytest.raises(InputError, match="no tokenizer could be read"):
        TokenizerPieces(tmp_path)
