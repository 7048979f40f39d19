"""L5, B1 and L5F: a causal layer over states so far says the next state of the target.

L5 reads the event model's states, B1 the target's own, L5F both, mixed by a gate. 102,819,841 and
169,936,897 parameters at width 4096. Where the target's states end, B1 and L5F read on in their own
predictions (EAGLE, Li et al. 2024).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossdraft.base.tree import Verification
from crossdraft.drafters.base import (
    DRAFT_STATES,
    FORCED_STATES,
    HEAD,
    TARGET_STATES,
    Context,
    Rows,
)
from crossdraft.drafters.ladder.blocks import ALPHA, Layer, causal, output_projection
from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.ladder.inputs import Inputs, LayeredNetwork, Widths
from crossdraft.drafters.ladder.options import AlignedConfig, LadderConfig
from crossdraft.drafters.ladder.unrolling import unrolled
from crossdraft.drafters.states import Alignment, Predicted
from crossdraft.drafters.trainable import NO_PROPOSAL, Loss, TokenBatch, option


@dataclass(frozen=True)
class _Sizes:
    num_heads: int = option(8, "Attention heads.")
    num_layers: int = option(1, "Transformer layers.")
    ffn_dim: int = option(2048, "Width inside the feed-forward part.")
    max_seq_len: int = option(512, "Positions.")


@dataclass(frozen=True)
class _Unrolled:
    rollout_steps: int = option(
        1,
        "Tokens ahead that are learnt from every position, the later ones off the network's own "
        "predictions; under loss token.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        if self.rollout_steps < 1:
            raise ValueError(f"rollout_steps is {self.rollout_steps}; 1 or more")


@dataclass(frozen=True)
class EagleConfig(_Sizes, AlignedConfig):
    """Sizes of L5."""


@dataclass(frozen=True)
class TargetEagleConfig(_Unrolled, _Sizes, LadderConfig):
    """Sizes of B1, which reads no event model."""


@dataclass(frozen=True)
class FusedEagleConfig(_Unrolled, EagleConfig):
    """Sizes of L5F."""


class _Causal(LayeredNetwork):
    """Positions, layers and what stands behind them."""

    def __init__(self, widths: Widths, config: _Sizes, dropout: float, *, projected: bool) -> None:
        super().__init__(widths, projected=projected)
        hidden = widths.hidden
        self.alpha = nn.Parameter(torch.tensor(ALPHA))
        self.pos_embed = nn.Parameter(torch.empty(1, config.max_seq_len, hidden))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.layers = nn.ModuleList(
            Layer(hidden, config.num_heads, config.ffn_dim, dropout)
            for _ in range(config.num_layers)
        )
        self.output_norm = nn.LayerNorm(hidden)
        self.output_proj = output_projection(hidden)

    def moved(self, states: Tensor, rows: Tensor, inputs: Inputs) -> Predicted:
        """`states`, moved a little toward what the layers make of `rows`."""
        length = rows.shape[1]
        if inputs.places is None:
            rows = rows + self.pos_embed[:, :length]
        else:
            rows = rows + self.pos_embed[:, inputs.places]
        mask = causal(length, rows.device) if inputs.mask is None else inputs.mask
        said = self.output_proj(self.output_norm(self.through(rows, inputs, mask)))
        return Predicted(states + self.alpha * (said - states))


class Eagle(_Causal):
    """L5 over the event model's states."""

    def __init__(self, widths: Widths, config: EagleConfig) -> None:
        super().__init__(widths, config, config.dropout, projected=True)
        self.input_norm = nn.LayerNorm(widths.hidden)

    def forward(self, inputs: Inputs) -> Predicted:
        states = self.of_target_width(inputs.event)
        return self.moved(states, self.input_norm(states), inputs)


class TargetEagle(_Causal):
    """B1: the same over the target's states."""

    def __init__(self, widths: Widths, config: TargetEagleConfig) -> None:
        super().__init__(widths, config, config.dropout, projected=False)
        self.input_norm = nn.LayerNorm(widths.hidden)

    def forward(self, inputs: Inputs) -> Predicted:
        assert inputs.target is not None
        return self.moved(inputs.target, self.input_norm(inputs.target), inputs)


class FusedEagle(_Causal):
    """L5F: a gate mixes both models' states."""

    def __init__(self, widths: Widths, config: EagleConfig) -> None:
        super().__init__(widths, config, config.dropout, projected=True)
        hidden = widths.hidden
        self.gate = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Sigmoid())
        self.fusion_proj = nn.Linear(2 * hidden, hidden)
        self.fusion_norm = nn.LayerNorm(hidden)
        nn.init.xavier_uniform_(self.fusion_proj.weight)
        nn.init.zeros_(self.fusion_proj.bias)

    def forward(self, inputs: Inputs) -> Predicted:
        assert inputs.target is not None
        event, target = self.of_target_width(inputs.event), inputs.target
        both = torch.cat([event, target], dim=-1)
        gate = self.gate(both)
        fused = gate * event + (1 - gate) * target
        return self.moved(target, self.fusion_norm(fused + self.fusion_proj(both)), inputs)


