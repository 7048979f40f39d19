"""crossdraft: cross-modal speculative decoding.

An event-camera model drafts while a video-language model still looks at its video; the target
verifies every draft, so its answer stays its own. ARCHITECTURE.md shows the rooms.

    answer = crossdraft.Speculator("pair.yaml", "suffix").ask(scene, "What is ahead?")
    model.generate(**inputs, custom_generate=crossdraft.custom_generate("suffix"))
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossdraft.decoding.custom_generate import custom_generate
    from crossdraft.decoding.speculator import Speculator

try:
    __version__ = version("crossdraft")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["Speculator", "__version__", "custom_generate"]

#: Imported when they are asked for: they bring torch and transformers, which commands about files
#: do without.
_LATER = {
    "Speculator": "crossdraft.decoding.speculator",
    "custom_generate": "crossdraft.decoding.custom_generate",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'crossdraft' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
