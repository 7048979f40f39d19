"""A model's head, final norm and input embedding, taken out of a checkpoint without the model.

The three are what drafters in the target's space need of it. Only their tensors are read, by name
and from the file that holds them; configuration and shapes must agree on which they are. A file may
have the head alone: some were taken out of a model by other programs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from crossdraft.base.errors import InputError, gist
from crossdraft.base.files import atomic_path
from crossdraft.vlm.checkpoint import Checkpoint, inspect
from crossdraft.vlm.head_names import head_names
from crossdraft.vlm.image_text import picture_ids
from crossdraft.vlm.logit_finish import FINISH, finish_of
from crossdraft.vlm.model_config import model_config
from crossdraft.vlm.safetensors_header import WeightFile, read_header
from crossdraft.vlm.weight_files import weight_files

FORMAT, _KEY = "crossdraft.lm-head/1", "crossdraft"
_EXPECTED = "a file that crossdraft lm-head wrote"
#: Names in a file.
_HEAD, _HEAD_BIAS = "lm_head.weight", "lm_head.bias"
_NORM, _NORM_BIAS = "final_norm.weight", "final_norm.bias"
_EMBEDDING = "embed_tokens.weight"
#: Fields that name the final norm's epsilon, and number formats of dense weights.
_EPS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps")
_DTYPES = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class HeadFacts:
    """Where a head comes from and what belongs to it.

    Attributes:
        model: as it was named; empty where that is not known.
        architecture: class that the checkpoint was saved from; empty where that is not known.
        vocab: rows of head and embedding.
        hidden: width of a state.
        draftable: ids from here on are never drafted.
        tied: head and embedding are one tensor.
        norm_eps: of the final norm, where the configuration has one.
        finish: what happens to logits behind the head; see `logit_finish`.
        source: SHA-256 of config.json, where there was one, and of the tensors as they were stored.
    """

    model: str
    architecture: str
    vocab: int
    hidden: int
    draftable: int
    tied: bool
    norm_eps: float | None
    finish: Mapping[str, float]
    source: str


@dataclass(frozen=True, eq=False)
class LMHead:
    """A language model's two ends.

    Attributes:
        weight: [vocab, hidden] of the head.
        norm: [hidden] of the final norm, which states have passed before the head sees them; None
            where the file has none.
        embedding: [vocab, hidden] of the input; None where the file has none.
        facts: about the model.
        bias: [vocab] of the head, where it has one.
        norm_bias: [hidden] of the final norm, where it has one.
    """

    weight: Tensor
    norm: Tensor | None
    embedding: Tensor | None
    facts: HeadFacts
    bias: Tensor | None = None
    norm_bias: Tensor | None = None

    @property
    def hidden(self) -> int:
        """Width of a state."""
        return self.facts.hidden

    @property
    def draftable(self) -> int:
        """Ids from here on are never drafted."""
        return self.facts.draftable

    def logits(self, states: Tensor) -> Tensor:
        """[..., vocab] of post-final-norm states [..., hidden], as the model gives them; in the
        head's number format."""
        logits = functional.linear(states.to(self.weight.dtype), self.weight, self.bias)
        for name, value in self.facts.finish.items():
            logits = FINISH[name](logits, value)
        return logits

    def embed(self, ids: Tensor) -> Tensor:
        """[n, hidden] of input ids [n].

        Raises:
            InputError: the file that the head comes from has no embedding.
        """
        if self.embedding is None:
            raise InputError(
                "this head has no input embedding",
                where=self.facts.model or None,
                expected="head and embedding of the same model",
                hint="take them out of the model with crossdraft lm-head",
            )
        return functional.embedding(ids, self.embedding)

    def only(self, ids: Tensor) -> LMHead:
        """The head of some ids alone: its row i says `ids[i]`. It embeds nothing."""
        facts = replace(self.facts, vocab=len(ids), draftable=len(ids), tied=False)
        bias = None if self.bias is None else self.bias[ids]
        return LMHead(self.weight[ids], self.norm, None, facts, bias, self.norm_bias)

    def to(self, target: torch.dtype | torch.device | str) -> LMHead:
        """The same head in another number format or place."""
        return _made({name: part.to(target) for name, part in self.tensors().items()}, self.facts)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by their names in a file."""
        parts = {
            _HEAD: self.weight,
            _NORM: self.norm,
            _EMBEDDING: self.embedding,
            _HEAD_BIAS: self.bias,
            _NORM_BIAS: self.norm_bias,
        }
        return {name: part for name, part in parts.items() if part is not None}


def lm_head_of(folder: Path | str) -> LMHead:
    """The head of a checkpoint; none of its other weights are read.

    Args:
        folder: a checkpoint folder, or the name of a hub model that is in the hub's cache.

    Raises:
        InputError: as `inspect` and `head_names`, or they are not stored as floating-point numbers.
    """
    checkpoint = inspect(folder)
    config = model_config(checkpoint.folder)
    text = config.get_text_config(decoder=True)
    vocab, hidden = int(text.vocab_size), int(text.hidden_size)
    file_of = {name: file for file in weight_files(checkpoint.folder) for name in file.tensors}
    names = head_names(
        {name: file.tensors[name] for name, file in file_of.items()},
        vocab,
        hidden,
        tied=any(getattr(part, "tie_word_embeddings", False) for part in (config, text)),
        where=checkpoint.folder,
    )
    parts = {
        ours: _tensor(file_of[name], name)
        for ours, name in (
            (_EMBEDDING, names.embedding),
            (_NORM, names.norm),
            (_HEAD, names.head),
            (_HEAD_BIAS, names.head_bias),
            (_NORM_BIAS, names.norm_bias),
        )
        if name is not None
    }
    facts = HeadFacts(
        model=str(folder),
        architecture=checkpoint.architectures[0],
        vocab=vocab,
        hidden=hidden,
        draftable=_draftable(config, vocab),
        tied=names.head is None,
        norm_eps=next((eps for name in _EPS if (eps := getattr(text, name, None))), None),
        finish=finish_of(text),
        source=_digest(checkpoint, parts.values()),
    )
    return _made({_HEAD: parts[_EMBEDDING], **parts}, facts)


def write_lm_head(head: LMHead, path: Path) -> None:
    """Write a head to one safetensors file, atomically.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    about = {"format": FORMAT, **asdict(head.facts)}
    tensors = head.tensors()
    if head.facts.tied:
        # Written twice, so that a reader finds each under its own name.
        tensors[_HEAD] = tensors[_HEAD].clone()
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(about)})


