"""The network's rows on a CPU, compiled: a few rows of a small network take less time than torch
takes to begin with them.

The same numbers as `network.py` but for rounding. Rows of the question, of the answer and of drafts
stand one behind the other in one cache; drafts are overwritten by the next proposal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from crossdraft.drafters.crossmodal.arithmetic import (
    Floats,
    Ints,
    attend,
    dot,
    exponentials,
    gelu,
    layer_norm,
    linear,
)


class Weights(NamedTuple):
    """The network's, a layer first where there are several."""

    state_norm: Floats  # [hidden]
    state_in: Floats  # [width, hidden]
    null_state: Floats  # [width], through `state_in`
    tokens: Floats  # [vocab + 1, width] through norm and `token_in`; the last: no token
    answer_position: Floats  # [longest, width]
    self_norm: Floats  # [layers, 2, width] weight and bias
    self_in: Floats  # [layers, 3 width, width] query, key, value
    self_in_bias: Floats  # [layers, 3 width]
    self_out: Floats  # [layers, width, width]
    self_out_bias: Floats  # [layers, width]
    cross_norm: Floats  # as those of self-attention
    cross_query: Floats  # [layers, width, width]
    cross_query_bias: Floats
    cross_out: Floats
    cross_out_bias: Floats
    ffn_norm: Floats
    ffn_in: Floats  # [layers, ffn, width]
    ffn_in_bias: Floats
    ffn_out: Floats  # [layers, width, ffn]
    ffn_out_bias: Floats
    out_norm: Floats  # [2, width]
    out: Floats  # [hidden, width]
    head: Floats  # [proposable, hidden]
    head_bias: Floats  # [proposable]
    ids: Ints  # [proposable] of the head's rows
    heads: int
    layer_eps: float
    rms_eps: float


class Reader(NamedTuple):
    """What makes keys and values of the event model's answer."""

    state_norm: Floats  # [draft_hidden]
    state_in: Floats  # [width, draft_hidden]
    tokens: Floats  # [vocab + 1, width] as in `Weights`, through the memory's matrix
    position: Floats  # [longest, width]
    null: Floats  # [width]
    key_value: Floats  # [layers, 2 width, width]
    key_value_bias: Floats  # [layers, 2 width]
    rms_eps: float


class Cache(NamedTuple):
    """Keys and values of one answer."""

    keys: Floats  # [layers, width, rows]
    values: Floats  # [layers, rows, width]
    memory_keys: Floats  # [layers, width, 1 + words]
    memory_values: Floats  # [layers, 1 + words, width]


@njit(cache=True, nogil=True, fastmath=True)
def _state_row(state: Floats, norm: Floats, weight: Floats, eps: float, out: Floats) -> None:
    """A state through its norm and a matrix."""
    squares = np.float32(0.0)
    hidden = state.shape[0]
    for i in range(hidden):
        squares += state[i] * state[i]
    scale = np.float32(1.0 / math.sqrt(squares / hidden + eps))
    normed = np.empty(hidden, np.float32)
    for i in range(hidden):
        normed[i] = state[i] * scale * norm[i]
    for o in range(out.shape[0]):
        out[o] = dot(normed, weight[o])


@njit(cache=True, nogil=True, fastmath=True)
def answer_rows(weights: Weights, ids: Ints, states: Floats, first: int) -> Floats:
    """[n, width] of answer tokens from place `first` on.

    Args:
        states: [m, hidden] of the first m of them; of the others nobody knows.
    """
    rows = np.empty((len(ids), weights.state_in.shape[0]), np.float32)
    for r in range(len(ids)):
        if r < states.shape[0]:
            _state_row(states[r], weights.state_norm, weights.state_in, weights.rms_eps, rows[r])
        else:
            rows[r] = weights.null_state
        rows[r] += weights.tokens[ids[r]] + weights.answer_position[first + r]
    return rows


