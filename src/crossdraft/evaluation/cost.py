"""The price of a verification pass: T(n)/T(1) by the number of tokens n."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text
from crossdraft.drafters.base import CostCurve


def read_cost_curve(path: Path, widest: int) -> CostCurve:
    """Read a measured curve: `{"tokens": [1, 8, 61], "ratio": [1.0, 1.2, 2.4]}`.

    Args:
        widest: most tokens of a forward; the curve must reach that far.

    Raises:
        InputError: not such a file, not increasing from 1, or too short for `widest`.
    """
    expected = '{"tokens": [1, ...increasing], "ratio": [1.0, ...]} of equal length'
    value = parse_json(read_text(path), path)
    try:
        tokens = [int(n) for n in value["tokens"]]
        ratio = [float(r) for r in value["ratio"]]
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise InputError("not a cost curve", where=path, expected=expected) from error
    rising = all(a < b for a, b in pairwise(tokens))
    sound = all(math.isfinite(r) and r > 0 for r in ratio)
    if not tokens or len(tokens) != len(ratio) or tokens[0] != 1 or not rising or not sound:
        raise InputError("not a cost curve", where=path, expected=expected)
    if abs(ratio[0] - 1.0) > 1e-9:
        raise InputError(f"ratio of one token is {ratio[0]}", where=path, expected="1.0")
    if tokens[-1] < widest:
        raise InputError(
            f"the curve ends at {tokens[-1]} tokens but a forward may hold {widest}",
            where=path,
            hint="measure further, or ask for a smaller tree",
        )
    return lambda n: float(np.interp(n, tokens, ratio))
