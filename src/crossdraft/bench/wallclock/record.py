"""One timed answer: a line of the file that a benchmark writes while it runs.

Everything that the tables say is computed of these lines, so that they can be computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


class Forward(NamedTuple):
    """One forward of the target.

    Attributes:
        drafted: nodes of the tree that it verified.
        accepted: of them, those that belong to the answer.
        emitted: tokens that it gave to the answer.
    """

    drafted: int
    accepted: int
    emitted: int


@dataclass(frozen=True)
class Run:
    """One question, answered once by one configuration.

    Attributes:
        configuration: its name.
        part: `test`, or `validation` for the runs that the prediction is calibrated on.
        round: number of the alternation, from 0.
        number: of the question among those of its part.
        scene, drive, question: what was asked about what.
        tokens: of the answer.
        arrival_ms: [tokens] when each was there, from the moment before the first sensor file was
            opened.
        total_ms: until the answer is handed over, what drafters learn of it and its text included;
            of transformers until the last token.
        forwards: of the target, the prefill first; empty where they are not known.
        stages_ms: time on the way to the answer by stage: `sensor`, `pixels` (or `render`),
            `vision`, `prefill`, `decode` (plain steps), `verify`, `draft`, `commit`, `event model`
            (where the answer waited for it), `other`. Their sum is `total_ms`.
        event_model_ms: how long the event model worked until the answer ended, wherever; None where
            it took no part.
        event_first_ms, event_token_ms: when its first token was there, and the mean time from one
            to the next; None where there was none.
        event_tokens: tokens of it that were there when the last pass of the prefill started.
        event_words: all of its tokens that came until the answer ended.
        last_prefill_ms: length of the prefill's last pass, on whose tail drafts ride; None where
            it is not known.
        mode: how the event model ran: `sequential`, `thread`, `process`; None where it took no
            part.
        warnings: what went wrong without costing the answer.
    """

    configuration: str
    part: str
    round: int
    number: int
    scene: str
    drive: str
    question: str
    tokens: tuple[int, ...]
    arrival_ms: tuple[float, ...]
    total_ms: float
    forwards: tuple[Forward, ...] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    event_model_ms: float | None = None
    event_first_ms: float | None = None
    event_token_ms: float | None = None
    event_tokens: int = 0
    event_words: int = 0
    last_prefill_ms: float | None = None
    mode: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def first_ms(self) -> float:
        """When the first token was there."""
        return self.arrival_ms[0]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {**asdict(self), "forwards": [list(one) for one in self.forwards]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Run:
        """Read what `to_json` gave; the benchmark's own file.

        Raises:
            KeyError, TypeError, ValueError: something else.
        """
        lists: dict[str, Sequence[Any]] = {
            "tokens": tuple(map(int, value["tokens"])),
            "arrival_ms": tuple(map(float, value["arrival_ms"])),
            "forwards": tuple(Forward(*map(int, one)) for one in value["forwards"]),
            "warnings": tuple(map(str, value["warnings"])),
        }
        return cls(**{**value, **lists})
