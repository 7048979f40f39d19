"""crossdraft: cross-modal speculative decoding.

An event-camera model drafts while a video-language model still looks at its video; the target
verifies every draft, so its answer stays its own. ARCHITECTURE.md shows the rooms.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("crossdraft")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
