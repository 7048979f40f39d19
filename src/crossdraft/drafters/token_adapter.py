"""`token-adapter`: the seed study's network, position to position.

A causal transformer reads the event model's tokens; its output i, which has read drafter tokens
0..i, predicts target token i+1. It proposes nothing for target token 0 and never sees what the
target has said. The seed's own checkpoints load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.best_first import best_first_tree
from crossdraft.drafters.trainable import (
    IGNORE,
    NO_PROPOSAL,
    PAD,
    Loss,
    TokenBatch,
    Trainable,
    hits,
    option,
)
from crossdraft.drafters.vocabulary import Vocabulary, distinct
from crossdraft.pairs.record import Pair

#: Candidates kept per position for trees and rankings.
_KEEP = 64
#: Logit of a token that training never saw as a target: finite, so that a loss stays finite.
_NEVER = -1e4
_EMBEDDING, _HEAD, _HEAD_BIAS = "embedding.weight", "output_proj.1.weight", "output_proj.1.bias"
#: Llama's vocabulary; the seed study's larger one begins where an id exceeds it.
_LLAMA = 32000


@dataclass(frozen=True)
class TokenAdapterConfig:
    """Sizes and switches; the defaults are the seed study's, but for the padding mask."""

    embed_dim: int = option(512, "Width of embeddings and layers.")
    num_layers: int = option(4, "Transformer layers.")
    num_heads: int = option(8, "Attention heads.")
    ffn_dim: int = option(2048, "Width of the feed-forward layers.")
    max_seq_len: int = option(128, "Longest answer; longer ones are cut.")
    dropout: float = option(0.1, "Dropout in training.")
    label_smoothing: float = option(0.1, "Share of the label spread over all tokens.")
    padding_mask: bool = option(True, "Keep attention off the padding; the seed study did not.")
    vocab_size: int = option(0, "Size of the vocabulary; 0: 32000, or 10 ids more at a time.")
    draft_vocab: Literal["auto", "full"] = option(
        "auto", "auto: train only the rows of tokens that occur; full: all of them."
    )

    def __post_init__(self) -> None:
        sizes = ("embed_dim", "num_layers", "num_heads", "ffn_dim", "max_seq_len")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is no multiple of {self.num_heads} heads")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 <= {name} < 1")
        if self.draft_vocab not in ("auto", "full"):
            raise ValueError(f"draft_vocab is {self.draft_vocab!r}, expected auto or full")
        if self.vocab_size < 0:
            raise ValueError(f"vocab_size is {self.vocab_size}, expected 0 or more")


