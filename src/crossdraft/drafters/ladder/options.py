"""What every level of the ladder can be asked, beside its sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from crossdraft.drafters.states import Alignment
from crossdraft.drafters.trainable import option


@dataclass(frozen=True)
class LadderConfig:
    """What every level can be asked."""

    loss: Literal["token", "seed"] = option(
        "token",
        "token: cross entropy through the target's frozen head; seed: the seed study's mean "
        "squared error and cosine.",
    )
    kl_weight: float = option(
        0.0, "Weight of the divergence from the target's stored largest logits, under loss token."
    )
    feature_weight: float = option(
        0.1, "Weight of the mean squared error between states, under loss token."
    )
    dropout: float = option(0.1, "Dropout.")

    def __post_init__(self) -> None:
        if self.loss not in ("token", "seed"):
            raise ValueError(f"loss is {self.loss!r}; token or seed")
        for name in ("kl_weight", "feature_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; 0 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; 0 or more, below 1")
        for name in ("bottleneck_dim", "num_blocks", "num_heads", "num_layers", "ffn_dim"):
            if getattr(self, name, 1) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; 1 or more")


@dataclass(frozen=True)
class AlignedConfig(LadderConfig):
    """What levels that read the event model's states can be asked."""

    alignment: Literal["own", "forced"] | None = option(
        None,
        "Which states of the event model stand beside the target's in training: over its own "
        "answer, or over the target's. Left out: forced; own under loss seed, as there.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alignment is not None and self.alignment not in get_args(Alignment):
            raise ValueError(f"alignment is {self.alignment!r}; own or forced")

    @property
    def aligned(self) -> Alignment:
        """Which states are trained on."""
        if self.alignment is not None:
            return self.alignment
        return "own" if self.loss == "seed" else "forced"