class EagleDrafter(LadderDrafter):
    """L5."""

    name, seed_name, level = "eagle", "EAGLE", "L5"
    shift = 1
    Config, Network = EagleConfig, Eagle

    @property
    def max_length(self) -> int:  # type: ignore[override]
        return int(self.config.max_seq_len)


class _OnPredictions(LadderDrafter):
    """Reads the target's states, and its own predictions where those end."""

    shift = 1
    reads_target = True
    #: [hidden] each: states of the target that emitted the tokens of the answer so far.
    _seen: list[Tensor]
    network: LayeredNetwork

    @property
    def max_length(self) -> int:  # type: ignore[override]
        return int(self.config.max_seq_len)

    def begin(self, context: Context) -> None:
        super().begin(context)
        self._seen = []

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        if rows is not None and self._made:
            dtype = next(self.network.parameters()).dtype
            self._seen += rows.hidden.detach().to(self.device, dtype).unbind()

    def _made_of(self, end: int, prefix: Sequence[int], path: tuple[int, ...]) -> list[Hashable]:
        # The target's states stand before the end of the prefix, predictions behind it.
        event = super()._made_of(end, prefix, path)
        return [(one, row < len(prefix)) for row, one in enumerate(event)]

    def _rows(
        self, first: int, end: int, event: Tensor | None, prefix: Sequence[int],
        path: tuple[int, ...],
    ) -> Inputs | None:  # fmt: skip
        known = len(prefix)
        # A prediction stands for the next state; that of the row before has gone through.
        if len(self._seen) < known or (end > known and first < end - 1):
            return None
        assert self._kept is not None
        target = [
            self._seen[row] if row < known else self._kept.state(row - 1)
            for row in range(first, end)
        ]
        return Inputs(self._shown(event, first, end), torch.stack(target)[None])

    def loss(self, batch: TokenBatch) -> Loss:
        """Of one step; in training the mean of that and of the entropies further ahead."""
        first = super().loss(batch)
        steps = self.config.rollout_steps
        if steps == 1 or self.config.loss == "seed" or not self.network.training:
            return first
        inputs, head = self._true_rows(batch, self.alignment), self.head_here(batch.head)
        values, length = [first.value], batch.target.shape[1]
        depths = unrolled(self.network, inputs, min(steps, length), self.max_length)
        for depth, states in enumerate(depths[1:], start=1):
            inside = self._there(batch, depth, self.alignment)
            inside = inside & (self._places(batch) + depth < batch.target_lengths[:, None])
            if inside.any():
                labels = batch.target.roll(-depth, 1)[inside]
                logits = head.logits(states[inside]).float()
                values.append(functional.cross_entropy(logits, labels))
        return replace(first, value=torch.stack(values).mean())

    def _true_rows(self, batch: TokenBatch, alignment: Alignment) -> Inputs:
        return self._inputs(batch, alignment).to(next(self.network.parameters()).dtype)

    @staticmethod
    def _places(batch: TokenBatch) -> Tensor:
        return torch.arange(batch.target.shape[1], device=batch.target.device)

    def _there(self, batch: TokenBatch, depth: int, alignment: Alignment) -> Tensor:
        """[batch, length] true where start p has what its row p - 1 + depth reads."""
        start = self._places(batch)
        last = start - 1 + depth
        there = ((start > 0) & (last < self.max_length)).expand(len(batch), -1)
        if self.reads_event:
            own = alignment == "own"
            ends = batch.draft_lengths if own else batch.target_lengths
            there = there & (last < ends[:, None])
        return there

    def rollouts(self, batch: TokenBatch, gamma: int) -> Tensor:
        following: Alignment = "forced" if self.follows else "own"
        inputs = self._true_rows(batch, following)
        depths = unrolled(self.network, inputs, gamma, self.max_length)
        count, length = batch.target.shape
        chains = torch.full((count, length, gamma), NO_PROPOSAL, device=batch.target.device)
        for depth, states in enumerate(depths):
            # Of start p, the token p + depth; its row is p - 1 + depth.
            best = self._logits(Predicted(states), batch.head).argmax(-1)
            there = self._there(batch, depth, following)
            chains[:, :, depth] = torch.where(there, best, NO_PROPOSAL)
        return chains


class TargetEagleDrafter(_OnPredictions):
    """B1: what the target's own states say about its next ones; never sees an event."""

    name, seed_name, level = "target-eagle", "EAGLE", "B1"
    Config, Network = TargetEagleConfig, TargetEagle
    reads_event = False
    needs = frozenset({TARGET_STATES, HEAD})


class FusedEagleDrafter(_OnPredictions):
    """L5F."""

    name, seed_name, level = "fused-eagle", "FusedEAGLE", "L5F"
    Config, Network = FusedEagleConfig, FusedEagle
    needs = frozenset({DRAFT_STATES, FORCED_STATES, TARGET_STATES, HEAD})