class TokenAdapter(nn.Module):
    """The network, with the seed study's layers and tensor names.

    Token and position embeddings, post-norm encoder layers under a causal mask, LayerNorm and a
    linear head. 45,476,096 parameters at the defaults and 32,000 tokens.
    """

    def __init__(self, config: TokenAdapterConfig, inputs: int, outputs: int) -> None:
        """
        Args:
            inputs: rows of the embedding.
            outputs: rows of the head.
        """
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.embedding = nn.Embedding(inputs, width)
        self.position_embedding = nn.Embedding(config.max_seq_len, width)
        layer = nn.TransformerEncoderLayer(
            width,
            config.num_heads,
            config.ffn_dim,
            config.dropout,
            activation="gelu",
            batch_first=True,
        )
        self.transformer = nn.TransformerEncoder(
            layer, config.num_layers, enable_nested_tensor=False
        )
        self.output_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of the target's next token at every drafter position.

        Args:
            tokens: [batch, length] int64, at most `max_seq_len` long.
            lengths: [batch] int64, tokens before the padding; with them and the padding mask on,
                padding is read by nobody but itself.

        Returns:
            [batch, length, outputs]; row i predicts target token i+1.
        """
        length = tokens.shape[1]
        place = torch.arange(length, device=tokens.device)
        states = self.embedding(tokens) + self.position_embedding(place)
        hidden = place[None, :] > place[:, None]  # [query, key]: True may not be read
        if self.config.padding_mask and lengths is not None:
            padding = place[None, :] >= lengths[:, None]
            # Every position keeps itself: a row that may read nothing has no softmax.
            alone = padding[:, None, :] & (place[None, :] != place[:, None])
            hidden = (hidden | alone).repeat_interleave(self.config.num_heads, dim=0)
        logits: Tensor = self.output_proj(self.transformer(states, mask=hidden))
        return logits

    @classmethod
    def load(cls, path: str | Path) -> TokenAdapter:
        """The full-vocabulary network of a checkpoint, ours or the seed study's `best_model.pt`.

        Raises:
            InputError: missing, damaged, or not a token adapter.
        """
        from crossdraft.drafters.checkpoint import load_drafter

        drafter = load_drafter(Path(path)).drafter
        if not isinstance(drafter, TokenAdapterDrafter):
            raise InputError(f"holds {drafter.name}", where=path, expected="a token-adapter")
        return drafter.full_network()


class TokenAdapterDrafter(Trainable):
    """Trains and drafts with a `TokenAdapter`."""

    name = "token-adapter"
    needs = frozenset({"draft_tokens"})
    Config = TokenAdapterConfig
    config: TokenAdapterConfig
    network: TokenAdapter

    def __init__(self, config: TokenAdapterConfig | None = None) -> None:
        super().__init__(config)
        self.max_length = self.config.max_seq_len
        self._vocabulary: Vocabulary | None = None
        self._ranked: list[list[tuple[int, float]]] = []

    def build(self, pairs: Sequence[Pair], seed: int) -> None:
        length = self.max_length
        drafts = distinct(pair.draft_tokens[:length] for pair in pairs)
        targets = distinct(pair.target_tokens[1:length] for pair in pairs)
        if not targets:
            raise InputError("no target answer is longer than one token", hint="nothing to learn")
        largest = max([*drafts, *targets])
        size = self.config.vocab_size or _default_size(largest)
        if largest >= size:
            raise InputError(
                f"token id {largest} is outside the vocabulary",
                where="vocab_size",
                expected=f"more than {largest}, or 0 to take what the data needs",
            )
        auto = self.config.draft_vocab == "auto"
        self._make(
            Vocabulary.seen(size, drafts, targets) if auto else Vocabulary(size, None, None), seed
        )

    def _make(self, vocabulary: Vocabulary, seed: int) -> None:
        self._vocabulary = vocabulary
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = TokenAdapter(
                self.config, vocabulary.input_rows, vocabulary.output_rows
            ).eval()

    def loss(self, batch: TokenBatch) -> Loss:
        logits, labels = self._shifted(batch)
        flat = functional.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORE,
            label_smoothing=self.config.label_smoothing,
            reduction="sum",
        )
        # Target ids that no head row stands for count as missed, not as absent.
        beyond = int((batch.target_lengths - 1).clamp(min=0).sum()) - int((labels != IGNORE).sum())
        tokens, top1, top5 = hits(logits.detach(), labels)
        return Loss(flat / max(1, tokens), tokens + beyond, top1, top5)

    def _shifted(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Logits [batch, n, rows] and labels [batch, n]: output i stands beside target i+1."""
        assert self._vocabulary is not None
        # At least one output, also where no answer of the batch has a second token to predict.
        length = max(1, batch.target.shape[1] - 1)
        target = functional.pad(
            batch.target, (0, max(0, length + 1 - batch.target.shape[1])), value=PAD
        )
        drafts = functional.pad(batch.draft, (0, max(0, length - batch.draft.shape[1])), value=PAD)
        # What the seed study fed: padding up to the length of the labels, however short the draft.
        logits = self.network(
            self._vocabulary.encode(drafts[:, :length]), batch.draft_lengths.clamp(max=length)
        )
        place = torch.arange(1, length + 1, device=batch.target.device)
        inside = place[None, :] < batch.target_lengths[:, None]
        labels = self._vocabulary.labels(target[:, 1:])
        return logits, torch.where(inside, labels, IGNORE)

    def rollouts(self, batch: TokenBatch, gamma: int) -> Tensor:
        assert self._vocabulary is not None
        logits, _ = self._shifted(batch)
        best = self._vocabulary.decode(logits.argmax(-1))
        # One chain for all starts: entry [b, p, d] proposes target token p+d, output p+d-1.
        starts = functional.pad(best, (1, gamma), value=NO_PROPOSAL)
        chains = starts.unfold(1, gamma, 1)[:, : batch.target.shape[1]].clone()
        chains[:, :1] = NO_PROPOSAL  # nothing to start from: token 0 is never proposed
        return chains

    def begin(self, context: Context) -> None:
        self._stream = context.stream
        self._ranked = []

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        if self._vocabulary is None or not prefix:
            return DraftTree.empty()
        start = len(prefix) - 1
        ranked = self._outputs(start + budget.depth)
        return best_first_tree(
            lambda path: ranked[start + len(path)] if start + len(path) < len(ranked) else [],
            budget,
            self.name,
        )

    def _outputs(self, wanted: int) -> list[list[tuple[int, float]]]:
        """Ranked candidates of the outputs that exist: one per drafter token that has arrived,
        and behind the end of a finished answer as many as are asked for.

        The network is causal, so an output once computed stays.
        """
        snapshot = self._stream.snapshot()
        tokens = snapshot.tokens[: self.max_length - 1]
        exist = self.max_length - 1 if snapshot.closed else len(tokens)
        if min(wanted, exist) > len(self._ranked):
            # Some ahead, so that a chain does not run the network at each step.
            length = min(exist, max(wanted, len(tokens)) + 16)
            self._ranked = self._rank(tokens, length)
        return self._ranked[:exist]

    @torch.no_grad()
    def _rank(self, tokens: Sequence[int], length: int) -> list[list[tuple[int, float]]]:
        assert self._vocabulary is not None
        row = torch.full((1, length), PAD, dtype=torch.int64, device=self.device)
        read = min(len(tokens), length)
        row[0, :read] = torch.tensor(tokens[:read], dtype=torch.int64)
        logits = self.network(
            self._vocabulary.encode(row), torch.tensor([read], device=self.device)
        )[0]
        # Rows that no training target had are never proposed.
        best = logits.log_softmax(-1).topk(min(_KEEP, logits.shape[-1]), dim=-1)
        ids = self._vocabulary.decode(best.indices).tolist()
        return [
            [(token, value) for token, value in zip(row_ids, row_values, strict=True)
             if value > _NEVER / 2]
            for row_ids, row_values in zip(ids, best.values.tolist(), strict=True)
        ]  # fmt: skip

    def describe(self) -> dict[str, Any]:
        assert self._vocabulary is not None
        return {
            "config": asdict(self.config),
            "vocab_size": self._vocabulary.size,
            "rows": self._vocabulary.rows(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """The seed study's layout at the full vocabulary, whatever was trained: ids without a
        row of their own read the shared row and are never proposed."""
        assert self._vocabulary is not None
        state = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        expand = self._vocabulary
        state[_EMBEDDING] = expand.all_inputs(state[_EMBEDDING])
        state[_HEAD] = expand.all_outputs(state[_HEAD], fill=0.0)
        state[_HEAD_BIAS] = expand.all_outputs(state[_HEAD_BIAS], fill=_NEVER)
        return {name: value.contiguous() for name, value in state.items()}

    def full_network(self) -> TokenAdapter:
        """The network at the full vocabulary, in evaluation mode."""
        assert self._vocabulary is not None
        size = self._vocabulary.size
        network = TokenAdapter(self.config, size, size).eval()
        network.load_state_dict(self.tensors())
        return network

    @classmethod
    def restore(
        cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> TokenAdapterDrafter:
        drafter = cls(cls.config_from(about["config"]))
        vocabulary = Vocabulary.of_rows(int(about["vocab_size"]), about["rows"])
        drafter._make(vocabulary, seed=0)
        trimmed = dict(tensors)
        trimmed[_EMBEDDING] = vocabulary.own_inputs(tensors[_EMBEDDING])
        trimmed[_HEAD] = vocabulary.own_outputs(tensors[_HEAD])
        trimmed[_HEAD_BIAS] = vocabulary.own_outputs(tensors[_HEAD_BIAS])
        drafter._fill(trimmed)
        return drafter

    @classmethod
    def from_seed(
        cls, state: Mapping[str, Tensor], num_heads: int = 8, *, padding_mask: bool = False
    ) -> TokenAdapterDrafter:
        """Rebuild from the seed study's `model_state_dict`.

        Args:
            num_heads: not written in that format; 8 in the seed study.
            padding_mask: off there.

        Raises:
            InputError: the tensors are not those of a token adapter.
        """
        try:
            vocab_size, embed_dim = state["embedding.weight"].shape
            layers = {
                m[1] for name in state if (m := re.match(r"transformer\.layers\.(\d+)", name))
            }
            config = TokenAdapterConfig(
                embed_dim=embed_dim,
                num_layers=len(layers),
                num_heads=num_heads,
                ffn_dim=state["transformer.layers.0.linear1.weight"].shape[0],
                max_seq_len=state["position_embedding.weight"].shape[0],
                padding_mask=padding_mask,
                vocab_size=vocab_size,
                draft_vocab="full",
            )
        except (KeyError, ValueError) as error:
            raise InputError(f"not the tensors of a token adapter ({error})") from error
        drafter = cls(config)
        drafter._make(Vocabulary(vocab_size, None, None), seed=0)
        drafter._fill(state)
        return drafter

    def _fill(self, tensors: Mapping[str, Tensor]) -> None:
        try:
            self.network.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise InputError(f"tensors do not fit a token adapter ({error})") from error


def _default_size(largest: int) -> int:
    """32,000, or the next ten above it: the seed study took 32,010 for an id of 32,001."""
    if largest < _LLAMA:
        return _LLAMA
    return (largest // 10 + 1) * 10
