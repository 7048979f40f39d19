"""What drafting inside `generate` refuses, and processors that write into what they get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from crossdraft.base.errors import InputError
from crossdraft.decoding.custom_generate import custom_generate
from tests.decoding.test_custom_generate import Heard, Knowing, agree, drafted, inputs_of
from tests.vlm.models import gpt2, llama, tiny


def test_an_answer_that_outgrows_the_model_is_refused() -> None:
    model = gpt2(positions=16)
    inputs = inputs_of(model)
    agree(model, inputs, max_new_tokens=11)
    with pytest.raises(InputError, match="6 tokens of prompt and 11 of the answer"):
        drafted(model, inputs, [9] * 20, max_new_tokens=12)


REFUSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "beams": ({"num_beams": 3}, "beam search"),
    "sampled beams": ({"num_beams": 2, "do_sample": True}, "beam sample"),
    "lookup": ({"prompt_lookup_num_tokens": 3}, "assisted generation"),
    "several": ({"num_return_sequences": 2, "do_sample": True}, "num_return_sequences=2"),
    "guided": ({"guidance_scale": 1.5}, "guidance_scale=1.5"),
    "synced": ({"synced_gpus": True}, "synced_gpus"),
    "attentions": (
        {"return_dict_in_generate": True, "output_attentions": True},
        "output_attentions",
    ),
    "states": (
        {"return_dict_in_generate": True, "output_hidden_states": True},
        "output_hidden_states",
    ),
    "padded": ({"attention_mask": torch.tensor([[0, 1, 1, 1, 1, 1]])}, "padded"),
    "positions": ({"position_ids": torch.tensor([[0, 1, 2, 5, 6, 7]])}, "position_ids"),
    "types": ({"token_type_ids": torch.zeros(1, 6, dtype=torch.long)}, "token_type_ids"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_not_be_the_same_is_refused(what: str) -> None:
    options, message = REFUSED[what]
    model = tiny("gpt2")
    heard = Heard()
    speculate = custom_generate(Knowing([]))
    inputs = {**inputs_of(model), **options}
    if "num_beams" not in options:
        inputs["streamer"] = heard
    with pytest.raises(InputError, match=message) as refused:
        model.generate(**inputs, max_new_tokens=4, custom_generate=speculate)
    assert refused.value.expected and refused.value.hint
    assert speculate.last is None and len(heard.heard) <= 1


def test_other_models_and_inputs_are_refused() -> None:
    model = tiny("llama")
    ids = inputs_of(model)["input_ids"]
    speculate = custom_generate(Knowing([]))

    def ask(model: Any = model, **options: Any) -> None:
        model.generate(**options, max_new_tokens=4, custom_generate=speculate)

    with pytest.raises(InputError, match="a batch of 2 prompts"):
        ask(input_ids=ids.expand(2, -1))
    with pytest.raises(InputError, match="an assistant_model"):
        ask(input_ids=ids, assistant_model=tiny("gpt2"))
    with pytest.raises(InputError, match="inputs_embeds"):
        ask(inputs_embeds=model.get_input_embeddings()(ids))
    cache = model(ids[:, :-1]).past_key_values
    with pytest.raises(InputError, match="past_key_values"):
        ask(input_ids=ids, past_key_values=cache)
    seeing = tiny("video-llava")
    with pytest.raises(InputError, match=r"pixel_values_videos|mm_encoder_outputs"):
        ask(seeing, input_ids=ids, pixel_values_videos=torch.zeros(1, 4, 3, 8, 8).double())
    learning = llama(7).train()
    with pytest.raises(InputError, match="training mode"):
        ask(learning, input_ids=ids)
    assert learning.training and "_crossdraft_kept" not in learning.__dict__


class InPlace(LogitsProcessor):
    """Writes into the scores it is given."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scores[:, 3::2] -= 1.0
        return scores


def test_a_processor_may_write_into_its_scores() -> None:
    """Of a float32 model, whose rows need no conversion before they are processed."""
    model = llama(seed=3).float()
    asked: dict[str, Any] = {
        "input_ids": torch.tensor([[5, 6, 7, 8]]),
        "attention_mask": torch.ones(1, 4, dtype=torch.int64),
        "max_new_tokens": 6,
        "logits_processor": LogitsProcessorList([InPlace()]),
        "return_dict_in_generate": True,
        "output_logits": True,
    }
    plain = model.generate(**asked)
    drafted = model.generate(**asked, custom_generate=custom_generate("suffix"))
    assert drafted.sequences.tolist() == plain.sequences.tolist()
    for ours, theirs in zip(drafted.logits, plain.logits, strict=True):
        torch.testing.assert_close(ours, theirs)
