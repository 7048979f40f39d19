"""How a tower wants its frames, read from the files of a checkpoint.

What a processor can be told and is not done here is refused, with the name of the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError

#: `resample` of a configuration: Pillow's number of the bicubic filter.
_BICUBIC = 3
#: Scales and offsets beyond these would leave nothing of a picture in float32.
_LEAST, _MOST = 1e-6, 1e6
#: Steps that always run here, so a configuration must not switch them off.
_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
#: Switches that change nothing here: frames are RGB, and how many there are is not decided here.
_IGNORED = ("do_convert_rgb", "do_sample_frames")


@dataclass(frozen=True)
class PixelSettings:
    """From frames of any size to what a tower reads.

    Attributes:
        shortest_edge: pixels of the shorter side after resizing; the other keeps the ratio.
        crop: height and width cut from the middle; what the picture lacks is black.
        rescale: factor for values 0 to 255.
        mean, std: per channel, of rescaled values.
    """

    shortest_edge: int = 224
    crop: tuple[int, int] = (224, 224)
    rescale: float = 1 / 255
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], where: str | Path | None = None
    ) -> PixelSettings:
        """Settings of a `preprocessor_config.json` or `video_preprocessor_config.json`.

        Fields that are missing have the defaults of CLIP's and Video-LLaVA's processors.

        Args:
            config: the file's content.
            where: the file, for errors.

        Raises:
            InputError: a field asks for what is not done here, or is no sensible value.
        """
        fields = _Fields(config, where)
        fields.check_kind()
        fields.check_switches()
        return cls(
            shortest_edge=fields.shortest_edge(cls.shortest_edge),
            crop=fields.crop(cls.crop),
            rescale=fields.factor("rescale_factor", cls.rescale),
            mean=fields.channels("image_mean", cls.mean, -_MOST),
            std=fields.channels("image_std", cls.std, _LEAST),
        )


class _Fields:
    """Checked access to a processor's configuration; every fault names its field."""

    def __init__(self, config: Mapping[str, Any], where: str | Path | None) -> None:
        if not isinstance(config, Mapping):
            raise InputError("not an object", where=where, expected="a processor's configuration")
        self.config, self.where = config, where

    def error(self, name: str, expected: str) -> InputError:
        shown = repr(self.config.get(name))
        return InputError(
            f"{name} is {shown if len(shown) <= 60 else shown[:57] + '...'}",
            where=self.where,
            expected=expected,
        )

    def check_kind(self) -> None:
        """Processors of other models resize and crop in other ways."""
        for name in ("image_processor_type", "feature_extractor_type", "video_processor_type"):
            kind = self.config.get(name)
            if kind is not None and not str(kind).startswith(("CLIP", "VideoLlava")):
                raise self.error(name, "a processor of CLIP or Video-LLaVA")

    def check_switches(self) -> None:
        for name in _STEPS:
            if self.config.get(name) not in (None, True):
                raise self.error(name, "true; pictures are always resized, cropped and scaled")
        for name, value in self.config.items():
            if name.startswith("do_") and name not in _STEPS + _IGNORED and value:
                raise self.error(name, "false; this step is not implemented")
        if self.config.get("resample") not in (None, _BICUBIC):
            raise self.error("resample", f"{_BICUBIC}, Pillow's bicubic filter")

    def shortest_edge(self, default: int) -> int:
        size: Any = self.config.get("size")
        if isinstance(size, Mapping):
            # Some files keep the sides they do not use, as null.
            given = {key: value for key, value in size.items() if value is not None}
            size = given["shortest_edge"] if set(given) == {"shortest_edge"} else given
        if size is None:
            return default
        if not _is_length(size):
            raise self.error("size", "a length in pixels, or {shortest_edge: pixels}")
        return int(size)

    def crop(self, default: tuple[int, int]) -> tuple[int, int]:
        size = self.config.get("crop_size")
        if size is None:
            return default
        if isinstance(size, Mapping):
            sides = (size.get("height"), size.get("width"))
        else:
            sides = (size, size)
        if not all(_is_length(side) for side in sides):
            raise self.error("crop_size", "a length in pixels, or {height: pixels, width: pixels}")
        return int(sides[0]), int(sides[1])  # type: ignore[arg-type]

    def factor(self, name: str, default: float) -> float:
        value = self.config.get(name)
        if value is None:
            return default
        if not _is_number(value, _LEAST):
            raise self.error(name, f"a number from {_LEAST:g} to {_MOST:g}")
        return float(value)

    def channels(
        self, name: str, default: tuple[float, float, float], least: float
    ) -> tuple[float, float, float]:
        values = self.config.get(name)
        if values is None:
            return default
        numbers = isinstance(values, list | tuple) and all(_is_number(v, least) for v in values)
        if not numbers or len(values) != 3:
            raise self.error(name, f"three numbers from {least:g} to {_MOST:g}")
        return float(values[0]), float(values[1]), float(values[2])


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 < value <= 1 << 16


def _is_number(value: Any, least: float) -> bool:
    return type(value) in (int, float) and least <= value <= _MOST
