"""State t emits token t, wherever a session hands out states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.tree import DraftTree
from crossdraft.bench.checks.case import Case, joined
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import largest_difference
from crossdraft.vlm.drafting import Follower, own_answer


def check_states(case: Case) -> Check:
    """The head turns state t into token t, and the states are those of one fresh forward."""
    ways = {
        "passes of one": case.plain.hidden,
        "a block": _block(case),
        "a tree": _tree(case),
        "answer_many": _together(case),
    }
    if case.role == "drafter":
        ways |= {"streamed": _streamed(case), "following": _following(case)}
    noise = case.reference.hidden_noise
    found = {name: _compared(case, states) for name, states in ways.items()}
    wrong = {name: places for name, (places, _) in found.items() if places}
    apart = {name: difference for name, (_, difference) in found.items()}
    said = f"{len(case.tokens)} states emit their tokens"
    if wrong:
        said = "; ".join(
            f"{name}: {len(places)} of {len(ways[name])} states emit another token, the first is "
            f"{places[0]}"
            for name, places in wrong.items()
        )
    listed = ", ".join(f"{name} {difference:.2g}" for name, difference in apart.items())
    return case.check(
        "states",
        not wrong and all(difference <= noise.allowed for difference in apart.values()),
        f"{said}; from one forward: {listed} (noise {noise.level:.2g})",
        states=len(case.tokens),
        wrong=wrong,
        differences=apart,
        noise=noise.measured,
    )


def _compared(case: Case, states: Tensor) -> tuple[list[int], float]:
    """Places whose state emits another token, and the largest difference from one forward."""
    expected = case.reference.hidden[: len(states)]
    wrong = [
        place
        for place, token in enumerate(_emitted(case, states))
        if not case.reference.margin(place, token) <= case.reference.logits_noise.allowed
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


def _together(case: Case) -> Tensor:
    """Of an answer decoded beside others."""
    (answer,) = case.opened.session.answer_many([case.question], len(case.tokens), states=True)
    assert answer.hidden is not None
    return answer.hidden[: 1 + _agreed(case, answer.tokens)]


def _streamed(case: Case) -> Tensor:
    """Of the own answer as it arrives."""
    session = case.opened.session.fork()
    arrivals = list(own_answer(session, case.question, len(case.tokens), frozenset()))
    agreed = _agreed(case, [arrival.token for arrival in arrivals])
    return torch.stack([arrival.state for arrival in arrivals[: 1 + agreed]])


def _following(case: Case) -> Tensor:
    """Of an accepted prefix that was read in blocks, after other drafts than those accepted."""
    follower = Follower(case.opened.session.fork(), case.question)
    follower.follow(case.tokens[:3])
    follower.follow([*case.tokens[:2], *case.wrong(2), *case.wrong(3)])
    follower.follow(case.tokens[:8])
    return follower.states


def _agreed(case: Case, tokens: Sequence[int]) -> int:
    """Tokens of an answer up to where it goes its own way; the state behind them has still read
    the same. Whether an answer may do so is another check's."""
    pairs = zip(tokens, case.tokens, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), len(tokens))
