"""What the crossmodal drafter can be asked: sizes, what it reads, what it learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crossdraft.drafters.trainable import option

#: What may be attended to as a whole.
_MEMORIES = ("own", "none", "forced")


@dataclass(frozen=True)
class CrossmodalConfig:
    """Sizes, what is read, and how it is trained."""

    embed_dim: int = option(128, "Width of the layers.")
    num_layers: int = option(2, "Causal layers, each with cross-attention.")
    num_heads: int = option(4, "Attention heads.")
    ffn_dim: int = option(256, "Width of the feed-forward parts.")
    max_seq_len: int = option(128, "Longest answer, and longest memory; no drafts behind it.")
    max_question: int = option(64, "Longest question; of a longer one the end is read.")
    memory: Literal["own", "none", "forced"] = option(
        "own",
        "What is attended to as a whole: own, the event model's answer as far as it has arrived; "
        "none, a control; forced, its states over the target's answer in training, which leaks "
        "what is to be drafted, and its own answer live.",
    )
    token_conditioning: bool = option(True, "See the token that is fixed, not the state alone.")
    rollout_steps: int = option(5, "Tokens ahead that are learnt, off the network's predictions.")
    rollout_starts: int = option(
        24, "Places of each answer, drawn anew each time, that training rolls out; 0: all."
    )
    rollout_decay: float = option(0.8, "Weight of each step beside that of the one before it.")
    kl_weight: float = option(1.0, "Weight of the divergence from the target's distribution.")
    acceptance_weight: float = option(
        0.0, "Weight of the total variation between both distributions: what sampling rejects."
    )
    trim_vocabulary: bool = option(True, "Propose only tokens that training answers hold.")
    dropout: float = option(0.1, "Dropout in training.")
    state_dropout: float = option(0.1, "Share of the target's states that training hides.")
    empty_memory: float = option(0.15, "How often training hides the event model's answer.")
    full_memory: float = option(
        0.4, "How often training shows all of it at once; else it arrives at a random pace."
    )

    def __post_init__(self) -> None:
        for name in (
            "embed_dim", "num_layers", "num_heads", "ffn_dim", "max_seq_len", "max_question",
            "rollout_steps",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.rollout_starts < 0:
            raise ValueError(f"rollout_starts is {self.rollout_starts}, expected 0 or more")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is no multiple of {self.num_heads} heads")
        for name in ("dropout", "state_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 <= {name} < 1")
        for name in ("empty_memory", "full_memory"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if self.empty_memory + self.full_memory > 1:
            both = self.empty_memory + self.full_memory
            raise ValueError(f"empty_memory and full_memory add up to {both}, expected at most 1")
        if not 0 < self.rollout_decay <= 1:
            raise ValueError(f"rollout_decay is {self.rollout_decay}, expected above 0, at most 1")
        for name in ("kl_weight", "acceptance_weight"):
            if not self.__dict__[name] >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.memory not in _MEMORIES:
            raise ValueError(f"memory is {self.memory!r}; {', '.join(_MEMORIES)}")
