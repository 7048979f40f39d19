"""What was rejected, taken back or asked elsewhere leaves no trace in what follows."""

from __future__ import annotations

from collections.abc import Callable

from crossdraft.base.tree import DraftTree
from crossdraft.bench.checks.case import TREE, Case, joined
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import largest_difference
from crossdraft.vlm.session import Session
from crossdraft.vlm.target import Target

#: Rows compared behind each disturbance.
_BEHIND = 4


def check_rollback(case: Case) -> Check:
    """Rows behind each disturbance against those of a session that never saw it, with the cache
    that the model has and with the preallocated one."""
    if case.undraftable:
        return case.skipped("rollback", case.undraftable)
    apart = _differences(case, case.opened.session)
    fixed = _differences(case, _preallocated(case))
    noise = case.reference.logits_noise
    said = ", ".join(f"{name} {difference:.2g}" for name, difference in apart.items())
    said += f", in the preallocated cache at most {max(fixed.values()):.2g}"
    return case.check(
        "rollback",
        all(difference <= noise.allowed for difference in (*apart.values(), *fixed.values())),
        f"logits differ from an undisturbed session's behind {said} (noise {noise.level:.2g})",
        differences=apart,
        preallocated=fixed,
        noise=noise.measured,
    )


def _preallocated(case: Case) -> Session:
    """A session at the picture whose cache has room for what is done here, and no more."""
    target = case.target
    room = len(case.prompt.question) + case.count + TREE
    fixed = Target(
        target.model, target.prompts, cache="preallocated", room=room, draftable=target.draftable
    )
    return fixed.open(case.prompt)


def _differences(case: Case, opened: Session) -> dict[str, float]:
    """Largest difference of the rows that follow each disturbance."""
    return {name: _behind(case, opened.fork(), disturbed) for name, disturbed in _DISTURBED.items()}


def _behind(case: Case, session: Session, disturbed: Callable[[Case, Session], int]) -> float:
    said = disturbed(case, session)
    end = said + _BEHIND
    steps = [session.extend(token) for token in case.tokens[said:end]]
    if session.tokens != (*case.prompt.ids, *case.tokens[:end]):
        raise ValueError("the session's tokens are not the prompt and what was kept of the answer")
    return largest_difference(joined(steps).logits, case.plain.logits[said + 1 : end + 1])


# Each brings a session to where it has committed some tokens of the answer, and says how many.


def _rejected_tail(case: Case, session: Session) -> int:
    session.ask(case.prompt, DraftTree.chain(case.wrong(0, 3)))
    session.keep(())
    return 0


def _rejected_chain(case: Case, session: Session) -> int:
    session.ask(case.prompt)
    session.extend(case.tokens[0], DraftTree.chain(case.wrong(1, 4)))
    session.keep(())
    return 1


def _rejected_tree(case: Case, session: Session) -> int:
    session.ask(case.prompt)
    session.extend(case.tokens[0], case.bushy(1)[0])
    session.keep(())
    return 1


def _kept_path(case: Case, session: Session) -> int:
    """The path's rows lie among those of wrong nodes, so they have to be moved."""
    session.ask(case.prompt)
    tree, path = case.bushy(1)
    session.extend(case.tokens[0], tree)
    session.keep(path)
    return 1 + len(path)


def _rolled_back(case: Case, session: Session) -> int:
    """Wrong tokens that were committed, a tree that was waiting, and half of a path kept before."""
    said = _kept_path(case, session)
    for token in case.wrong(said, 2):
        session.extend(token)
    session.extend(case.wrong(said)[0], case.bushy(said)[0])
    session.rollback(5)
    return said - 2


def _other_fork(case: Case, session: Session) -> int:
    """Another question, asked of another fork while this one waits."""
    other = session.fork()
    session.ask(case.prompt)
    other.ask(case.other_prompt)
    for token in case.tokens[:4]:
        other.extend(token)
    return 0


_DISTURBED = {
    "a rejected tail": _rejected_tail,
    "a rejected chain": _rejected_chain,
    "a rejected tree": _rejected_tree,
    "a kept path": _kept_path,
    "rollback": _rolled_back,
    "another fork": _other_fork,
}
