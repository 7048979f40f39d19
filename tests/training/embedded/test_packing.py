"""Packed rows: every question reads the picture and itself, at the places it would have alone."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from crossdraft.drafters.trainable import IGNORE
from crossdraft.training.embedded.packing import Packed, Turn, pack

ids = st.lists(st.integers(3, 40), min_size=1, max_size=5).map(tuple)
turns = st.builds(Turn, question=ids, answer=ids)
rows = st.lists(st.lists(turns, min_size=1, max_size=3), min_size=1, max_size=3)


@given(prefix=ids, rows=rows)
def test_each_answer_gets_the_logits_of_a_prompt_of_its_own(
    prefix: tuple[int, ...], rows: list[list[Turn]]
) -> None:
    packed = pack(prefix, rows)
    found = _logits(packed)[packed.labels != IGNORE]
    alone = [pack(prefix, [[turn]]) for row in rows for turn in row]
    wanted = [_plain_logits(prefix, turn) for row in rows for turn in row]
    assert torch.allclose(found, torch.cat(wanted), atol=1e-12)
    labels = torch.cat([one.labels[one.labels != IGNORE] for one in alone])
    assert torch.equal(packed.labels[packed.labels != IGNORE], labels)


@given(prefix=ids, rows=rows)
def test_the_end_is_learned_and_never_read(prefix: tuple[int, ...], rows: list[list[Turn]]) -> None:
    packed = pack(prefix, rows)
    for row, turns_of_row in enumerate(rows):
        learned = packed.labels[row][packed.labels[row] != IGNORE].tolist()
        assert learned == [token for turn in turns_of_row for token in turn.answer]
        read = [token for turn in turns_of_row for token in (*turn.question, *turn.answer[:-1])]
        assert packed.ids[row, : len(prefix) + len(read)].tolist() == [*prefix, *read]


def _model() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=41, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, initializer_range=0.3,
        )  # fmt: skip
        return LlamaForCausalLM(config).double()


MODEL = _model()


@torch.no_grad()
def _logits(packed: Packed) -> torch.Tensor:
    out = MODEL(input_ids=packed.ids, attention_mask=packed.mask, position_ids=packed.positions)
    logits: torch.Tensor = out.logits
    return logits


@torch.no_grad()
def _plain_logits(prefix: tuple[int, ...], turn: Turn) -> torch.Tensor:
    """Without mask and positions: an ordinary causal pass, [answer, vocab]."""
    read = torch.tensor([[*prefix, *turn.question, *turn.answer[:-1]]])
    logits: torch.Tensor = MODEL(input_ids=read).logits[0, -len(turn.answer) :]
    return logits
