"""Tiny random models in float64 and made-up pictures in the shapes that their processors give.

Weights are drawn wide, so that greedy answers vary. Norms compute in double precision: the ones of
transformers round to float32, which now and then turns a difference of 1e-16 into one of 1e-7.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from crossdraft.vlm.image_text import prompt_from
from crossdraft.vlm.prompt import Prompt

VOCAB = 120
#: Ids from here on stand for pictures; words are 3..DRAFTABLE-1, 0 pads.
DRAFTABLE = 116
VISION_START, VISION_END, IMAGE, VIDEO = 116, 117, 118, 119

TEXT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "tie_word_embeddings": False,
}


def llama(seed: int = 0, **options: Any) -> Any:
    """A Llama: full attention, two query heads to each key head."""
    return _ready(hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT | options)), seed)


def mistral_sliding(seed: int = 0, window: int = 8) -> Any:
    """A Mistral: every layer sees the last `window` tokens only."""
    config = hf.MistralConfig(**TEXT, sliding_window=window, head_dim=8)
    return _ready(hf.MistralForCausalLM(config), seed)


def qwen2_sliding(seed: int = 0, window: int = 6) -> Any:
    """A Qwen2 whose first layer sees everything and whose second slides."""
    return _ready(hf.Qwen2ForCausalLM(_qwen2_sliding_config(window)), seed)


def gemma3(seed: int = 0, window: int = 7) -> Any:
    """A Gemma 3: a sliding and a full layer with rotary bases of their own, capped logits,
    scaled embeddings, normed queries and keys."""
    config = hf.Gemma3TextConfig(
        **TEXT,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=window,
        layer_types=["sliding_attention", "full_attention"],
        final_logit_softcapping=5.0,
    )
    return _ready(hf.Gemma3ForCausalLM(config), seed)


def gemma2_eager(seed: int = 0) -> Any:
    """A Gemma 2, whose capped attention scores only the eager implementation computes; its
    softmax rounds to float32."""
    config = hf.Gemma2Config(
        **TEXT,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=7,
        attn_logit_softcapping=3.0,
        final_logit_softcapping=5.0,
    )
    return _ready(hf.Gemma2ForCausalLM(config), seed, "eager")


def gpt2(seed: int = 0, positions: int = 512) -> Any:
    """A GPT-2: learned absolute positions, fused projections, LayerNorm."""
    config = hf.GPT2Config(
        vocab_size=VOCAB,
        n_positions=positions,
        n_embd=32,
        n_layer=2,
        n_head=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    return _ready(hf.GPT2LMHeadModel(config), seed)


def video_llava(seed: int = 0) -> Any:
    """A Video-LLaVA of 8 px frames in 4 px patches: 5 slots per frame, 4 per image."""
    vision = hf.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        projection_dim=16,
    )
    config = hf.VideoLlavaConfig(
        vision_config=vision,
        text_config=hf.LlamaConfig(**TEXT),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_seq_length=4,
        video_seq_length=20,
    )
    return _ready(hf.VideoLlavaForConditionalGeneration(config), seed)


def llava_onevision(seed: int = 0, *, sliding: bool = False) -> Any:
    """A LLaVA-OneVision of 12 px tiles in 4 px patches; 4 slots per frame and a newline."""
    vision = hf.SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=12,
        patch_size=4,
        vision_use_head=False,
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=vision,
        text_config=_qwen2_sliding_config(6) if sliding else hf.Qwen2Config(**TEXT),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=[[12, 12], [12, 24], [24, 12]],
    )
    return _ready(hf.LlavaOnevisionForConditionalGeneration(config), seed)


def qwen2_5_vl(seed: int = 0) -> Any:
    """A Qwen2.5-VL of 4 px patches, merged two by two, two frames to a step of time."""
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 24,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 16,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        text_config=TEXT
        | {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [2, 1, 1],
            },
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
    )
    return _ready(hf.Qwen2_5_VLForConditionalGeneration(config), seed)


#: Every text decoder by name.
DECODERS: Mapping[str, Callable[[], Any]] = {
    "llama": llama,
    "mistral-sliding": mistral_sliding,
    "qwen2-sliding": qwen2_sliding,
    "gemma3": gemma3,
    "gpt2": gpt2,
}

#: Every model that reads pictures, by name, with the kinds of pictures it is shown.
READERS: Mapping[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "video-llava": (video_llava, ("video", "image", "both", "text")),
    "llava-onevision": (llava_onevision, ("video", "image", "both", "text")),
    "llava-onevision-sliding": (lambda: llava_onevision(sliding=True), ("video", "image")),
    "qwen2.5-vl": (qwen2_5_vl, ("video", "image", "both", "videos", "untyped", "text")),
}


@cache
def tiny(name: str) -> Any:
    """The model of this name, made once; tests that change its settings make their own."""
    return DECODERS[name]() if name in DECODERS else READERS[name][0]()


def word_ids(rng: random.Random, length: int) -> tuple[int, ...]:
    """Random ids that stand for words."""
    return tuple(rng.randrange(3, DRAFTABLE) for _ in range(length))


@dataclass(frozen=True, eq=False)
class MadeScene:
    """One made-up scene as one model's processor would give it.

    Attributes:
        ids: everything up to the last picture slot, or the mark that ends the picture.
        pictures: pixels, sizes and grids.
        typed: whether the processor also says which ids are slots of which kind.
        reads: grows by one entry whenever somebody builds the pictures through `prompt`.
    """

    model: Any
    ids: tuple[int, ...]
    pictures: Mapping[str, Tensor]
    typed: bool = False
    reads: list[str] = field(default_factory=list)

    def outputs(self, question: Sequence[int]) -> dict[str, Tensor]:
        """What the processor gives for this scene and a question of these ids."""
        ids = torch.tensor([[*self.ids, *question]])
        outputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **self.pictures}
        if self.typed:
            outputs["mm_token_type_ids"] = ((ids == IMAGE) + 2 * (ids == VIDEO)).to(torch.int32)
        return outputs

    def prompt(self, question: Sequence[int]) -> Prompt:
        """The prompt that asks this question; counts how often its pictures are built."""
        if not self.pictures:
            return Prompt((*self.ids, *question), len(self.ids))
        made = prompt_from(self.outputs(question), self.model.config)

        def inputs() -> Mapping[str, Tensor]:
            self.reads.append("read")
            return made.inputs()

        return Prompt(made.ids, made.cut, inputs)


class Words:
    """A prompt builder over made-up scenes: a word becomes one id, an end marker follows."""

    name = "words"

    def __call__(self, scene: Any, question: str) -> Prompt:
        """The prompt of this question about a `MadeScene`."""
        prompt: Prompt = scene.prompt(self.ids(question))
        return prompt

    @staticmethod
    def ids(question: str) -> tuple[int, ...]:
        """Ids of a question's words and the end marker."""
        return (*(3 + sum(map(ord, word)) % 100 for word in question.split()), 7)


