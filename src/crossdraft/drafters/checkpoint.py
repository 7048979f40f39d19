"""Checkpoints of trained drafters: one safetensors file that says how to rebuild itself.

Metadata holds the drafter's name, its description and what it was trained on, so that a test set
that training has seen can be refused. The seed study's `best_model.pt` is read too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path
from crossdraft.base.safe_load import load_recorded, load_tensors
from crossdraft.drafters.registry import REGISTRY
from crossdraft.drafters.trainable import Trainable
from crossdraft.pairs.record import Pair

FORMAT, _KEY = "crossdraft.drafter/1", "crossdraft"
_EXPECTED = "a checkpoint written by crossdraft train, or the seed study's best_model.pt"
#: What a run folder offers, best first.
_IN_FOLDER = ("best_model.safetensors", "best_model.pt")


@dataclass(frozen=True)
class TrainedOn:
    """What a checkpoint has seen, validation included.

    Attributes:
        clips: digests of the clip names.
        drives: named driving sequences.
        task: name of the training task.
    """

    clips: tuple[str, ...] = ()
    drives: tuple[str, ...] = ()
    task: str = ""

    @classmethod
    def of(cls, pairs: Sequence[Pair], task: str = "") -> TrainedOn:
        """Record these pairs."""
        return cls(
            tuple(sorted({clip_digest(pair.clip) for pair in pairs})),
            tuple(sorted({pair.drive for pair in pairs if pair.drive is not None})),
            task,
        )


@dataclass(frozen=True)
class Loaded:
    """A drafter from a file; `trained_on` is None where the file does not say."""

    drafter: Trainable
    path: Path
    trained_on: TrainedOn | None
    extra: Mapping[str, Any] = field(default_factory=dict)


def clip_digest(clip: str) -> str:
    """Short digest of a clip's name."""
    return hashlib.blake2b(clip.encode(), digest_size=6).hexdigest()


def save_drafter(drafter: Trainable, path: Path, trained_on: TrainedOn | None = None) -> None:
    """Write a drafter to one safetensors file, atomically."""
    from safetensors.torch import save_file

    about = {
        "format": FORMAT,
        "drafter": drafter.name,
        "about": drafter.describe(),
        "trained_on": None if trained_on is None else asdict(trained_on),
    }
    with atomic_path(path) as temporary:
        # One entry: safetensors writes several in any order, and equal models are equal bytes.
        save_file(drafter.tensors(), temporary, metadata={_KEY: json.dumps(about)})


def load_drafter(path: Path, *, vlm_only: bool | None = None) -> Loaded:
    """Read a checkpoint; a folder means the best model in it.

    Args:
        vlm_only: whether a network of the seed study's L5 is its B1, which its file does not say.
            Left out, the folders' names decide, and the `config.json` beside the file.

    Raises:
        InputError: missing, damaged, of an unknown drafter, or a pickle with more than tensors and
            plain values.
    """
    if path.is_dir():
        inside = [path / name for name in _IN_FOLDER if (path / name).is_file()]
        if not inside:
            raise InputError("no checkpoint in this folder", where=path, expected=_IN_FOLDER[0])
        path = inside[0]
    if not path.is_file():
        raise InputError("no such file", where=path, expected=_EXPECTED)
    if path.suffix != ".safetensors":
        return _load_seed(path, vlm_only)
    about = _metadata(path)
    name = str(about.get("drafter", ""))
    if about.get("format") != FORMAT or name not in REGISTRY:
        raise InputError(
            f"its format is {about.get('format')!r}, its drafter {name!r}",
            where=path,
            expected=_EXPECTED,
        )
    tensors = load_tensors(path, _EXPECTED)
    assert isinstance(tensors, dict)
    try:
        drafter = trainable_class(name).restore(about["about"], tensors)
        seen = about["trained_on"]
        trained_on = None if seen is None else _trained_on(seen)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"a damaged checkpoint ({error})", where=path, expected=_EXPECTED
        ) from error
    return Loaded(drafter, path, trained_on)


def trainable_class(name: str) -> type[Trainable]:
    """The class of a drafter that can be trained.

    Raises:
        InputError: no such drafter, or it has nothing to train.
    """
    trainable = [known for known in REGISTRY if is_trainable(known)]
    if name not in trainable:
        raise InputError(
            f"{name!r} is no drafter with a network to train", expected=", ".join(trainable)
        )
    return _class_of(name)  # type: ignore[return-value]


def is_trainable(name: str) -> bool:
    """Whether a registered drafter has a network to train."""
    return name in REGISTRY and issubclass(_class_of(name), Trainable)


def _class_of(name: str) -> type[object]:
    module, _, class_name = REGISTRY[name].partition(":")
    found: type[object] = getattr(import_module(module), class_name)
    return found


def _load_seed(path: Path, vlm_only: bool | None) -> Loaded:
    """The seed study's: {"model_state_dict", "epoch", ("config"), ("adapter_type"), ...}."""
    loaded = load_recorded(path, _EXPECTED)
    content: Mapping[str, Any] = loaded if isinstance(loaded, Mapping) else {}
    state = content.get("model_state_dict", content)
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError("no model_state_dict of tensors", where=path, expected=_EXPECTED)
    try:
        drafter = _seed_drafter(content, state, path, vlm_only)
    except InputError as error:
        raise InputError(error.found, where=path, expected=_EXPECTED) from error
    extra = {key: content[key] for key in ("epoch", "val_acc", "metrics") if key in content}
    return Loaded(drafter, path, None, extra)


def _seed_drafter(
    content: Mapping[str, Any], state: Mapping[str, Tensor], path: Path, vlm_only: bool | None
) -> Trainable:
    from crossdraft.drafters.ladder.seed_checkpoints import is_ladder, ladder_from_seed, of_b1
    from crossdraft.drafters.token_adapter import TokenAdapterDrafter

    if is_ladder(content, state):
        return ladder_from_seed(
            content, state, vlm_only=of_b1(path) if vlm_only is None else vlm_only
        )
    return TokenAdapterDrafter.from_seed(state)


def _metadata(path: Path) -> dict[str, Any]:
    """What the file says about itself, empty where it is not one of ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            about = json.loads((stored.metadata() or {}).get(_KEY, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"not a readable tensor file ({error})", where=path, expected=_EXPECTED
        ) from error
    return about if isinstance(about, dict) else {}


def _trained_on(value: Mapping[str, Any]) -> TrainedOn:
    return TrainedOn(
        tuple(map(str, value["clips"])), tuple(map(str, value["drives"])), str(value["task"])
    )
