"""One answer and what is known about how it came: tokens, text, moments, passes, stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from crossdraft.base.clock import Spans
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.stopping import End


class Pass(NamedTuple):
    """One forward of the target.

    Attributes:
        tree: what it verified.
        path: accepted nodes that belong to the answer.
        emitted: tokens that it gave to the answer: the accepted ones and, unless the answer ended
            among them, the target's own behind them.
    """

    tree: DraftTree
    path: tuple[int, ...]
    emitted: int


@dataclass(frozen=True, eq=False)
class Generation:
    """An answer.

    Attributes:
        tokens: ids, the end token included where the answer ended with one.
        end: why it ended: `eos`, `stop` (a stop string) or `length`.
        text: what the tokens read as, without a stop string and what stands behind it; None of a
            model without a tokenizer.
        prompt_hash: of the prompt.
        prompt_tokens: ids of the prompt, picture slots included.
        arrival_ms: [tokens] when each was there, from the origin of the spans.
        passes: every forward of the target, the prefill first.
        rule: name of the verification rule.
        lossy: whether the answer may differ from the target's own.
        spans: stages: `read`, `vision`, `prefill`, `decode` or `verify`, `draft`, `commit`.
        drafter_spans: stages of the event model; None where it took no part.
        drafter_arrival_ms: when its tokens were there, as far as anybody looked.
        overlap: how the event model worked: `none` where it took no part.
        warnings: what went wrong without costing the answer.
    """

    tokens: tuple[int, ...]
    end: End
    text: str | None
    prompt_hash: str
    prompt_tokens: int
    arrival_ms: tuple[float, ...]
    passes: tuple[Pass, ...]
    rule: str
    lossy: bool
    spans: Spans
    drafter_spans: Spans | None = None
    drafter_arrival_ms: tuple[float, ...] = ()
    overlap: str = "none"
    warnings: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[int, ...]:
        """[passes] accepted drafts of each."""
        return tuple(len(one.path) for one in self.passes)

    @property
    def drafted(self) -> tuple[int, ...]:
        """[passes] nodes of each tree."""
        return tuple(len(one.tree) for one in self.passes)

    @property
    def tau(self) -> float:
        """Tokens per forward of the target, the prefill and the target's own tokens included."""
        return len(self.tokens) / len(self.passes)

    @property
    def proposed_by(self) -> tuple[str | None, ...]:
        """[tokens] who proposed each; None for the target's own."""
        names: list[str | None] = []
        for one in self.passes:
            sources = one.tree.sources[list(one.path)].tolist()
            names += [one.tree.source_names[source] for source in sources]
            names += [None] * (one.emitted - len(one.path))
        return tuple(names)

    def by_source(self) -> dict[str, dict[str, int]]:
        """Nodes `drafted` and `accepted` of each source that proposed any."""
        drafted: Counter[str] = Counter()
        accepted: Counter[str] = Counter()
        for one in self.passes:
            names = one.tree.source_names
            drafted.update(names[source] for source in one.tree.sources.tolist())
            accepted.update(names[source] for source in one.tree.sources[list(one.path)].tolist())
        return {
            name: {"drafted": count, "accepted": accepted[name]} for name, count in drafted.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "tokens": list(self.tokens),
            "end": self.end,
            "text": self.text,
            "prompt_hash": self.prompt_hash,
            "prompt_tokens": self.prompt_tokens,
            "arrival_ms": [round(ms, 3) for ms in self.arrival_ms],
            "rule": self.rule,
            "lossy": self.lossy,
            "tau": self.tau,
            "accepted": list(self.accepted),
            "drafted": list(self.drafted),
            "proposed_by": list(self.proposed_by),
            "by_source": self.by_source(),
            "spans": self.spans.to_records(),
            "drafter_spans": None
            if self.drafter_spans is None
            else self.drafter_spans.to_records(),
            "drafter_arrival_ms": [round(ms, 3) for ms in self.drafter_arrival_ms],
            "overlap": self.overlap,
            "warnings": list(self.warnings),
        }


def ignore(_: Sequence[int]) -> None:
    """The sink of tokens that takes no notice."""
