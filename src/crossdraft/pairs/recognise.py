"""What a file or folder holds, by its content: names are anybody's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crossdraft.base.errors import InputError
from crossdraft.base.safe_load import load_plain
from crossdraft.pairs import seed_chunks
from crossdraft.pairs.seed_index import CHUNKS, INDEX
from crossdraft.pairs.store.manifest_file import is_store
from crossdraft.vlm.lm_head_pt import is_head, is_torch_file

#: A pair store; states of the seed study; the head of a model; recorded answers of any format.
Content = Literal["store", "states", "head", "answers"]


def content_of(path: Path) -> Content:
    """What is at `path`; `answers` where nothing speaks for another, `read_pairs` knows more.

    Raises:
        InputError: nothing is there, or a file of torch.save with neither states nor a head.
    """
    if path.is_dir():
        if is_store(path):
            return "store"
        return "states" if (path / INDEX).exists() or (path / CHUNKS).is_dir() else "answers"
    if not path.exists():
        raise InputError("no such file", where=path)
    if is_torch_file(path):
        loaded = load_plain(path, mapped=True)
        if seed_chunks.is_states(loaded):
            return "states"
        if is_head(loaded):
            return "head"
        keys = f"keys {sorted(map(str, loaded))[:8]}" if isinstance(loaded, dict) else "no mapping"
        raise InputError(
            f"holds neither hidden states nor a head ({keys})",
            where=path,
            expected=f"{seed_chunks.EXPECTED}; or lm_head_weight",
        )
    return "head" if _is_safetensors(path) else "answers"


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a header that it can hold, and with the header."""
    try:
        with path.open("rb") as stream:
            first = stream.read(9)
        return first[8:] == b"{" and int.from_bytes(first[:8], "little") < path.stat().st_size
    except OSError:
        return False
