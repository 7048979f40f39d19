"""What a store says of the files of the seed study that it was made of, for the way back.

A store that was made of none says what it can in the study's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crossdraft.base.fields import Item, shown
from crossdraft.pairs.record import Pair
from crossdraft.pairs.seed_index import Layout, check_order, entry_of
from crossdraft.pairs.seed_states import FORMAT
from crossdraft.pairs.store.manifest import MANIFEST
from crossdraft.pairs.store.store import PairStore

#: What a sample may say beyond what every sample does.
EXTRA = ("event_image_key",)
#: What a folder and a file say of how they were made.
_CONFIG: Mapping[Layout, tuple[str, ...]] = {
    "chunks": ("split", "duration", "quant", "max_questions", "max_new_tokens", "hidden_dim"),
    "single": (
        "split", "duration", "max_questions", "max_new_tokens", "max_samples", "hidden_dim",
        "num_samples", "max_seq_len", "created", "date", "dataset_dir", "questions_file",
    ),
}  # fmt: skip


def is_of_seed(store: PairStore) -> bool:
    """Whether a store was made of files of the seed study."""
    return bool(store.manifest.source.get("format") == FORMAT)


def before_of(store: PairStore, layout: Layout, kept: int) -> list[dict[str, Any]] | None:
    """What the store says of the files that it was made of, if the same pairs are written now.

    Raises:
        InputError: it says what cannot be true.
    """
    source = store.manifest.source
    if not is_of_seed(store) or source.get("layout") != layout:
        return None
    item = _source(store)
    listed = source.get("files")
    if not isinstance(listed, list):
        raise item.error(f"files is {shown(listed)}", "a list of the files it was made of")
    files = [Item(one, item.where, f"source.files[{n}]") for n, one in enumerate(listed)]
    for one in files:
        for key in ("longest", "chunk_id"):
            if one.whole(key, 0) < 0:
                raise one.error(f"{key} is {one.value[key]}", "0 or more")
    if layout == "single":
        if len(files) > 1:
            raise item.error(f"files lists {len(files)}", "one file")
        return [dict(one.value) for one in files] if kept == len(store) else None
    entries = tuple(map(entry_of, files))
    check_order(item.sub("about"), entries)
    if (found := sum(one.pairs for one in entries)) != len(store):
        raise item.error(f"files have {found} pairs", f"{len(store)}, as the store")
    if kept != len(store):
        return None
    # Whatever a manifest says, a chunk is written among the chunks.
    return [{**file.value, "path": entry.path} for file, entry in zip(files, entries, strict=True)]


def about_of(store: PairStore) -> dict[str, Any]:
    """The index that the store was made with, where it was.

    Raises:
        InputError: what stands in its place is none.
    """
    if not is_of_seed(store) or store.manifest.source.get("layout") != "chunks":
        return {}
    about = _source(store).sub("about")
    if about.whole("chunk_size", 1) < 0:
        raise about.error(f"chunk_size is {about.value['chunk_size']}", "1 or more")
    return dict(about.value)


def config_of(store: PairStore, layout: Layout, questions: int, width: int) -> dict[str, Any]:
    """How the states were made, in the study's words; None where the store does not say.

    Raises:
        InputError: what it says is no object, or of other states.
    """
    source = store.manifest.source
    dataset = source.get("dataset")
    known = {**source, **(dataset if isinstance(dataset, dict) else {})}
    if is_of_seed(store):
        item, was = _source(store), source.get("layout")
        known = item.mapping("about")
        if was == "chunks":
            known = item.sub("about").mapping("config")
        if known.get("hidden_dim", width) != width:
            raise item.error(
                f"about says hidden_dim = {shown(known['hidden_dim'])}", f"{width}, as the states"
            )
        if was == layout:
            return dict(known)
    config = {key: known.get(key) for key in _CONFIG[layout]}
    return config | {"max_questions": questions, "hidden_dim": width}


def _source(store: PairStore) -> Item:
    """What the manifest says of the files of the study, for reading field by field."""
    item = Item(store.manifest.source, store.folder / MANIFEST, "source")
    if (layout := item.value.get("layout")) not in ("chunks", "single"):
        raise item.error(f"layout is {shown(layout)}", "chunks or single")
    return item


def created_of(store: PairStore) -> dict[str, Any]:
    """When the study's files were made; now, for those that never were."""
    now = datetime.now()
    known = {"created": now.isoformat(), "date": now.strftime("%Y%m%d")}
    then = store.manifest.provenance.get("source")
    return known | {key: then[key] for key in known if isinstance(then, dict) and key in then}


def extra_of(store: PairStore, pair: Pair) -> dict[str, Any]:
    """What a sample of the study says of a pair beyond what every sample does."""
    keep = pair.extra if is_of_seed(store) else EXTRA
    return {key: pair.extra[key] for key in keep if key in pair.extra}


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
    fields = {key for pair in pairs for key in pair.extra.keys() - extra_of(store, pair).keys()}
    if fields:
        lost.append(f"fields {', '.join(sorted(fields))}")
    return tuple(lost)
