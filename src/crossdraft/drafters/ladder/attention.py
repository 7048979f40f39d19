"""L4: states see each other through a transformer layer; each is moved a little, in place.

100,714,497 parameters at width 4096. The seed study let every state see all others, also later
ones, which do not exist yet in live use; here that is an option, and the default is causal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from crossdraft.drafters.ladder.blocks import ALPHA, Layer, causal, output_projection
from crossdraft.drafters.ladder.drafting import AlignedDrafter
from crossdraft.drafters.ladder.inputs import Inputs, LayeredNetwork, Widths
from crossdraft.drafters.ladder.options import AlignedConfig
from crossdraft.drafters.states import Predicted
from crossdraft.drafters.trainable import option


@dataclass(frozen=True)
class AttentionConfig(AlignedConfig):
    """Sizes of L4."""

    num_heads: int = option(8, "Attention heads.")
    num_layers: int = option(1, "Transformer layers.")
    ffn_dim: int = option(2048, "Width inside the feed-forward part.")
    bidirectional: bool | None = option(
        None,
        "States see later ones too, as in the seed study; left out: under loss seed. Only with "
        "alignment own.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.both_ways and self.aligned == "forced":
            raise ValueError(
                "bidirectional over forced states is a leak: state t+1 has read token t, which "
                "state t is asked for; alignment own, or leave it causal"
            )

    @property
    def both_ways(self) -> bool:
        """Whether states see later ones."""
        return self.loss == "seed" if self.bidirectional is None else self.bidirectional


class AttentionAdapter(LayeredNetwork):
    """h + alpha * (projection(layers(h)) - h)."""

    def __init__(self, widths: Widths, config: AttentionConfig) -> None:
        super().__init__(widths, projected=True)
        hidden = widths.hidden
        self._both_ways = config.both_ways
        self.alpha = nn.Parameter(torch.tensor(ALPHA))
        self.layers = nn.ModuleList(
            Layer(hidden, config.num_heads, config.ffn_dim, config.dropout)
            for _ in range(config.num_layers)
        )
        self.output_proj = nn.Sequential(nn.LayerNorm(hidden), output_projection(hidden))

    def forward(self, inputs: Inputs) -> Predicted:
        states = self.of_target_width(inputs.event)
        mask = inputs.mask
        if mask is None and not self._both_ways:
            mask = causal(states.shape[1], states.device)
        said = self.output_proj(self.through(states, inputs, mask))
        return Predicted(states + self.alpha * (said - states))


class AttentionDrafter(AlignedDrafter):
    """L4."""

    name, seed_name, level = "attention", "Attention", "L4"
    Config, Network = AttentionConfig, AttentionAdapter
    config: AttentionConfig

    @property
    def sees_later(self) -> bool:
        return self.config.both_ways
