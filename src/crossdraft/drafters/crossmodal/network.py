"""The network of `crossmodal`: causal layers over the target's states and tokens, with
cross-attention over the event model's answer.

Row by row: the question's tokens with no state, then for each token of the answer the state that
emitted it beside its embedding (EAGLE, Li et al. 2024); each row's output stands for the next
state, and takes that one's place where the target has not spoken yet. Tokens are read off it by
the target's frozen head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossdraft.drafters.crossmodal.config import CrossmodalConfig
from crossdraft.drafters.translator_network import Decoded, DecoderLayer, KeyValue

#: Stands where no token is known.
NO_TOKEN = -1


class Crossmodal(nn.Module):
    """Predicts the target's next state from its states and tokens so far and the memory.

    Args:
        hidden: width of the target's states and embeddings.
        draft_hidden: width of the event model's states.
    """

    def __init__(self, config: CrossmodalConfig, hidden: int, draft_hidden: int) -> None:
        super().__init__()
        self.config, self.hidden = config, hidden
        width = config.embed_dim
        self.state_norm, self.token_norm = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.null_state = nn.Parameter(torch.empty(hidden))
        self.null_token = nn.Parameter(torch.empty(hidden))
        self.state_in = nn.Linear(hidden, width, bias=False)
        self.token_in = nn.Linear(hidden, width, bias=False)
        self.answer_position = nn.Embedding(config.max_seq_len, width)
        # Counted from its end: the last one is the row that says the first token.
        self.question_position = nn.Embedding(config.max_question, width)
        if config.memory != "none":
            self.memory_norm = nn.RMSNorm(draft_hidden)
            self.memory_state_in = nn.Linear(draft_hidden, width, bias=False)
            self.memory_token_in = nn.Linear(hidden, width, bias=False)
            self.memory_position = nn.Embedding(config.max_seq_len, width)
        self.null_memory = nn.Parameter(torch.empty(width))
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.out_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, hidden, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(
                    module.weight, std=0.02 if isinstance(module, nn.Embedding) else 0.05
                )
        for free in (self.null_state, self.null_token, self.null_memory):
            nn.init.normal_(free, std=0.02)

    def question_rows(self, tokens: Tensor) -> Tensor:
        """[batch, n, width] of the embeddings [batch, n, hidden] that end the prompt."""
        length = tokens.shape[1]
        place = torch.arange(length - 1, -1, -1, device=tokens.device)
        rows: Tensor = self._rows(self.null_state, tokens) + self.question_position(place)
        return rows

    def answer_rows(self, states: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        """[batch, n, width] of answer tokens.

        Args:
            states: [batch, n, hidden] that emitted them, true or predicted.
            tokens: [batch, n, hidden] their embeddings.
            places: [n] their places in the answer.
        """
        if not self.config.token_conditioning:
            tokens = self.null_token.expand_as(tokens)
        rows: Tensor = self._rows(self.state_norm(states), tokens) + self.answer_position(places)
        return rows

    def hidden_rows(self, tokens: Tensor, places: Tensor) -> Tensor:
        """[batch, n, width] of answer tokens whose states nobody knows."""
        if not self.config.token_conditioning:
            tokens = self.null_token.expand_as(tokens)
        rows: Tensor = self._rows(self.null_state, tokens) + self.answer_position(places)
        return rows

    def _rows(self, states: Tensor, tokens: Tensor) -> Tensor:
        rows: Tensor = self.state_in(states) + self.token_in(self.token_norm(tokens))
        return rows

    def remember(
        self,
        states: Tensor | None,
        tokens: Tensor | None = None,
        *,
        first: int = 0,
        null: bool = True,
    ) -> tuple[KeyValue, ...]:
        """Keys and values of a piece of the event model's answer, for every layer.

        Args:
            states: [batch, n, draft_hidden] the event model's; None: there are none.
            tokens: [batch, n, hidden] embeddings of the tokens that they emitted.
            first: place of the first one.
            null: whether the null row stands before them.
        """
        rows = []
        if null:
            batch = 1 if states is None else states.shape[0]
            rows.append(self.null_memory.expand(batch, 1, -1))
        if states is not None:
            assert tokens is not None
            place = torch.arange(first, first + states.shape[1], device=states.device)
            rows.append(
                self.memory_state_in(self.memory_norm(states))
                + self.memory_token_in(self.token_norm(tokens))
                + self.memory_position(place)
            )
        read = self.dropout(torch.cat(rows, dim=1))
        return tuple(layer.cross_attention.project(read) for layer in self._decoder())

    def _decoder(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def extend(
        self,
        rows: Tensor,
        past: Decoded | None,
        memory: tuple[KeyValue, ...],
        mask: Tensor | None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, Decoded]:
        """Go through further rows behind those before.

        Args:
            rows: [batch, n, width].
            memory: from `remember`.
            mask: broadcasts to [batch, heads, n, past + n], True may be read; None: everything.
            memory_mask: [batch, 1, n, 1 + words]; None: everything.

        Returns:
            [batch, n, hidden] the state behind each row's, as predicted, and all rows so far.
        """
        stream, kept = self.dropout(rows), []
        for number, layer in enumerate(self._decoder()):
            before = None if past is None else past.layers[number]
            stream, keys = layer(stream, before, mask, memory[number], memory_mask)
            kept.append(keys)
        said: Tensor = self.out(self.out_norm(stream))
        return said, Decoded(tuple(kept))
