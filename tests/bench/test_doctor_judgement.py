"""Where the doctor draws its lines: rounding or fault, words or none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from crossdraft.bench.checks.answers import judge
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.noise import explained
from crossdraft.bench.checks.reference import Noise, Reference, largest_difference, noise_of
from crossdraft.bench.checks.vocabulary import Words, check_vocabulary
from tests.vlm.eventgpt_folder import event_tokenizer

NOISE = Noise(measured=1e-3, scale=10.0, eps=1.2e-7)


def reference(margin: float) -> Reference:
    """A model whose answer is 5 6 7 8, with 9 so close behind at place 2."""
    logits = torch.zeros(4, 12)
    for place, token in enumerate((5, 6, 7, 8)):
        logits[place, token] = 3.0
    logits[2, 9] = 3.0 - margin
    answer = (5, 6, 7, 8)
    return Reference(answer, answer, (1, *answer), logits, logits, NOISE, NOISE)


def test_equal_answers() -> None:
    assert judge(reference(1.0), (5, 6, 7, 8)) == (4, True, "")


def test_a_mismatch_within_the_noise_is_rounding() -> None:
    equal, ok, why = judge(reference(2e-3), (5, 6, 9, 1))
    assert (equal, ok) == (2, True) and "rounding: margin 0.002" in why


@pytest.mark.parametrize("found", [(5, 6, 9, 8), (5, 6, 1, 8)])
def test_a_mismatch_beyond_the_noise_is_a_fault(found: tuple[int, ...]) -> None:
    equal, ok, _ = judge(reference(0.1), found)
    assert (equal, ok) == (2, False)


@pytest.mark.parametrize("found", [(5, 6, 7), (5, 6, 7, 8, 1), ()])
def test_another_length_is_a_fault(found: tuple[int, ...]) -> None:
    assert judge(reference(0.0), found)[1:] == (False, f"(ends after {len(found)})")


def test_no_noise_is_one_rounding_and_no_more() -> None:
    exact = Noise(measured=0.0, scale=10.0, eps=1e-7)
    assert exact.level == pytest.approx(1e-6) and exact.allowed == pytest.approx(4e-6)
    assert exact.limit == pytest.approx(10 * 1e-7**0.5)


def test_what_rounding_explains() -> None:
    assert explained(NOISE, 9e-3, 3e-3)
    assert not explained(NOISE, 1.1e-2, 3e-3)  # a flip at eleven times the noise
    assert not explained(NOISE, 9e-3, 4e-3)  # beyond the half of the digits


class _Quantised:
    is_quantized = True


class _Int8(_Quantised):
    is_loaded_in_8bit = True


def test_quantised_weights_round_as_bfloat16_does() -> None:
    rows = torch.ones(2, 3)
    eps = torch.finfo(torch.bfloat16).eps
    assert noise_of(_Quantised(), rows, rows).eps == eps > noise_of(None, rows, rows).eps


def test_rows_of_int8_depend_on_the_rows_beside_them() -> None:
    rows = torch.full((2, 3), 8.0)
    assert noise_of(_Int8(), rows, rows).limit == pytest.approx(2.0)
    assert noise_of(_Quantised(), rows, rows).limit == pytest.approx(8 * 2**-3.5)


def test_differences_of_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="shape"):
        largest_difference(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="no numbers"):
        largest_difference(torch.tensor([1.0, torch.nan]), torch.zeros(2))


@pytest.fixture(scope="module")
def words() -> Words:
    maker: Any = PreTrainedTokenizerFast
    tokenizer = maker(
        tokenizer_object=event_tokenizer(), bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    return Words(tokenizer, np.ones(len(tokenizer), np.bool_))


def test_one_vocabulary(words: Words) -> None:
    found = check_vocabulary(words, words)
    assert found.ok is True and found.numbers["identical"] is True
    assert found.numbers["same_id"] == found.numbers["drafter_ids"]


def test_ids_that_no_word_has_must_not_be_drafted(words: Words) -> None:
    wide = np.concatenate([words.draftable, np.ones(61, np.bool_)])
    found = check_vocabulary(dataclasses.replace(words, draftable=wide), words)
    assert found.ok is False and "61 ids that no word has" in found.line


def test_ids_in_gaps_of_the_tokenizer(words: Words) -> None:
    """The number of words says nothing about their ids."""
    maker: Any = PreTrainedTokenizerFast
    known = event_tokenizer().get_vocab()
    gap = max(known.values()) + 1
    tokenizer = maker(
        tokenizer_object=Tokenizer(WordLevel({"<unk>": 0, "a": 1, "b": gap}, unk_token="<unk>")),
        unk_token="<unk>",
    )
    draftable = np.zeros(gap + 1, np.bool_)
    draftable[[1, gap]] = True
    assert Words(tokenizer, draftable).wordless == 0
    draftable[5] = True
    assert Words(tokenizer, draftable).wordless == 1


def test_signs_must_not_be_drafted(words: Words) -> None:
    maker: Any = PreTrainedTokenizerFast
    tokenizer = maker(
        tokenizer_object=event_tokenizer(), bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    target = Words(tokenizer, np.ones(len(tokenizer), np.bool_))
    found = check_vocabulary(target, words)
    assert found.ok is False and found.line.endswith("; so may <pad>")
    target.draftable[-1] = False
    assert check_vocabulary(target, words).ok is True


def test_as_many_ids_as_were_trained(words: Words) -> None:
    count = len(words.draftable)
    assert check_vocabulary(dataclasses.replace(words, trained=count), words).ok is True
    found = check_vocabulary(dataclasses.replace(words, trained=count - 1), words)
    assert found.ok is False and f"{count - 1} were trained" in found.line


def test_nothing_may_be_drafted(words: Words) -> None:
    none = dataclasses.replace(words, draftable=np.zeros_like(words.draftable))
    assert check_vocabulary(none, words).ok is False


def test_without_a_tokenizer(words: Words) -> None:
    found = check_vocabulary(words, Words(None, words.draftable))
    assert found == Check.skipped("vocabulary", "pair", "a model has no tokenizer")
