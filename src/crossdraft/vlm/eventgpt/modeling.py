"""EventGPT's network: a CLIP tower, a projector, one adaptor, pooling over time and space, a Llama.

The tower's last states (before its final norm, the class token kept) go through the projector and
then, exactly once, through the adaptor. Their means over each frame and over the frames are what
the language model reads: n + 577 rows for n frames.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    CLIPVisionModel,
    LlamaModel,
    PreTrainedModel,
)
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from crossdraft.vlm.eventgpt import conversion  # noqa: F401 - transformers must know the names
from crossdraft.vlm.eventgpt.configuration import EventGPTConfig
from crossdraft.vlm.eventgpt.fused_affine import FusedAffine


def pool(states: Tensor) -> Tensor:
    """Means over the states of each frame, then means of each state over the frames.

    Args:
        states: [batch, frames, states, width].

    Returns:
        [batch, frames + states, width].
    """
    return torch.cat([states.mean(dim=2), states.mean(dim=1)], dim=1)


class EventProjector(nn.Module):
    """Tower states into the language model's space: two affine maps around a GELU."""

    def __init__(self, config: EventGPTConfig) -> None:
        super().__init__()
        vision: Any = config.vision_config
        self.linear_1 = nn.Linear(vision.hidden_size, config.hidden_size)
        self.linear_2 = nn.Linear(config.hidden_size, config.hidden_size)

    def activated(self, states: Tensor) -> Tensor:
        """The part that is not affine: [..., tower's width] -> [..., hidden]."""
        return functional.gelu(self.linear_1(states))

    def forward(self, states: Tensor) -> Tensor:
        """[..., tower's width] -> [..., hidden]."""
        projected: Tensor = self.linear_2(self.activated(states))
        return projected


class EventGPTPreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """What transformers asks of every class of a family."""

    config_class = EventGPTConfig
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _no_split_modules = ["LlamaDecoderLayer", "CLIPEncoderLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True


class EventGPTModel(EventGPTPreTrainedModel):  # type: ignore[no-untyped-call]
    """Everything but the head."""

    def __init__(self, config: EventGPTConfig) -> None:
        super().__init__(config)
        vision: Any = config.vision_config
        self.vision_tower = CLIPVisionModel(vision)
        self.projector = EventProjector(config)
        self.adaptor = nn.Linear(config.hidden_size, config.hidden_size)
        self.language_model = LlamaModel(config)
        self._fused = FusedAffine()
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """Of the language model."""
        return self.language_model.embed_tokens

    def set_input_embeddings(self, value: Any) -> None:
        """Of the language model."""
        self.language_model.embed_tokens = value

    def tower_states(self, pixel_values: Tensor) -> Tensor:
        """[n, 3, height, width] -> [n, states, tower's width]. The tower is frozen."""
        with torch.no_grad():
            states: Tensor = self.vision_tower(pixel_values).last_hidden_state
        return states

    def event_features(self, pixel_values: Tensor, *, pool_first: bool = True) -> Tensor:
        """What stands in the event slots of a prompt.

        Args:
            pixel_values: [batch, frames, 3, height, width].
            pool_first: see `features_of`.

        Returns:
            [batch, frames + states per frame, hidden].
        """
        batch, frames = pixel_values.shape[:2]
        flat = self.tower_states(pixel_values.flatten(0, 1))
        return self.features_of(flat.reshape(batch, frames, *flat.shape[1:]), pool_first=pool_first)

    def features_of(self, states: Tensor, *, pool_first: bool = True) -> Tensor:
        """Projector, adaptor and pooling.

        Means and affine maps commute, so pooling right behind the GELU and one fused map on
        frames + 577 rows give what two maps on frames x 577 rows and pooling give.

        Args:
            states: [batch, frames, states per frame, tower's width].
            pool_first: the order above; else the order of the published code.

        Returns:
            [batch, frames + states per frame, hidden].
        """
        if not pool_first:
            return pool(self.adaptor(self.projector(states)))
        rows = pool(self.projector.activated(states))
        return self._fused(self.projector.linear_2, self.adaptor, rows)

    def fuse(self) -> None:
        """Multiply the fused map now, where the first events need not wait for it."""
        with torch.no_grad():
            rows = torch.zeros_like(self.adaptor.bias)[None]
            self._fused(self.projector.linear_2, self.adaptor, rows)

    def bare_features(self, pixel_values: Tensor) -> Tensor:
        """One frame without adaptor and pooling, as the published code reads a plain tensor.

        Args:
            pixel_values: [batch, 3, height, width].

        Returns:
            [batch, states, hidden]; not what EventGPT was trained on.
        """
        projected: Tensor = self.projector(self.tower_states(pixel_values))
        return projected

    def embed(self, input_ids: Tensor, pixel_values: Tensor | None) -> Tensor:
        """Embeddings with the events in their slots: [batch, length, hidden].

        Raises:
            ValueError: the slots of a row are not as many as the rows of its events.
        """
        slots = input_ids == self.config.event_token_index
        embeddings: Tensor = self.get_input_embeddings()(input_ids.masked_fill(slots, 0))
        if pixel_values is None:
            # A single id is a step of decoding, where looking would stall a GPU.
            if input_ids.shape[1] > 1:
                _refuse_other_slots(slots, 0)
            return embeddings
        bare = pixel_values.ndim == 4
        rows = self.bare_features(pixel_values) if bare else self.event_features(pixel_values)
        _refuse_other_slots(slots, rows.shape[1])
        rows = rows.to(embeddings.device, embeddings.dtype)
        return embeddings.masked_scatter(slots[..., None], rows)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Read ids and events.

        Args:
            input_ids: [batch, length], one `event_token_index` for each row of events.
            pixel_values: [batch, frames, 3, height, width]; [batch, 3, height, width] takes the
                way of `bare_features`. None where the slots are in the cache already.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if inputs_embeds is not None and pixel_values is not None:
            raise ValueError("pixel_values beside inputs_embeds, which hold the events already")
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, pixel_values)
        out: BaseModelOutputWithPast = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        return out


class EventGPTForConditionalGeneration(EventGPTPreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """EventGPT with its language-model head; see `EventGPTModel.forward` for what it reads."""

    _tied_weights_keys = {  # noqa: RUF012
        "lm_head.weight": "model.language_model.embed_tokens.weight"
    }

    def __init__(self, config: EventGPTConfig) -> None:
        super().__init__(config)
        self.model = EventGPTModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_decoder(self) -> nn.Module:
        """The Llama."""
        decoder: nn.Module = self.model.language_model
        return decoder

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        head: nn.Module = self.lm_head
        return head

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of ids and events.

        Args:
            labels: [batch, length] ids to learn, -100 where there is nothing to learn.
            logits_to_keep: last positions that logits are computed for, 0 for all, or positions.
        """
        out = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        states = out.last_hidden_state
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(states[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


def _refuse_other_slots(slots: Tensor, rows: int) -> None:
    """Refuse rows of a batch [batch, length] that have another number of slots than of events."""
    if torch.compiler.is_compiling():
        return
    counts: list[int] = slots.sum(dim=1).tolist()
    if other := sorted({count for count in counts if count != rows}):
        raise ValueError(f"{other[0]} event slots for {rows} rows of events")


AutoModel.register(EventGPTConfig, EventGPTModel, exist_ok=True)
AutoModelForCausalLM.register(EventGPTConfig, EventGPTForConditionalGeneration, exist_ok=True)
AutoModelForImageTextToText.register(
    EventGPTConfig, EventGPTForConditionalGeneration, exist_ok=True
)
