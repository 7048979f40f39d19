"""One pair with everything that is kept of it, on its way into a store or out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from crossdraft.pairs.record import Pair
from crossdraft.pairs.store.kinds import Side


@dataclass(frozen=True, eq=False)
class Packed:
    """States as they are stored.

    Attributes:
        codes: [n, width] bfloat16, float16, float32 or int8.
        scale: [n, groups] float16 where the codes are int8: a value is its code times the scale of
            its group of columns; None otherwise.
    """

    codes: Tensor
    scale: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Top:
    """The largest logits of each row of one reading.

    Attributes:
        ids: [n, k] int32, the largest logit first.
        logits: [n, k] float32.
        total: [n] float32, log-sum-exp over the whole vocabulary.
    """

    ids: Tensor
    logits: Tensor
    total: Tensor


@dataclass(frozen=True)
class Said:
    """How one side's answer came about.

    Attributes:
        end: why it ended, `eos` or `length`; None where that is not known.
        prompt: hash of the prompt it answers, None where that is not known.
        count: states of this side: one per token; where the tokens are not known, as many as there
            are states.
    """

    end: str | None
    prompt: str | None
    count: int


@dataclass(frozen=True, eq=False)
class Row:
    """One pair of a store.

    Attributes:
        pair: both answers. Ids of a side that the store does not know are empty.
        said: by side; a part of a store that is being made may have one side alone.
        states: by name of the kind.
        top: by reading, where logits are kept.
    """

    pair: Pair
    said: Mapping[Side, Said]
    states: Mapping[str, Packed] = field(default_factory=dict)
    top: Mapping[str, Top] = field(default_factory=dict)
