"""A folder with `tokenizer.model` alone, as EventGPT is published."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import sentencepiece

from crossdraft.vlm.eventgpt.processing import TEMPLATES, EventGPTPrompts
from tests.vlm.eventgpt_folder import write_eventgpt

FRAMES = np.zeros((5, 28, 28, 3), np.uint8)


def test_prompts_have_the_ids_of_the_sentencepiece_model(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e", vocab_size=400)
    (folder / "tokenizer.json").unlink()
    pieces = _trained(folder)
    prompts = EventGPTPrompts.from_folder(folder)
    for question in ("What is this scene?", "Wo ist das Auto, <ev_end>?\n", "日本"):
        before, after = TEMPLATES["official"]
        # Each half by itself; the first begins with the begin token.
        first = [1, *pieces.encode(before)]
        second = pieces.encode(f"{after}{question.strip()} ASSISTANT:")
        ids = prompts(FRAMES, question).ids
        assert list(ids) == [*first, *[-200] * 10, *second]


def _trained(folder: Path) -> sentencepiece.SentencePieceProcessor:
    """A BPE of the Llama kind, trained on a few words."""
    chance = random.Random(0)
    words = ["the", "car", "on", "road", "What", "is", "scene", "in", "this", "USER", "event"]
    lines = [" ".join(chance.choices(words, k=12)) for _ in range(500)]
    (folder / "text.txt").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        hard_vocab_limit=False,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
