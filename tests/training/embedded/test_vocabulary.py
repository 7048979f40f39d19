"""The vocabulary of the embedded pair: small, whole words, nothing lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.voices import answers
from crossdraft.training.embedded.vocabulary import embedded_vocabulary
from crossdraft.vlm.bpe import END_ID, START_ID, UNKNOWN_ID


def test_it_has_one_to_two_thousand_entries() -> None:
    assert 1000 <= embedded_vocabulary().get_vocab_size() <= 2000


def test_answers_of_drives_that_it_has_not_read_are_whole_words() -> None:
    words = embedded_vocabulary()
    said = [
        answer.text
        for number in range(3)
        for clip in plan_drive(7, "test", number, 5)
        for entry in answers(clip)
        for answer in entry.answers.values()
    ]
    for text in said:
        pieces = words.encode(text, add_special_tokens=False).tokens
        spelled = text.replace(".", " .").replace(",", " ,").replace("-", " - ").split()
        assert len(pieces) == len(spelled), (text, pieces)


@given(st.text(max_size=40))
def test_any_text_comes_back(text: str) -> None:
    words = embedded_vocabulary()
    ids = words.encode(text, add_special_tokens=False).ids
    assert not {UNKNOWN_ID, START_ID, END_ID} & set(ids)
    # The space before the first word is the tokenizer's own.
    assert words.decode(ids).lstrip(" ") == text.lstrip(" ")
