"""What a store says of the files of the seed study that it was made of, for the way back.

A store that was made of none says what it can in the study's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Any

from crossdraft.pairs.seed_index import Layout
from crossdraft.pairs.seed_states import FORMAT
from crossdraft.pairs.store.store import PairStore

#: What a folder and a file say of how they were made.
_CONFIG: Mapping[Layout, tuple[str, ...]] = {
    "chunks": ("split", "duration", "quant", "max_questions", "max_new_tokens", "hidden_dim"),
    "single": (
        "split", "duration", "max_questions", "max_new_tokens", "max_samples", "hidden_dim",
        "num_samples", "max_seq_len", "created", "date", "dataset_dir", "questions_file",
    ),
}  # fmt: skip


def before_of(store: PairStore, layout: Layout, kept: int) -> list[dict[str, Any]] | None:
    """What the store says of the files that it was made of, if the same pairs are written now."""
    source = store.manifest.source
    files = source.get("files")
    if source.get("format") != FORMAT or source.get("layout") != layout or kept != len(store):
        return None
    if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
        return None
    sizes = [kept] if layout == "single" else [one.get("n_samples") for one in files]
    if not all(type(size) is int for size in sizes) or sum(sizes) != kept:
        return None
    # Whatever a manifest says, a chunk is written among the chunks.
    return [one | {"path": PurePath(one["path"]).name} if "path" in one else one for one in files]


def about_of(store: PairStore) -> dict[str, Any]:
    """The index that the store was made with, where it was."""
    source = store.manifest.source
    if source.get("format") != FORMAT or source.get("layout") != "chunks":
        return {}
    return dict(source.get("about") or {})


def config_of(store: PairStore, layout: Layout, questions: int, width: int) -> dict[str, Any]:
    """How the states were made, in the study's words; None where the store does not say."""
    source = store.manifest.source
    dataset = source.get("dataset")
    known = {**source, **(dataset if isinstance(dataset, dict) else {})}
    if source.get("format") == FORMAT:
        known = source.get("about") or {}
        if source.get("layout") == "chunks":
            known = known.get("config") or {}
        if source.get("layout") == layout:
            return dict(known)
    config = {key: known.get(key) for key in _CONFIG[layout]}
    return config | {"max_questions": questions, "hidden_dim": width}


def created_of(store: PairStore) -> dict[str, str]:
    """When the study's files were made; now, for those that never were."""
    now = datetime.now()
    known = {"created": now.isoformat(), "date": now.strftime("%Y%m%d")}
    then = store.manifest.provenance.get("source")
    return known | {key: then[key] for key in known if isinstance(then, dict) and key in then}


def lost_of(store: PairStore) -> tuple[str, ...]:
    """What the store has and the format has no place for."""
    schema, lost = store.manifest.schema, []
    others = [kind.name for kind in schema.kinds if kind.name not in ("own", "target")]
    if others:
        lost.append(f"states {', '.join(others)}")
    if schema.tokens:
        lost.append("token ids")
    if schema.top:
        lost.append("logits")
    pairs = list(store.pairs())
    if any(pair.drive is not None for pair in pairs):
        lost.append("drives")
    if any(pair.draft_stages_ms or pair.target_stages_ms for pair in pairs):
        lost.append("stage times")
    return tuple(lost)