@njit(cache=True, nogil=True, fastmath=True)
def remember(reader: Reader, cache: Cache, ids: Ints, states: Floats, first: int) -> None:
    """Keys and values of words, from row `first` of the memory on; row 0 is the null row."""
    count, width = len(ids), reader.null.shape[0]
    rows = np.empty((count, width), np.float32)
    for r in range(count):
        if first + r == 0:
            rows[r] = reader.null
            continue
        _state_row(states[r], reader.state_norm, reader.state_in, reader.rms_eps, rows[r])
        rows[r] += reader.tokens[ids[r]] + reader.position[first + r - 1]
    both = np.empty((count, 2 * width), np.float32)
    for layer in range(reader.key_value.shape[0]):
        linear(rows, reader.key_value[layer], reader.key_value_bias[layer], both)
        cache.memory_keys[layer, :, first : first + count] = both[:, :width].T
        cache.memory_values[layer, first : first + count] = both[:, width:]


@njit(cache=True, nogil=True, fastmath=True)
def through(
    weights: Weights, cache: Cache, rows: Floats, first: int, before: Ints, more: Ints,
    counts: Ints, words: int,
) -> None:  # fmt: skip
    """Go through rows, in place; their keys and values stand in the cache from `first` on.

    Args:
        rows: [n, width].
        before: [n] each sees the rows of the cache before this one,
        more, counts: [n, .], [n] and so many of these.
        words: rows of the memory.
    """
    count, width = rows.shape
    normed, mixed = np.empty((count, width), np.float32), np.empty((count, width), np.float32)
    joined = np.empty((count, 3 * width), np.float32)
    inner = np.empty((count, weights.ffn_in.shape[1]), np.float32)
    none = np.empty(0, np.int64)
    for layer in range(weights.self_in.shape[0]):
        keys, values = cache.keys[layer], cache.values[layer]
        layer_norm(rows, weights.self_norm[layer], weights.layer_eps, normed)
        linear(normed, weights.self_in[layer], weights.self_in_bias[layer], joined)
        for r in range(count):
            keys[:, first + r] = joined[r, width : 2 * width]
            values[first + r] = joined[r, 2 * width :]
        for r in range(count):
            attend(
                joined[r, :width], keys, values, before[r], more[r, : counts[r]], weights.heads,
                mixed[r],
            )  # fmt: skip
        linear(mixed, weights.self_out[layer], weights.self_out_bias[layer], normed)
        rows += normed
        layer_norm(rows, weights.cross_norm[layer], weights.layer_eps, normed)
        linear(normed, weights.cross_query[layer], weights.cross_query_bias[layer], mixed)
        for r in range(count):
            attend(
                mixed[r], cache.memory_keys[layer], cache.memory_values[layer], words, none,
                weights.heads, normed[r],
            )  # fmt: skip
        linear(normed, weights.cross_out[layer], weights.cross_out_bias[layer], mixed)
        rows += mixed
        layer_norm(rows, weights.ffn_norm[layer], weights.layer_eps, normed)
        linear(normed, weights.ffn_in[layer], weights.ffn_in_bias[layer], inner)
        gelu(inner)
        linear(inner, weights.ffn_out[layer], weights.ffn_out_bias[layer], mixed)
        rows += mixed


@njit(cache=True, nogil=True, fastmath=True)
def said(weights: Weights, rows: Floats, out: Floats) -> None:
    """[n, hidden] states that rows which have been through predict."""
    normed = np.empty_like(rows)
    layer_norm(rows, weights.out_norm, weights.layer_eps, normed)
    linear(normed, weights.out, np.zeros(weights.out.shape[0], np.float32), out)


@njit(cache=True, nogil=True)
def _likeliest(weights: Weights, states: Floats, best: Ints, logp: Floats) -> None:
    """[n, k] proposable rows behind predicted states, likeliest first, and log probabilities."""
    count, wanted = best.shape
    scores = np.empty((count, weights.head.shape[0]), np.float32)
    linear(states, weights.head, weights.head_bias, scores)
    for r in range(count):
        held = 0
        for i in range(scores.shape[1]):
            score = scores[r, i]
            if held == wanted and score <= logp[r, held - 1]:
                continue
            place = held if held < wanted else wanted - 1
            while place > 0 and logp[r, place - 1] < score:
                logp[r, place], best[r, place] = logp[r, place - 1], best[r, place - 1]
                place -= 1
            logp[r, place], best[r, place] = score, i
            held = min(held + 1, wanted)
        logp[r] -= logp[r, 0] + math.log(exponentials(scores[r]))


