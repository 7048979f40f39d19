"""The two sides of the pair, as the training sees them: who looks at what and says what.

A side knows its prompts, its voice, and how its network reads packed rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from crossdraft.scenes.answers import Voice
from crossdraft.scenes.render import RenderSettings
from crossdraft.scenes.scene import Scene
from crossdraft.training.embedded.folder import PIXELS, write_drafter, write_target
from crossdraft.training.embedded.models import SIDE, drafter_network, target_network
from crossdraft.training.embedded.packing import Packed, Turn
from crossdraft.training.embedded.vocabulary import embedded_vocabulary
from crossdraft.vlm.bpe import END_ID
from crossdraft.vlm.eventgpt.configuration import FRAMES
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pixels import Pixels, preprocess
from crossdraft.vlm.prompt_text import load_tokenizer
from crossdraft.vlm.video_llava import VideoLlavaPrompts

#: Windows that the drafter is shown: one for each frame, over the whole clip.
WINDOW = "spread:50ms"


@dataclass(frozen=True)
class Side:
    """One of the two models in training.

    Attributes:
        role: which one.
        voice: whose answers it learns.
        network: the model itself.
        prompts: the builder that its prompts come from, in training as later.
        prefix: ids of every prompt up to its picture's last slot.
    """

    role: Role
    voice: Voice
    network: PreTrainedModel
    prompts: VideoLlavaPrompts | EventGPTPrompts
    prefix: tuple[int, ...]
    _asked: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def start(cls, role: Role, folder: Path, seed: int) -> Side:
        """A side with random weights.

        Args:
            folder: of the model; everything but configuration and weights is written there.
        """
        words = embedded_vocabulary()
        vocab = words.get_vocab_size()
        folder.mkdir(parents=True, exist_ok=True)
        network: PreTrainedModel
        prompts: VideoLlavaPrompts | EventGPTPrompts
        if role == "target":
            write_target(folder, words)
            network = target_network(vocab, seed)
            read: Any = load_tokenizer(folder)
            prompts = VideoLlavaPrompts(read, network.config, PIXELS)
        else:
            write_drafter(folder, words)
            network = drafter_network(vocab, seed)
            render = RenderSettings(parts=FRAMES, window=WINDOW)
            config: Any = network.config
            prompts = EventGPTPrompts(load_tokenizer(folder), config, PIXELS, render=render)
        voice: Voice = "camera" if role == "target" else "event"
        prefix = prompts(_blank(prompts.frames), "").prefix
        return cls(role, voice, network, prompts, prefix)

    def turn(self, question: str, answer: str) -> Turn:
        """A question and its answer as ids."""
        if question not in self._asked:
            prompt = self.prompts(_blank(self.prompts.frames), question)
            self._asked[question] = prompt.question
        return Turn(self._asked[question], (*spoken(answer), END_ID))

    def shown(self, scene: Scene) -> tuple[Pixels, npt.NDArray[np.float64]]:
        """What the model is shown of a scene: uint8 [frames, height, width, 3], and [frames] when
        that was, in seconds after the clip began."""
        if isinstance(self.prompts, VideoLlavaPrompts):
            video = self.prompts.frames_of(scene)
            return video.frames, video.times_us / 1e6
        drawn = self.prompts.frames_of(scene)
        start_us = scene.window_us[0] if scene.window_us else 0
        return np.stack(drawn.frames), (drawn.spans_us.mean(axis=1) - start_us) / 1e6

    @property
    def tower(self) -> nn.Module:
        """What sees; it learns alone and is frozen while the rest learns, as in both papers."""
        model: Any = self.network.model
        tower: nn.Module = model.video_tower if self.role == "target" else model.vision_tower
        return tower

    @torch.no_grad()
    def seen(self, pictures: Pixels) -> Tensor:
        """States of the tower before its last norm, which both models read.

        Args:
            pictures: uint8 [frames, height, width, 3].

        Returns:
            [frames, states, tower's width].
        """
        weight = next(self.tower.parameters())
        pixels = preprocess(pictures, PIXELS).to(weight.device, weight.dtype)
        states: Tensor = self.tower(pixels).last_hidden_state
        return states

    def states(self, packed: Packed, seen: Tensor) -> Tensor:
        """Final hidden states of packed rows: [batch, length, hidden].

        Args:
            seen: [batch, frames, states, tower's width], as `seen` gives them.
        """
        model: Any = self.network.model
        if self.role == "target":
            slots = packed.ids == self.network.config.video_token_id
            rows = model.multi_modal_projector(seen)
        else:
            slots = packed.ids == self.network.config.event_token_index
            rows = model.features_of(seen)
        embeddings: Tensor = model.get_input_embeddings()(packed.ids.masked_fill(slots, 0))
        embeddings = embeddings.masked_scatter(slots[..., None], rows.to(embeddings.dtype))
        out = model.language_model(
            inputs_embeds=embeddings,
            attention_mask=packed.mask,
            position_ids=packed.positions,
            use_cache=False,
        )
        states: Tensor = out.last_hidden_state
        return states


def spoken(text: str) -> tuple[int, ...]:
    """Ids of an answer, without the end token."""
    ids: list[int] = embedded_vocabulary().encode(text, add_special_tokens=False).ids
    return tuple(ids)


def _blank(frames: int) -> Pixels:
    return np.zeros((frames, SIDE, SIDE, 3), np.uint8)