def scene_of(
    model: Any, rng: random.Random, kind: str = "video", *, before: int | None = None
) -> MadeScene:
    """A random scene for this model.

    Args:
        kind: what it shows: `video`, `image`, `both`, `videos` (two, with other grids), `text`
            (words alone) or `untyped` (a video, by a processor that does not type its ids).
        before: number of words before the first picture; random by default. Of `text` it is the
            whole shared prefix, 0 by default.
    """
    if kind == "text":
        return MadeScene(model, word_ids(rng, before or 0), {})
    before = rng.randrange(1, 5) if before is None else before
    make = {
        "video_llava": _video_llava_pictures,
        "llava_onevision": _onevision_pictures,
        "qwen2_5_vl": _qwen_pictures,
    }[model.config.model_type]
    slots, pictures = make(model, rng, kind)
    typed = model.config.model_type == "qwen2_5_vl" and kind != "untyped"
    return MadeScene(model, (*word_ids(rng, before), *slots), pictures, typed)


def outputs(
    model: Any, rng: random.Random, text_ids: Sequence[int], kind: str = "video"
) -> dict[str, Tensor]:
    """Processor outputs of a random scene with this text behind it."""
    return scene_of(model, rng, kind).outputs(text_ids)


def _video_llava_pictures(
    model: Any, rng: random.Random, kind: str
) -> tuple[tuple[int, ...], dict[str, Tensor]]:
    slots: list[int] = []
    pictures = {}
    if kind in ("image", "both"):
        names = inspect.signature(model.forward).parameters
        name = "pixel_values" if "pixel_values" in names else "pixel_values_images"
        pictures[name] = _normal(rng, 1, 3, 8, 8)
        slots += [IMAGE] * 4
    if kind in ("video", "both"):
        slots += [*word_ids(rng, 2 if slots else 0), *[VIDEO] * 20]
        pictures["pixel_values_videos"] = _normal(rng, 1, 4, 3, 8, 8)
    return tuple(slots), pictures


