"""What a model says by itself: transformers' `generate`, and one forward over everything.

No session, no cache of ours, no positions of ours: every check that compares a session with the
truth compares it with this. The difference between the two, which compute the same sums in another
order, is the noise that comparisons allow for.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from crossdraft.vlm.image_text import picture_ids
from crossdraft.vlm.prompt import Prompt


@dataclass(frozen=True)
class Noise:
    """How far two ways of computing the same rows lie apart.

    Attributes:
        measured: largest difference between `generate` and one forward.
        scale: largest value of the rows.
        eps: of the number format.
        coupled: rows depend on the rows beside them, as those of LLM.int8 do: it takes columns with
            an outlier anywhere in a pass out of the 8-bit product.
    """

    measured: float
    scale: float
    eps: float
    coupled: bool = False

    @property
    def level(self) -> float:
        """What was measured, or one rounding where that was luckily less."""
        return max(self.measured, self.eps * self.scale)

    @property
    def allowed(self) -> float:
        """Largest difference of rows that are the same: few rows were measured, and masks choose
        other kernels."""
        return 4 * self.level

    @property
    def limit(self) -> float:
        """What no noise explains: half of the digits are gone; a quarter of the largest value where
        rows are coupled."""
        return (0.25 if self.coupled else math.sqrt(self.eps)) * self.scale


@dataclass(frozen=True, eq=False)
class Reference:
    """The truth about one prompt.

    Attributes:
        answer: greedy tokens of `generate`, the end token included.
        tokens: as many greedy tokens as were asked for, whatever ends the answer.
        sequence: [length] ids as `generate` returns them, prompt and tokens.
        logits: [tokens, vocab] of one forward; row t is computed of the prompt and t tokens.
        hidden: [tokens, hidden] its last states.
        logits_noise, hidden_noise: how far `generate` lies from them.
    """

    answer: tuple[int, ...]
    tokens: tuple[int, ...]
    sequence: tuple[int, ...]
    logits: Tensor
    hidden: Tensor
    logits_noise: Noise
    hidden_noise: Noise

    @classmethod
    def of(cls, model: Any, prompt: Prompt, inputs: Mapping[str, Tensor], count: int) -> Reference:
        """Answer a prompt with `count` tokens, and read them again in one forward.

        Args:
            inputs: what the model's forward takes beside the ids, on its device.
        """
        sequence, logits, hidden = _generated(model, prompt.ids, inputs, count)
        tokens = sequence[len(prompt.ids) :]
        whole_logits, whole_hidden = read_rows(model, prompt.ids, tokens, inputs)
        return cls(
            _answer(model, prompt.ids, inputs, tokens),
            tokens,
            sequence,
            whole_logits,
            whole_hidden,
            noise_of(model, logits, whole_logits),
            noise_of(model, hidden, whole_hidden),
        )

    @property
    def prompt(self) -> tuple[int, ...]:
        """Ids that were answered."""
        return self.sequence[: len(self.sequence) - len(self.tokens)]

    def margin(self, place: int, token: int) -> float:
        """By how much the logit of the token at a place is larger than that of another."""
        row = self.logits[place]
        return float(row[self.tokens[place]] - row[token])


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Of two tensors.

    Raises:
        ValueError: their shapes differ, or one of them holds values that are no numbers.
    """
    if found.shape != expected.shape:
        raise ValueError(f"rows of shape {list(found.shape)}, not {list(expected.shape)}")
    apart = float((found.double().cpu() - expected.double().cpu()).abs().max())
    if not math.isfinite(apart):
        raise ValueError("the rows hold values that are no numbers")
    return apart


def noise_of(model: Any, found: Tensor, expected: Tensor) -> Noise:
    """The noise of a model between two ways to the same rows, [rows, n]."""
    # In float64 too: the norms of transformers round to float32.
    eps = max(torch.finfo(expected.dtype).eps, torch.finfo(torch.float32).eps)
    if getattr(model, "is_quantized", False):
        eps = max(eps, torch.finfo(torch.bfloat16).eps)
    coupled = bool(getattr(model, "is_loaded_in_8bit", False))
    return Noise(largest_difference(found, expected), float(expected.abs().max()), eps, coupled)


