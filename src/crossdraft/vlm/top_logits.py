"""The largest logits of rows, in an order that agrees with the greedy choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from crossdraft.vlm.session import TopLogits

if TYPE_CHECKING:
    from crossdraft.vlm.decoder import Decoder

#: Rows whose logits are there at once: 32 MB in float32 at 32k ids.
_ROWS = 256


def largest(logits: Tensor, count: int) -> TopLogits:
    """The largest logits of each row; all of them where there are fewer than `count`.

    Args:
        logits: [n, vocab] as the model gives them.
    """
    count = min(count, logits.shape[-1])
    best = logits.argmax(-1, keepdim=True)
    # In half precision equal logits are common, and topk takes any of them first.
    first = logits.scatter(-1, best, torch.inf)
    ids = first.topk(count).indices.sort().values
    order = first.gather(-1, ids).sort(dim=-1, descending=True, stable=True).indices
    ids = ids.gather(-1, order)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return TopLogits(ids, logits.gather(-1, ids).float(), wide.logsumexp(-1).float())


def largest_of_states(decoder: Decoder, hidden: Tensor, count: int) -> TopLogits:
    """The largest logits of post-norm states [n, hidden], a few rows at a time."""
    parts = [largest(decoder.logits(rows), count) for rows in torch.split(hidden, _ROWS)]
    return joined_top(parts)


def joined_top(parts: list[TopLogits]) -> TopLogits:
    """All rows of several, at least one."""
    return TopLogits(
        torch.cat([part.ids for part in parts]),
        torch.cat([part.logits for part in parts]),
        torch.cat([part.total for part in parts]),
    )
