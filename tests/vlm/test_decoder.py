"""Which models sessions drive: what is refused by name, what a configuration only seems to say."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import transformers as hf

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.decoder import Decoder
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.vlm.models import TEXT, llama
from tests.vlm.oracle import greedy

PROMPT = Prompt((*range(3, 15), 5, 6), 12)


def gpt_neo() -> Any:
    config = hf.GPTNeoConfig(
        vocab_size=120, hidden_size=32, num_layers=2, num_heads=4, window_size=7,
        attention_types=[[["global", "local"], 1]], eos_token_id=None,
    )  # fmt: skip
    return hf.GPTNeoForCausalLM(config)


def encoder_decoder() -> Any:
    config = hf.T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    return hf.T5ForConditionalGeneration(config)


def mamba() -> Any:
    return hf.MambaForCausalLM(hf.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1))


def chunked() -> Any:
    model = llama()
    model.config.layer_types = ["full_attention", "chunked_attention"]
    return model


def cross_attending() -> Any:
    model = llama()
    model.config.cross_attention_layers = [1]
    return model


def flash() -> Any:
    model = llama()
    model.config._attn_implementation = "flash_attention_2"
    return model


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (gpt_neo, "windows over places in the cache"),
        (encoder_decoder, "encoder-decoder"),
        (mamba, "cache can be rolled back"),
        (chunked, "layers of chunked_attention"),
        (cross_attending, "attend to pictures beside the text"),
        (flash, "'flash_attention_2'"),
    ],
)
def test_models_that_cannot_be_driven_are_refused(made: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Decoder(made())


def test_a_model_that_does_more_behind_its_head_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = llama()
    forward = type(model).forward

    def doubled(self: Any, *args: Any, **options: Any) -> Any:
        out = forward(self, *args, **options)
        out.logits = 2 * out.logits
        return out

    monkeypatch.setattr(type(model), "forward", doubled)
    with pytest.raises(InputError, match="other logits than the whole model"):
        Decoder(model)


def test_a_field_that_the_model_does_not_heed_is_not_heeded() -> None:
    """Some families carry `logit_scale` from their relatives and do not apply it."""
    model = llama()
    model.config.logit_scale = 0.25
    step = Target(model).open(PROMPT).ask(PROMPT)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([PROMPT.ids])).logits[0, -1]
    torch.testing.assert_close(step.logits[0], expected, rtol=1e-9, atol=1e-9)


def test_longrope_ends_where_its_positions_would_change() -> None:
    rope = {
        "rope_theta": 1e4, "rope_type": "longrope", "short_factor": [1.0] * 4,
        "long_factor": [3.0, 4.0, 5.0, 6.0], "original_max_position_embeddings": 16,
    }  # fmt: skip
    config = hf.Phi3Config(**TEXT, original_max_position_embeddings=16, rope_parameters=rope)
    target = Target(hf.Phi3ForCausalLM(config).double())
    session = target.open(PROMPT)
    session.ask(PROMPT)
    assert session.room == 2
    with pytest.raises(InputError, match="at most 16"):
        session.extend(5, DraftTree.chain([4, 5]))
    # Behind a picture that is longer, all positions are of the other kind already.
    assert target.decoder.longest(20) == TEXT["max_position_embeddings"]


def test_settings_that_change_greedy_answers_are_named() -> None:
    model = llama()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Target(model)
    model.generation_config.repetition_penalty = 1.3
    with pytest.warns(UserWarning, match=r"repetition_penalty=1\.3"):
        Target(model)


def test_eos_ids_that_are_no_ids_are_refused() -> None:
    model = llama()
    model.generation_config.eos_token_id = [2, [3]]
    with pytest.raises(InputError, match="eos_token_id"):
        Target(model)


def test_training_mode_is_refused() -> None:
    model = llama()
    session = Target(model).open(PROMPT)
    model.train()
    with pytest.raises(InputError, match="training mode"):
        session.ask(PROMPT)
    with pytest.raises(InputError, match="training mode"):
        session.answer_many([PROMPT], 2)
    with pytest.raises(InputError, match="training mode"):
        session._target.open(PROMPT)
    model.train(False)
    session.ask(PROMPT)


def test_layers_that_share_keys_of_others_have_none_to_move() -> None:
    """Gemma 3n: the last layers read the keys of those below."""
    config = hf.Gemma3nTextConfig(
        **{**TEXT, "num_hidden_layers": 4}, head_dim=8, sliding_window=7,
        layer_types=["sliding_attention", "full_attention"] * 2, num_kv_shared_layers=2,
        vocab_size_per_layer_input=120, hidden_size_per_layer_input=8, laurel_rank=4,
        altup_num_inputs=2, activation_sparsity_pattern=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = hf.Gemma3nForCausalLM(config).double().train(False)
    outputs = {"input_ids": torch.tensor([PROMPT.ids])}
    expected = greedy(model, outputs, 5)
    for cache in ("growing", "preallocated"):
        session = Target(model, cache=cache).open(PROMPT)
        wrong = next(token for token in range(3, 9) if token != expected[0])
        tail = DraftTree.from_parents([wrong, expected[0], expected[1]], [-1, -1, 1])
        step = session.ask(PROMPT, tail)
        session.keep([1, 2])
        said = [*step.kept([1, 2]).logits.argmax(-1).tolist()]
        while len(said) < 5:
            said.append(int(session.extend(said[-1]).logits[0].argmax()))
        assert said == list(expected)
