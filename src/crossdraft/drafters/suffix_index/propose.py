"""What comes next, and next after that: the blended distribution at a state, and the tree.

At a state the followers share the probability by how often and how recently they followed,
less a discount that escapes to the next shorter context (absolute discounting, Ney, Essen
and Kneser, 1994). Followers from answers that resemble the accepted prefix weigh more. The
tree takes the most probable continuation of all it holds, again and again, until it is full.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crossdraft.drafters.suffix_index.automaton import NONE, Automaton, Int, step

CANDIDATES = 64  # followers kept for one node
SAID = 1 << 14  # places for the words of the prefix, found by the low bits of the token


class Memory(NamedTuple):
    """What similarity needs: the distinct tokens of each answer, one answer after the other."""

    distinct: NDArray[np.int32]  # [distinct capacity]
    ends: NDArray[np.int64]  # answer i holds distinct[ends[i]:ends[i + 1]], [answers + 1]


class Params(NamedTuple):
    """What a proposal reads of ``SuffixConfig``, as the kernels take it."""

    discount: float
    smoothing: float
    exponent: float
    similarity: float
    negligible: float
    children: int
    choices: int
    powers: NDArray[np.float64]  # n ** exponent for the small n, [n]
    fades: NDArray[np.float64]  # recency * decay ** age; 0 beyond, [age]


class Scratch(NamedTuple):
    """Buffers of one index, used again by each proposal; one row per tree node, row 0 the root."""

    tokens: NDArray[np.int32]  # candidates to follow the node, [nodes + 1, CANDIDATES]
    targets: NDArray[np.int32]  # their states, [nodes + 1, CANDIDATES]
    probs: NDArray[np.float64]  # their probabilities, 0 once taken, [nodes + 1, CANDIDATES]
    held: NDArray[np.int64]  # how many candidates, [nodes + 1]
    best: NDArray[np.int64]  # the most probable one not taken yet, [nodes + 1]
    score: NDArray[np.float64]  # log-probability of the path to it, [nodes + 1]
    path: NDArray[np.float64]  # log-probability of the path to the node, [nodes + 1]
    depth: NDArray[np.int64]  # tokens from the root to the node, [nodes + 1]
    taken: NDArray[np.int64]  # children of the node in the tree, [nodes + 1]
    shares: NDArray[np.float64]  # weights of the followers at one level, [CANDIDATES]
    said: NDArray[np.float32]  # how telling each token of the prefix is, else 0, [SAID]
    weights: NDArray[np.float32]  # likeness of each answer, 0 = not known yet, [answers]
    known: NDArray[np.int32]  # answers whose likeness is known, [answers]
    n_known: NDArray[np.int64]  # how many, [1]


def scratch_for(nodes: int, answers: int) -> Scratch:
    """Buffers for trees of up to ``nodes`` nodes over a history of up to ``answers`` answers."""
    rows = nodes + 1
    return Scratch(
        tokens=np.zeros((rows, CANDIDATES), np.int32),
        targets=np.zeros((rows, CANDIDATES), np.int32),
        probs=np.zeros((rows, CANDIDATES), np.float64),
        held=np.zeros(rows, np.int64),
        best=np.zeros(rows, np.int64),
        score=np.zeros(rows, np.float64),
        path=np.zeros(rows, np.float64),
        depth=np.zeros(rows, np.int64),
        taken=np.zeros(rows, np.int64),
        shares=np.zeros(CANDIDATES, np.float64),
        said=np.zeros(SAID, np.float32),
        weights=np.zeros(answers, np.float32),
        known=np.zeros(answers, np.int32),
        n_known=np.zeros(1, np.int64),
    )


@njit(cache=True, nogil=True)
def listen(
    automaton: Automaton, scratch: Scratch, prefix: NDArray[np.int32], answers: Int
) -> float:
    """Note how telling each distinct token of the prefix [m] is (rare = telling); the sum."""
    total = 0.0
    for token in prefix:
        place = token & (SAID - 1)
        if scratch.said[place] == 0.0:
            state = step(automaton, np.int64(0), token)
            count = automaton.states[state].count if state >= 0 else 0
            telling = max(math.log((answers + 1.0) / (count + 0.5)), 0.0)
            scratch.said[place] = telling
            total += telling
    return total


@njit(cache=True, nogil=True)
def forget(scratch: Scratch, prefix: NDArray[np.int32]) -> None:
    """Leave the buffers of ``listen`` and ``likeness`` as they were before the proposal."""
    for token in prefix:
        scratch.said[token & (SAID - 1)] = 0.0
    for i in range(scratch.n_known[0]):
        scratch.weights[scratch.known[i]] = 0.0
    scratch.n_known[0] = 0


@njit(cache=True, nogil=True)
def likeness(memory: Memory, scratch: Scratch, answer: Int, focus: float) -> float:
    """exp(focus * what the answer shares with the prefix), computed once per proposal."""
    if scratch.weights[answer] == 0.0:
        shared = 0.0
        for i in range(memory.ends[answer], memory.ends[answer + 1]):
            shared += scratch.said[memory.distinct[i] & (SAID - 1)]
        scratch.weights[answer] = math.exp(focus * shared)
        scratch.known[scratch.n_known[0]] = answer
        scratch.n_known[0] += 1
    return float(scratch.weights[answer])


@njit(cache=True, nogil=True)
def support(
    automaton: Automaton, memory: Memory, scratch: Scratch, state: Int, focus: float
) -> float:
    """Mean likeness to the prefix of the answers that a state remembers."""
    supporters = automaton.states[state].supporters
    total, n = 0.0, 0
    for i in range(supporters.size):
        if supporters[i] >= 0:
            total += likeness(memory, scratch, np.int64(supporters[i]), focus)
            n += 1
    return float(total / n)


@njit(cache=True, nogil=True)
def weigh(count: Int, recent: float, age: Int, params: Params) -> float:
    """Weight of a follower that occurred ``count`` times, last ``age`` answers ago."""
    powers, fades = params.powers, params.fades
    weight: float = powers[count] if count < powers.size else float(count) ** params.exponent
    return weight + recent * fades[age] if age < fades.size else weight


@njit(cache=True, nogil=True)
def add_level(
    automaton: Automaton,
    memory: Memory,
    scratch: Scratch,
    params: Params,
    row: Int,
    state: Int,
    mass: float,
    now: Int,
    focus: float,
) -> float:
    """Share out ``mass`` among the followers of one state; returns what escapes of it."""
    states, edges = automaton.states, automaton.edges
    tokens, targets, probs = scratch.tokens[row], scratch.targets[row], scratch.probs[row]
    # Where anything may follow, likeness says little and costs most.
    narrow = focus > 0.0 and states[state].fan <= params.choices
    total, escaped, shared, n = 0.0, 0.0, 0.0, 0
    edge = np.int64(states[state].first)
    while edge >= 0 and n < params.children:
        follower = states[edges[edge].target]
        scratch.shares[n] = 0.0
        if edges[edge].token >= 0:  # the marks of questions and starts are no words
            weight = weigh(follower.count, follower.recent, now - follower.supporters[0], params)
            kept = max(weight - params.discount, 0.0)
            total += weight
            escaped += weight - kept
            if kept > 0.0:
                if narrow:
                    target = np.int64(edges[edge].target)
                    kept *= support(automaton, memory, scratch, target, focus)
                scratch.shares[n] = kept
                shared += kept
        n += 1
        edge = np.int64(edges[edge].next)
    if shared == 0.0:
        return mass
    escape = (escaped + params.smoothing) / (total + params.smoothing)
    scale = mass * (1.0 - escape) / shared
    held = scratch.held[row]
    edge = np.int64(states[state].first)
    for i in range(n):
        if scratch.shares[i] > 0.0:
            token, place = edges[edge].token, 0
            while place < held and tokens[place] != token:
                place += 1
            if place < held:
                probs[place] += scale * scratch.shares[i]
            elif held < CANDIDATES:
                tokens[held], targets[held] = token, edges[edge].target
                probs[held] = scale * scratch.shares[i]
                held += 1
        edge = np.int64(edges[edge].next)
    scratch.held[row] = held
    return mass * escape


@njit(cache=True, nogil=True)
def blend(
    automaton: Automaton,
    memory: Memory,
    scratch: Scratch,
    params: Params,
    row: Int,
    state: Int,
    now: Int,
    focus: float,
) -> None:
    """Fill a row with the next-token distribution at a state, from long to short contexts.

    A candidate keeps the state of the longest context that knows it, which comes first. The
    first context with followers always counts, however improbable the path to it is.
    """
    scratch.held[row] = 0
    mass, reach = 1.0, math.exp(scratch.path[row])
    while state >= 0 and (mass == 1.0 or mass * reach > params.negligible):
        mass = add_level(automaton, memory, scratch, params, row, state, mass, now, focus)
        state = np.int64(automaton.states[state].link)


@njit(cache=True, nogil=True)
def point_at_best(scratch: Scratch, row: Int) -> None:
    """Note the most probable candidate of a row that is not in the tree yet."""
    best, most = NONE, 0.0
    for i in range(scratch.held[row]):
        if scratch.probs[row, i] > most:
            best, most = i, scratch.probs[row, i]
    scratch.best[row] = best
    # Rounding must not lift a sum of shares above one.
    scratch.score[row] = scratch.path[row] + math.log(min(most, 1.0)) if most > 0 else -math.inf


@njit(cache=True, nogil=True)
def grow_tree(
    automaton: Automaton,
    memory: Memory,
    scratch: Scratch,
    params: Params,
    state: Int,
    prefix: NDArray[np.int32],
    limits: tuple[int, int, int],
    tokens: NDArray[np.int32],
    parents: NDArray[np.int32],
    logq: NDArray[np.float32],
) -> int:
    """Fill tokens, parents, logq [nodes] best first below ``state``; returns how many.

    ``limits`` is (nodes, depth, branch); ``prefix`` [m] the accepted tokens that led here.
    """
    nodes, depth, branch = limits
    now = memory.ends.size - 1
    telling = listen(automaton, scratch, prefix, now)
    focus = params.similarity / telling if telling > 0.0 else 0.0
    scratch.path[0], scratch.depth[0], scratch.taken[0] = 0.0, 0, 0
    blend(automaton, memory, scratch, params, np.int64(0), state, now, focus)
    point_at_best(scratch, np.int64(0))
    n = 0
    while n < nodes:
        row = np.int64(np.argmax(scratch.score[: n + 1]))
        if scratch.score[row] == -math.inf:
            break
        pick = scratch.best[row]
        tokens[n], parents[n], logq[n] = scratch.tokens[row, pick], row - 1, scratch.score[row]
        n += 1
        scratch.path[n], scratch.depth[n] = scratch.score[row], scratch.depth[row] + 1
        scratch.taken[n], scratch.score[n] = 0, -math.inf
        scratch.taken[row] += 1
        scratch.probs[row, pick] = 0.0
        if scratch.taken[row] < branch:
            point_at_best(scratch, row)
        else:
            scratch.score[row] = -math.inf
        if n < nodes and scratch.depth[n] < depth:
            child = np.int64(scratch.targets[row, pick])
            blend(automaton, memory, scratch, params, np.int64(n), child, now, focus)
            point_at_best(scratch, np.int64(n))
    forget(scratch, prefix)
    return n
