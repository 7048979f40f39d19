"""The pieces that the ladder's networks are made of, named as in the seed study's checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: What a residual branch is multiplied with before training.
ALPHA = 0.1


class BottleneckBlock(nn.Module):
    """x + alpha * up(dropout(gelu(down(norm(x))))); says x before training."""

    def __init__(self, hidden: int, bottleneck: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(hidden)
        self.down_proj = nn.Linear(hidden, bottleneck, bias=False)
        self.up_proj = nn.Linear(bottleneck, hidden, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.alpha_param = nn.Parameter(torch.tensor(ALPHA))
        nn.init.kaiming_normal_(self.down_proj.weight, nonlinearity="linear")
        nn.init.zeros_(self.up_proj.weight)

    def forward(self, states: Tensor) -> Tensor:
        """[..., hidden] to [..., hidden]."""
        inner = functional.gelu(self.down_proj(self.layer_norm(states)))
        changed: Tensor = states + self.alpha_param * self.up_proj(self.dropout(inner))
        return changed


class Before:
    """Keys and values of the rows that one layer has seen."""

    def __init__(self) -> None:
        self._rows: tuple[Tensor, Tensor] | None = None

    def with_more(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All so far, with these behind them; [batch, heads, n, width of a head] each."""
        if self._rows is not None:
            key, value = (
                torch.cat(pair, dim=2) for pair in zip(self._rows, (key, value), strict=True)
            )
        self._rows = (key, value)
        return key, value

    def crop(self, rows: int) -> None:
        """Forget all but the first rows."""
        if self._rows is not None:
            self._rows = (self._rows[0][:, :, :rows], self._rows[1][:, :, :rows])


class Attention(nn.Module):
    """Self-attention of several heads under any mask."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"{num_heads} heads over a width of {width}; a divisor of it")
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, rows: Tensor, mask: Tensor | None, before: Before | None = None) -> Tensor:
        """[batch, n, width]; row i sees row j where mask [n, seen] or [batch, 1, n, seen] is true.

        Args:
            before: keys and values of earlier rows, which are seen too; grows.
        """
        batch, length, width = rows.shape
        joined = functional.linear(rows, self.in_proj_weight, self.in_proj_bias)
        heads = joined.view(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        if before is not None:
            key, value = before.with_more(key, value)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        together: Tensor = self.out_proj(seen.transpose(1, 2).reshape(batch, length, width))
        return together


class Layer(nn.Module):
    """A transformer layer with its norms in front."""

    def __init__(self, width: int, num_heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(width)
        self.attn = Attention(width, num_heads)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(
            nn.Linear(width, ffn_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(ffn_dim, width),
            nn.Dropout(dropout),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, mask: Tensor | None, before: Before | None = None) -> Tensor:
        """[batch, n, width]; mask and earlier rows as `Attention` takes them."""
        rows = rows + self.dropout(self.attn(self.attn_norm(rows), mask, before))
        changed: Tensor = rows + self.ffn(self.ffn_norm(rows))
        return changed


def causal(length: int, device: torch.device) -> Tensor:
    """[length, length] true where row i may see row j: itself and what is before it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def output_projection(hidden: int) -> nn.Linear:
    """A matrix that changes nothing before training."""
    projection = nn.Linear(hidden, hidden)
    nn.init.eye_(projection.weight)
    nn.init.zeros_(projection.bias)
    return projection