def read_lm_head(path: Path) -> LMHead:
    """Read what `write_lm_head` wrote.

    Raises:
        InputError: no such file, damaged, or of another kind.
    """
    names = read_header(path).tensors
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if about.pop("format", None) != FORMAT:
                raise InputError("holds no head of a model", where=path, expected=_EXPECTED)
            # Copies, as in `_tensor`.
            tensors = {name: file.get_tensor(name).clone() for name in names}
        head = _made(tensors, HeadFacts(**about))
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"a damaged file ({type(error).__name__}: {gist(error)})",
            where=path,
            expected=_EXPECTED,
        ) from error
    rows = (head.facts.vocab, head.facts.hidden)
    wanted = ((head.weight, rows), (head.embedding, rows), (head.norm, rows[1:]))
    if any(part is not None and part.shape != shape for part, shape in wanted):
        raise InputError(
            "its tensors have other shapes than it says", where=path, expected=_EXPECTED
        )
    return head


def _made(tensors: Mapping[str, Tensor], facts: HeadFacts) -> LMHead:
    """A head of tensors by their names in a file."""
    return LMHead(
        tensors[_HEAD],
        tensors.get(_NORM),
        tensors.get(_EMBEDDING),
        facts,
        tensors.get(_HEAD_BIAS),
        tensors.get(_NORM_BIAS),
    )


def _tensor(file: WeightFile, name: str) -> Tensor:
    stored = file.tensors[name]
    if stored.dtype not in _DTYPES:
        raise InputError(
            f"{name} is stored as {stored.dtype}",
            where=file.path,
            expected=f"one of {', '.join(_DTYPES)}: a checkpoint whose head is not quantised",
        )
    try:
        with safe_open(file.path, framework="pt") as stream:
            # A copy lies aligned, as a model's weights do: kernels add up unaligned rows otherwise.
            tensor: Tensor = stream.get_tensor(name).clone()
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(f"{name} cannot be read ({gist(error)})", where=file.path) from error
    return tensor


def _digest(checkpoint: Checkpoint, tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256(checkpoint.config_path.read_bytes())
    for tensor in tensors:
        digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _draftable(config: Any, vocab: int) -> int:
    """As `load_video_llava` has it; other models leave no rows untrained that they tell of."""
    return min(picture_ids(config)) if config.model_type == "video_llava" else vocab
