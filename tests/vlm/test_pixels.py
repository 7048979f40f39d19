"""Pixels are those of transformers, bit for bit, with and without Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import VideoLlavaImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from crossdraft.base.errors import InputError
from crossdraft.vlm import pixels
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.pixels import Backend, preprocess, resized_size

Pixels = npt.NDArray[np.uint8]

LENGTHS = st.integers(1, 400)
#: Sizes of the resized side and of the crop: small for speed, odd and even, crops that do not fit.
EDGES, CROPS = st.integers(1, 40), st.integers(1, 48)


def noise(n: int, height: int, width: int, seed: int = 0, *, hard: bool = False) -> Pixels:
    """Random colours, `hard`: of black and white alone, where rounding and clipping bite."""
    frames = np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    return np.where(frames < 128, 0, 255).astype(np.uint8) if hard else frames


def by_transformers(kind: Any, frames: Pixels, wanted: PixelSettings) -> Tensor:
    """What a processor of transformers gives, float32 [n, 3, height, width]."""
    processor = kind(
        size={"shortest_edge": wanted.shortest_edge},
        crop_size={"height": wanted.crop[0], "width": wanted.crop[1]},
    )
    # Which side holds the channels is guessed otherwise, wrongly for pictures of three rows.
    outputs = processor.preprocess(
        list(frames), return_tensors="pt", input_data_format="channels_last"
    )
    (values,) = outputs.values()
    assert isinstance(values, Tensor)
    return values


@given(LENGTHS, LENGTHS, EDGES, CROPS, CROPS, st.booleans())
@settings(max_examples=150)
def test_both_backends_give_the_same_bits(
    height: int, width: int, edge: int, rows: int, columns: int, hard: bool
) -> None:
    frames = noise(2, height, width, height * width, hard=hard)
    wanted = PixelSettings(shortest_edge=edge, crop=(rows, columns))
    ours = preprocess(frames, wanted, backend="torch")
    assert ours.shape == (2, 3, rows, columns)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, preprocess(frames, wanted, backend="pillow"))


@given(
    st.sampled_from([VideoLlavaImageProcessor, CLIPImageProcessorPil]),
    LENGTHS, LENGTHS, EDGES, CROPS, CROPS, st.booleans(),
)  # fmt: skip
@settings(max_examples=150)
def test_bits_are_those_of_transformers(
    kind: Any, height: int, width: int, edge: int, rows: int, columns: int, hard: bool
) -> None:
    # Before release 13, Pillow resizes tall pictures in another order and so do processors.
    assume(int(PIL.__version__.split(".")[0]) >= 13 or height <= 2 * width)
    frames = noise(1, height, width, height + width, hard=hard)
    wanted = PixelSettings(shortest_edge=edge, crop=(rows, columns))
    assert torch.equal(preprocess(frames, wanted), by_transformers(kind, frames, wanted))


@pytest.mark.parametrize("edge", [224, 336])
@pytest.mark.parametrize("size", [(480, 640), (1080, 1440), (355, 201), (224, 224), (97, 131)])
def test_the_sizes_that_models_read(edge: int, size: tuple[int, int]) -> None:
    frames = noise(1, *size)
    wanted = PixelSettings(shortest_edge=edge, crop=(edge, edge))
    theirs = by_transformers(VideoLlavaImageProcessor, frames, wanted)
    assert torch.equal(preprocess(frames, wanted, backend="pillow"), theirs)
    assert torch.equal(preprocess(frames, wanted, backend="torch"), theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("size", [(1080, 1440), (400, 97)])
def test_a_gpu_gives_the_same_bits(size: tuple[int, int]) -> None:
    frames = noise(2, *size)
    there = preprocess(frames, PixelSettings(), device="cuda")
    assert there.device.type == "cuda"
    assert torch.equal(there.cpu(), preprocess(frames, PixelSettings(), backend="torch"))


def test_tall_pictures_do_not_depend_on_the_release_of_pillow() -> None:
    """Both orders of the two passes, by hand; the taller picture begins with its rows."""
    from PIL import Image

    for height, rows_first in ((58, False), (64, True)):
        frame = noise(1, height, 30, hard=True)[0]
        to_height, _ = resized_size(height, 30, 10)
        between = (30, to_height) if rows_first else (10, height)
        picture = Image.fromarray(frame)
        for size in (between, (10, to_height)):
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        other = Image.fromarray(frame)
        for size in ((10, height) if rows_first else (30, to_height), (10, to_height)):
            other = other.resize(size, Image.Resampling.BICUBIC)
        assert not np.array_equal(np.asarray(picture), np.asarray(other)), "the order matters"
        plain = PixelSettings(10, (to_height, 10), 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        backends: tuple[Backend, ...] = ("pillow", "torch")
        for backend in backends:
            ours = preprocess(frame[None], plain, backend=backend)
            assert np.array_equal(ours[0].permute(1, 2, 0).numpy(), np.asarray(picture))


def test_what_the_crop_lacks_is_black() -> None:
    frames = np.full((1, 10, 10, 3), 255, np.uint8)
    wanted = PixelSettings(shortest_edge=4, crop=(7, 4))
    values = preprocess(frames, wanted)
    black = (0 - np.array(wanted.mean, np.float32)) / np.array(wanted.std, np.float32)
    filled = [not np.allclose(values[0, :, row, 0].numpy(), black) for row in range(7)]
    # Three rows are missing; the odd one is above.
    assert filled == [False, False, True, True, True, True, False]


@pytest.mark.parametrize("backend", ["pillow", "torch"])
def test_frames_come_as_they_are(backend: Backend) -> None:
    """Turned pictures, read-only arrays, tensors and views give what a plain array gives."""
    frames, wanted = noise(2, 30, 41), PixelSettings(16, (16, 16))
    expected = preprocess(frames, wanted)
    turned = np.rot90(np.rot90(frames, axes=(1, 2)).copy(), -1, axes=(1, 2))
    assert min(turned.strides) < 0
    locked = frames.copy()
    locked.flags.writeable = False
    view = torch.from_numpy(frames.transpose(0, 3, 1, 2).copy()).permute(0, 2, 3, 1)
    for same in (turned, locked, torch.from_numpy(frames), view):
        assert torch.equal(preprocess(same, wanted, backend=backend), expected)
        assert np.array_equal(frames, np.asarray(same)), "nobody wrote into the frames"


def test_without_pillow_torch_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = noise(1, 20, 31)
    expected = preprocess(frames, PixelSettings(12, (12, 12)), backend="pillow")
    monkeypatch.setattr(pixels, "_has_pillow", lambda: False)
    assert torch.equal(preprocess(frames, PixelSettings(12, (12, 12))), expected)
    with pytest.raises(InputError, match="Pillow is not installed"):
        preprocess(frames, PixelSettings(), backend="pillow")


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (np.zeros((8, 10, 10), np.uint8), r"shape \[8, 10, 10\]"),
        (np.zeros((8, 3, 10, 10), np.uint8), r"shape \[8, 3, 10, 10\]"),
        (np.zeros((0, 10, 10, 3), np.uint8), r"shape \[0, 10, 10, 3\]"),
        (np.zeros((1, 10, 10, 3), np.float32), "float32"),
        (torch.zeros(1, 10, 10, 3), "float32"),
        ([np.zeros((10, 10, 3), np.uint8)], "list"),
    ],
    ids=["no-channels", "channels-first", "none", "floats", "float-tensor", "list"],
)
def test_other_frames_are_refused(frames: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        preprocess(frames, PixelSettings())


PUBLISHED = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "VideoLlavaImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}


def test_published_configurations_are_read() -> None:
    assert PixelSettings.from_config(PUBLISHED) == PixelSettings()
    assert PixelSettings.from_config({}) == PixelSettings()
    clip = {
        "crop_size": 336,
        "size": 336,
        "resample": 3,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
    }
    assert PixelSettings.from_config(clip) == PixelSettings(336, (336, 336))
    today = {
        "size": {"shortest_edge": 28, "height": None, "width": None},
        "crop_size": {"height": 28, "width": 30},
        "do_pad": None,
        "do_sample_frames": True,
        "video_processor_type": "VideoLlavaVideoProcessor",
    }
    assert PixelSettings.from_config(today) == PixelSettings(28, (28, 30))


def test_transformers_writes_what_is_read() -> None:
    """Configurations that processors of this release save."""
    for kind in (VideoLlavaImageProcessor, CLIPImageProcessorPil):
        processor: Any = kind(size={"shortest_edge": 28}, crop_size={"height": 27, "width": 26})
        assert PixelSettings.from_config(processor.to_dict()) == PixelSettings(28, (27, 26))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resample", 2),
        ("do_resize", False),
        ("do_center_crop", False),
        ("do_rescale", False),
        ("do_normalize", 0),
        ("do_pad", True),
        ("do_flip_channel_order", True),
        ("size", {"height": 224, "width": 224}),
        ("size", {"shortest_edge": 224, "longest_edge": 448}),
        ("size", 0),
        ("size", True),
        ("crop_size", {"height": 224}),
        ("crop_size", "224"),
        ("rescale_factor", 0),
        ("rescale_factor", float("nan")),
        ("image_mean", [0.5, 0.5]),
        ("image_mean", 0.5),
        ("image_mean", [0.5, 0.5, "0.5"]),
        ("image_mean", [0.5, 0.5, 1e300]),
        ("image_std", [0.5, 0.5, 0.0]),
        ("image_std", [0.5, 0.5, 1e-300]),
        ("image_processor_type", "SiglipImageProcessor"),
        ("video_processor_type", ["x" * 1000]),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_not_done_here_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        PixelSettings.from_config({**PUBLISHED, field: value}, "preprocessor_config.json")
    assert refused.value.found.startswith(f"{field} is ")
    assert refused.value.where == "preprocessor_config.json"
    assert refused.value.expected
    assert len(str(refused.value)) < 300
