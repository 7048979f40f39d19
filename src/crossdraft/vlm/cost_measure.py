"""Measures T(k)/T(1): passes of all widths in turn, each as the decoding loop runs it.

Every round takes each width once, in a new order, so that a machine that slows down slows all of
them alike; a ratio is formed within its round before the median is taken.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.acceptance import best_first_shape
from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.cost_curve import SHAPES, Cost, CostCurves, Shape
from crossdraft.vlm.cost_setup import Setup
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session, Step
from crossdraft.vlm.target import Target

#: Tokens of a pass. The last is a tree of 60 nodes with its root.
WIDTHS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 60, 61)
#: Drafts on the prefill's tail.
TAILS = (3, 7, 15, 22, 31, 60)
#: Length of a Video-LLaVA prompt with a short question, and of what lies behind its picture.
CONTEXT, QUESTION = 2071, 15
#: The measured tree is the one that this acceptance expects most of: 60 nodes, 12 deep.
_TREE_ALPHA = 0.7

Floats = NDArray[np.float64]


def usual_context(
    target: Target, widths: Sequence[int] = WIDTHS, tail_widths: Sequence[int] = TAILS
) -> int:
    """Tokens of a Video-LLaVA prompt, or as many as the model can hold below the widest pass.

    Raises:
        InputError: a model that cannot hold the widest pass.
    """
    longest = target.decoder.longest(0)
    room = max(1, *widths, *tail_widths)
    if longest is not None and longest < room + QUESTION:
        raise InputError(
            f"passes and tails of up to {room} tokens behind a question of {QUESTION}",
            expected=f"at most {longest} together, the longest sequence of the model",
            hint="narrower passes",
        )
    return CONTEXT if longest is None else min(CONTEXT, longest - room)


def measure(
    target: Target,
    *,
    context: int | None = None,
    widths: Sequence[int] = WIDTHS,
    tail_widths: Sequence[int] = TAILS,
    repeats: int = 30,
    warmup: int = 3,
    question: int = QUESTION,
    progress: ProgressSink = silent,
) -> CostCurves:
    """Measure what passes over a chain, over a tree and over a prefill's tail cost.

    Args:
        context: tokens in the cache before each pass; by default `usual_context`.
        widths: tokens of a pass, root included; 1 is measured in any case.
        tail_widths: drafts that ride on the tail of a question's prefill; may be empty.
        repeats: rounds that count.
        warmup: rounds before them that do not.
        question: tokens behind the picture, of the prefill that carries the tails.

    Raises:
        InputError: numbers out of range, or more tokens than the model or its cache holds.
    """
    widths = sorted({1, *widths})
    tails = sorted(set(tail_widths))
    context = usual_context(target, widths, tails) if context is None else context
    _refuse_sizes(target, context, question, widths, tails, repeats)
    probe = _Probe(target, context, question)
    tasks: dict[tuple[str, int], Callable[[], float]] = {}
    for width in widths:
        tasks["chain", width] = probe.extending(_chain(probe.drafts(width - 1)))
        tasks["tree", width] = probe.extending(_tree(probe.drafts(width - 1)))
    for tail in [0, *tails] if tails else []:
        tasks["tail", tail] = probe.asking(_chain(probe.drafts(tail)))
    times_ms = _rounds(tasks, warmup, repeats, progress)
    # Two plain steps a round, one for each shape.
    steps_ms = (times_ms["chain", 1] + times_ms["tree", 1]) / 2
    passes = {shape: _passes(shape, widths, times_ms, steps_ms) for shape in SHAPES}
    return CostCurves(
        setup=Setup.of(target, context, question),
        chain=passes["chain"],
        tree=passes["tree"],
        tail=tuple(
            _cost(tail, times_ms["tail", tail] - times_ms["tail", 0], steps_ms) for tail in tails
        ),
        step_ms=float(np.median(steps_ms)),
        prefill_ms=float(np.median(times_ms["tail", 0])) if tails else 0.0,
        repeats=repeats,
        date=date.today().isoformat(),
    )


def _rounds(
    tasks: dict[tuple[str, int], Callable[[], float]],
    warmup: int,
    repeats: int,
    progress: ProgressSink,
) -> dict[tuple[str, int], Floats]:
    """[repeats] milliseconds of each task, number i from round i."""
    times_ms: dict[tuple[str, int], list[float]] = {task: [] for task in tasks}
    order, rng = list(tasks), random.Random(0)
    total = warmup + repeats
    for _ in track(range(total), "verify cost", total, progress):
        rng.shuffle(order)
        for task in order:
            times_ms[task].append(tasks[task]())
    return {task: np.array(values[warmup:]) for task, values in times_ms.items()}


def _passes(
    shape: Shape, widths: Sequence[int], times_ms: dict[tuple[str, int], Floats], steps_ms: Floats
) -> tuple[Cost, ...]:
    costs = [Cost(1, float(np.median(steps_ms)), 1.0, 1.0, 1.0)]
    for width in widths[1:]:
        # The best tree of few drafts is a chain: one pass, measured twice a round.
        same: tuple[Shape, ...] = SHAPES if _tree(range(width - 1)).is_chain else (shape,)
        ms = np.concatenate([times_ms[each, width] for each in same])
        costs.append(_cost(width, ms, np.tile(steps_ms, len(same))))
    return tuple(costs)


def _cost(tokens: int, ms: Floats, steps_ms: Floats) -> Cost:
    low, ratio, high = np.quantile(ms / steps_ms, (0.25, 0.5, 0.75)).tolist()
    return Cost(tokens, float(np.median(ms)), ratio, low, high)


def _chain(drafts: Sequence[int]) -> DraftTree:
    return DraftTree.chain(drafts)


def _tree(drafts: Sequence[int]) -> DraftTree:
    return DraftTree.from_parents(drafts, best_first_shape(_TREE_ALPHA, len(drafts))[0])


class _Probe:
    """A session at one length, to which it returns after each pass.

    Args:
        context: its length in tokens, all random: what they say changes no time.
        question: how many of them the question's prefill reads; the others stand for the picture.
    """

    def __init__(self, target: Target, context: int, question: int) -> None:
        self._synchronise = target.decoder.synchronise
        self._rng = random.Random(0)
        self._ids = _plain_ids(target)
        ids = tuple(self._rng.choice(self._ids) for _ in range(context))
        self._prompt = Prompt(ids, cut=context - question)
        self._opened = target.open(self._prompt)
        self._session: Session = self._opened.fork()
        self._session.ask(self._prompt)

    def drafts(self, count: int) -> list[int]:
        """Random ids, no two alike, so that any of them may be siblings."""
        return self._rng.sample(self._ids, count)

    def extending(self, tree: DraftTree) -> Callable[[], float]:
        """A pass over a token and the tree, in ms; what it has committed is forgotten again."""
        path, token = _accepted(tree), self._rng.choice(self._ids)

        def run() -> float:
            ms = self._timed(self._session, lambda: self._session.extend(token, tree), path)
            self._session.rollback(1 + len(path))
            return ms

        return run

    def asking(self, tail: DraftTree) -> Callable[[], float]:
        """A question's prefill with a tail, in ms, by a fork of its own."""
        path = _accepted(tail)

        def run() -> float:
            child = self._opened.fork()
            return self._timed(child, lambda: child.ask(self._prompt, tail), path)

        return run

    def _timed(self, session: Session, run: Callable[[], Step], path: Sequence[int]) -> float:
        """Milliseconds of a pass as the loop has it: every row's token is read, a path is kept."""
        self._synchronise()
        start_ms = now_ms()
        run().logits.argmax(-1).tolist()
        session.keep(path)
        self._synchronise()
        return now_ms() - start_ms


