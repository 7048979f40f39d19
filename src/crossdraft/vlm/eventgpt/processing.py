"""EventGPT's prompts: text, slots and pixels, built here and nowhere else.

A prompt is the Vicuna system sentence, `USER: `, the place of the events, a line break, the
question and ` ASSISTANT:`. The text before the events and the text behind them are tokenised apart,
as the published code does; tokenised as a whole they give other ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdraft.base.clock import stage
from crossdraft.base.errors import InputError
from crossdraft.scenes.render import RenderSettings
from crossdraft.vlm.clip_tower import states_per_frame
from crossdraft.vlm.config_file import read_config
from crossdraft.vlm.eventgpt.configuration import ARCHITECTURES, FRAMES, EventGPTConfig
from crossdraft.vlm.eventgpt.event_frames import EXPECTED, EventFrames, draw, is_event_source
from crossdraft.vlm.eventgpt.tower_pixels import pixel_settings_of
from crossdraft.vlm.hub_cache import find
from crossdraft.vlm.model_config import model_config
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.pixels import preprocess
from crossdraft.vlm.prompt import PictureOf, Prompt
from crossdraft.vlm.prompt_text import (
    has_tokenizer,
    load_tokenizer,
    plain_question,
    tokenised,
)

#: What EventGPT was trained on: the last 50 ms, cut into parts of equal count.
WINDOW = "last:50ms"
_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
#: Text before the events, and between them and the question. `official` is what the published
#: inference writes; the published training code leaves the marks out.
TEMPLATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "official": (f"{_SYSTEM} USER: <ev_start>", "<ev_end>\n"),
        "training": (f"{_SYSTEM} USER: ", "\n"),
    }
)
#: The published code cuts a prompt wherever this stands, so a question must not hold it. The marks
#: around it are plain text to the tokenizer, and so they may stand in a question.
_PLACE = "<event>"
_MARKS = ("<event>", "<ev_patch>", "<ev_start>", "<ev_end>")


class EventGPTPrompts:
    """Builds the prompts of one checkpoint.

    Args:
        tokenizer: the checkpoint's, as transformers loads it; None: prompts are made of ids.
        config: the checkpoint's.
        settings: how its tower reads frames.
        template: one of `TEMPLATES`.
        render: how events become frames; a fixed number of them.
        device: where pixels are computed and put.
        where: the checkpoint's folder, for errors.

    Raises:
        InputError: no such template, tokenizer, configuration and settings do not belong together,
            or so many frames are longer than the model was trained to read.
    """

    name = "eventgpt"

    def __init__(
        self,
        tokenizer: Any | None,
        config: EventGPTConfig,
        settings: PixelSettings,
        *,
        template: str = "official",
        render: RenderSettings | None = None,
        device: torch.device | str = "cpu",
        where: Path | None = None,
    ) -> None:
        if template not in TEMPLATES:
            raise InputError(
                f"{template!r}", where="template", expected=f"one of {', '.join(TEMPLATES)}"
            )
        self.render = render or RenderSettings(parts=FRAMES, window=WINDOW)
        if self.render.hz is not None:
            raise InputError(
                f"{self.render.hz} frames per second",
                where="hz",
                expected="a fixed number of frames: a prompt has a slot for each",
            )
        self.frames = self.render.frames(0)
        self.template, self.settings, self.device = template, settings, device
        #: Slots of one prompt: one for each frame and one for each of the tower's states.
        self.slots = self.frames + states_per_frame(config.vision_config, settings, where)
        self._slot: int = config.event_token_index
        self._begin = config.bos_token_id
        self._longest = min(config.tokenizer_model_max_length, config.max_position_embeddings)
        self.tokenizer, self._where = tokenizer, where
        self._controls = [_PLACE, *sorted(() if tokenizer is None else tokenizer.get_added_vocab())]
        self._check_tokenizer(config)
        self._check_length()

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        template: str = "official",
        frames: int = FRAMES,
        window: str = WINDOW,
        canvas: str = "sensor",
        overlap: str = "last",
        keep: str = "all",
        tokenizer: Path | str | None = None,
        device: torch.device | str = "cpu",
    ) -> EventGPTPrompts:
        """The builder of a checkpoint, without its weights.

        Args:
            folder: in the published layout; without a tokenizer's files, prompts are made of ids.
            frames, window, canvas, overlap, keep: `parts` and others of `RenderSettings`.
            tokenizer: a folder that holds the tokenizer, where the checkpoint's does not.

        Raises:
            InputError: as the class, or a file is missing or damaged.
        """
        render = RenderSettings(
            parts=frames, window=window, canvas=canvas, overlap=overlap, keep=keep
        )
        place = find(folder)
        config = _config(place)
        words = place if tokenizer is None else find(tokenizer)
        known = tokenizer is not None or has_tokenizer(place)
        return cls(
            load_tokenizer(words) if known else None,
            config,
            pixel_settings_of(place, config),
            template=template,
            render=render,
            device=device,
            where=place,
        )

    def __call__(self, scene: Any, question: str) -> Prompt:
        """The prompt of one question about one scene.

        Args:
            scene: a `Scene` or anything else with `events()`, the path of an event file, an
                `EventStream`, or event frames, uint8 [n, height, width, 3] or a sequence of n
                uint8 [height, width, 3].
            question: stripped; may be empty.

        Raises:
            InputError: no such scene, another number of frames, a question that holds `<event>` or
                a control token, a prompt that is too long, or no tokenizer.
        """
        if self.tokenizer is None:
            raise InputError(
                "a question as text, and the checkpoint has no tokenizer",
                where=self._where,
                expected="tokenizer.json or tokenizer.model beside config.json",
                hint="name a folder with the tokenizer of Vicuna-7B v1.5 (in a pair: --set "
                "drafter.tokenizer=FOLDER; in Python: tokenizer=FOLDER), or give ids with a single "
                f"{self._slot} where the events stand",
            )
        before, after = self._halves(question)
        return self._prompt(scene, before, after)

    def of_ids(self, scene: Any, ids: Sequence[int]) -> Prompt:
        """The prompt of one scene and of ids instead of a question.

        Args:
            ids: of the whole prompt, with the event id (-200) once where the events stand.

        Raises:
            InputError: as a call; no events' place among the ids, or several.
        """
        row = tuple(map(index, ids))
        if row.count(self._slot) != 1:
            raise InputError(
                f"ids with {row.count(self._slot)} places for events",
                expected=f"the id {self._slot} once, where the events stand",
            )
        place = row.index(self._slot)
        return self._prompt(scene, row[:place], row[place + 1 :])

    def frames_of(self, scene: Any) -> EventFrames:
        """The frames that a prompt about this scene shows, with their times and events.

        Raises:
            InputError: the scene has no events, or they are missing or damaged.
        """
        if _is_frames(scene):
            raise InputError("event frames, drawn before", expected=EXPECTED.rpartition(",")[0])
        return draw(scene, self.render)

    def _prompt(self, scene: Any, before: tuple[int, ...], after: tuple[int, ...]) -> Prompt:
        self._check_scene(scene)
        length = len(before) + self.slots + len(after)
        if length > self._longest:
            raise InputError(
                f"a prompt of {length:,} tokens, {self.slots:,} of them events",
                where=self._where,
                expected=f"at most {self._longest:,}: longer ones are cut by the published code",
                hint="ask a shorter question or show fewer frames",
            )
        ids = (*before, *[self._slot] * self.slots, *after)
        return Prompt(ids, len(before) + self.slots, PictureOf(self._inputs, scene))

    def _inputs(self, scene: Any) -> Mapping[str, Tensor]:
        frames = scene if _is_frames(scene) else self.frames_of(scene).frames
        # One by one: on the tight canvas each has a size of its own.
        with stage("pixels", str(self.device)):
            pixels = torch.cat(
                [preprocess(frame[None], self.settings, device=self.device) for frame in frames]
            )
        return {"pixel_values": pixels[None]}

    def _check_scene(self, scene: Any) -> None:
        if not _is_frames(scene):
            if not is_event_source(scene):
                raise InputError(f"a scene of type {type(scene).__name__}", expected=EXPECTED)
            return
        expected = (
            f"uint8 [{self.frames}, height, width, 3], or {self.frames} of [height, width, 3]"
        )
        if isinstance(scene, np.ndarray | Tensor) and scene.ndim != 4:
            raise InputError(f"event frames of shape {list(scene.shape)}", expected=expected)
        if not all(isinstance(frame, np.ndarray | Tensor) and frame.ndim == 3 for frame in scene):
            raise InputError("a list that holds other things than event frames", expected=expected)
        if len(scene) != self.frames:
            raise InputError(
                f"{len(scene)} event frames",
                expected=f"{self.frames} frames",
                hint="give the events themselves, and they are drawn here",
            )

    def _halves(self, question: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids before the events and behind them."""
        head, middle = TEMPLATES[self.template]
        words = plain_question(question, self._controls)
        before = tokenised(self.tokenizer, head, self._where)
        after = tokenised(self.tokenizer, f"{middle}{words} ASSISTANT:", self._where)
        # Each half begins as a text of its own would, and a prompt begins once.
        return before, after[1:] if after[:1] == (self._begin,) else after

    def _check_tokenizer(self, config: EventGPTConfig) -> None:
        """It knows the model's ids and no others, and the marks as plain text."""
        if self.tokenizer is None:
            return
        expected = "the tokenizer of Vicuna-7B v1.5, without added tokens"
        for mark in _MARKS:
            if mark in self._controls[1:]:
                raise InputError(
                    f"the tokenizer has {mark} as a token of its own",
                    where=self._where,
                    expected=expected,
                )
        before, after = self._halves("")
        largest = max((*before, *after))
        if largest >= config.vocab_size:
            raise InputError(
                f"the tokenizer gives the id {largest}, and the model has {config.vocab_size}",
                where=self._where,
                expected=expected,
            )

    def _check_length(self) -> None:
        around = 0 if self.tokenizer is None else sum(map(len, self._halves("")))
        if around + self.slots > self._longest:
            most = self._longest - around - (self.slots - self.frames)
            raise InputError(
                f"{self.frames} frames are {self.slots:,} tokens beside {around} of text",
                where=self._where,
                expected=f"at most {self._longest:,} tokens, so at most {max(most, 0)} frames",
                hint=f"EventGPT was trained with {FRAMES} frames",
            )


def _config(folder: Path) -> EventGPTConfig:
    _, architectures, _ = read_config(folder)
    if not set(ARCHITECTURES) & set(architectures):
        raise InputError(
            f"a checkpoint of {', '.join(architectures)}",
            where=folder / "config.json",
            expected=ARCHITECTURES[0],
            hint="give a folder of EventGPT as its authors publish it",
        )
    config = model_config(folder)
    if not isinstance(config, EventGPTConfig):
        raise InputError(
            f"model_type {config.model_type!r}",
            where=folder / "config.json",
            expected=EventGPTConfig.model_type,
        )
    return config


def _is_frames(scene: Any) -> bool:
    return isinstance(scene, np.ndarray | Tensor | list | tuple)
