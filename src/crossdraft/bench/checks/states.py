"""State t emits token t, wherever a session hands out states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.tree import DraftTree
from crossdraft.bench.checks.case import DRAFTED, Case, joined
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import Reference, largest_difference
from crossdraft.vlm.drafting import Follower, own_answer


def check_states(case: Case) -> Check:
    """The head turns state t into token t, and the states are those of one fresh forward."""
    if case.undraftable:
        return case.skipped("states", case.undraftable)
    own, (first, second) = case.reference, _together(case)
    ways = {
        "passes of one": (own, case.plain.hidden),
        "a block": (own, _block(case)),
        "a tree": (own, _tree(case)),
        "answer_many": (own, first),
        "beside it": (case.other_reference, second),
    }
    next_word = 0.0
    if case.role == "drafter":
        following, next_word = _following(case)
        ways |= {"streamed": (own, _streamed(case)), "following": (own, following)}
    noise = own.hidden_noise
    found = {name: _compared(case, *way) for name, way in ways.items()}
    wrong = {name: places for name, (places, _) in found.items() if places}
    apart = {name: difference for name, (_, difference) in found.items()}
    said = f"{len(case.tokens)} states emit their tokens"
    if wrong:
        said = "; ".join(
            f"{name}: {len(places)} of {len(ways[name][1])} states emit another token, the first "
            f"is {places[0]}"
            for name, places in wrong.items()
        )
    listed = ", ".join(f"{name} {difference:.2g}" for name, difference in apart.items())
    speaks = next_word <= own.logits_noise.allowed
    if not speaks:
        said += f"; following, the logits of the next token are {next_word:.2g} off"
    return case.check(
        "states",
        not wrong and speaks and all(difference <= noise.allowed for difference in apart.values()),
        f"{said}; from one forward: {listed} (noise {noise.level:.2g})",
        states=len(case.tokens),
        wrong=wrong,
        differences=apart,
        next_token_difference=next_word,
        noise=noise.measured,
    )


def _compared(case: Case, reference: Reference, states: Tensor) -> tuple[list[int], float]:
    """Places whose state emits another token, and the largest difference from one forward."""
    expected = reference.hidden[: len(states)]
    wrong = [
        place
        for place, token in enumerate(_emitted(case, states))
        if not reference.margin(place, token) <= reference.logits_noise.allowed
    ]
    return wrong, largest_difference(states, expected)


def _emitted(case: Case, states: Tensor) -> Sequence[int]:
    """The token that the model's head makes of each state."""
    head: Any = case.target.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    tokens: list[int] = head(states).argmax(-1).tolist()
    return tokens


def _block(case: Case) -> Tensor:
    """All states in one pass, the answer riding on the prefill's tail."""
    _, step = case.ask(DraftTree.chain(case.tokens[:-1]))
    return step.hidden


def _tree(case: Case) -> Tensor:
    """The first states, some of them out of a tree among wrong drafts."""
    session, first = case.ask()
    tree, path = case.bushy(1)
    step = session.extend(case.tokens[0], tree)
    return joined([first, step.kept(path)]).hidden


def _together(case: Case) -> list[Tensor]:
    """Of two answers decoded side by side."""
    prompts, references = (case.prompt, case.other_prompt), (case.reference, case.other_reference)
    answers = case.opened.session.answer_many(prompts, case.count, states=True)
    found = []
    for answer, reference in zip(answers, references, strict=True):
        assert answer.hidden is not None
        found.append(answer.hidden[: 1 + _agreed(reference.tokens, answer.tokens)])
    return found


def _streamed(case: Case) -> Tensor:
    """Of the own answer as it arrives."""
    session = case.opened.session.fork()
    arrivals = list(own_answer(session, case.question, len(case.tokens), frozenset()))
    agreed = _agreed(case.tokens, [arrival.token for arrival in arrivals])
    return torch.stack([arrival.state for arrival in arrivals[: 1 + agreed]])


def _following(case: Case) -> tuple[Tensor, float]:
    """Of an accepted prefix that was read in blocks, after other drafts than those accepted; and
    how far the logits that it drafts from lie from one forward's."""
    follower = Follower(case.opened.session.fork(), case.question)
    follower.follow(case.tokens[:3])
    follower.follow([*case.tokens[:2], *case.wrong(2), *case.wrong(3)])
    read = case.tokens[: DRAFTED - 1]
    follower.follow(read)
    due = case.reference.logits[len(read)]
    return follower.states, largest_difference(follower.logits, due)


def _agreed(expected: Sequence[int], tokens: Sequence[int]) -> int:
    """Tokens of an answer up to where it goes its own way; the state behind them has still read
    the same. Whether an answer may do so is another check's."""
    pairs = zip(tokens, expected, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), len(tokens))
