"""Whether answers name the attributes of a scene rightly: its road, its colours, what moves.

Ground truth comes with marks that say which words name what; free text is read by the words that
the voices use (`scenes/drive/words.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdraft.evaluation.bootstrap import BlockBootstrap, Floats
from crossdraft.scenes.answers import Answer
from crossdraft.scenes.drive.words import WORDS, named_in

#: Attributes that free text can be held to; of which road user it speaks, it does not tell.
ATTRIBUTES = tuple(name for name in WORDS if not name.startswith("second "))
#: Attributes that leave no event, whatever their value.
UNSEEN_BY_EVENTS = ("colour", "time", "weather", "light state")

#: Attribute -> values that a text names.
Values = Mapping[str, Set[str]]
#: Attribute that the truth names -> whether an answer has it right.
Verdicts = Mapping[str, bool]


@dataclass(frozen=True)
class Truth:
    """What a true answer names.

    Attributes:
        marked: what its marks say, without those of a second road user.
        named: what its words name, whoever they speak of.
    """

    marked: Values
    named: Values

    @classmethod
    def of(cls, answer: Answer) -> Truth:
        """What an answer of the ground truth names."""
        marked: dict[str, set[str]] = {}
        for name in answer.names:
            if name.attribute in ATTRIBUTES:
                marked.setdefault(name.attribute, set()).add(name.value)
        return cls(marked, named_in(answer.text))

    def judge(self, said: Values) -> Verdicts:
        """Whether an answer is right about each attribute that the truth marks.

        It is where it names all that is marked and nothing that the truth does not name; values of
        a second road user are thus allowed, and not demanded.
        """
        verdicts = {}
        for attribute, marked in self.marked.items():
            allowed = marked | self.named.get(attribute, set())
            verdicts[attribute] = marked <= said.get(attribute, set()) <= allowed
        return verdicts


def accuracies(
    truths: Sequence[Truth],
    said: Sequence[Values],
    controls: Mapping[str, Sequence[Values | None]],
    bootstrap: BlockBootstrap,
) -> dict[str, dict[str, Any]]:
    """Share of right answers by attribute, controls judged by the same truth.

    Args:
        truths: [answers].
        said: [answers] what each answer names.
        controls: by name, [answers] what is judged in the answer's place; None where nothing is.
        bootstrap: over the answers.

    Returns:
        For each attribute that some truth marks: `right`, `of` (answers whose truth marks it),
        `silent` (of these, answers that name no value of it), `unnamed` (answers whose truth does
        not name it at all), `invented` (of these, answers that name some value of it), `accuracy`
        and every control by its name as estimates in plain JSON.
    """
    right, of = _counts([truth.judge(values) for truth, values in zip(truths, said, strict=True)])
    estimates = {"accuracy": bootstrap.ratio(right, of)}
    for name, others in controls.items():
        pairs = zip(truths, others, strict=True)
        judged = [{} if values is None else truth.judge(values) for truth, values in pairs]
        estimates[name] = bootstrap.ratio(*_counts(judged))
    return {
        attribute: {
            "right": int(right[:, place].sum()),
            "of": int(of[:, place].sum()),
            "silent": sum(
                attribute in truth.marked and not values.get(attribute)
                for truth, values in zip(truths, said, strict=True)
            ),
            **_invented(truths, said, attribute),
            **{name: column[place].to_json() for name, column in estimates.items()},
        }
        for place, attribute in enumerate(ATTRIBUTES)
        if of[:, place].any()
    }


def _invented(truths: Sequence[Truth], said: Sequence[Values], attribute: str) -> dict[str, int]:
    """How many answers name an attribute that their truth does not name, and how many might."""
    free = [
        values
        for truth, values in zip(truths, said, strict=True)
        if not (truth.marked.get(attribute) or truth.named.get(attribute))
    ]
    return {"invented": sum(bool(one.get(attribute)) for one in free), "unnamed": len(free)}


def shares_named(
    said: Sequence[Values], attributes: Sequence[str], bootstrap: BlockBootstrap
) -> dict[str, dict[str, Any]]:
    """Of all answers, the share that names any value of an attribute: `answers` and `share`."""
    naming = np.array([[bool(values.get(name)) for name in attributes] for values in said], float)
    shares = bootstrap.ratio(naming, np.ones_like(naming))
    return {
        name: {"answers": int(naming[:, place].sum()), "share": shares[place].to_json()}
        for place, name in enumerate(attributes)
    }


def _counts(verdicts: Sequence[Verdicts]) -> tuple[Floats, Floats]:
    """[answers, attributes]: 1 where an answer is right, and 1 where it was asked for."""
    right = [[float(row.get(name, False)) for name in ATTRIBUTES] for row in verdicts]
    of = [[float(name in row) for name in ATTRIBUTES] for row in verdicts]
    return np.array(right, np.float64), np.array(of, np.float64)
