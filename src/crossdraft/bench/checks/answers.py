"""A session answers as transformers' `generate` does: token by token, side by side with other
questions, and through drafts and trees of which half are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch

from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.bench.checks.case import Case
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import Reference, read_rows


class Verdict(NamedTuple):
    """An answer against `generate`'s.

    Attributes:
        equal: tokens up to the first difference.
        ok: whether the answer is as good.
        why: what to say where they differ; empty where they do not.
    """

    equal: int
    ok: bool
    why: str = ""


def check_answers(case: Case) -> Check:
    """Three ways to the answer, each against `generate`."""
    own, other, noise = case.reference, case.other_reference, case.reference.logits_noise
    drafted, passes = _drafted(case)
    first, second = _together(case)
    ways = {
        "token by token": (own, _plain(case)),
        "answer_many": (own, first),
        "beside it": (other, second),
        f"through drafts in {passes} passes": (own, drafted),
    }
    verdicts = {name: _verdict(case, *way) for name, way in ways.items()}
    sane = noise.measured <= noise.limit
    said = ", ".join(
        f"{name} {one.equal} of {len(ways[name][0].answer)} {one.why}".rstrip()
        for name, one in verdicts.items()
    )
    line = f"tokens equal to generate's: {said}"
    if not sane:
        line += f"; generate and one forward over everything lie {noise.measured:.2g} apart"
    return case.check(
        "answers",
        sane and all(one.ok for one in verdicts.values()),
        line,
        tokens=len(own.answer),
        equal={name: one.equal for name, one in verdicts.items()},
        passes=passes,
        rounding=[name for name, one in verdicts.items() if one.ok and one.why],
        noise=noise.measured,
    )


def _verdict(case: Case, reference: Reference, found: Sequence[int]) -> Verdict:
    """As `judge`; and where rounding sent an answer another way, the rest of it must be greedy."""
    verdict = judge(reference, found)
    if verdict.ok and verdict.why:
        logits, _ = read_rows(case.target.model, reference.prompt, found, case.inputs)
        said = torch.tensor(found, device=logits.device)
        below = float((logits.amax(1) - logits.gather(1, said[:, None])[:, 0]).max())
        if not below <= reference.logits_noise.allowed:
            why = f"(and later a token {below:.2g} below the largest logit)"
            return Verdict(verdict.equal, False, why)
    return verdict


def judge(reference: Reference, found: Sequence[int]) -> Verdict:
    """An answer against `generate`'s, by its first difference.

    Two logits closer to each other than the noise may change places, and the rest of the answer
    with them: that is rounding, anything else a fault.
    """
    expected, noise = reference.answer, reference.logits_noise
    pairs = enumerate(zip_longest(found, expected))
    place = next((place for place, (one, other) in pairs if one != other), None)
    if place is None:
        return Verdict(len(expected), True)
    if place >= min(len(found), len(expected)):
        return Verdict(place, False, f"(ends after {len(found)})")
    margin = reference.margin(place, found[place])
    if margin <= noise.allowed:
        return Verdict(place, True, f"(rounding: margin {margin:.2g}, noise {noise.level:.2g})")
    return Verdict(place, False, f"(margin {margin:.2g} there, noise {noise.level:.2g})")


def _plain(case: Case) -> list[int]:
    """Asked and extended by one token at a time, by the session's own logits."""
    session, step = case.ask()
    answer = [int(step.logits[-1].argmax())]
    while not _ended(case, answer):
        answer.append(int(session.extend(answer[-1]).logits[0].argmax()))
    return answer


def _together(case: Case) -> list[tuple[int, ...]]:
    """Beside another question about the scene, as extraction asks; both answers."""
    answers = case.opened.session.answer_many([case.prompt, case.other_prompt], case.count)
    return [answer.tokens for answer in answers]


def _drafted(case: Case) -> tuple[list[int], int]:
    """Decoded with drafts on the prefill's tail and behind every token; also the passes taken."""
    tree = _draft(case, 0, 0)
    session, step = case.ask(tree)
    answer: list[int] = []
    passes = 1
    while True:
        path, token = _accepted(tree, step.logits[-1 - len(tree) :].argmax(-1).tolist())
        session.keep(path)
        for said in (*tree.tokens[list(path)].tolist(), token):
            answer.append(said)
            if _ended(case, answer):
                return answer, passes
        tree = _draft(case, len(answer), passes)
        step = session.extend(token, tree)
        passes += 1


def _draft(case: Case, place: int, number: int) -> DraftTree:
    """Drafts for the tokens from a place on; in turn a tree, a chain whose second half is wrong, a
    right chain, a wrong chain."""
    right = list(case.tokens[place : place + 4])
    if len(right) < 4 or number % 4 == 2:
        return DraftTree.chain(right)
    if number % 4 == 0:
        return case.bushy(place)[0]
    if number % 4 == 1:
        right[2:] = [case.wrong(place + 2)[0], right[3]]
        return DraftTree.chain(right)
    return DraftTree.chain(case.wrong(place, 3))


def _accepted(tree: DraftTree, chosen: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Nodes that plain greedy decoding would have said, and the token behind them.

    Args:
        chosen: [1 + nodes] the model's token behind the root and behind each node.
    """
    path: list[int] = []
    token = chosen[0]
    while (node := tree.child(path[-1] if path else ROOT, token)) is not None:
        path.append(node)
        token = chosen[1 + node]
    return tuple(path), token


def _ended(case: Case, answer: Sequence[int]) -> bool:
    return answer[-1] in case.target.eos_ids or len(answer) >= case.count
