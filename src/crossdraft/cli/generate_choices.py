"""What `crossdraft generate` is asked and told about drafting: its options, checked and put
together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from crossdraft.base.errors import InputError

if TYPE_CHECKING:
    from crossdraft.decoding.overlap import Way
    from crossdraft.decoding.rules import Rule
    from crossdraft.drafters.base import Budget

#: What `--nodes` without a depth means: as deep as answers are ever accepted in one pass.
_DEPTH = 16


def asked_of(question: str | None, prompt_ids: str | None) -> str | tuple[int, ...]:
    """The question, or the ids of a prompt.

    Raises:
        InputError: none of the two or both, or ids that are no whole numbers.
    """
    if (question is None) == (prompt_ids is None):
        raise InputError(
            "neither --question nor --prompt-ids"
            if question is None
            else "--question and --prompt-ids exclude each other",
            expected="one of the two",
        )
    if prompt_ids is None:
        assert question is not None
        return question
    parts = [part.strip() for part in prompt_ids.split(",")]
    if not all(re.fullmatch(r"-?[0-9]{1,10}", part) for part in parts):
        raise InputError(
            f"{prompt_ids!r}", where="--prompt-ids", expected="ids such as 1,17,-200,33"
        )
    return tuple(int(part) for part in parts)


def width_of(nodes: int | None, gamma: int | None, auto: bool) -> Budget | None:
    """The budget of every pass, None for as much as pays.

    Raises:
        InputError: two widths at once.
    """
    from crossdraft.drafters.base import Budget

    if (nodes is not None) + (gamma is not None) + auto > 1:
        raise InputError("more than one of --nodes, --gamma and --auto", expected="one of them")
    if nodes is not None:
        return Budget.tree(nodes, _DEPTH)
    return None if gamma is None else Budget.chain(gamma)


def overlap_of(text: str | None) -> Way | None:
    """How the event model takes part, None for the fastest way.

    Raises:
        InputError: no such way.
    """
    from crossdraft.decoding.overlap import MODES, Way

    if text is None or text == "auto":
        return None
    try:
        return Way.parse(text)
    except ValueError:
        raise InputError(
            f"{text!r}",
            where="--overlap",
            expected=f"auto, {', '.join(MODES)}, thread:prefill or process:prefill",
        ) from None


def rule_of(
    temperature: float, top_k: int, top_p: float, seed: int | None, relaxed: str | None
) -> Rule:
    """The verification rule.

    Raises:
        InputError: settings that would have no effect, or values out of range.
    """
    from crossdraft.decoding.rules import GREEDY, Sampling, Warp
    from crossdraft.decoding.rules import relaxed as lossy_rule

    warping = {"--top-k": top_k or None, "--top-p": None if top_p == 1.0 else top_p, "--seed": seed}
    if relaxed is not None:
        drawing = {"--temperature": temperature or None, **warping}
        refuse_without_effect(drawing, "--relaxed, whose rules draw nothing")
        return lossy_rule(relaxed, "--relaxed")
    if not temperature:
        refuse_without_effect(warping, "a greedy answer: --temperature is 0")
        return GREEDY
    return Sampling(Warp(temperature, top_k, top_p), seed or 0)


def refuse_without_effect(given: Mapping[str, object], beside: str) -> None:
    """Refuse options that were given and would change nothing."""
    for option, value in given.items():
        if value is not None:
            raise InputError(
                f"{option} beside {beside}", expected=f"one of the two; {option} changes nothing"
            )
