"""A small tokenizer of our own, built as Llama's is: byte-pair encoding with byte fallback.

For answers of a procedural drive, whose few hundred words need no 32,000 entries. The same texts
give the same tokenizer, entry by entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from crossdraft.base.errors import InputError

UNKNOWN, START, END = SPECIAL = ("<unk>", "<s>", "</s>")
#: Ids of the special entries, as in Llama's vocabulary.
UNKNOWN_ID, START_ID, END_ID = range(3)
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
_SPACE = "▁"


def train_bpe(texts: Iterable[str], size: int = 1500) -> Tokenizer:
    """Learn a vocabulary: `<unk> <s> </s>`, 256 bytes, then characters and merges.

    Words are never merged with punctuation, line breaks or one another, digits stand alone.
    Whatever is encoded, `<s>` comes first unless `add_special_tokens=False`.

    Each text counts once, and in whatever order they come the same is learned.

    Args:
        size: entries at most; texts of few words make fewer.

    Raises:
        InputError: the vocabulary has no room for the bytes and the characters of the texts, or
            there are no texts.
    """
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = _words()
    entries = list(dict.fromkeys(texts))
    if not any(text.strip() for text in entries):
        raise InputError("no texts to learn a vocabulary from", expected="one answer or more")
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*SPECIAL, *_BYTES], show_progress=False
    )
    learned.train_from_iterator(entries, trainer)
    model = json.loads(learned.to_str())["model"]
    if len(model["vocab"]) > size:
        raise InputError(
            f"a vocabulary of {size} entries",
            expected=f"at least {len(model['vocab'])}: bytes and every character of the texts",
        )
    return _built(model["vocab"], [tuple(pair) for pair in model["merges"]])


def _built(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """The tokenizer around a learned vocabulary.

    The trainer knows bytes only as special entries; here they are ordinary ones, so that a text
    that reads `<0x41>` is not taken for a byte.
    """
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token=UNKNOWN, byte_fallback=True))
    made.pre_tokenizer = _words()
    made.decoder = decoders.Sequence(
        [
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single=f"{START} $A",
        pair=f"{START} $A {START}:1 $B:1",
        special_tokens=[(START, START_ID)],
    )
    made.add_special_tokens([AddedToken(entry, special=True) for entry in SPECIAL])
    return made


def _words() -> pre_tokenizers.PreTokenizer:
    """Where no merge crosses: before each word, around line breaks and punctuation, between
    digits."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(_SPACE, prepend_scheme="first"),
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
