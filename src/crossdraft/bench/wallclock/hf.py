"""The target answering through transformers' own `generate`, timed by the clock of everything else.

The prompt is the target's own, so that the same ids and pixels go in; no session, no cache and no
loop of ours takes part. Plain greedy decoding, or with transformers' prompt lookup, which drafts
what stood behind the last tokens earlier in the prompt and the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.errors import InputError, gist
from crossdraft.bench.checks.reference import plain_settings
from crossdraft.bench.divergence import ended
from crossdraft.vlm.image_text import picture_ids
from crossdraft.vlm.picture import placed
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target

#: Tokens that prompt lookup drafts for a pass: what transformers' own class does by itself.
LOOKUP_TOKENS = 10


@dataclass(frozen=True)
class HfAnswer:
    """One answer of `generate`.

    Attributes:
        tokens: of the answer, the end token included.
        arrival_ms: [tokens] when each was there, from the moment before the first sensor file was
            opened.
        total_ms: until the last token.
        stages_ms: what the prompt calls stages (`sensor`, `render`, `pixels`), `prefill` from the
            call of `generate` to its first token, vision included, `decode` from there to the last
            token, and `other`. Their sum is `total_ms`.
    """

    tokens: tuple[int, ...]
    arrival_ms: tuple[float, ...]
    total_ms: float
    stages_ms: Mapping[str, float]


class HfGenerate:
    """Answers questions by `generate`.

    Args:
        prompt_lookup: draft by prompt lookup.
        lookup_tokens: that it drafts for a pass.

    Raises:
        InputError: fewer than one token to draft.
    """

    def __init__(self, *, prompt_lookup: bool = False, lookup_tokens: int = LOOKUP_TOKENS) -> None:
        if lookup_tokens < 1:
            raise InputError(f"prompt lookup of {lookup_tokens} tokens", expected="1 or more")
        self.lookup_tokens = lookup_tokens if prompt_lookup else None

    def ask(self, target: Target, scene: Any, question: str, most: int) -> HfAnswer:
        """Answer greedily with at most `most` tokens; an answer ends where one of ours does.

        The model has no generation settings of its own meanwhile: not for two threads at once.

        Raises:
            InputError: the scene or the question cannot be read, not one token may be said, or
                prompt lookup does not run with this model.
        """
        if most < 1:
            raise InputError(f"answers of {most} tokens", expected="1 or more")
        spans = Spans()
        prompt = target.prompt(scene, question)
        with spans.gathering():
            inputs = dict(prompt.inputs()) if prompt.cut else {}
        inputs = {name: placed(value, target.decoder) for name, value in inputs.items()}
        arrivals = _Arrivals()
        began_ms = now_ms() - spans.origin_ms
        said = self._generated(target, prompt, inputs, arrivals, most)
        # Prompt lookup of some versions goes on behind the end.
        tokens = ended(said, target.eos_ids, most).tokens
        at = tuple(moment - spans.origin_ms for moment in arrivals.moments[: len(tokens)])
        stages = {span.name: spans.total_ms(span.name) for span in spans.spans}
        stages |= {"prefill": at[0] - began_ms, "decode": at[-1] - at[0]}
        return HfAnswer(tokens, at, at[-1], stages | {"other": at[-1] - sum(stages.values())})

    def _generated(
        self,
        target: Target,
        prompt: Prompt,
        inputs: Mapping[str, Tensor],
        arrivals: _Arrivals,
        most: int,
    ) -> tuple[int, ...]:
        ids = torch.tensor([prompt.ids], device=target.device)
        model: Any = target.model
        arguments: dict[str, Any] = {
            "input_ids": ids, "attention_mask": torch.ones_like(ids), **inputs,
            "max_new_tokens": most, "do_sample": False, "use_cache": True, "streamer": arrivals,
        }  # fmt: skip
        with plain_settings(target.model, sorted(target.eos_ids) or None):
            if self.lookup_tokens is None:
                found = model.generate(**arguments)
            else:
                with _looked_up(target.model):
                    found = model.generate(
                        **arguments,
                        prompt_lookup_num_tokens=self.lookup_tokens,
                        logits_processor=_without_slots(target.model, arrivals),
                    )
        return tuple(found[0, len(prompt.ids) :].tolist())


class _Arrivals(BaseStreamer):
    """Notes when tokens come; several may come together.

    Attributes:
        moments: of `now_ms`, one for each token.
    """

    def __init__(self) -> None:
        self.moments: list[float] = []
        self._prompt = True

    def put(self, value: Tensor) -> None:
        """Tokens on the host; the first that come are the prompt's."""
        if not self._prompt:
            self.moments += [now_ms()] * value.numel()
        self._prompt = False

    def end(self) -> None:
        """Nothing is held back."""


class _NoSlots(LogitsProcessor):
    """Forbids a picture's slots until the first token is there.

    Prompt lookup drafts whatever stood behind the last token, and in `USER: <video>` slots stand
    behind the colon that the prompt ends with. The first pass carries pixels too, and a model that
    counts more slots than pixels raises an error. Forbidden tokens are not drafted; later passes
    carry no pixels, and all is left to transformers.
    """

    def __init__(self, slots: Tensor, arrivals: _Arrivals) -> None:
        self._slots, self._arrivals = slots, arrivals

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._arrivals.moments:
            return scores
        return scores.index_fill(-1, self._slots, -torch.inf)


def _without_slots(model: PreTrainedModel, arrivals: _Arrivals) -> LogitsProcessorList:
    """Nothing for models without pictures."""
    slots: Sequence[int] = sorted(picture_ids(model.config))
    where = torch.tensor(slots, dtype=torch.int64, device=model.device)
    return LogitsProcessorList([_NoSlots(where, arrivals)] if slots else [])


@contextmanager
def _looked_up(model: PreTrainedModel) -> Iterator[None]:
    """Turn what prompt lookup raises into an error that names the model."""
    try:
        yield
    except (InputError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # every model fails in its own way
        raise InputError(
            f"prompt lookup does not run with {type(model).__name__} ({type(error).__name__}: "
            f"{gist(error)})",
            expected="a model whose cache transformers can cut back",
            hint="leave prompt lookup out of the configurations",
        ) from error
