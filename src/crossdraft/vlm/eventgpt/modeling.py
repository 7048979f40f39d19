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
from transformers import AutoModel, CLIPVisionModel, LlamaModel, PreTrainedModel
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from crossdraft.vlm.eventgpt import conversion  # noqa: F401 - transformers must know the names
from crossdraft.vlm.eventgpt.configuration import EventGPTConfig


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
        self._fused: tuple[tuple[Any, ...], Tensor, Tensor] | None = None
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
        return self.features_of(flat.view(batch, frames, *flat.shape[1:]), pool_first=pool_first)

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
        if torch.is_grad_enabled() and any(
            weight.requires_grad for weight in self._affine_weights()
        ):
            adapted: Tensor = self.adaptor(self.projector.linear_2(rows))
            return adapted
        return functional.linear(rows, *self.fused_affine())

    def bare_features(self, pixel_values: Tensor) -> Tensor:
        """One frame without adaptor and pooling, as the published code reads a plain tensor.

        Args:
            pixel_values: [batch, 3, height, width].

        Returns:
            [batch, states, hidden]; not what EventGPT was trained on.
        """
        projected: Tensor = self.projector(self.tower_states(pixel_values))
        return projected

    def fused_affine(self) -> tuple[Tensor, Tensor]:
        """Weight [hidden, hidden] and bias [hidden] of the adaptor behind the projector's last map.

        Computed once in float32 or wider, and again whenever one of the four tensors has changed.
        """
        parts = self._affine_weights()
        state = tuple((part.data_ptr(), part._version, part.dtype, part.device) for part in parts)
        if self._fused is None or self._fused[0] != state:
            wide = torch.promote_types(parts[0].dtype, torch.float32)
            inner, inner_bias, outer, outer_bias = (
                part.detach().to(parts[0].device, wide) for part in parts
            )
            with torch.no_grad():
                weight = (outer @ inner).to(parts[0].dtype)
                bias = (outer @ inner_bias + outer_bias).to(parts[0].dtype)
            self._fused = state, weight, bias
        return self._fused[1:]

    def embed(self, input_ids: Tensor, pixel_values: Tensor | None) -> Tensor:
        """Embeddings with the events in their slots: [batch, length, hidden].

        Raises:
            ValueError: the slots of the prompt are not as many as the rows of its events.
        """
        slots = input_ids == self.config.event_token_index
        embeddings: Tensor = self.get_input_embeddings()(input_ids.masked_fill(slots, 0))
        if pixel_values is None:
            return embeddings
        bare = pixel_values.ndim == 4
        rows = self.bare_features(pixel_values) if bare else self.event_features(pixel_values)
        if int(slots.sum()) != rows.shape[0] * rows.shape[1]:
            raise ValueError(
                f"{int(slots.sum())} event slots for {rows.shape[0] * rows.shape[1]} rows of events"
            )
        rows = rows.to(embeddings.device, embeddings.dtype)
        return embeddings.masked_scatter(slots[..., None], rows)

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

    def _affine_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        inner, outer = self.projector.linear_2, self.adaptor
        return inner.weight, inner.bias, outer.weight, outer.bias


class EventGPTForConditionalGeneration(EventGPTPreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """EventGPT with its language-model head; see `EventGPTModel.forward` for what it reads."""

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
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


AutoModel.register(EventGPTConfig, EventGPTModel, exist_ok=True)