def _onevision_pictures(
    model: Any, rng: random.Random, kind: str
) -> tuple[tuple[int, ...], dict[str, Tensor]]:
    slots: list[int] = []
    pictures = {}
    if kind in ("image", "both"):
        height, width = rng.choice([(12, 12), (10, 20), (20, 9)])
        tiles = 2 if height == width else 3
        pictures["pixel_values"] = _normal(rng, 1, tiles, 3, 12, 12)
        pictures["image_sizes"] = torch.tensor([[height, width]])
        pictures["batch_num_images"] = torch.tensor([1])
        with torch.no_grad():
            features = model.model.get_image_features(**pictures).pooler_output
        slots += [IMAGE] * len(features[0])
    if kind in ("video", "both"):
        frames = rng.randrange(1, 4)
        slots += [*word_ids(rng, 2 if slots else 0), *[VIDEO] * (4 * frames + 1)]
        pictures["pixel_values_videos"] = _normal(rng, 1, frames, 3, 12, 12)
    return tuple(slots), pictures


def _qwen_pictures(
    model: Any, rng: random.Random, kind: str
) -> tuple[tuple[int, ...], dict[str, Tensor]]:
    slots: list[int] = []
    pictures = {}
    if kind in ("image", "both"):
        grid = (1, 2 * rng.randrange(1, 4), 2 * rng.randrange(1, 4))
        pictures["pixel_values"] = _normal(rng, grid[0] * grid[1] * grid[2], 96)
        pictures["image_grid_thw"] = torch.tensor([grid])
        slots += [VISION_START, *[IMAGE] * (grid[1] * grid[2] // 4), VISION_END]
    if kind != "image":
        grids = [
            (rng.randrange(2, 4), 2 * rng.randrange(1, 3), 2 * rng.randrange(1, 3))
            for _ in range(2 if kind == "videos" else 1)
        ]
        for t, h, w in grids:
            slots += [*word_ids(rng, 1 if slots else 0), VISION_START]
            slots += [*[VIDEO] * (t * h * w // 4), VISION_END]
        pictures["pixel_values_videos"] = _normal(rng, sum(t * h * w for t, h, w in grids), 96)
        pictures["video_grid_thw"] = torch.tensor(grids)
        # With 4 or 9 s between two steps of time, the last frame's position lies far beyond the
        # position at which the text behind the video starts.
        seconds = [rng.choice([0.5, 1.0, 4.0, 9.0]) for _ in grids]
        pictures["second_per_grid_ts"] = torch.tensor(seconds)
    # Sometimes the mark that ends the picture counts as part of the question.
    return tuple(slots if rng.random() < 0.5 else slots[:-1]), pictures


def _qwen2_sliding_config(window: int) -> Any:
    return hf.Qwen2Config(
        **TEXT,
        use_sliding_window=True,
        sliding_window=window,
        max_window_layers=1,
        layer_types=["full_attention", "sliding_attention"],
    )


def _normal(rng: random.Random, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _ready(model: Any, seed: int, attention: str = "sdpa") -> Any:
    """Draw weights, move to float64, put double-precision norms in."""
    model = model.double().eval()
    model.set_attn_implementation(attention)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            if weight.ndim == 1:
                weight.add_(0.1 * noise)
            else:
                weight.copy_(0.3 * noise)
    for path, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, _double_norm(module))
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def _double_norm(norm: Any) -> nn.RMSNorm:
    shift = 1.0 if type(norm).__name__.startswith("Gemma") else 0.0
    epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", 1e-6))
    double = nn.RMSNorm(norm.weight.shape[0], eps=epsilon, dtype=torch.float64)
    with torch.no_grad():
        double.weight.copy_(norm.weight + shift)
    return double
