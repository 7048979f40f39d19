"""EAGLE fusion: the event model's states beside the target's tokens, and a head of its own.

189,058,304 parameters at width 4096 with one layer and 32,000 tokens. The seed study never trained
it: layers behind the first expected the wide input again, and its default of two crashed. Here they
take the narrow stream (201,654,528 parameters).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossdraft.drafters.base import DRAFT_STATES, FORCED_STATES
from crossdraft.drafters.ladder.blocks import Before, Layer, causal
from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.ladder.inputs import Inputs, LayeredNetwork, Widths
from crossdraft.drafters.ladder.losses import counted, token_loss
from crossdraft.drafters.ladder.options import AlignedConfig
from crossdraft.drafters.states import Alignment, Predicted
from crossdraft.drafters.trainable import Loss, TokenBatch, option


@dataclass(frozen=True)
class EagleFusionConfig(AlignedConfig):
    """Sizes; the names are the seed study's."""

    hidden_dim: int = option(1024, "Width of the stream.")
    num_fusion_layers: int = option(2, "Layers.")
    num_attention_heads: int = option(8, "Attention heads.")
    label_smoothing: float = option(0.1, "Of the tokens that are learnt.")
    use_kl_loss: bool = option(
        False, "Learn from the target's stored largest logits too (kl_weight)."
    )
    kl_weight: float = option(0.5, "Weight of that, where it is used.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hidden_dim", "num_fusion_layers", "num_attention_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; 1 or more")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; 0 or more, below 1")


class _FusionLayer(Layer):
    """A transformer layer; the first one narrows states and token embeddings to the stream."""

    def __init__(self, config: EagleFusionConfig, wide: int | None) -> None:
        width = config.hidden_dim
        super().__init__(width, config.num_attention_heads, 4 * width, config.dropout)
        self.input_proj = None if wide is None else nn.Linear(wide, width)

    def forward(self, rows: Tensor, mask: Tensor | None, before: Before | None = None) -> Tensor:
        narrow = rows if self.input_proj is None else self.input_proj(rows)
        return super().forward(narrow, mask, before)


class EagleFusion(LayeredNetwork):
    """Row t reads state t and token t, and says token t + 1 and its state."""

    def __init__(self, widths: Widths, config: EagleFusionConfig) -> None:
        super().__init__(widths, projected=True)
        hidden, width = widths.hidden, config.hidden_dim
        self.token_embedding = nn.Embedding(widths.vocab, hidden)
        self.layers = nn.ModuleList(
            _FusionLayer(config, 2 * hidden if number == 0 else None)
            for number in range(config.num_fusion_layers)
        )
        self.head_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, widths.vocab)
        self.feature_head = nn.Linear(width, hidden)

    def forward(self, inputs: Inputs) -> Predicted:
        assert inputs.tokens is not None
        states = self.of_target_width(inputs.event)
        rows = torch.cat([states, self.token_embedding(inputs.tokens)], dim=-1)
        mask = causal(rows.shape[1], rows.device) if inputs.mask is None else inputs.mask
        rows = self.through(rows, inputs, mask)
        return Predicted(self.feature_head(rows), self.head(self.head_norm(rows)))


class EagleFusionDrafter(LadderDrafter):
    """EAGLE fusion."""

    name, seed_name, level = "eagle-fusion", "EAGLEFusion", "EAGLE fusion"
    shift = 1
    Config, Network = EagleFusionConfig, EagleFusion
    needs = frozenset({DRAFT_STATES, FORCED_STATES})

    @property
    def _kl_weight(self) -> float:
        used = self.config.use_kl_loss or self.config.loss == "seed"
        return float(self.config.kl_weight) if used else 0.0

    @property
    def loss_needs(self) -> frozenset[str]:
        # Tokens are learnt under the seed study's loss too.
        return super().loss_needs | {"head"}

    def _inputs(self, batch: TokenBatch, alignment: Alignment) -> Inputs:
        event = batch.states[alignment]
        length = batch.target.shape[1]
        event = functional.pad(event[:, :length], (0, 0, 0, max(0, length - event.shape[1])))
        return Inputs(event, tokens=batch.target)

    def loss(self, batch: TokenBatch) -> Loss:
        """Cross entropy, and the seed study's two terms: 0.5 divergence where it is used, 0.1 mean
        squared error between states."""
        said = self.predicted(batch, self.alignment)
        lengths = batch.draft_lengths if self.alignment == "own" else batch.target_lengths
        rows = counted(batch, said.states.shape[1], lengths, self.shift)
        head, config = self.head_here(batch.head), self.config
        return token_loss(
            said, batch, rows, head, self._kl_weight, float(config.feature_weight),
            config.label_smoothing,
        )  # fmt: skip

    def _same_for_all_paths(self, prefix: Sequence[int]) -> bool:
        return False

    _reads_tokens = True

    def _made_of(self, end: int, prefix: Sequence[int], path: tuple[int, ...]) -> list[Hashable]:
        event = super()._made_of(end, prefix, path)
        return list(zip(event, (*prefix, *path)[:end], strict=True))

    def _rows(
        self, first: int, end: int, event: Tensor | None, prefix: Sequence[int],
        path: tuple[int, ...],
    ) -> Inputs | None:  # fmt: skip
        tokens = torch.tensor([(*prefix, *path)[first:end]], device=self.device)
        shown = self._shown(event, first, end)
        return Inputs(shown, tokens=tokens.clamp(0, self.widths.vocab - 1))
