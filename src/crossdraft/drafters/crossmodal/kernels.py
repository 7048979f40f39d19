"""The network's rows on a CPU, compiled: a few rows of a small network take less time than torch
takes to begin with them.

The same numbers as `network.py` but for rounding. Rows of the question, of the answer and of drafts
stand one behind the other in one cache; drafts are overwritten by the next proposal.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_ROOT_HALF = np.float32(0.7071067811865476)
Ints = NDArray[np.int64]


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
def _dot(one: Floats, other: Floats) -> float:
    total = np.float32(0.0)
    for i in range(one.shape[0]):
        total += one[i] * other[i]
    return total  # type: ignore[return-value]


@njit(cache=True, nogil=True, fastmath=True)
def _dots4(row: Floats, weight: Floats, bias: Floats, first: int, out: Floats) -> None:
    """Four outputs from `first` on; each number of the row is read once for all of them."""
    w0, w1, w2, w3 = weight[first], weight[first + 1], weight[first + 2], weight[first + 3]
    a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(row.shape[0]):
        x = row[i]
        a += x * w0[i]
        b += x * w1[i]
        c += x * w2[i]
        d += x * w3[i]
    out[first] = a + bias[first]
    out[first + 1] = b + bias[first + 1]
    out[first + 2] = c + bias[first + 2]
    out[first + 3] = d + bias[first + 3]


@njit(cache=True, nogil=True, fastmath=True)
def _dots8(
    row: Floats, other: Floats, weight: Floats, bias: Floats, first: int, out: Floats, more: Floats
) -> None:
    """The same of two rows, which share the weights that are read."""
    w0, w1, w2, w3 = weight[first], weight[first + 1], weight[first + 2], weight[first + 3]
    a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    e, f, g, h = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(row.shape[0]):
        x, y = row[i], other[i]
        a += x * w0[i]
        b += x * w1[i]
        c += x * w2[i]
        d += x * w3[i]
        e += y * w0[i]
        f += y * w1[i]
        g += y * w2[i]
        h += y * w3[i]
    out[first], more[first] = a + bias[first], e + bias[first]
    out[first + 1], more[first + 1] = b + bias[first + 1], f + bias[first + 1]
    out[first + 2], more[first + 2] = c + bias[first + 2], g + bias[first + 2]
    out[first + 3], more[first + 3] = d + bias[first + 3], h + bias[first + 3]


@njit(cache=True, nogil=True, fastmath=True)
def _erf(value: Any) -> Any:
    """Within 1e-6 of erf: a quotient of polynomials (Eigen's), which unlike a call runs many at a
    time."""
    x = min(max(value, np.float32(-4.0)), np.float32(4.0))
    y = x * x
    top = np.float32(-2.72614225801306e-10)
    top = top * y + np.float32(2.77068142495902e-08)
    top = top * y - np.float32(2.10102402082508e-06)
    top = top * y - np.float32(5.69250639462346e-05)
    top = top * y - np.float32(7.34990630326855e-04)
    top = top * y - np.float32(2.95459980854025e-03)
    top = top * y - np.float32(1.60960333262415e-02)
    low = np.float32(-1.45660718464996e-05)
    low = low * y - np.float32(2.13374055278905e-04)
    low = low * y - np.float32(1.68282697438203e-03)
    low = low * y - np.float32(7.37332916720468e-03)
    low = low * y - np.float32(1.42647390514189e-02)
    return x * top / low


@njit(cache=True, nogil=True, fastmath=True)
def linear(rows: Floats, weight: Floats, bias: Floats, out: Floats) -> None:
    """out[r] = weight rows[r] + bias; by blocks of two rows and four outputs, since reading the
    weights is what takes the time."""
    count, outputs = rows.shape[0], weight.shape[0]
    even, whole = count - count % 2, outputs - outputs % 4
    for o in range(0, whole, 4):
        for r in range(0, even, 2):
            _dots8(rows[r], rows[r + 1], weight, bias, o, out[r], out[r + 1])
        if even < count:
            _dots4(rows[even], weight, bias, o, out[even])
    for o in range(whole, outputs):
        for r in range(count):
            out[r, o] = _dot(rows[r], weight[o]) + bias[o]


@njit(cache=True, nogil=True, fastmath=True)
def _layer_norm(rows: Floats, norm: Floats, eps: float, out: Floats) -> None:
    width = rows.shape[1]
    for r in range(rows.shape[0]):
        mean = np.float32(0.0)
        for i in range(width):
            mean += rows[r, i]
        mean /= width
        spread = np.float32(0.0)
        for i in range(width):
            spread += (rows[r, i] - mean) * (rows[r, i] - mean)
        scale = np.float32(1.0 / math.sqrt(spread / width + eps))
        for i in range(width):
            out[r, i] = (rows[r, i] - mean) * scale * norm[0, i] + norm[1, i]


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
        out[o] = _dot(normed, weight[o])


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
def _exponentials(values: Floats) -> float:
    """exp(x - the largest x), in place, and their sum.

    Within 1e-6 of it relatively: two to the power of a whole number, which is written into the
    exponent's bits, times that of a fraction, which is a polynomial. Many run at a time.
    """
    count = values.shape[0]
    top = values[0]
    for i in range(count):
        top = max(top, values[i])
    bits = np.empty(count, np.int32)
    for i in range(count):
        power = max(values[i] - top, np.float32(-80.0)) * np.float32(1.4426950408889634)
        whole = np.int32(power) - np.int32(1)
        part = (power - np.float32(whole) - np.float32(0.5)) * np.float32(0.6931471805599453)
        near = np.float32(1.0 / 720.0)
        near = near * part + np.float32(1.0 / 120.0)
        near = near * part + np.float32(1.0 / 24.0)
        near = near * part + np.float32(1.0 / 6.0)
        near = near * part + np.float32(0.5)
        near = near * part + np.float32(1.0)
        near = near * part + np.float32(1.0)
        values[i] = near * np.float32(1.4142135623730951)
        bits[i] = (whole + np.int32(127)) << np.int32(23)
    powers = bits.view(np.float32)
    total = np.float32(0.0)
    for i in range(count):
        values[i] *= powers[i]
        total += values[i]
    return total  # type: ignore[return-value]


@njit(cache=True, nogil=True, fastmath=True)
def _attend(
    query: Floats, keys: Floats, values: Floats, before: int, more: Ints, heads: int, out: Floats
) -> None:
    """One row: the rows before `before`, and those of `more`.

    Args:
        keys: [width, rows]: a number of all rows stands side by side, so that no sum is taken
            across.
        values: [rows, width].
    """
    width, count = query.shape[0], before + more.shape[0]
    part = width // heads
    scale = np.float32(1.0 / math.sqrt(part))
    shares = np.empty(count, np.float32)
    for h in range(heads):
        first, end = h * part, (h + 1) * part
        shares[:] = 0.0
        for j in range(first, end):
            asked, key = query[j] * scale, keys[j]
            for i in range(before):
                shares[i] += asked * key[i]
            for i in range(more.shape[0]):
                shares[before + i] += asked * key[more[i]]
        total = _exponentials(shares)
        out[first:end] = 0.0
        for i in range(count):
            row, share = i if i < before else more[i - before], shares[i] / total
            for j in range(first, end):
                out[j] += share * values[row, j]


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
        _layer_norm(rows, weights.self_norm[layer], weights.layer_eps, normed)
        linear(normed, weights.self_in[layer], weights.self_in_bias[layer], joined)
        for r in range(count):
            keys[:, first + r] = joined[r, width : 2 * width]
            values[first + r] = joined[r, 2 * width :]
        for r in range(count):
            _attend(
                joined[r, :width], keys, values, before[r], more[r, : counts[r]], weights.heads,
                mixed[r],
            )  # fmt: skip
        linear(mixed, weights.self_out[layer], weights.self_out_bias[layer], normed)
        rows += normed
        _layer_norm(rows, weights.cross_norm[layer], weights.layer_eps, normed)
        linear(normed, weights.cross_query[layer], weights.cross_query_bias[layer], mixed)
        for r in range(count):
            _attend(
                mixed[r], cache.memory_keys[layer], cache.memory_values[layer], words, none,
                weights.heads, normed[r],
            )  # fmt: skip
        linear(normed, weights.cross_out[layer], weights.cross_out_bias[layer], mixed)
        rows += mixed
        _layer_norm(rows, weights.ffn_norm[layer], weights.layer_eps, normed)
        linear(normed, weights.ffn_in[layer], weights.ffn_in_bias[layer], inner)
        for r in range(count):
            for i in range(inner.shape[1]):
                x = inner[r, i]
                inner[r, i] = np.float32(0.5) * x * (np.float32(1.0) + _erf(x * _ROOT_HALF))
        linear(inner, weights.ffn_out[layer], weights.ffn_out_bias[layer], mixed)
        rows += mixed


@njit(cache=True, nogil=True, fastmath=True)
def said(weights: Weights, rows: Floats, out: Floats) -> None:
    """[n, hidden] states that rows which have been through predict."""
    normed = np.empty_like(rows)
    _layer_norm(rows, weights.out_norm, weights.layer_eps, normed)
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
        logp[r] -= logp[r, 0] + math.log(_exponentials(scores[r]))


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