@torch.no_grad()
def _generated(
    model: Any, prompt: Sequence[int], inputs: Mapping[str, Tensor], count: int
) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """Greedy ids, and the logits [count, vocab] and states [count, hidden] that they came from."""
    states: list[Tensor] = []
    logits: list[Tensor] = []

    def entering(_: Any, arguments: tuple[Any, ...]) -> None:
        states.append(arguments[0][0, -1].clone())

    def leaving(_: Any, __: Any, out: Any) -> None:
        logits.append(out.logits[0, -1].clone())

    hooks = [
        model.get_output_embeddings().register_forward_pre_hook(entering),
        model.register_forward_hook(leaving),
    ]
    try:
        sequence = _generate(model, prompt, inputs, count, None)
    finally:
        for hook in hooks:
            hook.remove()
    return sequence, torch.stack(logits), torch.stack(states)


def _answer(
    model: Any, prompt: Sequence[int], inputs: Mapping[str, Tensor], tokens: tuple[int, ...]
) -> tuple[int, ...]:
    """The answer that ends where the checkpoint says; `tokens` where it does not end."""
    eos = model.generation_config.eos_token_id
    ends = eos if isinstance(eos, list) else [eos]
    if not any(token in ends for token in tokens):
        return tokens
    return _generate(model, prompt, inputs, len(tokens), eos)[len(prompt) :]


@torch.no_grad()
def _generate(
    model: Any, prompt: Sequence[int], inputs: Mapping[str, Tensor], count: int, eos: Any
) -> tuple[int, ...]:
    ids = torch.tensor([prompt], device=model.get_input_embeddings().weight.device)
    with plain_settings(model, eos):
        found = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
            **inputs,
        )
    return tuple(found[0].tolist())


@contextmanager
def plain_settings(model: PreTrainedModel, eos: Any) -> Iterator[None]:
    """The model without settings of its own, which sessions do not apply either."""
    own = model.generation_config
    plain = GenerationConfig(eos_token_id=eos, pad_token_id=0)  # type: ignore[no-untyped-call]
    model.generation_config = plain
    try:
        yield
    finally:
        model.generation_config = own


@torch.no_grad()
def read_rows(
    model: Any, prompt: Sequence[int], tokens: Sequence[int], inputs: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """One forward over a prompt and an answer, without a cache.

    An answer that says a picture's placeholder takes two: beside pictures a forward looks for one
    behind each placeholder, so that the answer has to be read by itself.

    Returns:
        [tokens, vocab] logits and [tokens, hidden] last states of the rows that emit the tokens.
    """
    fed = tokens[:-1]
    if inputs and not picture_ids(model.config).isdisjoint(fed):
        first = _forward(model, prompt, 1, inputs, use_cache=True)
        length = len(prompt) + len(fed)
        rest = _forward(model, fed, len(fed), {"past_key_values": first.past_key_values}, length)
        outs = [(first, 1), (rest, len(fed))]
    else:
        outs = [(_forward(model, [*prompt, *fed], len(tokens), inputs), len(tokens))]
    logits = [out.logits[0, -count:] for out, count in outs]
    hidden = [out.hidden_states[-1][0, -count:] for out, count in outs]
    return torch.cat(logits), torch.cat(hidden)


def _forward(
    model: Any,
    tokens: Sequence[int],
    count: int,
    inputs: Mapping[str, Any],
    length: int | None = None,
    *,
    use_cache: bool = False,
) -> Any:
    """A forward of which the last `count` rows are wanted, over `length` rows with those before."""
    ids = torch.tensor([list(tokens)], device=model.get_input_embeddings().weight.device)
    kept = "logits_to_keep" in inspect.signature(model.forward).parameters
    return model(
        input_ids=ids,
        attention_mask=ids.new_ones(1, length or len(tokens)),
        use_cache=use_cache,
        output_hidden_states=True,
        return_dict=True,
        **inputs,
        **({"logits_to_keep": count} if kept else {}),
    )
