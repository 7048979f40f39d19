"""Video-LLaVA (Lin et al., 2023): its prompts, and the published checkpoint as a target.

The one place where its prompts are built: `USER: <video>`, a line break, the question,
` ASSISTANT:`, without a system sentence. Frames are chosen here too, always the same number and
uniform in time, because more of them would silently become a longer prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import VideoLlavaConfig
from transformers.models.video_llava.modeling_video_llava import (
    VideoLlavaForConditionalGeneration,
)

from crossdraft.base.clock import stage
from crossdraft.base.errors import InputError
from crossdraft.vlm.clip_tower import states_per_frame
from crossdraft.vlm.config_file import read_config, read_json
from crossdraft.vlm.hub_cache import fetch_again, find
from crossdraft.vlm.image_text import picture_ids
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.pixels import preprocess
from crossdraft.vlm.precision import Precision
from crossdraft.vlm.prompt import PictureOf, Prompt
from crossdraft.vlm.prompt_text import load_tokenizer, plain_question, small_files, tokenised
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.target import Target

if TYPE_CHECKING:
    from crossdraft.scenes.scene import Scene
    from crossdraft.scenes.video import VideoFrames

ARCHITECTURE = "VideoLlavaForConditionalGeneration"
#: Frames that the model was trained with.
FRAMES = 8

Pixels = npt.NDArray[np.uint8]


class VideoLlavaPrompts:
    """Builds the prompts of one checkpoint.

    Args:
        tokenizer: the checkpoint's, as transformers loads it.
        config: the checkpoint's.
        settings: how its video tower reads frames.
        frames: frames of a scene.
        device: where pixels are computed and put.
        where: the checkpoint's folder, for errors.

    Raises:
        InputError: tokenizer, configuration and settings do not belong together, or so many
            frames are longer than the model can read.
    """

    name = "video-llava"

    def __init__(
        self,
        tokenizer: Any,
        config: VideoLlavaConfig,
        settings: PixelSettings,
        *,
        frames: int = FRAMES,
        device: torch.device | str = "cpu",
        where: Path | None = None,
    ) -> None:
        if type(frames) is not int or frames < 1:
            raise InputError(f"{frames!r} frames", expected="a whole number from 1")
        self.frames, self.settings, self.device = frames, settings, device
        self.tokens_per_frame = _tokens_per_frame(config, settings, where)
        self.tokenizer, self._where = tokenizer, where
        self._video_id: int = config.video_token_id
        self._placeholder = str(tokenizer.convert_ids_to_tokens(self._video_id))
        self._controls = sorted(tokenizer.get_added_vocab())
        self._check_tokenizer()
        self._check_length(config)

    @classmethod
    def from_folder(
        cls, folder: Path | str, *, frames: int = FRAMES, device: torch.device | str = "cpu"
    ) -> VideoLlavaPrompts:
        """The builder of a checkpoint, without its weights.

        Args:
            folder: in the layout of the hub.

        Raises:
            InputError: as the class, or a file is missing or damaged.
        """
        place = find(folder)
        _, architectures, _ = read_config(place)
        if ARCHITECTURE not in architectures:
            raise InputError(
                f"a checkpoint of {', '.join(architectures)}",
                where=place / "config.json",
                expected=ARCHITECTURE,
                hint="give a folder of Video-LLaVA in transformers' layout",
            )
        settings = _pixel_settings(place)
        config, tokenizer = _loaded(place)
        return cls(tokenizer, config, settings, frames=frames, device=device, where=place)

    def __call__(self, scene: Any, question: str) -> Prompt:
        """The prompt of one question about one scene.

        Args:
            scene: a `Scene`, the path of a video, or uint8 pictures [frames, height, width, 3].
            question: stripped; may be empty.

        Raises:
            InputError: another number of pictures, no such scene, or a question that holds a
                control token.
        """
        self._check_scene(scene)
        ids = self._ids(question)
        cut = len(ids) - ids[::-1].index(self._video_id)
        return Prompt(ids, cut, PictureOf(self._inputs, scene))

    def frames_of(self, scene: Scene | Path | str) -> VideoFrames:
        """The frames that a prompt about this scene shows, with their numbers and times.

        Raises:
            InputError: the scene has no video, or it is missing or damaged.
        """
        if _is_pictures(scene):
            raise InputError("an array of pictures", expected="a Scene or the path of a video")
        try:
            with stage("sensor"):
                if isinstance(scene, Path | str):
                    from crossdraft.scenes.video import read_uniform

                    return read_uniform(Path(scene), self.frames)
                return scene.video_frames(self.frames)
        except ModuleNotFoundError as error:
            raise InputError(
                f"video cannot be read here ({error})",
                where=scene if isinstance(scene, Path | str) else None,
                expected="PyAV",
                hint=f"install it, or give the {self.frames} frames as an array",
            ) from error

    def _inputs(self, scene: Any) -> Mapping[str, Tensor]:
        pictures = scene if _is_pictures(scene) else self.frames_of(scene).frames
        with stage("pixels", str(self.device)):
            pixels = preprocess(pictures, self.settings, device=self.device)
        return {"pixel_values_videos": pixels[None]}

    def _check_scene(self, scene: Any) -> None:
        if _is_pictures(scene):
            if len(scene.shape) != 4:
                raise InputError(
                    f"pictures of shape {list(scene.shape)}",
                    expected=f"[{self.frames}, height, width, 3]",
                )
            if scene.shape[0] != self.frames:
                raise InputError(
                    f"{scene.shape[0]} frames",
                    expected=f"{self.frames} frames, uniform in time",
                    hint="give the video itself, and its frames are chosen here",
                )
        elif not isinstance(scene, Path | str) and not hasattr(scene, "video_frames"):
            raise InputError(
                f"a scene of type {type(scene).__name__}",
                expected="a Scene, the path of a video, or an array of pictures",
            )

    def _ids(self, question: str) -> tuple[int, ...]:
        """Ids of the whole prompt, tokenised once: tokenising its halves gives other ids."""
        words = plain_question(question, self._controls)
        return self._tokenised(words, self.frames * self.tokens_per_frame)

    def _tokenised(self, question: str, slots: int) -> tuple[int, ...]:
        text = f"USER: {self._placeholder * slots}\n{question} ASSISTANT:"
        return tokenised(self.tokenizer, text, self._where)

    def _check_tokenizer(self) -> None:
        """One placeholder is one slot."""
        if self._tokenised("", 1).count(self._video_id) != 1:
            raise InputError(
                f"the tokenizer does not read {self._placeholder!r} as id {self._video_id}",
                where=self._where,
                expected="tokenizer and config.json of the same checkpoint",
            )

    def _check_length(self, config: VideoLlavaConfig) -> None:
        """The model has a position for everything."""
        positions = getattr(config.text_config, "max_position_embeddings", None)
        if positions is None:
            return
        around, slots = len(self._tokenised("", 1)) - 1, self.frames * self.tokens_per_frame
        if around + slots >= positions:
            most = (positions - 1 - around) // self.tokens_per_frame
            raise InputError(
                f"{self.frames} frames are {slots:,} tokens, and the model reads {positions:,}",
                where=self._where,
                expected=f"at most {most} frames, fewer for long questions",
                hint=f"Video-LLaVA was trained with {FRAMES} frames",
            )


def load_video_llava(
    path: Path | str,
    *,
    dtype: str | torch.dtype | Precision = "auto",
    device: str | torch.device | Mapping[str, int | str] = "cpu",
    frames: int = FRAMES,
    images: bool = False,
    **target_options: Any,
) -> Target:
    """Load a checkpoint in the layout of `LanguageBind/Video-LLaVA-7B-hf`.

    Args:
        path: its folder, or a name in the hub's cache.
        dtype, device: as `load_model`.
        frames: frames of a scene.
        images: load the image tower too, which only pictures in a prompt need.
        target_options: of `Target`. Ids from the first placeholder on are never drafted: their
            rows of the embeddings were drawn at random.

    Raises:
        InputError: as `load_model` and `VideoLlavaPrompts`.
    """
    place = find(path)
    # Prompts first: what is wrong with small files is said before the large ones are read.
    prompts = VideoLlavaPrompts.from_folder(place, frames=frames)
    kind = VideoLlavaForConditionalGeneration if images else VideoOnlyLlava
    model = load_model(place, kind, architectures=(ARCHITECTURE,), dtype=dtype, device=device)
    options: dict[str, Any] = {"draftable": min(picture_ids(model.config)), **target_options}
    target = Target(model, prompts, **options)
    prompts.device = target.device
    return target


class VideoOnlyLlava(VideoLlavaForConditionalGeneration):  # type: ignore[no-untyped-call]
    """Video-LLaVA without its image tower: 0.3 of 7.4 billion weights that no video needs.

    `from_pretrained` builds models without memory, so the tower that is dropped here takes none.
    """

    def __init__(self, config: VideoLlavaConfig) -> None:
        super().__init__(config)
        self.model.image_tower = _DroppedTower()
        self._keys_to_ignore_on_load_unexpected = {r"image_tower\."}

    @classmethod
    def is_custom_code(cls) -> bool:
        """No: transformers translates the published names of weights for its own classes only."""
        return False


class _DroppedTower(nn.Module):
    """Stands where the image tower was."""

    def forward(self, *_: Any, **__: Any) -> None:
        """Refuse pictures.

        Raises:
            InputError: always.
        """
        raise InputError(
            "a prompt with an image, and the model was loaded without its image tower",
            expected="a video",
            hint="load_video_llava(…, images=True)",
        )


def _is_pictures(scene: Any) -> bool:
    return isinstance(scene, np.ndarray | Tensor)


def _tokens_per_frame(config: VideoLlavaConfig, settings: PixelSettings, where: Path | None) -> int:
    """Patches and the class token, which Video-LLaVA keeps for videos."""
    vision: Any = config.vision_config
    states = states_per_frame(vision, settings, where)
    layers = vision.num_hidden_layers
    chosen = config.vision_feature_layer
    for layer in [chosen] if isinstance(chosen, int) else chosen:
        if not -layers - 1 <= layer <= layers:
            raise InputError(
                f"vision_feature_layer {layer}",
                where=where,
                expected=f"from {-layers - 1} to {layers}: the tower has {layers} layers",
            )
    return states


def _pixel_settings(folder: Path) -> PixelSettings:
    """Settings of the video processor, where they are kept apart, else of the image processor.

    Today's transformers keeps both inside processor_config.json and reads that first.
    """
    places = (
        ("processor_config.json", "video_processor"),
        ("video_preprocessor_config.json", None),
        ("processor_config.json", "image_processor"),
        ("preprocessor_config.json", None),
    )
    for file, part in places:
        path = folder / file
        if not path.is_file():
            continue
        item = read_json(path)
        if part is None:
            return PixelSettings.from_config(item.value, path)
        if part in item.value:
            return PixelSettings.from_config(item.sub(part).value, path)
    raise InputError(
        "no preprocessor_config.json",
        where=folder,
        expected="the settings that frames are prepared with",
        hint=fetch_again(folder / "preprocessor_config.json"),
    )


def _loaded(folder: Path) -> tuple[VideoLlavaConfig, Any]:
    """Configuration and tokenizer, by transformers."""
    with quiet(), small_files(folder):
        config = VideoLlavaConfig.from_pretrained(folder, local_files_only=True)
    return config, load_tokenizer(folder)
