"""The note in a folder of clips: how they were made, so that a folder holds clips of one kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.scenes.frame_note import difference


@dataclass(frozen=True)
class FolderNote:
    """What a folder's clips have in common.

    Attributes:
        name: of the file, with a dot before it.
        settings: plain JSON, its format among it.
        verb: what was done to the clips, such as `cut`; for errors.
    """

    name: str
    settings: Mapping[str, Any]
    verb: str

    def check(self, folder: Path) -> None:
        """Refuse a folder that holds anything but clips of these settings.

        Raises:
            InputError: clips made otherwise, files that this command did not write, or no folder.
        """
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if not there.is_dir():
            raise InputError(
                "this link leads to no folder" if there.is_symlink() else "this is no folder",
                where=there,
                expected="a folder, or a name that is free",
                hint="name another folder with --out",
            )
        path = folder / self.name
        if not path.exists():
            self._check_empty(folder)
            return
        try:
            found = parse_json(read_text(path), path)
        except InputError as error:
            raise InputError(
                f"the note of how the clips here were {self.verb} is damaged ({error.found})",
                where=path,
                expected="what this command wrote",
                hint="name another folder with --out",
            ) from error
        if found != self.settings:
            raise InputError(
                f"the clips here were {self.verb} with {difference(found, dict(self.settings))}",
                where=folder,
                expected="clips of one kind in a folder",
                hint="use the same options as before, or name another folder with --out",
            )

    def _check_empty(self, folder: Path) -> None:
        # A run that was killed at once may have left its lock or half a note.
        foreign = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        if foreign := [name for name in foreign if not name.startswith(".")]:
            raise InputError(
                f"holds {foreign[0]}, and no note of how it was {self.verb}",
                where=folder,
                expected="an empty folder, or one that this command has made",
                hint="name another folder with --out",
            )

    def write(self, folder: Path) -> None:
        """Write the note, unless it stands there."""
        if not (folder / self.name).exists():
            write_json(folder / self.name, self.settings)
