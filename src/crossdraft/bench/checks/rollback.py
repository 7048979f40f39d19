"""What was rejected or taken back leaves no trace in what follows."""

from __future__ import annotations

from collections.abc import Callable

from crossdraft.base.tree import DraftTree
from crossdraft.bench.checks.case import Case, joined
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import largest_difference
from crossdraft.vlm.session import Session

#: Rows compared behind each disturbance.
_BEHIND = 4


def check_rollback(case: Case) -> Check:
    """Rows behind each disturbance against those of a session that never saw it."""
    apart = {name: _behind(case, disturbed) for name, disturbed in _DISTURBED.items()}
    noise = case.reference.logits_noise
    said = ", ".join(f"{name} {difference:.2g}" for name, difference in apart.items())
    return case.check(
        "rollback",
        all(difference <= noise.allowed for difference in apart.values()),
        f"logits differ from an undisturbed session's behind {said} (noise {noise.level:.2g})",
        differences=apart,
        noise=noise.measured,
    )


def _behind(case: Case, disturbed: Callable[[Case], tuple[Session, int]]) -> float:
    """Largest difference of the rows that follow a disturbance."""
    session, said = disturbed(case)
    end = said + _BEHIND
    steps = [session.extend(token) for token in case.tokens[said:end]]
    if session.tokens != (*case.prompt.ids, *case.tokens[:end]):
        raise ValueError("the session's tokens are not the prompt and what was kept of the answer")
    return largest_difference(joined(steps).logits, case.plain.logits[said + 1 : end + 1])


# Each brings a session to where it has committed some tokens of the answer, and says how many.


def _rejected_tail(case: Case) -> tuple[Session, int]:
    session, _ = case.ask(DraftTree.chain(case.wrong(0, 3)))
    session.keep(())
    return session, 0


def _rejected_chain(case: Case) -> tuple[Session, int]:
    session, _ = case.ask()
    session.extend(case.tokens[0], DraftTree.chain(case.wrong(1, 4)))
    session.keep(())
    return session, 1


def _rejected_tree(case: Case) -> tuple[Session, int]:
    session, _ = case.ask()
    session.extend(case.tokens[0], case.bushy(1)[0])
    session.keep(())
    return session, 1


def _kept_path(case: Case) -> tuple[Session, int]:
    """The path's rows lie among those of wrong nodes, so they have to be moved."""
    session, _ = case.ask()
    tree, path = case.bushy(1)
    session.extend(case.tokens[0], tree)
    session.keep(path)
    return session, 1 + len(path)


def _rolled_back(case: Case) -> tuple[Session, int]:
    """Wrong tokens that were committed, a tree that was waiting, and half of a path kept before."""
    session, said = _kept_path(case)
    for token in case.wrong(said, 2):
        session.extend(token)
    session.extend(case.wrong(said)[0], case.bushy(said)[0])
    session.rollback(5)
    return session, said - 2


_DISTURBED = {
    "a rejected tail": _rejected_tail,
    "a rejected chain": _rejected_chain,
    "a rejected tree": _rejected_tree,
    "a kept path": _kept_path,
    "rollback": _rolled_back,
}
