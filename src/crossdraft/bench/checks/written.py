"""Every prompt written out, and its ids worked out without the prompt builders.

A builder that loses a line break or a sentence is the same wherever it is asked; only another
source can tell. Video-LLaVA's text is tokenised as a whole with a placeholder for every slot,
EventGPT's in two halves around the events, as each model's published code does.
"""

from __future__ import annotations

from typing import Any

from crossdraft.bench.checks.case import Case
from crossdraft.vlm.pair_models import tokenizer_of
from crossdraft.vlm.prompt import Prompt

#: Template: text before the picture, and between it and the question.
TEXTS = {
    "video-llava": ("USER: ", "\n"),
    "official": (
        "A chat between a curious human and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions. USER: <ev_start>",
        "<ev_end>\n",
    ),
    "training": (
        "A chat between a curious human and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions. USER: ",
        "\n",
    ),
}
#: Behind every question.
END = " ASSISTANT:"
#: What stands for a slot of Video-LLaVA in its text, and for one of EventGPT among its ids.
PLACEHOLDER, EVENT_ID = "<video>", -200


def written_prompt(case: Case) -> Prompt:
    """The prompt that the pair asks with; its inputs are left out."""
    before, middle = TEXTS[case.wanted.template]
    after = f"{middle}{case.question.strip()}{END}"
    tokenizer: Any = tokenizer_of(case.pair.spec(case.role), case.role)
    vision: Any = case.target.model.config.vision_config
    # A state for every patch, and the class token's.
    states = (vision.image_size // vision.patch_size) ** 2 + 1
    frames = case.wanted.frames
    if case.wanted.render is None:
        text = before + PLACEHOLDER * (frames * states) + after
        ids = tokenizer(text, verbose=False)["input_ids"]
        slot = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        return Prompt(tuple(ids), len(ids) - ids[::-1].index(slot))
    head, tail = (tokenizer(text, verbose=False)["input_ids"] for text in (before, after))
    if tail[0] == tokenizer.bos_token_id:  # a prompt begins once
        tail = tail[1:]
    # A row for every frame and one for every state: both are means over the other.
    shown = [*head, *[EVENT_ID] * (frames + states)]
    return Prompt((*shown, *tail), len(shown))
