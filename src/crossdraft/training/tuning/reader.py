"""The event model as it reads teacher-forced answers: what it sees of a scene is computed once and
kept, up to a number of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from crossdraft.drafters.trainable import IGNORE
from crossdraft.training.embedded.packing import pack
from crossdraft.training.tuning.lessons import Clip
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration
from crossdraft.vlm.prompt import PromptBuilder

#: What is kept of pictures, and of states before a head that is trained alone.
KEPT_BYTES = 1 << 30

#: Some turns of one clip, by their numbers.
Asked = tuple[Clip, tuple[int, ...]]


class Kept:
    """Tensors by the clip they belong to: first come, first kept; what finds no room is made anew.

    Args:
        most_bytes: that are kept.
    """

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._left = most_bytes
        self._held: dict[str, Tensor] = {}

    def get(self, clip: Clip, make: Callable[[Clip], Tensor]) -> Tensor:
        """The clip's tensor, on the CPU if it was kept."""
        held = self._held.get(clip.scene.id)
        if held is not None:
            return held
        made = make(clip)
        size = made.numel() * made.element_size()
        if size <= self._left:
            self._left -= size
            self._held[clip.scene.id] = made.cpu()
        return made


class Reader:
    """Final hidden states of the event model over answers that it is given.

    Args:
        model: its tower, projector and adaptor stay as they are.
        prompts: the model's.
        kept: bytes of picture features.
    """

    def __init__(
        self,
        model: EventGPTForConditionalGeneration,
        prompts: PromptBuilder,
        kept: int = KEPT_BYTES,
    ) -> None:
        self.model, self._prompts = model, prompts
        self._features = Kept(kept)

    @property
    def device(self) -> torch.device:
        """Where ids go."""
        return cast(torch.device, self.model.get_input_embeddings().weight.device)

    def features(self, clip: Clip) -> Tensor:
        """What stands in the clip's event slots: [slots, hidden]."""
        return self._features.get(clip, self._seen)

    @torch.no_grad()
    def _seen(self, clip: Clip) -> Tensor:
        weight = next(self.model.model.vision_tower.parameters())
        inputs = self._prompts(clip.scene, "").inputs()
        pixels = inputs["pixel_values"].to(weight.device, weight.dtype)
        seen: Tensor = self.model.model.event_features(pixels)[0]
        return seen

    def states(self, asked: Sequence[Asked]) -> Tensor:
        """[tokens, hidden], one to each token of the answers in their order: the state that has
        read the prompt and the answer's tokens before it, which is the one that says it."""
        model: Any = self.model.model
        rows = [[clip.turns[number] for number in numbers] for clip, numbers in asked]
        packed = pack(asked[0][0].prefix, rows)
        ids = packed.ids.to(self.device)
        slots = ids == self.model.config.event_token_index
        embedded: Tensor = model.get_input_embeddings()(ids.masked_fill(slots, 0))
        seen = torch.cat([self.features(clip).to(embedded) for clip, _ in asked])
        # With hooks for quantised weights the embeddings may have been made to carry gradients.
        embedded = embedded.detach().masked_scatter(slots[..., None], seen)
        out = model.language_model(
            inputs_embeds=embedded,
            attention_mask=packed.mask.to(self.device),
            position_ids=packed.positions.to(self.device),
            use_cache=False,
        )
        states: Tensor = out.last_hidden_state
        return states[(packed.labels != IGNORE).to(states.device)]


def labels_of(asked: Sequence[Asked]) -> Tensor:
    """[tokens] int64: the answers' ids, one behind the other."""
    ids = [token for clip, numbers in asked for n in numbers for token in clip.turns[n].answer]
    return torch.tensor(ids)