@njit(cache=True, nogil=True)
def grow(
    weights: Weights, cache: Cache, state: Floats, known: int, place: int, words: int,
    nodes: int, depth: int, branch: int, width: int, least: float,
) -> tuple[Ints, Ints, Floats, int]:  # fmt: skip
    """The tree with the likeliest paths; see `level_tree.grown`.

    Args:
        state: [hidden] predicted behind the last row.
        known: rows of the cache.
        place: in the answer, of the first draft.
        words: rows of the memory.
        nodes, depth, branch, width, least: of the tree.

    Returns:
        [n] ids, parents and log probabilities of paths, likeliest first, and nodes gone through.
    """
    vocabulary, hidden = weights.head.shape[0], weights.out.shape[0]
    stream = weights.state_in.shape[0]
    most = min(branch, nodes, vocabulary)
    children = min(most, width)
    room = most + (depth - 1) * width * children
    rows, parents = np.empty(room, np.int64), np.empty(room, np.int64)
    logq = np.empty(room, np.float32)
    best, logp = np.empty((1, most), np.int64), np.empty((1, most), np.float32)
    states = state.copy().reshape(1, hidden)
    _likeliest(weights, states, best, logp)
    rows[:most], parents[:most], logq[:most] = best[0], -1, logp[0]
    first, count = 0, most
    # Of each node of the last level that was run: number, row in the cache, path of such rows.
    paths = np.empty((width, depth), np.int64)
    older = np.empty((width, depth), np.int64)
    run_as = np.full(room, -1, np.int64)
    lead = known
    for level in range(1, depth):
        chosen = _worth(logq, first, count, nodes, width, least)
        if not len(chosen):
            break
        number = len(chosen)
        stack = np.empty((number, stream), np.float32)
        for r in range(number):
            node = chosen[r]
            parent = run_as[parents[node]] if parents[node] >= 0 else 0
            _state_row(
                states[parent], weights.state_norm, weights.state_in, weights.rms_eps, stack[r]
            )
            stack[r] += weights.tokens[weights.ids[rows[node]]]
            stack[r] += weights.answer_position[place + level - 1]
            older[r, : level - 1] = paths[parent, : level - 1]
            older[r, level - 1] = lead + r
        paths[:number] = older[:number]
        before, counts = np.full(number, known, np.int64), np.full(number, level, np.int64)
        through(weights, cache, stack, lead, before, paths[:number], counts, words)
        lead += number
        states = np.empty((number, hidden), np.float32)
        said(weights, stack, states)
        best = np.empty((number, children), np.int64)
        logp = np.empty((number, children), np.float32)
        _likeliest(weights, states, best, logp)
        first = count
        for r in range(number):
            run_as[chosen[r]] = r
            for c in range(children):
                rows[count], parents[count] = best[r, c], chosen[r]
                logq[count] = logq[chosen[r]] + logp[r, c]
                count += 1
    ids, above, paths_logq = _kept(weights.ids, rows[:count], parents[:count], logq[:count], nodes)
    return ids, above, paths_logq, lead - known


@njit(cache=True, nogil=True)
def _worth(logq: Floats, first: int, count: int, nodes: int, width: int, least: float) -> Ints:
    """Of the last level's candidates those that are worth going through, best first: what is not
    among the best `nodes` of all has no child among them, nor has the last of the best."""
    order = np.argsort(-logq[first:count], kind="mergesort")[:width] + first
    bar = -np.inf if count < nodes else np.sort(logq[:count])[count - nodes]
    kept = 0
    while kept < len(order) and logq[order[kept]] > bar and math.exp(logq[order[kept]]) >= least:
        kept += 1
    return order[:kept]


@njit(cache=True, nogil=True)
def _kept(
    ids: Ints, rows: Ints, parents: Ints, logq: Floats, nodes: int
) -> tuple[Ints, Ints, Floats]:
    """The nodes that stay, likeliest first; the sort is stable, so parents come first."""
    order = np.argsort(-logq, kind="mergesort")[:nodes]
    place = np.full(len(rows), -1, np.int64)
    tokens, above = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    for new in range(len(order)):
        place[order[new]] = new
    for new in range(len(order)):
        node = order[new]
        tokens[new] = ids[rows[node]]
        above[new] = -1 if parents[node] < 0 else place[parents[node]]
    return tokens, above, logq[order]
