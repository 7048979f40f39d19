"""Pictures as CLIP towers read them: resized, cropped, scaled, bit for bit as transformers does.

transformers resizes through Pillow, which a bare GPU machine lacks. The torch backend computes what
Pillow computes, on any device: its weights are whole numbers of 22 bits, so every sum is exact in
float64 and no order of summation can change a pixel. Both models take their pixels from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.vlm.pixel_settings import PixelSettings

Backend = Literal["auto", "pillow", "torch"]
Pixels = npt.NDArray[np.uint8]

#: The weight 1: 22 bits behind the point, as in Pillow's Resample.c for 8-bit pictures.
_ONE = float(1 << 22)
#: Reach of the bicubic filter in pixels of the smaller grid.
_SUPPORT = 2.0
#: Outputs computed by one product; a block reads only the columns that its outputs reach.
_BLOCK = 32


def preprocess(
    frames: Pixels | Tensor,
    settings: PixelSettings,
    *,
    device: torch.device | str | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Resize, crop and scale frames.

    Args:
        frames: uint8 [n, height, width, 3], RGB.
        settings: what the tower was trained with.
        device: where the result goes; without it, where the frames are.
        backend: both give the same bits. `auto`: Pillow where it is installed and the result stays
            on the CPU, torch on the device otherwise.

    Returns:
        float32 [n, 3, crop height, crop width].

    Raises:
        InputError: not such frames, or Pillow is asked for and missing.
    """
    _check_frames(frames)
    if device is None:
        device = frames.device if isinstance(frames, Tensor) else "cpu"
    device = torch.device(device)
    if backend == "auto":
        backend = "pillow" if device.type == "cpu" and _has_pillow() else "torch"
    if backend == "pillow":
        pixels = _resized_by_pillow(frames, settings)
    else:
        pixels = _resized_by_torch(frames, settings, device)
    return _scaled(pixels.to(device), settings)


def _check_frames(frames: Any) -> None:
    expected = "uint8 frames of shape [n, height, width, 3]"
    if not isinstance(frames, np.ndarray | Tensor):
        raise InputError(f"frames are {type(frames).__name__}", expected=expected)
    shape = tuple(frames.shape)
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise InputError(f"frames of shape {list(shape)}", expected=expected)
    if str(frames.dtype).removeprefix("torch.") != "uint8":
        raise InputError(
            f"frames of {frames.dtype}", expected=expected, hint="give colours from 0 to 255"
        )


@lru_cache(maxsize=1)
def _has_pillow() -> bool:
    return find_spec("PIL") is not None


def resized_size(height: int, width: int, shortest_edge: int) -> tuple[int, int]:
    """Height and width after resizing: the longer side is rounded down."""
    longer = int(shortest_edge * max(height, width) / min(height, width))
    return (longer, shortest_edge) if width <= height else (shortest_edge, longer)


@dataclass(frozen=True)
class _Side:
    """One side of a picture: its length, its length after resizing, and what the crop takes.

    Attributes:
        taken: resized pixels that the crop keeps.
        placed: where they are in the crop.
    """

    source: int
    resized: int
    taken: slice
    placed: slice

    @classmethod
    def of(cls, source: int, resized: int, crop: int) -> _Side:
        if resized >= crop:
            start = (resized - crop) // 2
            return cls(source, resized, slice(start, start + crop), slice(0, crop))
        # The odd pixel of the missing ones goes before the picture.
        start = (crop - resized + 1) // 2
        return cls(source, resized, slice(0, resized), slice(start, start + resized))


@dataclass(frozen=True)
class _Plan:
    """How frames of one size become crops."""

    rows: _Side
    columns: _Side

    @classmethod
    def of(cls, frames: Pixels | Tensor, settings: PixelSettings) -> _Plan:
        height, width = frames.shape[1:3]
        to_height, to_width = resized_size(height, width, settings.shortest_edge)
        return cls(
            _Side.of(height, to_height, settings.crop[0]),
            _Side.of(width, to_width, settings.crop[1]),
        )

    @property
    def rows_first(self) -> bool:
        """Whether the height is resized before the width; between the two, values are rounded.

        The rule of Pillow 13: where the height loses more than twice what the width loses, so for
        pictures taller than 2:1. Earlier releases always begin with the width. Stated here, it
        gives the same pixels with any release.
        """
        lost = self.rows.source - self.rows.resized
        return lost > 0 and lost > 2 * (self.columns.source - self.columns.resized)


