"""The network of `translator`: encoder over the event model's words, decoder over the target's.

A pre-norm transformer (Vaswani et al. 2017; Xiong et al. 2020) in plain modules: the decoder hands
out its keys and values, so that a drafter decodes a prefix once and hangs whole tree levels on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossdraft.drafters.trainable import option

#: Keys and values of one layer, [batch, heads, length, width / heads] each.
KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TranslatorConfig:
    """Sizes, regularisation, and how much of the event model's answer training shows."""

    embed_dim: int = option(128, "Width of embeddings and layers.")
    encoder_layers: int = option(2, "Layers over the event model's answer.")
    decoder_layers: int = option(3, "Layers over the accepted tokens.")
    num_heads: int = option(4, "Attention heads.")
    ffn_dim: int = option(512, "Width of the feed-forward layers.")
    max_seq_len: int = option(128, "Longest answer; nothing is proposed behind it.")
    dropout: float = option(0.2, "Dropout in training.")
    word_dropout: float = option(0.1, "Share of accepted tokens and questions training hides.")
    label_smoothing: float = option(0.0, "Share of the label spread over all tokens.")
    empty_memory: float = option(0.15, "How often training hides the event model's answer.")
    full_memory: float = option(0.4, "How often training shows all of it; else a random part.")

    def __post_init__(self) -> None:
        sizes = ("embed_dim", "encoder_layers", "decoder_layers", "num_heads", "ffn_dim")
        for name in (*sizes, "max_seq_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is no multiple of {self.num_heads} heads")
        for name in ("dropout", "word_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 <= {name} < 1")
        for name in ("empty_memory", "full_memory"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if self.empty_memory + self.full_memory > 1:
            both = self.empty_memory + self.full_memory
            raise ValueError(f"empty_memory and full_memory add up to {both}, expected at most 1")


class Sizes(Protocol):
    """Of a layer."""

    @property
    def embed_dim(self) -> int: ...

    @property
    def num_heads(self) -> int: ...

    @property
    def ffn_dim(self) -> int: ...

    @property
    def dropout(self) -> float: ...


@dataclass(frozen=True)
class Memory:
    """The event model's words as the decoder reads them.

    Attributes:
        layers: keys and values for each decoder layer, length 1 + words: the null row, then words.
        mask: [batch, 1, 1, 1 + words], True may be read; None where there is no padding.
    """

    layers: tuple[KeyValue, ...]
    mask: Tensor | None


@dataclass(frozen=True)
class Decoded:
    """Rows that the decoder has read: keys and values of each layer."""

    layers: tuple[KeyValue, ...]

    @property
    def length(self) -> int:
        return self.layers[0][0].shape[2]

    def first(self, rows: int) -> Decoded:
        """The first rows alone; later rows never changed them."""
        return Decoded(tuple((key[:, :, :rows], value[:, :, :rows]) for key, value in self.layers))


class Attention(nn.Module):
    """Multi-head attention whose keys and values are projected apart, so that they can be kept."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def project(self, read: Tensor) -> KeyValue:
        """Keys and values of what is read, [batch, length, width]."""
        key, value = self.key_value(read).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, states: Tensor, read: KeyValue, mask: Tensor | None) -> Tensor:
        """[batch, n, width]; mask broadcasts to [batch, heads, n, length], True may be read."""
        mixed = functional.scaled_dot_product_attention(
            self._split(self.query(states)), *read, attn_mask=mask
        )
        gathered: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return gathered

    def _split(self, states: Tensor) -> Tensor:
        batch, length, width = states.shape
        return states.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear layers around a GELU."""

    def __init__(self, config: Sizes) -> None:
        super().__init__(
            nn.Linear(config.embed_dim, config.ffn_dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.ffn_dim, config.embed_dim),
        )


class EncoderLayer(nn.Module):
    """Reads in both directions, then thinks."""

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.norm_self, self.norm_ffn = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.num_heads)
        self.ffn = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        normed = self.norm_self(states)
        mixed = self.attention(normed, self.attention.project(normed), mask)
        states = states + self.dropout(mixed)
        out: Tensor = states + self.dropout(self.ffn(self.norm_ffn(states)))
        return out


class DecoderLayer(nn.Module):
    """Reads earlier rows, then the memory, then thinks."""

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        width = config.embed_dim
        self.norm_self, self.norm_cross = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_ffn = nn.LayerNorm(width)
        self.self_attention = Attention(width, config.num_heads)
        self.cross_attention = Attention(width, config.num_heads)
        self.ffn = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        states: Tensor,
        past: KeyValue | None,
        mask: Tensor | None,
        memory: KeyValue,
        memory_mask: Tensor | None,
    ) -> tuple[Tensor, KeyValue]:
        """New states and the keys and values of past and new rows together."""
        normed = self.norm_self(states)
        key, value = self.self_attention.project(normed)
        if past is not None:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        states = states + self.dropout(self.self_attention(normed, (key, value), mask))
        asked = self.norm_cross(states)
        states = states + self.dropout(self.cross_attention(asked, memory, memory_mask))
        states = states + self.dropout(self.ffn(self.norm_ffn(states)))
        return states, (key, value)


