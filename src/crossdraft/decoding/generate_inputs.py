"""What `generate` has prepared for a model's first forward, as a session takes it.

By the time a decoding loop of somebody else's is called, pictures may be encoded and positions are
computed; both are used as they are. Whatever a session would answer otherwise is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.generation.configuration_utils import GenerationMode
from transformers.generation.logits_process import UnbatchedClassifierFreeGuidanceLogitsProcessor

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.vlm.cache import GrowingCache
from crossdraft.vlm.causal import CausalSession
from crossdraft.vlm.image_text import picture_ids
from crossdraft.vlm.picture import Picture, placed, prefill
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target

#: What `generate` prepares and sessions have of their own.
_OURS = frozenset(
    ("attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep")
)
#: What was found, and what was expected.
Wrong = tuple[str, str]
_WITHOUT = "leave custom_generate out of this call"


@dataclass(frozen=True, eq=False)
class Inputs:
    """What `generate` would give the model's first forward.

    Attributes:
        prompt: its ids, cut behind the last picture.
        positions: [1, length] or [axes, 1, length].
        pictures: pixels, grids and marks for the ids up to the cut. What `generate` has encoded
            already is no tensor.
    """

    prompt: Prompt
    positions: Tensor
    pictures: Mapping[str, Any]

    @classmethod
    def of(cls, config: Any, ids: Tensor, kwargs: Mapping[str, Any]) -> Inputs:
        """Sort what `generate` prepared.

        Raises:
            InputError: pictures without places among the ids, something beside the ids of the
                text, or nothing behind the pictures.
        """
        # Of a prompt without pictures, the collection of those encoded is there and empty.
        given = {
            name: value
            for name, value in kwargs.items()
            if name not in _OURS
            and value is not None
            and not (isinstance(value, dict) and not value)
        }
        marks = {n: v for n, v in given.items() if isinstance(v, Tensor) and v.shape == ids.shape}
        slots, row, cut = picture_ids(config), ids[0].tolist(), 0
        if len(given) > len(marks):
            cut = max((place + 1 for place, token in enumerate(row) if token in slots), default=0)
        unread = [n for n in given if n not in marks and not cut]
        # A session's tokens come without marks, as those of type 0 that stand for text.
        unread += [n for n, v in marks.items() if not slots or bool(v[:, cut:].any())]
        if unread:
            raise InputError(
                f"{', '.join(unread)} beside the ids of the text",
                expected="text as ids alone, pictures where the ids keep places for them",
                hint=_WITHOUT,
            )
        positions = kwargs.get("position_ids")
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        shown = {name: v[:, :cut] if name in marks else v for name, v in given.items()}
        return cls(Prompt(tuple(row), cut), positions, shown if cut else {})

    @torch.no_grad()
    def open(self, target: Target) -> CausalSession:
        """A session behind the picture.

        Raises:
            InputError: positions behind the picture do not count up by one.
        """
        decoder, cut, spans = target.decoder, self.prompt.cut, Spans()
        positions = self.positions.to(decoder.device)
        behind = positions[..., cut:]
        steps = torch.arange(behind.shape[-1], device=decoder.device)
        if not torch.equal(behind, (behind[..., :1] + steps).expand_as(behind)):
            raise InputError(
                "position_ids that do not count up by one behind the picture",
                expected="the positions that generate gives by itself",
                hint=_WITHOUT,
            )
        cache = GrowingCache(decoder.caches)
        if cut:
            ids = torch.tensor([self.prompt.prefix], device=decoder.device)
            pictures = {
                name: placed(value, decoder) if isinstance(value, Tensor) else value
                for name, value in self.pictures.items()
            }
            prefill(decoder, ids, pictures, positions[..., :cut], cache, spans)
        return CausalSession(target, Picture(self.prompt, cache, behind[..., :1]), None, spans)


class _Kept:
    """A model's target, kept on the model so that both go together. Copies and pickles of the
    model are without."""

    def __init__(self) -> None:
        self.target: Target | None = None
        self.made_of: tuple[Any, ...] = ()

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()


def target_of(model: Any) -> Target:
    """The target of a model, made when first asked for and when the model has changed since.

    Raises:
        InputError: a model that sessions cannot drive.
    """
    made_of = (
        model.get_decoder(),
        model.get_output_embeddings(),
        model.get_input_embeddings().weight.shape,
        model.device,
        model.config.get_text_config(decoder=True)._attn_implementation,
    )
    kept: _Kept = model.__dict__.setdefault("_crossdraft_kept", _Kept())
    if kept.target is None or kept.made_of != made_of:
        with warnings.catch_warnings():
            # Settings that sessions do not apply, `generate` does.
            warnings.filterwarnings("ignore", ".*sessions answer without")
            kept.target, kept.made_of = Target(model), made_of
    return kept.target


def refuse(wrong: Iterator[Wrong]) -> None:
    """Raise the first of what is wrong."""
    for found, expected in wrong:
        raise InputError(found, expected=expected, hint=_WITHOUT)


def unusual(model: Any, config: Any, assistant: Any, synced_gpus: bool) -> Iterator[Wrong]:
    """What a call asks for that is not one plain answer."""
    if model.config.is_encoder_decoder:
        yield f"{type(model).__name__} is an encoder-decoder", "a causal decoder"
    if assistant is not None:
        yield "an assistant_model, and a drafter", "one of the two"
    mode = config.get_generation_mode(assistant)
    if mode not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        yield f"{mode.value.replace('_', ' ')}", "greedy search or sampling, with one beam"
    if (config.num_return_sequences or 1) > 1:
        yield f"num_return_sequences={config.num_return_sequences}", "one answer"
    if synced_gpus:
        yield "synced_gpus", "a model of one process"
    if config.cache_implementation == "quantized":
        yield "a quantized cache, which changes the answer", "a cache in the model's precision"
    if config.return_dict_in_generate and (config.output_attentions or config.output_hidden_states):
        yield "output_attentions or output_hidden_states", "at most output_scores, output_logits"


def unfit(
    model: Any, ids: Tensor, processors: Any, config: Any, kwargs: Mapping[str, Any]
) -> Iterator[Wrong]:
    """What is prepared and is not one prompt for this model alone."""
    if model.training:
        yield "the model is in training mode, where dropout changes answers", "model.eval() before"
    if ids.shape[0] != 1:
        yield f"a batch of {ids.shape[0]} prompts", "one prompt: input_ids [1, length]"
    if kwargs.get("inputs_embeds") is not None:
        yield "inputs_embeds", "a prompt as input_ids"
    if getattr(kwargs.get("past_key_values"), "_is_user_defined", False):
        yield "past_key_values", "a prompt from its beginning, without a cache"
    mask = kwargs.get("attention_mask")
    if mask is not None and not bool(mask.all()):
        yield "an attention_mask with zeros: the prompt is padded", "a prompt without padding"
    guided = UnbatchedClassifierFreeGuidanceLogitsProcessor
    if any(isinstance(one, guided) for one in processors):
        yield f"guidance_scale={config.guidance_scale}, which runs the model for every token", "1"
