"""The pairs that come with the package: a YAML file each, and the folders of models beside it.

Light, because the help of commands lists them.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("shipped_pairs")
#: How a shipped pair's file begins the name of a folder that comes with it.
BESIDE = "./"
#: The pair whose models come with the package.
EMBEDDED = "embedded"


def shipped_pairs() -> tuple[str, ...]:
    """Names of the pairs that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
