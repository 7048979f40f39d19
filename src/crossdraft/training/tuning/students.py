"""What of the event model is trained: its output layer alone, or low-rank changes of its attention.

A student says logits for answers, and in the end which of the model's weights become what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from crossdraft.base.errors import InputError
from crossdraft.training.tuning.lessons import Clip
from crossdraft.training.tuning.reader import KEPT_BYTES, Asked, Kept, Reader
from crossdraft.training.tuning.settings import TuneConfig
from crossdraft.vlm.quiet import quiet

HEAD = "lm_head.weight"
#: The language model's alone: the vision tower has projections of the same names.
ATTENTION = r"model\.language_model\.layers\.\d+\.self_attn\.(q|k|v|o)_proj"


class Student(Protocol):
    """What is trained.

    Attributes:
        network: holds the trained weights and nothing else.
    """

    network: nn.Module

    def logits(self, asked: Sequence[Asked]) -> Tensor:
        """[tokens, vocab] float32 for every token of the answers, in their order."""
        ...

    def changes(self) -> Mapping[str, Tensor]:
        """float32 by the names of the model's weights: what is to be added to them."""
        ...

    def save_adapter(self, folder: Path) -> None:
        """Write what was trained by itself, where it has a form of its own."""
        ...


class HeadStudent:
    """The output layer, float32. States before it do not change, so they are computed once."""

    def __init__(self, reader: Reader, kept: int = KEPT_BYTES) -> None:
        self._reader, self._states = reader, Kept(kept)
        head: Any = reader.model.lm_head
        # A tied head is parted from the embeddings here: it is a copy.
        self._before = head.weight.detach().float().clone()
        vocab, hidden = self._before.shape
        network = nn.Linear(hidden, vocab, bias=False, device="meta")
        network.weight = nn.Parameter(self._before.clone())
        self.network: nn.Module = network

    @property
    def _weight(self) -> Tensor:
        network: Any = self.network
        weight: Tensor = network.weight
        return weight

    def logits(self, asked: Sequence[Asked]) -> Tensor:
        """See `Student`."""
        rows = []
        for clip, numbers in asked:
            spans = torch.split(
                self._states.get(clip, self._read), [len(turn.answer) for turn in clip.turns]
            )
            rows += [spans[number] for number in numbers]
        states = torch.cat(rows).to(self._weight.device, torch.float32)
        logits: Tensor = self.network(states)
        return logits

    @torch.no_grad()
    def _read(self, clip: Clip) -> Tensor:
        return self._reader.states([(clip, tuple(range(len(clip.turns))))])

    def changes(self) -> Mapping[str, Tensor]:
        """See `Student`."""
        return {HEAD: (self._weight.detach() - self._before).cpu()}

    def save_adapter(self, folder: Path) -> None:
        """Nothing: the head is in the model."""


class LoraStudent:
    """Low-rank changes (Hu et al., 2021) of the language model's attention, by PEFT.

    Raises:
        InputError: PEFT is not installed, or the model has no such projections.
    """

    def __init__(self, reader: Reader, config: TuneConfig) -> None:
        require_peft()
        self._reader = reader
        with torch.random.fork_rng(), quiet():
            from peft import LoraConfig, get_peft_model

            torch.manual_seed(config.settings.seed)
            self._peft: Any = get_peft_model(
                reader.model,
                LoraConfig(
                    r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout,  # type: ignore[arg-type]
                    target_modules=ATTENTION, bias="none",
                ),
            )  # fmt: skip
        trained = {n: w for n, w in reader.model.named_parameters() if w.requires_grad}
        self.network: nn.Module = _Trained(trained, self._peft)

    def logits(self, asked: Sequence[Asked]) -> Tensor:
        """See `Student`."""
        states = self._reader.states(asked)
        logits: Tensor = self._reader.model.lm_head(states)
        return logits.float()

    def changes(self) -> Mapping[str, Tensor]:
        """See `Student`."""
        from peft.tuners.lora import LoraLayer

        layers: dict[str, Any] = {
            name: module
            for name, module in self._reader.model.named_modules()
            if isinstance(module, LoraLayer)
        }
        return {
            f"{name}.weight": layer.get_delta_weight("default").detach().float().cpu()
            for name, layer in layers.items()
        }

    def save_adapter(self, folder: Path) -> None:
        """The PEFT folder: adapter_config.json, adapter_model.safetensors."""
        with quiet():
            # Else PEFT asks the hub whether the base model's vocabulary has grown.
            self._peft.save_pretrained(folder, save_embedding_layers=False)


def require_peft() -> None:
    """Refuse LoRA where PEFT is not installed.

    Raises:
        InputError: naming the extra.
    """
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise InputError(
            "--method lora, and PEFT is not installed",
            expected="the package peft",
            hint="pip install 'crossdraft[lora]'",
        )


class _Trained(nn.Module):
    """The trained weights by themselves: what the loop keeps and saves of a large model."""

    def __init__(self, weights: Mapping[str, nn.Parameter], whole: nn.Module) -> None:
        super().__init__()
        for name, weight in weights.items():
            self.register_parameter(name.replace(".", "/"), weight)
        # Not as a part: the rest of the model is neither saved nor trained.
        object.__setattr__(self, "_whole", whole)

    def train(self, mode: bool = True) -> _Trained:
        """Turn the dropout of the whole model on or off."""
        whole: Any = self.__dict__["_whole"]
        whole.train(mode)
        super().train(mode)
        return self


def student_of(reader: Reader, config: TuneConfig) -> Student:
    """What the configuration trains.

    Raises:
        InputError: as `LoraStudent`.
    """
    return HeadStudent(reader) if config.method == "lm-head" else LoraStudent(reader, config)
