"""The embedded models without training: sizes, configurations, networks with random weights.

Both have the hidden size 256, so that an adapter from one to the other can be residual. The sizes
keep the proportions of the real pair's clock on two CPU cores: a prefill of many decode steps, a
drafter that answers several times sooner, wider passes that cost little more than one token.
"""

from __future__ import annotations

import torch
from transformers import CLIPVisionConfig, LlamaConfig, VideoLlavaConfig

from crossdraft.vlm.bpe import END_ID, START_ID, UNKNOWN_ID
from crossdraft.vlm.eventgpt.configuration import EventGPTConfig
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration
from crossdraft.vlm.video_llava import FRAMES, VideoOnlyLlava

#: Width and height of a frame, and of its patches, in pixels.
SIDE, PATCH = 112, 16
HIDDEN = 256
#: States of one frame: its patches and the class token.
STATES = (SIDE // PATCH) ** 2 + 1
#: Rows of the target's embeddings behind the vocabulary, as published: three control tokens first.
SPARE_ROWS = 64
CONTROLS = ("<image>", "<video>", "<pad>")


def target_config(vocab: int) -> VideoLlavaConfig:
    """Configuration of the tiny Video-LLaVA.

    Args:
        vocab: entries of the vocabulary, without control tokens.
    """
    return VideoLlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=256, intermediate_size=1024, num_hidden_layers=3, num_attention_heads=4,
            image_size=SIDE, patch_size=PATCH, projection_dim=HIDDEN,
        ),
        text_config=_llama(vocab + SPARE_ROWS, 752, 8, 1024, vocab + 2),
        image_token_index=vocab,
        video_token_index=vocab + 1,
        image_seq_length=STATES - 1,
        video_seq_length=FRAMES * STATES,
        # Nothing was trained before on top of the tower, so its last layer is as good as any.
        vision_feature_layer=-1,
    )  # fmt: skip


def drafter_config(vocab: int) -> EventGPTConfig:
    """Configuration of the tiny EventGPT.

    Args:
        vocab: entries of the vocabulary.
    """
    llama = _llama(vocab, 256, 2, 512, UNKNOWN_ID).to_dict()
    for name in ("model_type", "architectures", "transformers_version"):
        llama.pop(name, None)
    return EventGPTConfig(
        **llama,
        vision_config=CLIPVisionConfig(
            hidden_size=160, intermediate_size=400, num_hidden_layers=3, num_attention_heads=5,
            image_size=SIDE, patch_size=PATCH, projection_dim=HIDDEN,
        ).to_dict(),
        tokenizer_model_max_length=512,
    )  # fmt: skip


def target_network(vocab: int, seed: int) -> VideoOnlyLlava:
    """A tiny Video-LLaVA with random weights; videos only, so without an image tower."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VideoOnlyLlava(target_config(vocab))


def drafter_network(vocab: int, seed: int) -> EventGPTForConditionalGeneration:
    """A tiny EventGPT with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EventGPTForConditionalGeneration(drafter_config(vocab))


def _llama(vocab: int, intermediate: int, layers: int, positions: int, pad: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocab, hidden_size=HIDDEN, intermediate_size=intermediate,
        num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=positions, rms_norm_eps=1e-5, tie_word_embeddings=False,
        bos_token_id=START_ID, eos_token_id=END_ID, pad_token_id=pad,
    )  # fmt: skip