def _accepted(tree: DraftTree) -> tuple[int, ...]:
    """A path of half the depth: neither all that was drafted nor nothing.

    Of a tree one whose nodes do not lie together, because their rows then have to be moved.
    """
    if not len(tree):
        return ()
    half = (int(tree.depth.max()) + 1) // 2
    paths = [tree.path(node) for node in range(len(tree)) if tree.depth[node] <= half]
    return max(paths, key=lambda path: (path != tuple(range(len(path))), len(path)))


def _plain_ids(target: Target) -> list[int]:
    """Ids that may be drafted and end no answer."""
    words = np.flatnonzero(target.may_draft(np.arange(target.decoder.vocabulary))).tolist()
    return [token for token in words if token not in target.eos_ids]


def _refuse_sizes(
    target: Target,
    context: int,
    question: int,
    widths: Sequence[int],
    tails: Sequence[int],
    repeats: int,
) -> None:
    """Refuse what cannot be measured before anything is.

    Raises:
        InputError: naming the number.
    """
    if repeats < 1:
        raise InputError(f"{repeats} repeats", expected="1 or more")
    if widths[0] < 1:
        raise InputError(f"a pass over {widths[0]} tokens", expected="1 token or more")
    if tails and tails[0] < 1:
        raise InputError(f"a tail of {tails[0]} drafts", expected="1 draft or more")
    if not 1 <= question <= context:
        raise InputError(
            f"a question of {question} tokens in a context of {context}",
            expected="a question of 1 token or more, and a context no shorter",
        )
    drafts, known = max(widths[-1] - 1, *tails, 0), len(_plain_ids(target))
    if drafts > known:
        raise InputError(f"{drafts} drafts", expected=f"at most {known}, the ids of the model")
    longest, reach = target.decoder.longest(0), context + max(widths[-1], *tails, 0)
    if longest is not None and reach > longest:
        raise InputError(
            f"{context} tokens of context and up to {reach - context} of a pass",
            expected=f"at most {longest}, the longest sequence of the model",
            hint="a shorter context, or narrower passes",
        )