def _resized_by_pillow(frames: Pixels | Tensor, settings: PixelSettings) -> Tensor:
    """uint8 [n, 3, *crop], on the CPU."""
    if not _has_pillow():
        raise InputError(
            "Pillow is not installed", expected="Pillow", hint="the torch backend: the same pixels"
        )
    from PIL import Image

    array = frames.cpu().numpy() if isinstance(frames, Tensor) else frames
    plan = _Plan.of(array, settings)
    rows, columns = plan.rows, plan.columns
    # Each call resizes one side, so that the order is ours.
    between = (columns.source, rows.resized) if plan.rows_first else (columns.resized, rows.source)
    canvas = np.zeros((len(array), *settings.crop, 3), np.uint8)
    for number, frame in enumerate(array):
        picture = Image.fromarray(np.ascontiguousarray(frame))
        for size in (between, (columns.resized, rows.resized)):
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        taken = np.asarray(picture)[rows.taken, columns.taken]
        canvas[number, rows.placed, columns.placed] = taken
    return torch.from_numpy(canvas).permute(0, 3, 1, 2)


def _resized_by_torch(
    frames: Pixels | Tensor, settings: PixelSettings, device: torch.device
) -> Tensor:
    """uint8 [n, 3, *crop], the same values as Pillow's."""
    if not isinstance(frames, Tensor):
        frames = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
    plan = _Plan.of(frames, settings)
    # Exact sums need float64, which other accelerators may lack.
    image = frames.to(device if device.type == "cuda" else "cpu").permute(0, 3, 1, 2).contiguous()
    # What the crop drops is not computed: no pixel depends on another of the same pass.
    if plan.rows_first:
        image = _resampled(image.transpose(2, 3), plan.rows).transpose(2, 3)
        image = _resampled(image, plan.columns)
    else:
        image = _resampled(image, plan.columns)
        image = _resampled(image.transpose(2, 3), plan.rows).transpose(2, 3)
    canvas = image.new_zeros((len(image), 3, *settings.crop))
    canvas[:, :, plan.rows.placed, plan.columns.placed] = image
    return canvas


def _resampled(image: Tensor, side: _Side) -> Tensor:
    """What is taken of the resized last side of uint8 [n, 3, other, source]."""
    source, taken = side.source, side.taken
    if source == side.resized:
        return image[..., taken]
    first, weights = _filter_weights(source, side.resized)
    blocks = []
    for start in range(taken.start, taken.stop, _BLOCK):
        block = slice(start, min(start + _BLOCK, taken.stop))
        low = int(first[block].min())
        high = min(int(first[block].max()) + weights.shape[1], source)
        dense = np.zeros((block.stop - block.start, high - low + weights.shape[1]))
        for row, (begin, values) in enumerate(zip(first[block], weights[block], strict=True)):
            dense[row, begin - low : begin - low + len(values)] = values
        matrix = torch.from_numpy(dense[:, : high - low].T.copy()).to(image.device)
        # A power of two: scaling rounds nothing, so halves go up as they do in Pillow.
        values = (image[..., low:high].to(torch.float64) @ matrix).mul_(1 / _ONE)
        blocks.append(values.add_(0.5).floor_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(blocks, dim=-1)


@lru_cache(maxsize=32)
def _filter_weights(
    source: int, target: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pillow's bicubic weights for one side (`precompute_coeffs`, `normalize_coeffs_8bpc`).

    The order of operations is Pillow's, so that every rounding is.

    Returns:
        First source pixel of each target pixel, int64 [target], and its weights times 2^22, whole
        numbers in float64 [target, taps].
    """
    scale = source / target
    stretch = max(scale, 1.0)
    reach = _SUPPORT * stretch
    centers = (np.arange(target) + 0.5) * scale
    first = np.maximum((centers - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centers + reach + 0.5).astype(np.int64), source)
    taps = np.arange(math.ceil(reach) * 2 + 1)
    distance = (taps + first[:, None] - centers[:, None] + 0.5) * (1.0 / stretch)
    weights = np.where(taps < (last - first)[:, None], _bicubic(distance), 0.0)
    # One after the other: numpy's sum adds in pairs and rounds differently.
    weights = weights / np.cumsum(weights, axis=1)[:, -1:]
    fixed = np.trunc(weights * _ONE + np.copysign(0.5, weights))
    return first, fixed


def _bicubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys' cubic filter with a = -0.5, in Pillow's order of operations."""
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _scaled(pixels: Tensor, settings: PixelSettings) -> Tensor:
    """float32 of uint8 [n, 3, height, width]: 256 values a channel, so looked up in a table.

    The table is computed as transformers computes pixels: the product in float64, the rest in
    float32.
    """
    values = (np.arange(256).astype(np.float64) * settings.rescale).astype(np.float32)
    mean, std = (np.array(part, np.float32)[:, None] for part in (settings.mean, settings.std))
    table = torch.from_numpy((values - mean) / std).to(pixels.device)
    channels = [table[channel][pixels[:, channel].long()] for channel in range(3)]
    return torch.stack(channels, dim=1)
