"""What a checkpoint says about generating: what ends an answer, and what sessions do not apply.

Sessions answer plainly greedily, by the largest logit; some checkpoints bring settings with which
`generate` answers otherwise even without sampling.
"""

from __future__ import annotations

import warnings
from typing import Any

from transformers import PreTrainedModel

from crossdraft.base.errors import InputError

#: Settings of `generate` that change logits before the largest is taken, and what changes nothing.
_PROCESSORS = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "sequence_bias": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "guidance_scale": 1.0,
    "num_beams": 1,
}


def eos_ids(model: PreTrainedModel) -> frozenset[int]:
    """Ids that end an answer.

    Raises:
        InputError: the checkpoint names something else than ids.
    """
    eos: Any = getattr(model.generation_config, "eos_token_id", None)
    ids = eos if isinstance(eos, list | tuple) else [] if eos is None else [eos]
    if any(type(token) is not int for token in ids):
        raise InputError(
            f"eos_token_id is {eos!r}",
            where="the model's generation configuration",
            expected="an id, or a list of ids",
        )
    return frozenset(ids)


def warn_of_settings(model: PreTrainedModel) -> None:
    """Say which of the model's own settings change what its `generate` answers greedily."""
    found = [
        f"{name}={value!r}"
        for name, plain in _PROCESSORS.items()
        if (value := getattr(model.generation_config, name, None)) not in (None, plain, [], {})
    ]
    if found:
        warnings.warn(
            f"{type(model).__name__} comes with {', '.join(found)}; sessions answer without",
            stacklevel=3,
        )
