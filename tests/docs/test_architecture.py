"""ARCHITECTURE.md describes the tree that is there."""

from __future__ import annotations

import re

from tests.docs.commands import ROOT

PACKAGE = ROOT / "src" / "crossdraft"
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_every_room_is_described() -> None:
    rooms = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()}
    described = re.findall(r"^\| `(\w+)/` \|", TEXT, re.M)
    assert set(described) == rooms, "built rooms stand upright, planned ones in italics"


def test_rooms_stand_in_the_order_of_the_layers() -> None:
    layers = re.search(r"layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.S)
    assert layers is not None
    order = re.findall(r"crossdraft\.(\w+)", layers[1])[::-1]
    assert re.findall(r"^\| \*?`(\w+)/`\*? \|", TEXT, re.M) == order


def test_files_named_in_the_text_exist() -> None:
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", TEXT):
        assert (PACKAGE / path).exists() or (ROOT / path).exists(), path
