"""How near predicted states of the target are, and which tokens they give: one batch at a time.

Output t of a drafter is compared with the target's state t (`same`) and with state t + 1 (`next`).
One of the two is what the drafter is for; the other is what the seed study called same-position or
shifted. docs/state_metrics.md defines every number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from crossdraft.drafters.states import Alignment, Predicted
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.evaluation.bootstrap import Floats
from crossdraft.pairs.record import Head

#: Cosines above which the seed study called a position accepted, and those at which it asked how
#: often the token is then right.
ACCEPT = (0.80, 0.85, 0.90, 0.95)
CALIBRATED = (0.80, 0.85, 0.90, 0.92, 0.95, 0.98)
TOP = (1, 5, 10)
#: Positions of an answer that are told apart.
POSITIONS = 50
#: Bins of the cosine between -1 and 1: percentiles are right to 0.0002.
BINS = 10_000
#: Logits that are in memory at once.
_LOGITS = 1 << 25


@dataclass
class Gathered:
    """Sums over the answers of one comparison; memory grows by a few numbers per answer.

    Attributes:
        answers: per answer, see `_COLUMNS`.
        by_position: [POSITIONS, 5 + ACCEPT] see `_per_position`.
        histogram: [BINS] counts of cosines.
        least, most: smallest and largest cosine.
    """

    answers: list[Floats] = field(default_factory=list)
    by_position: Floats = field(default_factory=lambda: np.zeros((POSITIONS, 5 + len(ACCEPT))))
    histogram: Floats = field(default_factory=lambda: np.zeros(BINS))
    least: float = float("inf")
    most: float = float("-inf")

    def table(self) -> dict[str, Floats]:
        """[answers] by name."""
        rows = np.concatenate(self.answers) if self.answers else np.zeros((0, len(_COLUMNS)))
        return dict(zip(_COLUMNS, rows.T, strict=True))


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


_COLUMNS = (
    "count", "cosine", "cosine_squared",
    *(f"accept_{_percent(t)}" for t in ACCEPT),
    *(f"consecutive_{_percent(t)}" for t in ACCEPT),
    *(f"top{k}" for k in TOP),
    "token_consecutive", "cosine_of_right",
    *(f"above_{_percent(t)}" for t in CALIBRATED),
    *(f"right_above_{_percent(t)}" for t in CALIBRATED),
)  # fmt: skip


def gather(
    same: Gathered,
    following: Gathered,
    batch: TokenBatch,
    predicted: Predicted,
    alignment: Alignment,
    head: Head | None,
) -> None:
    """Compare one batch both ways.

    Args:
        same, following: what it is added to.
        batch: with the target's states.
        alignment: under `own` a position counts where both answers have one, else wherever the
            target has one.
        head: reads tokens off states; None leaves the token columns at zero.
    """
    states = predicted.states.float()
    lengths = batch.target_lengths
    if alignment == "own":
        lengths = torch.minimum(lengths, batch.draft_lengths)
    longest = min(states.shape[1], batch.target.shape[1])
    for gathered, shift in ((same, 0), (following, 1)):
        outputs = min(longest, batch.target.shape[1] - shift)
        # Under `own` output t has to have been written, and token t + shift to exist.
        ends = torch.minimum(lengths, batch.target_lengths - shift)
        mask = torch.arange(max(outputs, 0), device=ends.device) < ends[:, None]
        wanted = batch.target[:, shift : shift + mask.shape[1]]
        truth = batch.states["target"][:, shift : shift + mask.shape[1]]
        cosine = cosine_similarity(states[:, : mask.shape[1]], truth, dim=-1)
        ranks = None if head is None else _ranks(predicted, head, wanted, mask)
        _add(gathered, cosine, mask, ranks, shift)


def _ranks(predicted: Predicted, head: Head, wanted: Tensor, mask: Tensor) -> Tensor:
    """[batch, n] rank of the wanted token among those that may be drafted; what may not be is
    behind all of them, and so is everything outside the mask."""
    ranks = torch.full(mask.shape, head.draftable, dtype=torch.int64, device=mask.device)
    ranks[mask] = torch.cat(
        [
            _rank(logits[:, : head.draftable], tokens)
            for logits, tokens in _logits(predicted, head, wanted, mask)
        ]
        or [ranks.new_zeros(0)]
    )
    return ranks


def _logits(
    predicted: Predicted, head: Head, wanted: Tensor, mask: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and wanted tokens of some counted positions at a time."""
    source = predicted.states if predicted.scores is None else predicted.scores
    rows, tokens = source[:, : mask.shape[1]][mask], wanted[mask]
    size = max(1, _LOGITS // max(head.draftable, 1))
    for first in range(0, len(rows), size):
        chunk = rows[first : first + size]
        logits = chunk if predicted.scores is not None else head.logits(chunk)
        yield logits.float(), tokens[first : first + size]


def _rank(logits: Tensor, tokens: Tensor) -> Tensor:
    """[n] how many candidates come first; of equal logits the lower id does, as in an argmax."""
    vocabulary = logits.shape[1]
    known = tokens < vocabulary
    own = logits.gather(1, tokens.clamp(max=vocabulary - 1)[:, None])
    ids = torch.arange(vocabulary, device=logits.device)
    before = (logits > own) | ((logits == own) & (ids < tokens[:, None]))
    return torch.where(known, before.sum(1), vocabulary)


def _add(
    gathered: Gathered, cosine: Tensor, mask: Tensor, ranks: Tensor | None, shift: int
) -> None:
    """Add the sums of one comparison of one batch."""
    counted = mask.double()
    here = cosine.double() * counted
    right = torch.zeros_like(mask) if ranks is None else (ranks == 0) & mask
    above = {t: (cosine > t) & mask for t in {*ACCEPT, *CALIBRATED}}
    hits = [mask & (ranks < k) if ranks is not None else torch.zeros_like(mask) for k in TOP]
    columns = [
        counted, here, here.square(),
        *(above[t] for t in ACCEPT),
        *(_run(above[t]) for t in ACCEPT),
        *hits,
        _run(right), here * right,
        *(above[t] for t in CALIBRATED),
        *(above[t] & right for t in CALIBRATED),
    ]  # fmt: skip
    gathered.answers.append(torch.stack([c.double().sum(1) for c in columns], 1).cpu().numpy())
    _per_position(gathered, [counted, here, here.square(), right, hits[1]], above, shift)
    seen = cosine[mask].double().cpu().numpy()
    if len(seen):
        gathered.histogram += np.histogram(np.clip(seen, -1, 1), BINS, (-1, 1))[0]
        gathered.least = min(gathered.least, float(seen.min()))
        gathered.most = max(gathered.most, float(seen.max()))


def _run(passed: Tensor) -> Tensor:
    """[batch, n] whether every position up to this one has passed."""
    return passed.long().cumprod(1)


def _per_position(
    gathered: Gathered, sums: list[Tensor], above: dict[float, Tensor], shift: int
) -> None:
    """Count, sum, sum of squares, right tokens, tokens among five, and accepted, by the place of
    the token in the target's answer."""
    each = torch.stack([*sums, *(above[t] for t in ACCEPT)], -1).double().sum(0).cpu().numpy()
    each = each[: max(0, POSITIONS - shift)]
    gathered.by_position[shift : shift + len(each)] += each
