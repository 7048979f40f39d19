"""The door: a model, how its prompts are built, and which cache its sessions use.

    target = Target(model, prompts)
    session = target.open(scene)

A model whose prompts come from a processor of its own needs no builder: `prompt_of` makes a
`Prompt` of the processor's outputs, and sessions take prompts wherever they take questions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.vlm.attention import Block
from crossdraft.vlm.cache import GrowingCache, PreallocatedCache, SessionCache
from crossdraft.vlm.causal import CausalSession
from crossdraft.vlm.decoder import Decoder, Rows
from crossdraft.vlm.generation_settings import eos_ids, warn_of_settings
from crossdraft.vlm.image_text import picture_ids, prompt_from, same_picture
from crossdraft.vlm.limits import refuse_beyond, refuse_unreadable
from crossdraft.vlm.picture import Picture, read_picture
from crossdraft.vlm.prompt import Prompt, PromptBuilder

#: Tokens that compiled passes are padded to, so that few graphs serve every tree.
WIDTHS = (1, 2, 4, 8, 16, 32, 64)


class Target:
    """A model that answers questions about scenes, one session for each scene.

    Args:
        model: any transformers causal decoder, with or without vision; used in eval mode.
        prompts: how it wants to be asked; without, sessions take `Prompt` only.
        cache: `growing`, or `preallocated` with room for `room` tokens behind the picture.
        room: question, answer and widest tree together.
        compiled: compile passes of up to 64 tokens; asks for the preallocated cache.
        layers: numbers of the layers whose states every step carries.
        draftable: ids from here on are never drafted, nor are the picture's placeholders.

    Raises:
        InputError: a model that sessions cannot drive.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: PromptBuilder | None = None,
        *,
        cache: Literal["growing", "preallocated"] = "growing",
        room: int = 1024,
        compiled: bool = False,
        layers: Sequence[int] = (),
        draftable: int | None = None,
    ) -> None:
        if cache not in ("growing", "preallocated"):
            raise InputError(f"cache {cache!r}", expected="growing or preallocated")
        if compiled and cache != "preallocated":
            raise InputError("a compiled step with the growing cache", expected="preallocated")
        if room < 1:
            raise InputError(f"room for {room} tokens", expected="1 or more")
        self.model, self.prompts = model, prompts
        model.train(False)
        self.cache, self.room = cache, room
        self.decoder = Decoder(model, layers)
        self._placeholders = np.array(sorted(picture_ids(model.config)), np.int64)
        self.draftable = self.decoder.vocabulary if draftable is None else draftable
        #: Ids that end an answer.
        self.eos_ids = eos_ids(model)
        warn_of_settings(model)
        self.compiled = compiled
        self._step: Callable[..., Any] = (
            _compiled(self.decoder.run) if compiled else self.decoder.run
        )

    @property
    def device(self) -> torch.device:
        """Where ids go in."""
        return self.decoder.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the states."""
        return self.decoder.dtype

    @property
    def draftable(self) -> int:
        """Ids from here on are never drafted."""
        return self._draftable

    @draftable.setter
    def draftable(self, first: int) -> None:
        self._draftable = first
        # Asked of every tree twice, so it is looked up; the ends stand for all ids beyond them.
        self._drafted = ~np.isin(np.arange(-1, first + 1), self._placeholders)
        self._drafted[[0, -1]] = False

    def may_draft(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """[n] whether each id may be drafted: others are rows that no training has touched, or
        stand for pictures."""
        allowed: NDArray[np.bool_] = self._drafted.take(tokens + 1, mode="clip")
        return allowed

    def with_layers(self, layers: Sequence[int]) -> Target:
        """The same model, prompts and settings, whose steps carry the states of these layers.

        Raises:
            InputError: layers that the model does not have.
        """
        other = copy(self)
        other.decoder = self.decoder.keeping(layers)
        other._step = _compiled(other.decoder.run) if self.compiled else other.decoder.run
        return other

    def prompt(self, scene: Any, question: str) -> Prompt:
        """The prompt of one question about one scene.

        Raises:
            InputError: the target has no prompt builder.
        """
        if self.prompts is None:
            raise InputError(
                f"no prompt builder for {type(self.model).__name__}",
                expected="a Prompt in place of the question",
                hint="make one of a processor's outputs with target.prompt_of(outputs)",
            )
        return self.prompts(scene, question)

    def prompt_of(self, outputs: Mapping[str, Tensor]) -> Prompt:
        """A prompt of what the model's own processor gives for one question.

        Raises:
            InputError: no `input_ids` of one prompt, or nothing behind the picture.
        """
        return prompt_from(outputs, self.model.config)

    def open(self, scene: Any, *, spans: Spans | None = None) -> CausalSession:
        """Read a scene's picture once, for any number of questions.

        Args:
            scene: what the prompt builder takes, or a `Prompt` whose picture is read.
            spans: where stages are recorded; new ones by default.

        Raises:
            InputError: the scene cannot be read, or its prompt is too long for the model.
        """
        whole = isinstance(scene, Prompt)
        prompt = scene if whole else self.prompt(scene, "")
        refuse_unreadable(self.decoder, prompt, self._placeholders.tolist())
        self._refuse_training()
        spans = spans or Spans()
        cache = self._new_cache(prompt.cut)
        with torch.no_grad():
            picture = read_picture(self.decoder, prompt, cache, spans)
        return CausalSession(self, picture, None if whole else scene, spans)

    def follow(self, question: str | Prompt, scene: Any, picture: Picture) -> Prompt:
        """The prompt of a question about a picture that was read.

        Raises:
            InputError: its prefix is not the picture's, or it is too long.
        """
        if isinstance(question, Prompt):
            prompt = question
        elif scene is None:
            raise InputError(
                "a question as text, and the session was opened with a prompt",
                expected="a Prompt, as it was opened with one",
                hint="open the target with the scene, or ask a Prompt",
            )
        else:
            prompt = self.prompt(scene, question)
        if prompt.prefix != picture.prefix:
            raise InputError(
                f"the prompt begins with another picture prefix ({prompt.cut} ids, "
                f"hash {prompt.hash})",
                expected=f"the {len(picture.prefix)} ids that the session was opened with",
                hint="open a session for this prompt",
            )
        if not same_picture(prompt.inputs, picture.inputs):
            raise InputError(
                "the prompt shows another picture of the same size",
                expected="the picture that the session was opened with",
                hint="open a session for this prompt",
            )
        refuse_unreadable(self.decoder, prompt, self._placeholders.tolist())
        return prompt

    def run(self, block: Block, picture: Picture, cache: SessionCache, last: int) -> Rows:
        """One pass over a block behind the rows in use; counts its rows.

        Args:
            last: rows whose states are wanted.
        """
        decoder, length = self.decoder, cache.length
        count = len(block.tokens)
        refuse_beyond(decoder, length + int(block.depth.max()) + 1, len(picture.prefix))
        width = self._width(count, cache)
        columns = cache.prepare(count, width)
        wide = block.padded(width) if width else block
        places = length + wide.depth
        if width or not self._plain(block, length):
            at = np.arange(columns)
            at[length : length + len(places)] = places
            mask = decoder.mask(wide.mask(length, columns), places, at)
        else:
            mask = None
        ahead = places - len(picture.prefix)
        hidden, kept = self.forward(
            wide.tokens[None], ahead[None], picture.start, mask, cache, bool(width)
        )
        cache.commit(count)
        if width:
            hidden = hidden[:, :count]
            kept = tuple(part[:, :count] for part in kept) if kept else None
        return decoder.rows((hidden, kept), last)

    def forward(
        self,
        tokens: NDArray[np.int64],
        ahead: NDArray[np.int64],
        start: Tensor,
        mask: Any | None,
        cache: SessionCache,
        compiled: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Run rows for which `cache.prepare` has made room; the caller commits them.

        Args:
            tokens: [lanes, q] ids.
            ahead: [lanes, q] places in their sequences, counted from the end of the picture.
            start: [lanes, 1] or [axes, lanes, 1] position of the first id behind the picture.
            mask: from `Decoder.mask`, or None.

        Returns:
            As `Decoder.run`.

        Raises:
            InputError: the model was put into training mode.
        """
        self._refuse_training()
        # Behind the picture, positions count on from where the model itself begins the text.
        positions = start + torch.from_numpy(ahead).to(self.device)
        ids = torch.from_numpy(tokens).to(self.device)
        run = self._step if compiled else self.decoder.run
        states: tuple[Tensor, tuple[Tensor, ...] | None] = run(ids, positions, cache, mask)
        return states

    def _plain(self, block: Block, length: int) -> bool:
        """Whether transformers' own masks do: a first chain, or one token behind anything."""
        chain = block.visible is None and (length == 0 or len(block.tokens) == 1)
        return chain and self.decoder.window is None

    def _width(self, count: int, cache: SessionCache) -> int:
        """Rows that a pass is padded to and compiled for; 0 leaves it as it is, as what is wider,
        begins an empty cache or has no room for padding."""
        if not self.compiled or cache.length == 0:
            return 0
        left = (cache.capacity or 0) - cache.length
        return next((width for width in WIDTHS if count <= width <= left), 0)

    def _new_cache(self, prefix: int) -> SessionCache:
        if self.cache == "growing":
            return GrowingCache(self.decoder.caches)
        return PreallocatedCache(self.decoder.caches, prefix + self.room)

    def _refuse_training(self) -> None:
        if self.model.training:
            raise InputError(
                "the model is in training mode, where dropout changes its answers",
                expected="eval mode",
                hint="call model.eval() before going on",
            )


def _compiled(run: Callable[..., Any]) -> Callable[..., Any]:
    """A step in one graph for every width; the limit of graphs counts those of all targets."""
    import torch._dynamo.config as limits

    # Its name before torch 2.6 was another.
    name = "recompile_limit" if hasattr(limits, "recompile_limit") else "cache_size_limit"
    setattr(limits, name, max(getattr(limits, name), 16 * len(WIDTHS)))
    step: Callable[..., Any] = torch.compile(run, fullgraph=True, dynamic=False)
    return step
