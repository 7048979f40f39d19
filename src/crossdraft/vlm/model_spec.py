"""One model of a pair as its file says it: which, at what precision, where, and shown what."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item, shown
from crossdraft.vlm import shipped
from crossdraft.vlm.hub_cache import EXPECTED, find

Role = Literal["target", "drafter"]
ROLES: tuple[Role, ...] = get_args(Role)
#: Prompts that some architecture has.
TEMPLATES = ("video-llava", "official", "training")
#: What each key means, as it is written beside it.
ABOUT = {
    "model": "a folder, or a model of the hub",
    "template": "of the prompt: video-llava | official | training; null: the architecture's own",
    "tokenizer": "a folder with another tokenizer; null: the model's own",
    "dtype": "auto (as stored) | float32 | bfloat16 | float16 | float64 | int8 | nf4",
    "device": "auto (a GPU where there is one) | cpu | cuda:1 | balanced | {module: device}",
    "frames": "that the model is shown; null: as many as it was trained with",
    "tower": "a folder with the CLIP tower that the checkpoint lacks; null: the checkpoint's own",
    "window": "of a scene's events: last:50ms | spread:50ms | all; null: last:50ms",
    "canvas": "of event frames: sensor | tight; null: sensor",
    "overlap": "colour of a pixel with both polarities: last | positive | negative; null: last",
    "keep": "all frames, or the first alone: all | first; null: all",
}
#: How events are drawn.
EVENT_KEYS = ("window", "canvas", "overlap", "keep")
#: Keys of the drafter alone.
_OF_DRAFTER = ("tower", *EVENT_KEYS)
#: What a model takes beside its weights: not every architecture takes all of it.
OPTION_KEYS = ("template", "tokenizer", "frames", *_OF_DRAFTER)
#: Keys whose values are folders.
FOLDER_KEYS = ("model", "tokenizer", "tower")
_DEVICE = re.compile(r"auto|balanced|cpu|mps|(cuda|xpu|npu|hpu)(:\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class ModelSpec:
    """One model of a pair. None leaves a choice to the model's architecture.

    Attributes:
        model: folder, or name of a model of the hub.
        template: name of its prompt.
        tokenizer: folder of another tokenizer than its own.
        dtype: precision of the weights.
        device: a device, `auto`, `balanced`, or devices by module.
        frames: frames that it is shown.
        tower: folder of a vision tower that the checkpoint lacks.
        window: stretch of a scene's events that is drawn; see `scenes.windows`.
        canvas: size of event frames; see `scenes.render`.
        overlap: colour of a pixel with both polarities; see `scenes.render`.
        keep: which of the frames are shown; see `scenes.render`.
    """

    model: str
    template: str | None = None
    tokenizer: str | None = None
    dtype: str = "auto"
    device: str | Mapping[str, int | str] = "auto"
    frames: int | None = None
    tower: str | None = None
    window: str | None = None
    canvas: str | None = None
    overlap: str | None = None
    keep: str | None = None

    @classmethod
    def from_item(cls, item: Item, role: Role) -> ModelSpec:
        """The spec of one part of a pair's file.

        Raises:
            InputError: a key that is unknown, missing or wrong.
        """
        refuse_unknown(item, keys_of(role))
        texts = {name: item.text(name) for name in ("template", *FOLDER_KEYS, *EVENT_KEYS)}
        model = texts.pop("model")
        if model is None:
            raise item.error("model is missing", ABOUT["model"])
        if texts["template"] not in (None, *TEMPLATES):
            raise item.error(f"template is {shown(texts['template'])}", ABOUT["template"])
        for name in FOLDER_KEYS:
            if item.value.get(name) == "":
                raise item.error(f"{name} is ''", ABOUT[name])
        return cls(
            model=model,
            dtype=_dtype(item),
            device=_device(item),
            frames=_frames(item),
            **{**texts, **_event_settings(item, texts)},
        )

    @property
    def options(self) -> dict[str, Any]:
        """The choices that are not left to the architecture."""
        values = {name: getattr(self, name) for name in OPTION_KEYS}
        return {name: value for name, value in values.items() if value is not None}

    def to_json(self, role: Role) -> dict[str, Any]:
        """Every key of this part of a pair's file."""
        values = asdict(self)
        return {name: values[name] for name in keys_of(role)}

    def place(self, role: Role) -> Path:
        """Where the model lies.

        Raises:
            InputError: neither in a folder nor in the hub's cache, or it should have come with the
                package and has not.
        """
        named = f"name its folder: --set {role}.model=FOLDER"
        try:
            return find(self.model)
        except InputError as error:
            if shipped.FOLDER in Path(self.model).parents:
                raise InputError(
                    "this model comes with crossdraft, and is not in this installation",
                    where=f"{role}.model: {self.model}",
                    expected=EXPECTED,
                    hint=f"train the pair (crossdraft pair train-embedded), or {named}",
                ) from error
            raise InputError(
                error.found,
                where=f"{role}.model: {error.where}",
                expected=error.expected,
                hint=f"{error.hint}; or {named}",
            ) from error


def keys_of(role: Role) -> tuple[str, ...]:
    """Keys of one model in a pair's file."""
    names = tuple(field.name for field in fields(ModelSpec))
    return names if role == "drafter" else tuple(name for name in names if name not in _OF_DRAFTER)


def refuse_unknown(item: Item, known: Sequence[str]) -> None:
    """Refuse keys that mean nothing.

    Raises:
        InputError: naming the key and the nearest known one.
    """
    for name in item.value:
        if name not in known:
            raise InputError(
                f"{item.name}: no key {shown(name)}",
                where=item.where,
                expected=", ".join(known),
                hint=meant(str(name), known),
            )


def meant(name: str, known: Sequence[str]) -> str | None:
    """A question whether the nearest known name was meant."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else None


def _event_settings(item: Item, texts: Mapping[str, str | None]) -> dict[str, str]:
    """How events are drawn, checked, each setting in its one form: `last:0.05s` is `last:50ms`."""
    from crossdraft.scenes.render import RenderSettings

    given = {name: text for name in EVENT_KEYS if (text := texts[name]) is not None}
    try:
        settings = RenderSettings(**given)  # type: ignore[arg-type]
    except InputError as error:
        raise item.error(f"{error.where} is {error.found}", error.expected) from error
    return {name: getattr(settings, name) for name in given}


def _dtype(item: Item) -> str:
    from crossdraft.vlm.precision import Precision

    text = item.text("dtype") or "auto"
    try:
        return Precision.parse(text).name
    except InputError as error:
        raise item.error(f"dtype is {shown(text)}", ABOUT["dtype"]) from error


def _frames(item: Item) -> int | None:
    frames = item.value.get("frames")
    if frames is not None and (type(frames) is not int or frames < 1):
        raise item.error(f"frames is {shown(frames)}", "a whole number from 1")
    return frames


def _device(item: Item) -> str | dict[str, int | str]:
    """A device, or devices by module; whether they are there shows on loading."""
    value = item.value.get("device", "auto")
    if isinstance(value, str) and _DEVICE.fullmatch(value):
        return value
    if not isinstance(value, Mapping) or not value:
        raise item.error(f"device is {shown(value)}", ABOUT["device"])
    for module, device in value.items():
        known = isinstance(device, str) and _DEVICE.fullmatch(device)
        if not isinstance(module, str) or not (known or (type(device) is int and device >= 0)):
            raise item.error(
                f"device sends {shown(module)} to {shown(device)}",
                "for the name of a module, the number or the name of a device",
            )
    return dict(value)
