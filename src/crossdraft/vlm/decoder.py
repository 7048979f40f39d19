"""A transformers causal decoder, taken apart: its layers, its head, what masks it wants.

Works on text models and on the language half of a vision model alike. What it takes apart it also
proves: at construction the parts must give the logits of the whole, in one pass and in two.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from crossdraft.base.errors import InputError, gist
from crossdraft.vlm.attention import as_attention_mask, windowed
from crossdraft.vlm.cache import GrowingCache, SessionCache
from crossdraft.vlm.image_text import picture_ids
from crossdraft.vlm.logit_finish import FINISH, finish_of

#: Fields that tell of attention which no mask from outside can steer, and what it is.
_STRANGE = {
    "cross_attention_layers": "whose layers attend to pictures beside the text",
    "attention_types": "with windows over places in the cache",
    "keep_window_size": "that chooses what it attends to by itself",
}
#: Attention of a layer that a session can mask and roll back.
_FULL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True, eq=False)
class Rows:
    """States of one pass.

    Attributes:
        hidden: [q, hidden] post-final-norm.
        layers: {i: [q, hidden]} after i decoder layers, where asked for.
    """

    hidden: Tensor
    layers: Mapping[int, Tensor]


class Decoder:
    """The part of a model that sessions drive.

    Args:
        layers: numbers of the layers whose states every pass keeps; 0 is the embeddings.

    Raises:
        InputError: an encoder-decoder, a recurrent state or another attention that cannot be
            rolled back, or a model that does more behind its head than is known here.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[int] = ()) -> None:
        self.model = model
        self.config = model.config.get_text_config(decoder=True)
        self._name = type(model).__name__
        if model.config.is_encoder_decoder:
            raise self._unfit("an encoder-decoder")
        self.body: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
        self.head: nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        if self.head is None:
            raise self._unfit("without a language-model head")
        self.window, self._kinds = self._attention()
        self._additive = self._implementation() == "eager"
        self.depth = int(self.config.num_hidden_layers)
        #: Layers with keys of their own; others may read those of a layer below.
        self.caches = self.depth - (getattr(self.config, "num_kv_shared_layers", None) or 0)
        self.keeps = self._kept(layers)
        places = {parameter.device for parameter in model.parameters()}
        self._gpus = [device for device in places if device.type == "cuda"]
        self._finish = [(FINISH[name], value) for name, value in finish_of(self.config).items()]
        try:
            self._prove()
        except InputError:
            raise
        except Exception as error:  # models of other kinds fail in their own ways
            raise InputError(
                f"{self._name} cannot be driven token by token ({type(error).__name__}: "
                f"{gist(error)})",
                expected="a causal decoder whose key/value cache can be rolled back",
            ) from error

    def keeping(self, layers: Sequence[int]) -> Decoder:
        """The same decoder, proved as it is, with other layers to keep.

        Raises:
            InputError: layers that the model does not have.
        """
        other = copy(self)
        other.keeps = self._kept(layers)
        return other

    def synchronise(self) -> None:
        """Wait until the model's GPUs have done what this thread gave them, so that a span ends
        with its work. Another thread's stream is not waited for."""
        for device in self._gpus:
            torch.cuda.current_stream(device).synchronize()

    @property
    def device(self) -> torch.device:
        """Where ids go."""
        embeddings: Any = self.model.get_input_embeddings()
        device: torch.device = embeddings.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the states."""
        return self.model.dtype

    @property
    def finish(self) -> dict[str, float]:
        """What the model does to logits behind the head, as `finish_of` names it."""
        return finish_of(self.config) if self._finish else {}

    @property
    def vocabulary(self) -> int:
        """Number of ids that can be embedded."""
        embeddings: Any = self.model.get_input_embeddings()
        return int(embeddings.weight.shape[0])

    def longest(self, prefix: int) -> int | None:
        """Longest sequence that can be read behind a prefix, where the configuration says.

        Models of the longrope kind turn all positions in another way once a sequence passes the
        length they were first trained with: what was read before would have to be read again.
        """
        longest: int | None = getattr(self.config, "max_position_embeddings", None)
        rope = getattr(self.config, "rope_parameters", None) or {}
        if rope.get("rope_type", rope.get("type")) == "longrope":
            first = rope.get("original_max_position_embeddings") or getattr(
                self.config, "original_max_position_embeddings", None
            )
            if first and prefix <= first:
                return int(first)
        return longest

    def run(
        self, ids: Tensor, positions: Tensor, cache: SessionCache, mask: Any | None
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """One pass, in tensors alone so that it can be compiled.

        Args:
            ids: [lanes, q], one lane for a single session.
            positions: [lanes, q], or [axes, lanes, q] where the model has several.
            mask: from `mask`; None where every row sees all rows up to itself.

        Returns:
            Post-norm states [lanes, q, hidden], and transformers' `hidden_states` where layers are
            kept.
        """
        out = self.body(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=bool(self.keeps),
            return_dict=True,
        )
        return out.last_hidden_state, out.hidden_states if self.keeps else None

    def rows(self, states: tuple[Tensor, tuple[Tensor, ...] | None], last: int) -> Rows:
        """The last rows of a pass, without its padding."""
        hidden, kept = states
        chosen = {i: _last(kept[i], last) for i in self.keeps} if kept else {}
        return Rows(_last(hidden, last), chosen)

    def chosen(
        self, states: tuple[Tensor, tuple[Tensor, ...] | None], numbers: Sequence[int]
    ) -> Rows:
        """Rows of a pass over several lanes, by their numbers counted through all lanes."""
        hidden, kept = states
        index = torch.tensor(numbers)

        def rows(part: Tensor) -> Tensor:
            return part.flatten(0, 1)[index.to(part.device)]

        return Rows(rows(hidden), {i: rows(kept[i]) for i in self.keeps} if kept else {})

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, vocab] of post-norm states [n, hidden], exactly as the model gives them."""
        assert self.head is not None
        logits: Tensor = self.head(hidden)
        for function, value in self._finish:
            logits = function(logits, value)
        return logits

    def mask(
        self,
        visible: NDArray[np.bool_],
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        *,
        added: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """What the layers take as their attention mask.

        Args:
            visible: [q, k] or [lanes, q, k] whether row sees column.
            rows: [q] or [lanes, q] places of the rows in their sequences.
            columns: [k] or [lanes, k] places of the columns.
            added: as numbers that are added to the scores, also where a layer would take truth
                values; SDPA on a CPU turns those into numbers anew in every layer.
        """

        def made(mask: NDArray[np.bool_]) -> Tensor:
            return as_attention_mask(
                mask, additive=self._additive or added, dtype=self.dtype, device=self.device
            )

        if self.window is None:
            return made(visible)
        near = made(windowed(visible, rows, columns, self.window))
        if self._kinds is None:
            return near
        return {_SLIDING: near} | ({_FULL: made(visible)} if _FULL in self._kinds else {})

    def _attention(self) -> tuple[int | None, frozenset[str] | None]:
        """Sliding window, and the kinds of layers where they are told apart by name."""
        for name, what in _STRANGE.items():
            value = getattr(self.config, name, None)
            if value and (name != "attention_types" or "local" in str(value)):
                raise self._unfit(what)
        types = getattr(self.config, "layer_types", None)
        window = getattr(self.config, "sliding_window", None)
        if types is None:
            return window, None
        kinds = frozenset(types)
        if strange := sorted(kinds - {_FULL, _SLIDING}):
            raise self._unfit(f"with layers of {', '.join(strange)}")
        return (window if _SLIDING in kinds else None), kinds

    def _implementation(self) -> str:
        used = str(getattr(self.config, "_attn_implementation", "") or "eager")
        if used not in ("sdpa", "eager"):
            raise InputError(
                f"attention implementation {used!r}",
                where=self._name,
                expected="sdpa or eager: trees need a mask of their own",
                hint="load the model with attn_implementation='sdpa'",
            )
        return used

    def _kept(self, layers: Sequence[int]) -> tuple[int, ...]:
        kept = tuple(sorted(set(layers)))
        if any(not 0 <= layer <= self.depth for layer in kept):
            raise InputError(
                f"layers {list(kept)} to keep", expected=f"numbers from 0 to {self.depth}"
            )
        return kept

    def _unfit(self, what: str) -> InputError:
        return InputError(
            f"{self._name} is a model {what}",
            expected="a causal decoder whose key/value cache can be rolled back",
        )

    @torch.no_grad()
    def _prove(self) -> None:
        """Three tokens through the model, and through its parts as one token and then two."""
        if "position_ids" not in inspect.signature(self.body.forward).parameters:
            raise self._unfit("that takes no position_ids")
        ids = torch.tensor([self._plain_ids()], device=self.device)
        whole = self.model(input_ids=ids, use_cache=False, return_dict=True)
        expected = whole.logits[0]
        cache = GrowingCache(self.caches)
        place = np.arange(3)
        parts = []
        for part in (slice(0, 1), slice(1, 3)):
            seen = np.tri(3, dtype=np.bool_)[part, : part.stop]
            mask = self.mask(seen, place[part], place[: part.stop])
            at = torch.arange(part.start, part.stop, device=self.device)[None]
            hidden, _ = self.run(ids[:, part], at, cache, mask)
            cache.commit(part.stop - part.start)
            parts.append(hidden[0])
        if any(row.keys is None or row.keys.shape[-2] < len(place) for row in cache.rows):
            raise self._unfit("with layers that keep no keys of the text")
        scale = expected.abs().max().item()
        error = np.inf
        # Some families have the fields of others without doing what they say.
        for finish in ([*self._finish], []):
            self._finish = finish
            found = torch.cat([self.logits(hidden).to(expected.device) for hidden in parts])
            error = min(error, (found - expected).abs().max().item())
            if error <= 0.02 * max(scale, 1e-3):
                return
        raise InputError(
            f"{self._name}: its layers and head give other logits than the whole model "
            f"(largest difference {error:.3g}, largest logit {scale:.3g})",
            expected="logits = head(final states)",
            hint="the model does something behind its head that sessions do not know",
        )

    def _plain_ids(self) -> list[int]:
        special = picture_ids(self.model.config)
        return [token for token in range(self.vocabulary) if token not in special][:3]


def _last(states: Tensor, count: int) -> Tensor:
    """[count, hidden] of [1, q, hidden]; a copy where a view would keep the others alive."""
    rows = states[0, -count:]
    return rows if count == states.shape[1] else rows.clone()
