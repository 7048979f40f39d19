"""How much the width of a pass changes its logits, and whether that ever changed a token.

A pass over k tokens and k passes over one are the same sums in another order. Where two logits lie
closer than the difference, the answer may turn out otherwise; at a larger margin it must not.
"""

from __future__ import annotations

from torch import Tensor

from crossdraft.base.tree import DraftTree
from crossdraft.bench.checks.case import Case, joined
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import Noise, largest_difference

#: Tokens of the passes compared with passes of one.
_WIDTHS = (2, 8)
#: A token that flips at a margin so many times the noise did not flip by rounding.
_TOO_FAR = 10


def check_noise(case: Case) -> Check:
    """Passes of one token against wider ones over the same tokens."""
    if case.undraftable:
        return case.skipped("noise", case.undraftable)
    ways = {f"k = {width}": _in_blocks(case, width) for width in _WIDTHS}
    ways |= {"trees": _in_trees(case), "a tail": _on_the_tail(case)}
    plain, noise = case.plain.logits, case.reference.logits_noise
    apart = {name: largest_difference(rows, plain[: len(rows)]) for name, rows in ways.items()}
    margins = [margin for rows in ways.values() for margin in _flips(plain, rows)]
    compared = sum(len(rows) for rows in ways.values())
    largest = max(margins, default=0.0)
    faulty = not explained(noise, largest, max(apart.values()))
    said = ", ".join(f"{name} {difference:.2g}" for name, difference in apart.items())
    flips = f", the largest at a margin of {largest:.2g}" if margins else ""
    line = (
        f"logits (up to {noise.scale:.3g}) differ from passes of one by {said}; "
        f"{len(margins)} of {compared} tokens flip{flips}"
    )
    if faulty:
        line += f"; more than rounding explains (generate's own noise is {noise.level:.2g})"
    return case.check(
        "noise", False if faulty else None, line,
        differences=apart, flips=len(margins), rows=compared, largest_flip_margin=largest,
        generate_noise=noise.measured, scale=noise.scale,
    )  # fmt: skip


def explained(noise: Noise, flip: float, difference: float) -> bool:
    """Whether rounding can be all that is behind the largest margin at which a token flipped, and
    the largest difference of the rows."""
    return flip <= _TOO_FAR * noise.level and difference <= noise.limit


def _flips(plain: Tensor, rows: Tensor) -> list[float]:
    """Margins, in passes of one, of the tokens that came out otherwise."""
    plain = plain[: len(rows)]
    before, after = plain.argmax(1), rows.argmax(1)
    margins = plain.gather(1, before[:, None]) - plain.gather(1, after[:, None])
    flipped: list[float] = margins[before != after].flatten().tolist()
    return flipped


def _in_blocks(case: Case, width: int) -> Tensor:
    """Every pass a committed token and a right chain behind it."""
    session, first = case.ask()
    steps = [first]
    fed = case.tokens[:-1]
    for start in range(0, len(fed), width):
        root, *chain = fed[start : start + width]
        steps.append(session.extend(root, DraftTree.chain(chain)))
        session.keep(range(len(chain)))
    return joined(steps).logits


def _in_trees(case: Case) -> Tensor:
    """Every pass a committed token and a tree of right and wrong drafts behind it."""
    session, first = case.ask()
    steps = [first]
    place = 0
    while place + 4 < len(case.tokens):
        tree, path = case.bushy(place + 1)
        steps.append(session.extend(case.tokens[place], tree).kept(path))
        session.keep(path)
        place += 4
    return joined(steps).logits


def _on_the_tail(case: Case) -> Tensor:
    """One pass over the question and drafts behind it."""
    _, step = case.ask(DraftTree.chain(case.tokens[:7]))
    return step.logits
