"""The suffix index against brute force, and the promises that its trees make.

Small alphabets make every coincidence happen: repeats inside an answer, answers that are
prefixes of others, empty ones. What the automaton counts is compared with plain counting.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossdraft.drafters.suffix_index import SuffixConfig, SuffixIndex, warm_up
from crossdraft.drafters.suffix_index import automaton as sam

ANSWER = st.lists(st.integers(0, 3), max_size=14)
HISTORY = st.lists(st.tuples(ANSWER, st.integers(0, 1)), max_size=10)
BUDGET = st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(0, 4))
quick = settings(max_examples=60, deadline=None)

Answers = list[tuple[list[int], int]]
Tree = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    warm_up()


def row(tokens: list[int]) -> NDArray[np.int32]:
    return np.array(tokens, np.int32)


def index_of(history: Answers, config: SuffixConfig | None = None) -> SuffixIndex:
    index = SuffixIndex(config or SuffixConfig())
    for answer, question in history:
        index.absorb(row(answer), question)
    return index


def marked(answer: list[int], question: int) -> list[int]:
    return [-2 - question, -1, *answer]


def substrings(history: Answers) -> Counter[tuple[int, ...]]:
    counts: Counter[tuple[int, ...]] = Counter()
    for answer, question in history:
        text = marked(answer, question)
        for i in range(len(text)):
            counts.update(tuple(text[i:j]) for j in range(i + 1, len(text) + 1))
    return counts


def phrases(rng: np.random.Generator, n: int, vocabulary: int = 40) -> Answers:
    """Answers that share phrases: cut from one text, with a few words replaced."""
    text = rng.integers(0, vocabulary, 400)
    answers = []
    for _ in range(n):
        start = rng.integers(0, 360)
        answer = text[start : start + rng.integers(0, 40)].copy()
        answer[rng.random(answer.size) < 0.1] = rng.integers(0, vocabulary)
        answers.append((answer.tolist(), int(rng.integers(0, 3))))
    return answers


def same(a: Tree, b: Tree) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@quick
@given(HISTORY)
def test_counts_equal_brute_force(history: Answers) -> None:
    index = index_of(history)
    expected = substrings(history)
    for text, count in expected.items():
        state: sam.Int = 0
        for token in text:
            state = sam.step(index._automaton, state, token)
        assert index._automaton.states[state]["count"] == count
    assert index.n_answers == len(history)
    assert index.n_tokens == sum(len(answer) for answer, _ in history)


@quick
@given(HISTORY, ANSWER, st.integers(0, 2))
def test_longest_suffix_equals_brute_force(
    history: Answers, prefix: list[int], question: int
) -> None:
    index = index_of(history)
    known = substrings(history)
    text = marked(prefix, question)
    expected = max(n for n in range(len(text) + 1) if n == 0 or tuple(text[-n:]) in known)
    state, length = sam.longest_suffix(index._automaton, row(text))
    assert length == expected
    assert index._automaton.states[state]["length"] >= length
    if expected:
        assert index._automaton.states[state]["count"] == known[tuple(text[-expected:])]


@quick
@given(HISTORY, ANSWER, BUDGET, st.booleans())
def test_tree_keeps_its_promises(
    history: Answers, prefix: list[int], budget: tuple[int, int, int], recency: bool
) -> None:
    index = index_of(history)
    nodes, depth, branch = budget
    tokens, parents, logq = index.propose(row(prefix), nodes, depth, branch, 0, recency)
    assert len(tokens) == len(parents) == len(logq) <= nodes
    assert [x.dtype.name for x in (tokens, parents, logq)] == ["int32", "int32", "float32"]
    assert np.all(logq <= 0) and np.all(np.diff(logq) <= 0)
    levels: list[int] = []
    for i, parent in enumerate(parents):
        assert -1 <= parent < i
        levels.append(1 if parent < 0 else levels[parent] + 1)
        assert parent < 0 or logq[i] <= logq[parent]
    assert max(levels, default=0) <= depth
    for parent in set(parents.tolist()):
        children = parents == parent
        assert children.sum() <= branch
        assert len(set(tokens[children].tolist())) == children.sum()
        above = 0.0 if parent < 0 else float(logq[parent])
        assert np.exp(logq[children].astype(float) - above).sum() <= 1 + 1e-5
    assert np.all(tokens >= 0)
    if any(answer for answer, _ in history) and nodes and depth and branch:
        assert len(tokens) > 0


@quick
@given(HISTORY, ANSWER)
def test_proposing_changes_nothing(history: Answers, prefix: list[int]) -> None:
    index = index_of(history)
    before = index.to_arrays()
    first = index.propose(row(prefix), 20, 6, 3)
    index.propose(row(prefix[:2]), 40, 4, 4, 1)
    assert same(first, index.propose(row(prefix), 20, 6, 3))
    after = index.to_arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@quick
@given(HISTORY, ANSWER, ANSWER)
def test_round_trip_goes_on_the_same(
    history: Answers, prefix: list[int], another: list[int]
) -> None:
    index = index_of(history, SuffixConfig(decay=0.8, children=3))
    restored = SuffixIndex.from_arrays(index.to_arrays())
    assert restored.config == index.config
    assert (restored.n_answers, restored.n_tokens) == (index.n_answers, index.n_tokens)
    for _ in range(2):
        assert same(index.propose(row(prefix), 20, 6, 3), restored.propose(row(prefix), 20, 6, 3))
        index.absorb(row(another), 1)
        restored.absorb(row(another), 1)


def test_arrays_that_do_not_fit_are_refused() -> None:
    arrays = index_of([([1, 2, 3], 0)]).to_arrays()
    arrays["edges"] = arrays["edges"] + 100
    with pytest.raises(ValueError, match="out of range"):
        SuffixIndex.from_arrays(arrays)


def test_empty_history_proposes_nothing() -> None:
    index = SuffixIndex()
    assert len(index.propose(row([1, 2]), 10, 4, 2)[0]) == 0
    index.absorb(row([]))
    assert len(index.propose(row([]), 10, 4, 2)[0]) == 0
    assert index.n_answers == 1 and index.n_tokens == 0


def test_negative_ids_are_refused() -> None:
    index = SuffixIndex()
    with pytest.raises(ValueError, match="negative"):
        index.absorb(row([1, -1]))
    with pytest.raises(ValueError, match="negative"):
        index.propose(row([1]), 1, 1, 1, question=-1)


@pytest.mark.parametrize("seed", range(4))
def test_chain_follows_the_most_probable_child(seed: int) -> None:
    rng = np.random.default_rng(seed)
    history = phrases(rng, 60)
    index = index_of(history)
    for answer, question in history[:20]:
        prefix = row(answer[: len(answer) // 2])
        chain, parents, _ = index.propose(prefix, 8, 8, 1, question)
        assert parents.tolist() == list(range(-1, len(chain) - 1))
        tokens, parents, _ = index.propose(prefix, 400, 8, 64, question)
        node, greedy = -1, []
        while np.any(parents == node):
            node = int(np.flatnonzero(parents == node)[0])  # best first: the first is the best
            greedy.append(int(tokens[node]))
        assert chain.tolist()[: len(greedy)] == greedy and len(greedy) > 0


def test_growth_changes_no_proposal() -> None:
    history = phrases(np.random.default_rng(5), 300)
    small = index_of(history)
    roomy = SuffixIndex()
    roomy._automaton = sam.empty(100_000, 200_000)
    for answer, question in history:
        roomy.absorb(row(answer), question)
    assert small._automaton.states.size < roomy._automaton.states.size
    for answer, question in history[:40]:
        prefix = row(answer[:5])
        assert same(
            small.propose(prefix, 30, 8, 4, question), roomy.propose(prefix, 30, 8, 4, question)
        )


def test_the_question_and_the_start_are_contexts() -> None:
    index = index_of([([1, 2], 0)] * 3 + [([5, 6], 7)])
    assert index.propose(row([]), 2, 2, 1, 0)[0].tolist() == [1, 2]
    assert index.propose(row([]), 2, 2, 1, 7)[0].tolist() == [5, 6]
    assert index.propose(row([]), 2, 2, 1, 3, recency=False)[0].tolist() == [1, 2]


def test_the_newest_answers_win_where_recency_is_asked_for() -> None:
    index = index_of([([1, 2], 0)] * 40 + [([1, 3], 0)] * 12)
    assert index.propose(row([1]), 1, 1, 1, 0, recency=True)[0].tolist() == [3]
    assert index.propose(row([1]), 1, 1, 1, 0, recency=False)[0].tolist() == [2]


def test_answers_like_the_prefix_weigh_more() -> None:
    near, far = [8, 9, 1, 2], [6, 7, 1, 3]
    index = index_of([(near, 0)] * 4 + [(far, 0)] * 4)
    assert index.propose(row([7, 6, 0, 1]), 1, 1, 1, 1, recency=False)[0].tolist() == [3]
    assert index.propose(row([9, 8, 0, 1]), 1, 1, 1, 1, recency=False)[0].tolist() == [2]


def test_marks_of_questions_never_crowd_out_words() -> None:
    index = index_of([([7, 8, question % 5 + 20], question) for question in range(60)])
    assert index.propose(row([99]), 2, 1, 2)[0].tolist() in ([7, 8], [8, 7])


def test_frequent_followers_stay_in_reach_of_a_wide_context() -> None:
    rng = np.random.default_rng(2)
    history = [([1, int(token)], 0) for token in rng.permutation(np.arange(10, 210))]
    history += [([1, int(token)], 0) for token in [20, 120, 200] * 8]
    index = index_of(history)
    assert set(index.propose(row([1]), 3, 1, 3)[0].tolist()) == {20, 120, 200}
