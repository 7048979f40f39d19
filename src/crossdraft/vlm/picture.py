"""Reading a picture: the prompt up to and including it goes through the whole model once.

The model's own forward merges pixels and text, so that any vision model works; only the cache and
the positions are given to it. Positions are those that `generate` would use, computed for the
whole prompt, and never read from what the model remembers of an earlier call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.clock import Span, Spans, now_ms
from crossdraft.base.errors import InputError, gist
from crossdraft.vlm.cache import SessionCache
from crossdraft.vlm.decoder import Decoder
from crossdraft.vlm.prompt import Prompt


class Picture:
    """The picture prefix of a scene, read by one model; sessions share it and never change it.

    Attributes:
        prefix: its ids.
        cache: its keys and values.
        start: [1, 1] or [axes, 1, 1], position of the first id behind it.
        inputs: where its pixels came from.
    """

    def __init__(self, prompt: Prompt, cache: SessionCache, start: Tensor) -> None:
        self.prefix, self.cache, self.start = prompt.prefix, cache, start
        self.inputs = prompt.inputs


def read_picture(decoder: Decoder, prompt: Prompt, cache: SessionCache, spans: Spans) -> Picture:
    """Prefill the picture prefix of a prompt.

    Args:
        spans: gets `read` (the prompt's inputs) and inside it what a prompt calls a stage
            (`sensor`, `render`, `pixels`), `vision` (all before the decoder) and `prefill`.

    Raises:
        InputError: padded ids, something else than plain text behind the picture, or inputs that
            the model cannot read.
    """
    device = decoder.device
    with spans.measure("read", str(device)), spans.gathering():
        inputs = dict(prompt.inputs()) if prompt.cut else {}
        decoder.synchronise()
    ids = torch.tensor([prompt.ids], device=device)
    inputs = {name: placed(value, decoder) for name, value in inputs.items()}
    _refuse_padding(inputs)
    _refuse_marked_text(inputs, ids, prompt.cut)
    with _readable(decoder):
        positions = _positions(decoder, ids, inputs)
    behind = positions[..., prompt.cut :]
    steps = torch.arange(behind.shape[-1], device=behind.device)
    start = behind[..., :1]
    if not torch.equal(behind, start + steps):
        raise InputError(
            "positions behind the picture do not count up by one",
            expected="text alone behind the last picture slot",
        )
    if prompt.cut:
        cut = {
            name: value[:, : prompt.cut] if _per_id(value, ids) else value
            for name, value in inputs.items()
        }
        with _readable(decoder):
            prefill(decoder, ids[:, : prompt.cut], cut, positions[..., : prompt.cut], cache, spans)
    return Picture(prompt, cache, start)


@contextmanager
def _readable(decoder: Decoder) -> Iterator[None]:
    """Turn what a model raises over its inputs into an error that names it."""
    try:
        yield
    except (InputError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # every model has its own checks, or none
        raise InputError(
            f"{type(decoder.model).__name__} cannot read this prompt ({type(error).__name__}: "
            f"{gist(error)})",
            expected="all that the model's processor gives for one prompt",
        ) from error


def prefill(
    decoder: Decoder,
    ids: Tensor,
    inputs: Mapping[str, Tensor],
    positions: Tensor,
    cache: SessionCache,
    spans: Spans,
) -> None:
    """Let the model's own forward put pictures and text into a cache; what it takes until its
    decoder begins counts as `vision`.

    Args:
        ids: [1, length].
        inputs: what the forward takes beside them.
        positions: [1, length] or [axes, 1, length].
    """
    device = str(decoder.device)
    entered: list[float] = []

    def enter(*_: Any) -> None:
        decoder.synchronise()
        entered.append(now_ms() - spans.origin_ms)

    cache.prepare(ids.shape[1])
    began = now_ms() - spans.origin_ms
    # The decoder's first layer begins where vision ends.
    handle = decoder.body.register_forward_pre_hook(enter)
    try:
        # The model without its head: nothing is read off before the question.
        decoder.model.base_model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=False,
            return_dict=True,
            **inputs,
        )
    finally:
        handle.remove()
    decoder.synchronise()
    cache.commit(ids.shape[1])
    spans.spans.append(Span("vision", began, entered[0], device))
    spans.spans.append(Span("prefill", entered[0], now_ms() - spans.origin_ms, device))


def _positions(decoder: Decoder, ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """[1, length] or [axes, 1, length] positions that `generate` gives this prompt."""
    prepare = getattr(decoder.model, "_prepare_position_ids_for_generation", None)
    if prepare is None:
        return torch.arange(ids.shape[1], device=ids.device)[None]
    # `generate` always has a mask, and some models look for it.
    positions: Tensor = prepare(ids, {**inputs, "attention_mask": torch.ones_like(ids)})
    return positions


def placed(value: Tensor, decoder: Decoder) -> Tensor:
    """On the model's device; pixels in its number format."""
    if value.is_floating_point() and value.ndim > 2:
        return value.to(decoder.device, decoder.dtype)
    return value.to(decoder.device)


def _per_id(value: Tensor, ids: Tensor) -> bool:
    return value.shape == ids.shape


def _refuse_padding(inputs: dict[str, Tensor]) -> None:
    mask = inputs.pop("attention_mask", None)
    if mask is not None and not bool(mask.all()):
        raise InputError(
            "the prompt is padded: its attention_mask has zeros",
            expected="one prompt without padding",
        )


def _refuse_marked_text(inputs: Mapping[str, Tensor], ids: Tensor, cut: int) -> None:
    """What is fed after the picture comes without its marks, so they must say nothing there."""
    for name, value in inputs.items():
        if _per_id(value, ids) and not bool((value[:, cut:] == value[:, cut : cut + 1]).all()):
            raise InputError(
                f"{name} marks something else than text behind id {cut - 1}, the end of the "
                "picture",
                expected="plain text behind the last picture",
                hint="the picture may end with a mark that the configuration does not name",
            )
