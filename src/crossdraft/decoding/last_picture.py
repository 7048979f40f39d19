"""The picture that a model read last, for the next question about the same scene.

Whether it is the same is never guessed: what can change without being another object (arrays,
lists) is read again, and so is a file that was written since.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from torch import Tensor

from crossdraft.base.clock import Spans
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session
from crossdraft.vlm.target import Target


class LastPicture:
    """At most one picture of one model."""

    def __init__(self) -> None:
        #: Kept beside its mark, so that no other scene can take its place in memory.
        self._scene: Any = None
        self._mark: Hashable | None = None
        self._session: Session | None = None
        self._prefix: tuple[int, ...] = ()

    def session(self, model: Target, scene: Any, prompt: Prompt, spans: Spans) -> Session:
        """A session at the picture of the scene, which is read unless it was the last one read.

        Raises:
            InputError: as `Target.open`.
        """
        mark = _mark(scene)
        same = mark is not None and mark == self._mark and prompt.prefix == self._prefix
        if self._session is None or not same:
            self.forget()  # before the next one takes memory
            self._session = model.open(prompt, spans=spans)
            self._scene, self._mark, self._prefix = scene, mark, prompt.prefix
        return self._session.fork(spans)

    def forget(self) -> None:
        """Give its memory back."""
        self._scene = self._mark = self._session = None


def _mark(scene: Any) -> Hashable | None:
    """Equal for one scene as long as it shows the same; None where that cannot be told."""
    if isinstance(scene, (str, Path)):
        return (str(scene), _written(Path(scene)))
    if isinstance(scene, Tensor) or not isinstance(scene, Hashable):
        return None
    files = (getattr(scene, name, None) for name in ("events_path", "video_path"))
    return (id(scene), *(_written(Path(file)) for file in files if file is not None))


def _written(path: Path) -> tuple[int, int] | None:
    """When a file was last written, and its size; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
