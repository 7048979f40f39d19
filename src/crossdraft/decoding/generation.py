"""One answer and what is known about how it came: tokens, text, moments, stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.vlm.drafting import own_answer
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target

#: Takes each token as it arrives.
OnToken = Callable[[int], None]


def ignore(_: int) -> None:
    """The sink that takes no notice."""


@dataclass(frozen=True)
class Generation:
    """An answer.

    Attributes:
        tokens: ids, the end token included where the answer ended with one.
        end: why it ended, `eos` or `length`.
        prompt_hash: of the prompt.
        prompt_tokens: ids of the prompt, picture slots included.
        arrival_ms: when each token was there, from before the scene was read.
        spans: stages: `read`, `vision`, `prefill`, `decode`.
    """

    tokens: tuple[int, ...]
    end: Literal["eos", "length"]
    prompt_hash: str
    prompt_tokens: int
    arrival_ms: tuple[float, ...]
    spans: Spans

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "tokens": list(self.tokens),
            "end": self.end,
            "prompt_hash": self.prompt_hash,
            "prompt_tokens": self.prompt_tokens,
            "arrival_ms": [round(ms, 3) for ms in self.arrival_ms],
            "spans": self.spans.to_records(),
        }


def answer_plainly(
    model: Target,
    scene: Any,
    question: str | Sequence[int],
    max_new_tokens: int,
    on_token: OnToken = ignore,
) -> Generation:
    """The greedy answer of one model by itself, nothing drafted.

    Args:
        model: the target, or the event model.
        scene: what its prompt builder takes.
        question: text, or the prompt's ids with a single placeholder for the scene, for
            checkpoints without a tokenizer.
        on_token: is called as each token arrives.

    Raises:
        InputError: the scene or the question cannot be read, or no token may be said.
    """
    if max_new_tokens < 1:
        raise InputError(
            f"{max_new_tokens}", where="max_new_tokens", expected="a whole number from 1"
        )
    spans = Spans()
    prompt = _prompt(model, scene, question)
    session = model.open(prompt, spans=spans)
    tokens, arrival_ms = [], []
    arrivals = own_answer(session, prompt, max_new_tokens, model.eos_ids, origin_ms=spans.origin_ms)
    for arrival in arrivals:
        tokens.append(arrival.token)
        arrival_ms.append(arrival.arrival_ms)
        on_token(arrival.token)
    end: Literal["eos", "length"] = "eos" if tokens[-1] in model.eos_ids else "length"
    return Generation(tuple(tokens), end, prompt.hash, len(prompt.ids), tuple(arrival_ms), spans)


def _prompt(model: Target, scene: Any, question: str | Sequence[int]) -> Prompt:
    if isinstance(question, str):
        return model.prompt(scene, question)
    of_ids = getattr(model.prompts, "of_ids", None)
    if of_ids is None:
        raise InputError(
            f"ids in place of a question, and {type(model.model).__name__} takes text",
            expected="a question",
        )
    prompt: Prompt = of_ids(scene, question)
    return prompt