class Translator(nn.Module):
    """Encoder, decoder, and a head that shares its weight with the decoder's embedding.

    Decoder row 0 is the start row (with the question), row i holds target token i-1; row p's
    output predicts target token p.
    """

    def __init__(
        self, config: TranslatorConfig, drafts: int, targets: int, heads: slice, questions: int
    ) -> None:
        """
        Args:
            drafts: rows of the encoder's embedding.
            targets: rows of the decoder's embedding; the last one is the unknown token's.
            heads: which of these rows can be proposed.
            questions: questions with a vector of their own.
        """
        super().__init__()
        self.config = config
        self.heads = heads
        width = config.embed_dim
        self.draft_embedding = nn.Embedding(drafts, width)
        # One more: the null row stands before the first word.
        self.draft_position = nn.Embedding(config.max_seq_len + 1, width)
        self.null = nn.Parameter(torch.empty(width))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.target_embedding = nn.Embedding(targets, width)
        self.target_position = nn.Embedding(config.max_seq_len, width)
        self.start = nn.Parameter(torch.empty(width))
        # Row 0 is the question that nobody asked in training: it stays the zero vector.
        self.question_embedding = nn.Embedding(questions + 1, width, padding_idx=0)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.head_bias = nn.Parameter(torch.zeros(len(range(targets)[heads])))
        self.dropout = nn.Dropout(config.dropout)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.null, std=0.02)
        nn.init.normal_(self.start, std=0.02)
        nn.init.zeros_(self.question_embedding.weight)

    def read(self, drafts: Tensor, lengths: Tensor | None = None) -> Memory:
        """Encode what has arrived, and project it for every decoder layer.

        Args:
            drafts: [batch, words] embedding rows.
            lengths: [batch] words that have arrived; None: all of them.
        """
        batch, words = drafts.shape
        rows = torch.cat((self.null.expand(batch, 1, -1), self.draft_embedding(drafts)), dim=1)
        states = self.dropout(rows + self.draft_position.weight[: words + 1])
        mask = None
        if lengths is not None:
            place = torch.arange(words + 1, device=drafts.device)
            mask = (place <= lengths[:, None])[:, None, None, :]  # the null row is always there
        for layer in self.encoder:
            states = layer(states, mask)
        states = self.encoder_norm(states)
        layers = (cast(DecoderLayer, layer) for layer in self.decoder)
        return Memory(tuple(layer.cross_attention.project(states) for layer in layers), mask)

    def opening(self, questions: Tensor) -> Tensor:
        """[batch, 1, width] start rows of numbered questions, [batch] int64, 0 for unknown."""
        start = self.start + self.target_position.weight[0]
        states: Tensor = start + self.question_embedding(questions)[:, None]
        return states

    def rows(self, tokens: Tensor, place: int, *, siblings: bool = False) -> Tensor:
        """[batch, n, width] decoder rows of embedding rows [batch, n].

        Args:
            place: row number of the first one.
            siblings: all stand at the same place, as one level of a tree does.
        """
        last = place + 1 if siblings else place + tokens.shape[1]
        states: Tensor = self.target_embedding(tokens) + self.target_position.weight[place:last]
        return states

    def extend(
        self, states: Tensor, past: Decoded | None, memory: Memory, mask: Tensor | None
    ) -> tuple[Tensor, Decoded]:
        """Decode further rows behind those already decoded.

        Args:
            states: [batch, n, width] from `opening` and `rows`.
            mask: [n, past + n], True may be read; None: everything, as one row may.

        Returns:
            Logits [batch, n, proposable tokens], and all rows decoded so far.
        """
        states = self.dropout(states)
        layers = []
        for i, layer in enumerate(self.decoder):
            before = None if past is None else past.layers[i]
            states, kept = layer(states, before, mask, memory.layers[i], memory.mask)
            layers.append(kept)
        weight = self.target_embedding.weight[self.heads]
        logits = functional.linear(self.decoder_norm(states), weight, self.head_bias)
        return logits, Decoded(tuple(layers))

    def forward(self, drafts: Tensor, lengths: Tensor, tokens: Tensor, questions: Tensor) -> Tensor:
        """Logits of every target token, given the true ones before it.

        Args:
            drafts: [batch, words] embedding rows of the event model's words.
            lengths: [batch] how many of them have arrived.
            tokens: [batch, n] embedding rows of the target's tokens but the last.
            questions: [batch] numbers, 0 for unknown.

        Returns:
            [batch, n + 1, proposable tokens].
        """
        states = torch.cat((self.opening(questions), self.rows(tokens, place=1)), dim=1)
        mask = causal(0, states.shape[1], states.device)
        logits, _ = self.extend(states, None, self.read(drafts, lengths), mask)
        return logits


def causal(past: int, rows: int, device: torch.device) -> Tensor:
    """[rows, past + rows] True where a row may read: all that is past, itself, and before it."""
    every = torch.ones(rows, past + rows, dtype=torch.bool, device=device)
    return every.tril(diagonal=past)
