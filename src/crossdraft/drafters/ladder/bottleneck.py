"""L1, L2 and L3: every state on its own, through a bottleneck, in place.

Parameters at width 4096: 2,113,537 (one block of 256), 6,324,227 (three of 256), 25,188,355 (three
of 1,024; 16,797,698 with two).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossdraft.drafters.ladder.blocks import ALPHA, BottleneckBlock
from crossdraft.drafters.ladder.drafting import AlignedDrafter
from crossdraft.drafters.ladder.inputs import Inputs, LadderNetwork, Widths
from crossdraft.drafters.ladder.options import AlignedConfig
from crossdraft.drafters.states import Predicted
from crossdraft.drafters.trainable import option


class _PerPosition(LadderNetwork):
    per_position = True

    def translated(self, states: Tensor) -> Tensor:
        """[..., hidden] to [..., hidden]."""
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Predicted:
        return Predicted(self.translated(self.of_target_width(inputs.event)))


class Bottleneck(_PerPosition):
    """L1: blocks of one bottleneck each, then a norm."""

    def __init__(self, widths: Widths, config: BottleneckConfig) -> None:
        super().__init__(widths, projected=True)
        block = (widths.hidden, config.bottleneck_dim, config.dropout)
        self.layers = nn.ModuleList(BottleneckBlock(*block) for _ in range(config.num_blocks))
        self.final_norm = nn.LayerNorm(widths.hidden)

    def translated(self, states: Tensor) -> Tensor:
        for layer in self.layers:
            states = layer(states)
        normed: Tensor = self.final_norm(states)
        return normed


class MultiBottleneck(_PerPosition):
    """L2: as L1, its blocks under another name."""

    def __init__(self, widths: Widths, config: BottleneckConfig) -> None:
        super().__init__(widths, projected=True)
        block = (widths.hidden, config.bottleneck_dim, config.dropout)
        self.blocks = nn.ModuleList(BottleneckBlock(*block) for _ in range(config.num_blocks))
        self.final_norm = nn.LayerNorm(widths.hidden)

    def translated(self, states: Tensor) -> Tensor:
        for block in self.blocks:
            states = block(states)
        normed: Tensor = self.final_norm(states)
        return normed


class WideBottleneck(_PerPosition):
    """L3: wide blocks with a norm inside, between two norms."""

    def __init__(self, widths: Widths, config: BottleneckConfig) -> None:
        super().__init__(widths, projected=True)
        hidden, count = widths.hidden, config.num_blocks
        self.input_norm = nn.LayerNorm(hidden)
        self.blocks = nn.ModuleList(self._block(hidden, config) for _ in range(count))
        self.alphas = nn.ParameterList(nn.Parameter(torch.tensor(ALPHA)) for _ in range(count))
        self.final_norm = nn.LayerNorm(hidden)

    @staticmethod
    def _block(hidden: int, config: BottleneckConfig) -> nn.Sequential:
        up = nn.Linear(config.bottleneck_dim, hidden, bias=False)
        nn.init.zeros_(up.weight)
        return nn.Sequential(
            nn.Linear(hidden, config.bottleneck_dim, bias=False),
            nn.LayerNorm(config.bottleneck_dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            up,
            nn.Dropout(config.dropout),
        )

    def translated(self, states: Tensor) -> Tensor:
        states = self.input_norm(states)
        for block, alpha in zip(self.blocks, self.alphas, strict=True):
            states = states + alpha * block(states)
        normed: Tensor = self.final_norm(states)
        return normed


@dataclass(frozen=True)
class BottleneckConfig(AlignedConfig):
    """Sizes of L1."""

    bottleneck_dim: int = option(256, "Width of the bottleneck.")
    num_blocks: int = option(1, "Blocks one behind the other.")


@dataclass(frozen=True)
class MultiBottleneckConfig(BottleneckConfig):
    """Sizes of L2."""

    num_blocks: int = option(3, "Blocks one behind the other.")


@dataclass(frozen=True)
class WideBottleneckConfig(BottleneckConfig):
    """Sizes of L3; three blocks, as the seed study trained it (it documents two)."""

    bottleneck_dim: int = option(1024, "Width of the bottleneck.")
    num_blocks: int = option(3, "Blocks one behind the other.")


class BottleneckDrafter(AlignedDrafter):
    """L1."""

    name, seed_name, level = "bottleneck", "Bottleneck", "L1"
    Config, Network = BottleneckConfig, Bottleneck


class MultiBottleneckDrafter(AlignedDrafter):
    """L2."""

    name, seed_name, level = "multi-bottleneck", "MultiLayerBottleneck", "L2"
    Config, Network = MultiBottleneckConfig, MultiBottleneck


class WideBottleneckDrafter(AlignedDrafter):
    """L3."""

    name, seed_name, level = "wide-bottleneck", "WideBottleneck", "L3"
    Config, Network = WideBottleneckConfig, WideBottleneck
