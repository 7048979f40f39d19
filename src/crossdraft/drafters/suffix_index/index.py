"""The suffix index: what earlier answers said next, learned online, proposed as a tree.

``SuffixIndex`` owns the arrays, grows them, and hands them to the kernels; one index serves
one decoding loop (proposals share buffers, so two threads must not share an index).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.drafters.suffix_index import automaton as sam
from crossdraft.drafters.suffix_index import propose as tree

START = -1  # every answer begins with the mark of its question, -2 - question, and START
GROWTH = 1.3
TABLE = 512  # powers of counts and fades of ages that are looked up


@dataclass(frozen=True)
class SuffixConfig:
    """How earlier answers turn into probabilities.

    Defaults were tuned on splits of 638 recorded answers of Video-LLaVA-7B; README says what the
    same defaults give on a recording that took no part.
    """

    discount: float = 0.5
    """Weight taken from each follower and given to shorter contexts."""
    smoothing: float = 0.8
    """Pseudo-weight of "something else" in each context."""
    exponent: float = 0.25
    """Weight of n occurrences is n ** exponent: neighbouring clips repeat each other."""
    recency: float = 2.0
    """Weight of one occurrence in the newest answer, where recency is asked for."""
    decay: float = 0.9
    """What one more answer leaves of the recency of those before it."""
    similarity: float = 2.5
    """An answer that shares all with the prefix weighs exp(similarity) times one without."""
    burst: int = 2
    """Answers this close count as one supporter; a state remembers four of them."""
    choices: int = 6
    """Similarity decides only where no more followers than this are known."""
    children: int = 12
    """Followers of a context that are examined at most, 1 to 64."""
    negligible: float = 3e-3
    """Blending ends when no more than this probability, path included, is left to share."""


class SuffixIndex:
    """Longest-suffix lookup with counts and recency over every answer absorbed so far."""

    def __init__(self, config: SuffixConfig = SuffixConfig()) -> None:
        if not 1 <= config.children <= tree.CANDIDATES:
            raise ValueError(f"children must be 1 to {tree.CANDIDATES}, not {config.children}")
        self.config = config
        self._recent = _params(config, config.recency)
        self._timeless = _params(config, 0.0)
        self._automaton = sam.empty(64, 128)
        self._distinct: NDArray[np.int32] = np.zeros(64, np.int32)
        self._ends: NDArray[np.int64] = np.zeros(64, np.int64)
        self._scratch = tree.scratch_for(0, 0)
        self.n_answers = 0
        self.n_tokens = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that grow, spare capacity and buffers included."""
        arrays = (*self._automaton, self._distinct, self._ends, *self._scratch)
        return int(sum(array.nbytes for array in arrays))

    def absorb(self, tokens: NDArray[np.int32], question: int = 0) -> None:
        """Learn one finished answer: token ids >= 0, [n], n may be 0."""
        tokens = np.asarray(tokens, np.int32)
        marked = _marked(tokens, question)
        config = self.config
        start: sam.Int = 0
        while True:
            start = sam.absorb(
                self._automaton,
                marked,
                start,
                self.n_answers,
                config.decay,
                config.burst,
                config.children,
            )
            if start == marked.size:
                break
            self._grow()
        self._remember(np.unique(tokens))
        self.n_tokens += tokens.size

    def propose(
        self,
        prefix: NDArray[np.int32],
        nodes: int,
        depth: int,
        branch: int,
        question: int = 0,
        recency: bool = True,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """The most probable continuations of an answer that began with ``prefix`` [m].

        Returns tokens [k], parents [k] (-1 = the prefix) and logq [k], the log-probability of
        the path from the prefix, most probable first: k <= nodes, parents before children, at
        most ``depth`` tokens deep and ``branch`` children per node. Changes nothing. Switch
        ``recency`` off where finished answers are not absorbed as they come: the last answers
        absorbed are then no closer to this one than the first.
        """
        marked = _marked(np.asarray(prefix, np.int32), question)
        nodes = max(nodes, 0) if depth > 0 and branch > 0 else 0
        tokens: NDArray[np.int32] = np.empty(nodes, np.int32)
        parents: NDArray[np.int32] = np.empty(nodes, np.int32)
        logq: NDArray[np.float32] = np.empty(nodes, np.float32)
        state, _ = sam.longest_suffix(self._automaton, marked)
        n = tree.grow_tree(
            self._automaton,
            tree.Memory(self._distinct, self._ends[: self.n_answers + 1]),
            self._buffers(nodes),
            self._recent if recency else self._timeless,
            state,
            marked[2:],  # a fresh array: the kernels know one memory layout
            (nodes, depth, branch),
            tokens,
            parents,
            logq,
        )
        return tokens[:n], parents[:n], logq[:n]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything needed to go on elsewhere, as plain numeric arrays without spare room."""
        states, edges, _, used = self._automaton
        kept = self._ends[: self.n_answers + 1]
        return {
            "states": _plain(states[: used[0]]),
            "edges": _plain(edges[: used[1]]),
            "distinct": self._distinct[: kept[-1]].copy(),
            "ends": kept.copy(),
            "n_tokens": np.array([self.n_tokens], np.int64),
            "config": np.array([getattr(self.config, f.name) for f in fields(self.config)]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SuffixIndex:
        """The index that ``to_arrays`` described; ValueError where the arrays do not fit."""
        names = [field.name for field in fields(SuffixConfig)]
        values = zip(names, arrays["config"].tolist(), strict=True)
        # All were stored as floats; the defaults know which are whole numbers.
        typed = {name: type(getattr(SuffixConfig, name))(value) for name, value in values}
        index = cls(SuffixConfig(**typed))
        states = np.ascontiguousarray(arrays["states"], np.int32).view(sam.STATE).reshape(-1)
        edges = np.ascontiguousarray(arrays["edges"], np.int32).view(sam.EDGE).reshape(-1)
        ends = np.array(arrays["ends"], np.int64)
        distinct = np.array(arrays["distinct"], np.int32)
        _check(states, edges, distinct, ends)
        used = np.array([states.size, edges.size, 0], np.int64)
        stored = sam.Automaton(states, edges, np.zeros(0, np.int32), used)
        index._automaton = sam.grown(stored, states.size, max(edges.size, 1))
        index._distinct, index._ends = distinct, ends
        index.n_answers, index.n_tokens = ends.size - 1, int(arrays["n_tokens"][0])
        return index

    def _grow(self) -> None:
        states, edges, _, used = self._automaton
        n_edges = used[1] + states[used[2]]["length"] + 2 + states[0]["fan"]
        self._automaton = sam.grown(
            self._automaton,
            max(int(states.size * GROWTH), int(used[0]) + 2),
            max(int(edges.size * GROWTH), int(n_edges)),
        )

    def _remember(self, distinct: NDArray[np.int32]) -> None:
        """Keep the distinct tokens of a finished answer, [d]."""
        begin = int(self._ends[self.n_answers])
        end = begin + distinct.size
        if end > self._distinct.size:
            self._distinct = np.resize(self._distinct, int(end * GROWTH))
        if self.n_answers + 2 > self._ends.size:
            self._ends = np.resize(self._ends, int(self._ends.size * GROWTH) + 2)
        self._distinct[begin:end] = distinct
        self.n_answers += 1
        self._ends[self.n_answers] = end

    def _buffers(self, nodes: int) -> tree.Scratch:
        rows, answers = self._scratch.held.size, self._scratch.weights.size
        if rows < nodes + 1 or answers < self.n_answers:
            room = answers if answers >= self.n_answers else int(self.n_answers * GROWTH) + 1
            self._scratch = tree.scratch_for(max(rows - 1, nodes), room)
        return self._scratch


def warm_up() -> None:
    """Compile every kernel, or load it from numba's cache, so that no measured time pays."""
    index = SuffixIndex()
    for answer in np.arange(120, dtype=np.int32).reshape(2, 60):  # long enough to grow
        index.absorb(answer)
    index.propose(np.zeros(1, np.int32), 2, 2, 2)


def _marked(tokens: NDArray[np.int32], question: int) -> NDArray[np.int32]:
    """An answer behind the marks of its question and of its start, [n + 2]."""
    if question < 0 or (tokens.size and tokens.min() < 0):
        raise ValueError("question numbers and token ids must not be negative")
    marked: NDArray[np.int32] = np.empty(tokens.size + 2, np.int32)
    marked[0], marked[1], marked[2:] = -2 - question, START, tokens
    return marked


def _params(config: SuffixConfig, recency: float) -> tree.Params:
    small = np.arange(TABLE, dtype=np.float64)
    tables: dict[str, Any] = {
        "powers": small**config.exponent,
        "fades": recency * config.decay**small,
    }
    same = [name for name in tree.Params._fields if name not in tables]
    return tree.Params(**{name: getattr(config, name) for name in same}, **tables)


def _plain(records: Any) -> NDArray[np.int32]:
    """Records as rows of 32-bit numbers (floats keep their bits), [records, fields]."""
    rows: NDArray[np.int32] = records.view(np.int32)
    return rows.reshape(records.size, records.itemsize // 4).copy()


def _check(states: Any, edges: Any, distinct: NDArray[np.int32], ends: NDArray[np.int64]) -> None:
    """Refuse arrays that would send the kernels astray: they do not check bounds themselves."""
    n_states, n_edges, n_answers = states.size, edges.size, ends.size - 1
    inside = (
        n_states > 0
        and n_answers >= 0
        and all(
            _within(states[name], -1, n) for name, n in (("link", n_states), ("first", n_edges))
        )
        and all(_within(edges[name], 0, n_states) for name in ("source", "target"))
        and _within(edges["next"], -1, n_edges)
        and _within(states["supporters"], -1, n_answers)
        and ends[0] == 0
        and ends[-1] == distinct.size
        and bool(np.all(np.diff(ends) >= 0))
    )
    # Following links must end: each leads to a shorter suffix, the root has none.
    links, lengths = states["link"], states["length"]
    inside = inside and bool(links[0] == -1 and np.all(links[1:] >= 0))
    if not (inside and bool(np.all(lengths[links[1:]] < lengths[1:]))):
        raise ValueError("the arrays are not those of a suffix index: references out of range")


def _within(values: NDArray[np.int32], low: int, high: int) -> bool:
    return values.size == 0 or bool(values.min() >= low and values.max() < high)
