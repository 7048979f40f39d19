"""The suffix automaton over all answers: every phrase ever said, with count and recency.

One state stands for all substrings that occur at the same places. A state knows how often
it occurred, how recently, and in which answers; its outgoing edges are the tokens that
followed. Records live in flat arrays (one cache line per state), so that a million tokens
of history stay small and quick. Built online, one token at a time (Blumer et al., 1985).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

SUPPORTERS = 4
NONE = -1

# Kernels pass np.int64 among themselves, so that each compiles for one signature.
Int = int | np.integer[Any]

STATE = np.dtype(
    [
        ("length", np.int32),  # tokens of the longest substring this state stands for
        ("link", np.int32),  # state of the longest suffix that occurs in more places
        ("count", np.int32),  # occurrences
        ("recent", np.float32),  # occurrences, decayed per answer up to supporters[0]
        ("first", np.int32),  # head of the list of outgoing edges
        ("fan", np.int32),  # outgoing edges
        ("supporters", np.int32, (SUPPORTERS,)),  # answers it occurred in, newest first
    ]
)
EDGE = np.dtype(
    [
        ("source", np.int32),
        ("token", np.int32),
        ("target", np.int32),
        ("next", np.int32),  # next edge of the same source
    ]
)


class Automaton(NamedTuple):
    """The arrays of one automaton; ``used`` = [states, edges, state after the last token]."""

    states: Any  # STATE [state capacity]
    edges: Any  # EDGE [edge capacity]
    slots: NDArray[np.int32]  # open-addressing hash table of edges, [slots]
    used: NDArray[np.int64]  # [3]


def empty(states: int, edges: int) -> Automaton:
    """An automaton of one state (the empty string) with room for so many states and edges."""
    automaton = Automaton(
        np.zeros(states, STATE),
        np.zeros(edges, EDGE),
        np.full(slots_for(edges), NONE, np.int32),
        np.array([1, 0, 0], np.int64),
    )
    for field in ("link", "first", "supporters"):
        automaton.states[0][field] = NONE
    return automaton


def slots_for(edges: int) -> int:
    """Size of a hash table that stays at most two thirds full."""
    return edges + edges // 2 + 1


def grown(automaton: Automaton, states: int, edges: int) -> Automaton:
    """The same automaton in larger arrays; contents and edge order stay as they are."""
    larger = Automaton(
        np.zeros(states, STATE),
        np.zeros(edges, EDGE),
        np.full(slots_for(edges), NONE, np.int32),
        automaton.used.copy(),
    )
    n_states, n_edges = int(automaton.used[0]), int(automaton.used[1])
    larger.states[:n_states] = automaton.states[:n_states]
    larger.edges[:n_edges] = automaton.edges[:n_edges]
    rehash(larger)
    return larger


@njit(cache=True, nogil=True)
def find_slot(automaton: Automaton, source: Int, token: Int) -> Int:
    """The slot that holds the edge (source, token), or the free slot where it belongs."""
    slots, edges = automaton.slots, automaton.edges
    key = (np.uint64(np.uint32(source)) << np.uint64(32)) | np.uint64(np.uint32(token))
    key = (key ^ (key >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    slot: Int = np.int64(((key >> np.uint64(32)) * np.uint64(slots.size)) >> np.uint64(32))
    while slots[slot] >= 0:
        edge = slots[slot]
        if edges[edge].source == source and edges[edge].token == token:
            break
        slot += 1
        if slot == slots.size:
            slot = 0
    return slot


@njit(cache=True, nogil=True)
def rehash(automaton: Automaton) -> None:
    """Enter every edge into an empty hash table."""
    for edge in range(automaton.used[1]):
        source, token = automaton.edges[edge].source, automaton.edges[edge].token
        automaton.slots[find_slot(automaton, source, token)] = edge


@njit(cache=True, nogil=True)
def step(automaton: Automaton, state: Int, token: Int) -> Int:
    """The state after one more token, or -1 where that never followed."""
    edge = automaton.slots[find_slot(automaton, state, token)]
    return np.int64(automaton.edges[edge].target) if edge >= 0 else np.int64(NONE)


@njit(cache=True, nogil=True)
def add_edge(automaton: Automaton, source: Int, token: Int, target: Int, front: Int) -> None:
    """Add an edge that is not there yet: first in its list, or behind ``front`` others."""
    states, edges, used = automaton.states, automaton.edges, automaton.used
    edge = used[1]
    used[1] += 1
    automaton.slots[find_slot(automaton, source, token)] = edge
    record = edges[edge]
    record.source, record.token, record.target = source, token, target
    if states[source].fan < front:
        record.next = states[source].first
        states[source].first = edge
    else:
        before = states[source].first
        for _ in range(front - 1):
            before = edges[before].next
        record.next = edges[before].next
        edges[before].next = edge
    states[source].fan += 1


@njit(cache=True, nogil=True)
def split(automaton: Automaton, parent: Int, token: Int, whole: Int, front: Int) -> Int:
    """Give the shorter substrings of ``whole`` that end in parent + token a state of their own."""
    states, edges, used = automaton.states, automaton.edges, automaton.used
    clone: Int = used[0]
    used[0] += 1
    states[clone] = states[whole]
    states[clone].length = states[parent].length + 1
    states[clone].first = NONE
    states[clone].fan = 0
    last = NONE
    edge = states[whole].first
    while edge >= 0:  # keep the order of the list: it says which followers matter
        added = used[1]
        used[1] += 1
        edges[added].source, edges[added].token = clone, edges[edge].token
        edges[added].target, edges[added].next = edges[edge].target, NONE
        automaton.slots[find_slot(automaton, clone, edges[edge].token)] = added
        if last < 0:
            states[clone].first = added
        else:
            edges[last].next = added
        last = added
        edge = edges[edge].next
    states[clone].fan = states[whole].fan
    while parent >= 0:
        found = automaton.slots[find_slot(automaton, parent, token)]
        if found < 0 or edges[found].target != whole:
            break
        edges[found].target = clone
        parent = np.int64(states[parent].link)
    states[whole].link = clone
    return clone


@njit(cache=True, nogil=True)
def extend(automaton: Automaton, last: Int, token: Int, front: Int) -> Int:
    """The state of (the text that ended in ``last``) + token, created where it is new."""
    states, used = automaton.states, automaton.used
    whole = step(automaton, last, token)
    if whole >= 0:
        if states[whole].length == states[last].length + 1:
            return whole
        return split(automaton, last, token, whole, front)
    new: Int = used[0]
    used[0] += 1
    states[new].length = states[last].length + 1
    states[new].count = 0
    states[new].recent = 0.0
    states[new].first = NONE
    states[new].fan = 0
    states[new].supporters[:] = NONE
    parent = last
    while parent >= 0:
        whole = step(automaton, parent, token)
        if whole >= 0:
            break
        add_edge(automaton, parent, token, new, front)
        parent = np.int64(states[parent].link)
    if parent < 0:
        states[new].link = 0
    elif states[whole].length == states[parent].length + 1:
        states[new].link = whole
    else:
        states[new].link = split(automaton, parent, token, whole, front)
    return new


@njit(cache=True, nogil=True)
def promote(automaton: Automaton, state: Int, token: Int, front: Int) -> None:
    """Bring a follower that became frequent among the first ``front`` edges of its list.

    Only those are examined later. It takes the place of the least frequent of them, or of a
    mark (a negative token), which is never proposed.
    """
    if token < 0:
        return
    states, edges, slots = automaton.states, automaton.edges, automaton.slots
    slot = find_slot(automaton, state, token)
    follower = slots[slot]
    rarest, fewest = NONE, states[edges[follower].target].count
    edge = states[state].first
    for _ in range(front):
        if edge == follower:
            return
        count = states[edges[edge].target].count if edges[edge].token >= 0 else 0
        if count < fewest:
            rarest, fewest = edge, count
        edge = edges[edge].next
    if rarest >= 0:
        other = find_slot(automaton, state, edges[rarest].token)
        slots[slot], slots[other] = rarest, follower
        token, target = edges[rarest].token, edges[rarest].target
        edges[rarest].token, edges[rarest].target = edges[follower].token, edges[follower].target
        edges[follower].token, edges[follower].target = token, target


@njit(cache=True, nogil=True)
def mark(automaton: Automaton, state: Int, answer: Int, decay: float, burst: Int) -> None:
    """Count one occurrence of a state and of all its suffixes in this answer."""
    states = automaton.states
    while state > 0:
        record = states[state]
        newest = record.supporters[0]
        fade = 1.0 if newest < 0 else decay ** (answer - newest)
        record.count += 1
        record.recent = record.recent * fade + 1.0
        if newest < 0 or answer - newest > burst:
            for i in range(SUPPORTERS - 1, 0, -1):
                record.supporters[i] = record.supporters[i - 1]
        record.supporters[0] = answer
        state = np.int64(record.link)
    states[0].count += 1


@njit(cache=True, nogil=True)
def absorb(
    automaton: Automaton,
    tokens: NDArray[np.int32],
    start: Int,
    answer: Int,
    decay: float,
    burst: Int,
    front: Int,
) -> Int:
    """Learn tokens[start:] of one answer; stops early where the arrays might overflow.

    Returns the index of the first token that was not learned: ``len(tokens)`` when done.
    The caller then grows the arrays and calls again from there.
    """
    states, used = automaton.states, automaton.used
    if start == 0:
        used[2] = 0
    for i in range(start, tokens.size):
        last, token = used[2], tokens[i]
        # At worst one edge for each suffix, and a copy of the widest state there is.
        edges_needed = states[last].length + 2 + states[0].fan
        if used[0] + 2 > states.size or used[1] + edges_needed > automaton.edges.size:
            return i
        state = extend(automaton, last, token, front)
        mark(automaton, state, answer, decay, burst)
        suffix = np.int64(last)
        while suffix >= 0:
            if states[suffix].fan > front:
                promote(automaton, suffix, token, front)
            suffix = np.int64(states[suffix].link)
        used[2] = state
    return tokens.size


@njit(cache=True, nogil=True)
def longest_suffix(automaton: Automaton, tokens: NDArray[np.int32]) -> tuple[Int, Int]:
    """State and length of the longest suffix of ``tokens`` [n] that was ever absorbed."""
    state: Int = np.int64(0)
    length: Int = np.int64(0)
    for token in tokens:
        following = step(automaton, state, token)
        while following < 0 and state > 0:
            state = np.int64(automaton.states[state].link)
            length = np.int64(automaton.states[state].length)
            following = step(automaton, state, token)
        if following >= 0:
            state, length = following, length + 1
    return state, length
