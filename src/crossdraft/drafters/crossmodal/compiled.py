"""An `Engine` on a CPU by the compiled kernels, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from crossdraft.drafters.base import Budget
from crossdraft.drafters.crossmodal import kernels
from crossdraft.drafters.crossmodal.arithmetic import Floats, Ints
from crossdraft.drafters.crossmodal.ends import Ends
from crossdraft.drafters.crossmodal.kernels import Cache, Reader, Weights
from crossdraft.drafters.crossmodal.network import Crossmodal
from crossdraft.drafters.level_tree import WIDTH, Grown
from crossdraft.drafters.translator_network import DecoderLayer
from crossdraft.vlm.lm_head import LMHead

#: Levels of drafts that the cache has room for.
_DEEPEST = 64
#: Questions whose rows are kept.
_QUESTIONS = 64


def fits(network: Crossmodal, ends: Ends) -> bool:
    """Whether the kernels can stand for the network and these ends."""
    weight, head = network.out.weight, ends.proposing
    return (
        network.config.token_conditioning  # the kernels read every token
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and isinstance(head, LMHead)
        and not head.facts.finish
    )


class CompiledEngine:
    """Goes through rows by the kernels; one answer at a time.

    Args:
        ends: with an `LMHead` whose logits are finished by nothing, see `fits`.
    """

    def __init__(self, network: Crossmodal, ends: Ends) -> None:
        self._config = network.config
        with torch.no_grad():
            self._weights = _weights(network, ends)
            self._reader = _reader(network, ends)
            position = network.question_position.weight
            self._question_position = _array(position)
        config = self._config
        self._questions: dict[tuple[int, ...], tuple[Floats, Floats, Floats]] = {}
        layers, width = config.num_layers, config.embed_dim
        rows = config.max_question + config.max_seq_len + _DEEPEST * WIDTH
        self._cache = Cache(
            *_room(layers, width, rows), *_room(layers, width, 1 + config.max_seq_len)
        )

    def begin(self, question: Sequence[int]) -> None:
        """See `Engine.begin`."""
        self._question = self._ids(question)
        # The null row came with the first answer, and is the same in all.
        kernels.remember(
            self._reader, self._cache, self._ids((-1,)),
            np.zeros((1, self._reader.state_norm.shape[0]), np.float32), 0,
        )  # fmt: skip
        self._words, self._known, self._place = 1, 0, 0

    def _ask(self) -> None:
        """Go through the question; what it comes to before a word has arrived is kept: the same
        questions are asked again and again."""
        asked = tuple(self._question.tolist())
        count, fresh = len(asked), self._words == 1
        if fresh and (kept := self._questions.get(asked)) is not None:
            self._cache.keys[:, :, :count], self._cache.values[:, :count], self._said = kept
        else:
            position = self._question_position[count - 1 :: -1]
            tokens = self._weights.tokens[self._question]
            self._run(self._weights.null_state + tokens + position, 0)
            if fresh and len(self._questions) < _QUESTIONS:
                keys, values = self._cache.keys[:, :, :count], self._cache.values[:, :count]
                self._questions[asked] = keys.copy(), values.copy(), self._said

    def remember(self, states: Tensor, tokens: Sequence[int]) -> None:
        """See `Engine.remember`."""
        rows = np.ascontiguousarray(states.numpy(), np.float32)
        kernels.remember(self._reader, self._cache, self._ids(tokens), rows, self._words)
        self._words += len(rows)

    def extend(self, first: int, tokens: Sequence[int], states: Sequence[Tensor]) -> None:
        """See `Engine.extend`."""
        asked = len(self._question)
        known = (
            torch.stack(list(states)).numpy()
            if states
            else np.empty((0, self._weights.out.shape[0]), np.float32)
        )
        if first < 0:
            self._ask()
        first = max(0, first)
        if tokens:
            rows = kernels.answer_rows(self._weights, self._ids(tokens), known, first)
            self._run(rows, asked + first)
        self._known, self._place = asked + first + len(tokens), first + len(tokens)

    def _run(self, rows: Floats, start: int) -> None:
        """Go through rows, each seeing those before it, and predict behind the last one."""
        count = len(rows)
        before = np.arange(start + 1, start + count + 1)
        nothing = np.zeros(count, np.int64)
        kernels.through(
            self._weights, self._cache, rows, start, before, nothing[:, None], nothing, self._words
        )
        self._said = np.empty((1, self._weights.out.shape[0]), np.float32)
        kernels.said(self._weights, rows[-1:], self._said)

    def grow(self, budget: Budget, least: float) -> Grown:
        """See `Engine.grow`."""
        ids, parents, logq, run = kernels.grow(
            self._weights, self._cache, self._said[0], self._known, self._place, self._words,
            budget.nodes, min(budget.depth, _DEEPEST), budget.branch, WIDTH, least,
        )  # fmt: skip
        return Grown(torch.from_numpy(ids), parents.tolist(), logq.tolist(), run)

    def _ids(self, tokens: Sequence[int]) -> Ints:
        """Rows of the tables: unknown tokens have the last one."""
        ids = np.array(tokens, np.int64)
        none = len(self._weights.tokens) - 1
        return np.where((ids < 0) | (ids >= none), none, ids)


def _room(layers: int, width: int, rows: int) -> tuple[Floats, Floats]:
    """Keys [layers, width, rows] and values [layers, rows, width]."""
    shape = (layers, rows, width)
    return np.zeros((layers, width, rows), np.float32), np.zeros(shape, np.float32)


def _weights(network: Crossmodal, ends: Ends) -> Weights:
    layers = [layer for layer in network.layers if isinstance(layer, DecoderLayer)]
    own = [layer.self_attention for layer in layers]
    cross = [layer.cross_attention for layer in layers]
    head = ends.proposing
    assert isinstance(head, LMHead)
    count = len(ends.ids)
    bias = torch.zeros(count) if head.bias is None else head.bias
    vocabulary = _table(network, ends, network.token_in)
    into = [cast(nn.Linear, layer.ffn[0]) for layer in layers]
    out = [cast(nn.Linear, layer.ffn[-1]) for layer in layers]
    return Weights(
        state_norm=_array(network.state_norm.weight),
        state_in=_array(network.state_in.weight),
        null_state=_array(network.state_in(network.null_state)),
        tokens=vocabulary,
        answer_position=_array(network.answer_position.weight),
        self_norm=_norms([layer.norm_self for layer in layers]),
        self_in=_stack([torch.cat((a.query.weight, a.key_value.weight)) for a in own]),
        self_in_bias=_stack([torch.cat((a.query.bias, a.key_value.bias)) for a in own]),
        self_out=_stack([a.out.weight for a in own]),
        self_out_bias=_stack([a.out.bias for a in own]),
        cross_norm=_norms([layer.norm_cross for layer in layers]),
        cross_query=_stack([a.query.weight for a in cross]),
        cross_query_bias=_stack([a.query.bias for a in cross]),
        cross_out=_stack([a.out.weight for a in cross]),
        cross_out_bias=_stack([a.out.bias for a in cross]),
        ffn_norm=_norms([layer.norm_ffn for layer in layers]),
        ffn_in=_stack([one.weight for one in into]),
        ffn_in_bias=_stack([one.bias for one in into]),
        ffn_out=_stack([one.weight for one in out]),
        ffn_out_bias=_stack([one.bias for one in out]),
        out_norm=_norms([network.out_norm])[0],
        out=_array(network.out.weight),
        head=_array(head.weight),
        head_bias=_array(bias),
        ids=ends.ids.numpy(),
        heads=network.config.num_heads,
        layer_eps=network.out_norm.eps,
        rms_eps=_eps(network.state_norm),
    )


def _reader(network: Crossmodal, ends: Ends) -> Reader:
    cross = [layer.cross_attention for layer in network.layers if isinstance(layer, DecoderLayer)]
    key_value = _stack([a.key_value.weight for a in cross])
    bias = _stack([a.key_value.bias for a in cross])
    null = _array(network.null_memory)
    if network.config.memory == "none":
        empty = np.zeros((1, len(null)), np.float32)
        return Reader(empty[0, :1], empty[:, :1], empty, empty, null, key_value, bias, 1e-6)
    return Reader(
        state_norm=_array(network.memory_norm.weight),
        state_in=_array(network.memory_state_in.weight),
        tokens=_table(network, ends, network.memory_token_in),
        position=_array(network.memory_position.weight),
        null=null,
        key_value=key_value,
        key_value_bias=bias,
        rms_eps=_eps(network.memory_norm),
    )


def _table(network: Crossmodal, ends: Ends, into: nn.Linear) -> Floats:
    """[vocab + 1, width] of every token through norm and matrix; the last: no token."""
    ids = torch.arange(ends.vocab + 1)
    ids[-1] = -1
    return _array(into(network.token_norm(ends.embedded(ids))))


def _eps(norm: nn.RMSNorm) -> float:
    return float(torch.finfo(torch.float32).eps if norm.eps is None else norm.eps)


def _norms(norms: Sequence[nn.LayerNorm]) -> Floats:
    """[layers, 2, width]."""
    return _stack([torch.stack((norm.weight, norm.bias)) for norm in norms])


def _stack(parts: Sequence[Tensor]) -> Floats:
    return _array(torch.stack(list(parts)))


def _array(part: Tensor) -> Floats:
    return np.ascontiguousarray(part.detach().float().numpy())
