"""The ways of answering that a benchmark compares, and how they are written.

    none   hf-generate   hf-prompt-lookup   drafter-only   seed-procedure=ADAPTER
    suffix   suffix+translator   runs/translator+separate-verify   suffix+nodes=60   suffix+gamma=5
    drafter-text+overlap   drafter-text+sequential   runs/translator+overlap+shuffled
    ensemble+unasked   suffix+top-k=3   suffix+typical

Behind a drafter, joined by `+`, stand modifiers; what is not one belongs to the drafter's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from crossdraft.base.errors import InputError
from crossdraft.decoding.rules import relaxed

Kind = Literal["plain", "speculative", "hf", "seed-procedure", "drafter-only"]
Beside = Literal["unsaid", "overlap", "sequential", "unasked"]

BASELINE = "none"
HF_GENERATE, HF_LOOKUP = "hf-generate", "hf-prompt-lookup"
SEED, DRAFTER_ONLY = "seed-procedure", "drafter-only"
#: What the seed procedure translates with where nothing is named: the event model's words as they
#: are.
_IDENTITY = "drafter-text"
_MODIFIERS = (
    "tail", "separate-verify", "overlap", "sequential", "unasked", "shuffled", "typical",
)  # fmt: skip
_NUMBERED = re.compile(r"(nodes|gamma|top-k)=[0-9]{1,4}")

#: Modifiers that exclude each other.
_EITHER = (
    ("tail", "separate-verify"), ("overlap", "sequential"), ("nodes", "gamma"),
    ("top-k", "typical"), ("overlap", "unasked"), ("sequential", "unasked"),
    ("shuffled", "unasked"),
)  # fmt: skip


@dataclass(frozen=True)
class Configuration:
    """One way of answering.

    Attributes:
        name: as it was written; its name in all tables.
        kind: what answers.
        drafter: who drafts, as `find_drafter` takes it; None where nobody does.
        tail: whether drafts ride on the prefill's tail; else the prefill runs alone.
        beside: how the event model works: while the target does, also where nothing is said, or
            before it, or not at all: the drafter reads nothing of it.
        shuffled: the event model sees another drive's scene.
        nodes: of every tree; None: as many as pay by the measured costs.
        gamma: length of every chain, in place of trees.
        rule: a lossy one, as `decoding.rules.relaxed` takes it; None: the answer is the target's.
    """

    name: str
    kind: Kind
    drafter: str | None = None
    tail: bool = True
    beside: Beside = "unsaid"
    shuffled: bool = False
    nodes: int | None = None
    gamma: int | None = None
    rule: str | None = None

    @classmethod
    def parse(cls, text: str) -> Configuration:
        """Read one.

        Raises:
            InputError: modifiers that exclude each other, or that say nothing here.
        """
        words = text.strip().split("+")
        said: list[str] = []
        while len(words) > 1 and _is_modifier(words[-1]):
            said.insert(0, words.pop())
        one = _base(text.strip(), "+".join(words))
        for word in said:
            one = _modified(one, word)
        heads = [word.partition("=")[0] for word in said]
        for pair in _EITHER:
            if set(pair) <= set(heads):
                raise InputError(f"{pair[0]} and {pair[1]}", where=text, expected="one of the two")
        if twice := sorted({head for head in heads if heads.count(head) > 1}):
            raise InputError(f"{twice[0]} stands twice", where=text)
        return one


def configurations(text: str) -> tuple[Configuration, ...]:
    """Those of a list with commas, plain decoding first, which everything is compared with.

    Raises:
        InputError: none, one twice, or one that cannot be read.
    """
    found = [Configuration.parse(part) for part in text.split(",") if part.strip()]
    if not found:
        raise InputError("no configuration", where="--configs", expected="such as none,suffix")
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{twice[0]} stands twice", where="--configs")
    if BASELINE not in names:
        found.insert(0, Configuration.parse(BASELINE))
    return tuple(sorted(found, key=lambda one: one.name != BASELINE))


def _is_modifier(word: str) -> bool:
    return word in _MODIFIERS or _NUMBERED.fullmatch(word) is not None


def _base(name: str, base: str) -> Configuration:
    if base == BASELINE:
        return Configuration(name, "plain")
    if base in (HF_GENERATE, HF_LOOKUP):
        return Configuration(name, "hf")
    if base == DRAFTER_ONLY:
        return Configuration(name, "drafter-only")
    head, equals, adapter = base.partition("=")
    if head == SEED:
        return Configuration(name, "seed-procedure", adapter if equals else _IDENTITY, tail=False)
    return Configuration(name, "speculative", base)


def _modified(one: Configuration, word: str) -> Configuration:
    drafts = one.kind in ("speculative", "seed-procedure")
    beside = drafts or one.kind == "plain"
    if not (beside if word in ("overlap", "sequential") else drafts):
        raise InputError(
            f"{word} behind {one.name.partition('+')[0]}",
            where="--configs",
            expected="a modifier that changes something here",
        )
    name, _, number = word.partition("=")
    fixed = name in ("tail", "separate-verify", "nodes", "gamma")
    if one.kind == "seed-procedure" and fixed:
        raise InputError(
            f"{word} behind {SEED}",
            where="--configs",
            expected="its one separate verification of all that was said",
        )
    if word in ("tail", "separate-verify"):
        return replace(one, tail=word == "tail")
    if word == "overlap":
        return replace(one, beside="overlap")
    if word == "sequential":
        return replace(one, beside="sequential")
    if word == "unasked":
        return replace(one, beside="unasked")
    if word == "shuffled":
        return replace(one, shuffled=True)
    if name in ("top-k", "typical"):
        relaxed(word)  # refused now, not behind the first round
        return replace(one, rule=word)
    return replace(one, nodes=int(number)) if name == "nodes" else replace(one, gamma=int(number))
