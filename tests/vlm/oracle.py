"""What a model says about a prompt and the tokens behind it, worked out the slow way.

Every answer is one fresh forward of the whole model: pictures read again, no cache, the positions
that `model.generate` would use. Nothing of the code under test is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crossdraft.vlm.session import Step

#: Both sides compute in float64; their sums differ in order only.
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Row:
    """One position: logits [vocab] and `hidden_states[i][position]` for every i."""

    logits: Tensor
    states: tuple[Tensor, ...]

    @property
    def hidden(self) -> Tensor:
        """[hidden] behind the final norm."""
        return self.states[-1]


class Oracle:
    """One model and one prompt, given as processor outputs.

    Rows are remembered, and one forward gives the rows of all its prefixes, so ask for the longest
    branch first.
    """

    def __init__(self, model: Any, outputs: Mapping[str, Tensor]) -> None:
        self.model = model
        self.outputs = {name: tensor.clone() for name, tensor in outputs.items()}
        self.length = self.outputs["input_ids"].shape[1]
        self._positions = _prompt_positions(model, self.outputs)
        self._rows: dict[tuple[int, ...], Row] = {}

    def row(self, tokens: Sequence[int] = ()) -> Row:
        """What follows the prompt and these tokens."""
        key = tuple(tokens)
        if key not in self._rows:
            logits, states = self._forward(key)
            first = self.length - 1
            for i in range(len(key) + 1):
                self._rows[key[:i]] = Row(logits[first + i], tuple(s[first + i] for s in states))
        return self._rows[key]

    def argmax(self, tokens: Sequence[int] = ()) -> int:
        """The token that plain greedy decoding puts behind these."""
        return int(self.row(tokens).logits.argmax())

    def _forward(self, tokens: tuple[int, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        inputs = dict(self.outputs)
        n = len(tokens)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([tokens]).long()], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if "mm_token_type_ids" in inputs:
            types = inputs["mm_token_type_ids"]
            inputs["mm_token_type_ids"] = torch.cat([types, types.new_zeros(1, n)], 1)
        # generate gives every new token the last position + 1, on each axis by itself.
        steps = self._positions[..., -1:] + torch.arange(1, n + 1)
        positions = torch.cat([self._positions, steps], -1)
        with torch.no_grad():
            out = self.model(
                **inputs, position_ids=positions, use_cache=False, output_hidden_states=True
            )
        return out.logits[0], tuple(states[0] for states in out.hidden_states)


def greedy(model: Any, outputs: Mapping[str, Tensor], count: int) -> tuple[int, ...]:
    """The model's own greedy answer, its end token included."""
    with torch.no_grad():
        ids = model.generate(**outputs, max_new_tokens=count, do_sample=False)
    return tuple(ids[0, outputs["input_ids"].shape[1] :].tolist())


def assert_rows(step: Step, rows: Iterable[Row], layers: Iterable[int] = ()) -> None:
    """A step holds these rows, in this order, and no others."""
    expected = list(rows)
    layers = sorted(layers)
    assert sorted(step.layers) == layers
    close(step.logits, torch.stack([row.logits for row in expected]))
    close(step.hidden, torch.stack([row.hidden for row in expected]))
    for i in layers:
        close(step.layers[i], torch.stack([row.states[i] for row in expected]))


def close(found: Tensor, expected: Tensor) -> None:
    """Equal shapes, dtypes and values, and no graph hanging on them."""
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def _prompt_positions(model: Any, outputs: Mapping[str, Tensor]) -> Tensor:
    """Positions of the prompt's ids as `generate` prepares them: [1, n] or [axes, 1, n]."""
    arguments = dict(outputs)
    ids = arguments.pop("input_ids")
    positions: Tensor = model._prepare_position_ids_for_generation(ids, arguments)
    if hasattr(model, "model") and hasattr(model.model, "rope_deltas"):
        # The model keeps its last offset on itself; whoever reads it from there gets nonsense.
        model.model.rope_deltas = torch.tensor([[977]])
    return positions
