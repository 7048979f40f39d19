"""Reading one file of the seed study's hidden states: a chunk, or the file that holds them all.

It has both models' states over one answer each, both cut to the shorter of the two answers and
padded with zeros: state t emits token t, as everywhere here. It has no token ids. What a file says
twice must agree.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item, shown
from crossdraft.base.safe_load import load_plain

OWN, TARGET, LENGTHS, METADATA = "egpt_hidden", "vl_hidden", "seq_lens", "metadata"
EXPECTED = f"states of the seed study: {OWN}, {TARGET}, {LENGTHS}, {METADATA}"
#: Fields of a sample that have a place in a pair; what else a sample has is kept beside it.
_KNOWN = ("sample_idx", "question_idx", "question", "egpt_text", "vl_text", "seq_len")
#: Everything a file may hold that has a place in a store or follows from what has.
_FIELDS = (OWN, TARGET, LENGTHS, METADATA, "n_samples", "chunk_id", "config")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Sample:
    """What the metadata say of one pair.

    Attributes:
        index: the study's number for the clip.
        question_index, question: as asked.
        own_text, target_text: both answers, whole.
        extra: fields that not every variant has, such as `event_image_key`.
    """

    index: int
    question_index: int
    question: str
    own_text: str | None
    target_text: str | None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Chunk:
    """One file of states.

    Attributes:
        path: the file.
        own: [n, longest, width] of the drafter's answers, zeros behind each.
        target: [n, longest, width] of the target's.
        lengths: states of each pair; the same of both.
        samples: one per pair.
        id: the chunk's own number, where it has one.
        config: what a file that is no chunk says of itself.
        unknown: names of what else the file holds.
    """

    path: Path
    own: Tensor
    target: Tensor
    lengths: tuple[int, ...]
    samples: tuple[Sample, ...]
    id: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def is_states(loaded: Any) -> bool:
    """Whether what a file of torch.save holds is meant as states of the seed study."""
    return isinstance(loaded, Mapping) and (OWN in loaded or TARGET in loaded)


def read_chunk(path: Path) -> Chunk:
    """Read one file; its states come to memory as they are used.

    Raises:
        InputError: missing, damaged (checksums of the archive included), more in it than tensors
            and plain values, or its parts do not fit together.
    """
    loaded = load_plain(path, EXPECTED, mapped=True)
    if not is_states(loaded):
        raise InputError("holds no hidden states", where=path, expected=EXPECTED)
    item = Item(loaded, path, "file")
    own, target = _states(item, OWN), _states(item, TARGET)
    if own.shape != target.shape:
        raise item.error(
            f"{OWN} is {list(own.shape)}, {TARGET} is {list(target.shape)}", "one shape for both"
        )
    count, longest, width = own.shape
    lengths = _lengths(item, count, longest)
    samples = _samples(item, lengths)
    said = item.whole("n_samples", count)
    if said != count:
        raise item.error(f"n_samples is {said}, there are {count} pairs")
    chunk_id = item.whole("chunk_id", 0) if "chunk_id" in loaded else None
    config = _config(item)
    for key, value in (("hidden_dim", width), ("num_samples", count), ("max_seq_len", longest)):
        if config.get(key, value) != value:
            raise item.error(
                f"config says {key} = {shown(config[key])}, the states are {list(own.shape)}"
            )
    unknown = tuple(sorted(str(key) for key in loaded if key not in _FIELDS))
    return Chunk(path, own, target, lengths, samples, chunk_id, config, unknown)


def check_bytes(path: Path) -> None:
    """Hold an archive of torch.save against its checksums; torch does not.

    Raises:
        InputError: a byte of it has changed since it was written, or it is cut.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises many kinds on damaged bytes
        raise InputError("an archive that is cut or damaged", where=path) from error
    if damaged is not None:
        raise InputError(
            f"{PurePath(damaged).name} in it is damaged: its checksum is another",
            where=path,
            expected="the file as it was written",
            hint="copy the file again",
        )


def _states(item: Item, key: str) -> Tensor:
    value = item.value.get(key)
    if not isinstance(value, Tensor) or value.ndim != 3 or value.dtype not in _FLOATS:
        found = f"{list(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "no tensor"
        raise item.error(f"{key} is {found}", "[pairs, longest, width] of float32")
    if not value.shape[2]:
        raise item.error(f"{key} is {list(value.shape)}", "states of a width")
    return value


def _lengths(item: Item, count: int, longest: int) -> tuple[int, ...]:
    value = item.value.get(LENGTHS)
    if not isinstance(value, Tensor) or value.shape != (count,) or value.dtype != torch.int64:
        found = f"{list(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "no tensor"
        raise item.error(f"{LENGTHS} is {found}", f"[{count}] of int64, one per pair")
    lengths: list[int] = value.tolist()
    for place, length in enumerate(lengths):
        if not 0 <= length <= longest:
            raise item.error(f"{LENGTHS}[{place}] is {length}", f"0 to {longest}")
    return tuple(lengths)


def _samples(item: Item, lengths: tuple[int, ...]) -> tuple[Sample, ...]:
    listed = item.value.get(METADATA)
    if not isinstance(listed, list) or len(listed) != len(lengths):
        found = f"has {len(listed)} entries" if isinstance(listed, list) else "is no list"
        raise item.error(f"{METADATA} {found}", f"{len(lengths)}, one per pair")
    return tuple(
        _sample(Item(value, item.where, f"{METADATA}[{place}]"), lengths[place])
        for place, value in enumerate(listed)
    )


def _sample(item: Item, length: int) -> Sample:
    index, question = item.whole("sample_idx", -1), item.whole("question_idx", -1)
    if index < 0 or question < 0:
        raise item.error(f"sample_idx {index}, question_idx {question}", "both, 0 or more")
    said = item.whole("seq_len", length)
    if said != length:
        raise item.error(f"seq_len is {said}", f"{length}, as in {LENGTHS}")
    extra = {key: value for key, value in item.value.items() if key not in _KNOWN}
    for key, value in extra.items():
        if not _is_plain(key, value):
            raise item.error(f"{shown(key)} is {shown(value)}", "text or a number")
    texts = {key: item.text(key) for key in ("question", "egpt_text", "vl_text")}
    for key, text in texts.items():
        if not _is_plain(key, text):
            raise item.error(f"{key} has half a character (a lone surrogate)", "whole characters")
    question_text = texts["question"] or ""
    return Sample(index, question, question_text, texts["egpt_text"], texts["vl_text"], extra)


def _config(item: Item) -> dict[str, Any]:
    """The file's `config`, which is kept: plain values and lists of them."""
    config = item.mapping("config")
    for key, value in config.items():
        values = value if isinstance(value, list) else [value]
        if not all(_is_plain(key, one) for one in values):
            raise item.error(f"config: {shown(key)} is {shown(value)}", "plain values")
    return config


def _is_plain(key: Any, value: Any) -> bool:
    """Whether a field can stand in a file of JSON and be read again."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    try:
        f"{key}{value}".encode()
    except UnicodeEncodeError:
        return False
    return type(key) is str and type(value) in (str, int, float, bool, type(None))
