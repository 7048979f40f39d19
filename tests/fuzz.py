"""Any value anywhere in a JSON document."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["\ud800", 10**30, -1, float("inf")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value inside a JSON document."""
    if not isinstance(value, dict | list):
        return []
    inside = list(value.items() if isinstance(value, dict) else enumerate(value))
    deeper = [found for key, inner in inside for found in places(inner, (*path, key))]
    return [*((*path, key) for key, _ in inside), *deeper]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed
