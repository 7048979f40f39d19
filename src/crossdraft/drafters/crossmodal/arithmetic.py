"""Sums, norms and attention over a few rows of a small network, compiled.

Loops are written so that many numbers go through at a time: sums over several rows or outputs at
once, functions as polynomials, keys with a number of all rows side by side.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_ROOT_HALF = np.float32(0.7071067811865476)


@njit(cache=True, nogil=True, fastmath=True)
def dot(one: Floats, other: Floats) -> float:
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
            out[r, o] = dot(rows[r], weight[o]) + bias[o]


@njit(cache=True, nogil=True, fastmath=True)
def layer_norm(rows: Floats, norm: Floats, eps: float, out: Floats) -> None:
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
def gelu(rows: Floats) -> None:
    """In place, by the error function."""
    for r in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            x = rows[r, i]
            rows[r, i] = np.float32(0.5) * x * (np.float32(1.0) + _erf(x * _ROOT_HALF))


@njit(cache=True, nogil=True, fastmath=True)
def exponentials(values: Floats) -> float:
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
def _scores(
    query: Floats, keys: Floats, before: int, more: Ints, first: int, end: int, out: Floats
) -> None:
    """Products of a head's numbers of a row and of those that it sees."""
    left = out[:before]
    scale = np.float32(1.0 / math.sqrt(end - first))
    out[:] = 0.0
    fours = first + (end - first) // 4 * 4
    for j in range(first, fours, 4):
        a, b, c, d = query[j], query[j + 1], query[j + 2], query[j + 3]
        k0, k1, k2, k3 = keys[j], keys[j + 1], keys[j + 2], keys[j + 3]
        for i in range(before):
            left[i] += a * k0[i] + b * k1[i] + c * k2[i] + d * k3[i]
    for j in range(fours, end):
        for i in range(before):
            left[i] += query[j] * keys[j, i]
    for i in range(more.shape[0]):
        for j in range(first, end):
            out[before + i] += query[j] * keys[j, more[i]]
    for i in range(out.shape[0]):
        out[i] *= scale


@njit(cache=True, nogil=True, fastmath=True)
def attend(
    query: Floats, keys: Floats, values: Floats, before: int, more: Ints, heads: int, out: Floats
) -> None:
    """One row's attention: to the rows before `before`, and to those of `more`.

    Args:
        keys: [width, rows]: a number of all rows stands side by side, so that no sum is taken
            across.
        values: [rows, width].
    """
    count = before + more.shape[0]
    part = query.shape[0] // heads
    shares = np.empty(count, np.float32)
    fours = before - before % 4
    for h in range(heads):
        first, end = h * part, (h + 1) * part
        _scores(query, keys, before, more, first, end, shares)
        once = np.float32(1.0) / np.float32(exponentials(shares))
        mixed = out[first:end]
        mixed[:] = 0.0
        for i in range(0, fours, 4):
            a, b = shares[i] * once, shares[i + 1] * once
            c, d = shares[i + 2] * once, shares[i + 3] * once
            v0, v1 = values[i, first:end], values[i + 1, first:end]
            v2, v3 = values[i + 2, first:end], values[i + 3, first:end]
            for j in range(part):
                mixed[j] += a * v0[j] + b * v1[j] + c * v2[j] + d * v3[j]
        for i in range(fours, count):
            share = shares[i] * once
            value = values[i if i < before else more[i - before], first:end]
            for j in range(part):
                mixed[j] += share * value[j]
