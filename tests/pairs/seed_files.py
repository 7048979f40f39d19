"""The seed study's files of hidden states, small and written by hand, and ways to change them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WIDTH = 16
QUESTIONS = ("What is ahead?", "Ist die Straße naß? 🚗", "Who crosses?")


def samples(count: int, variant: str = "") -> list[dict[str, Any]]:
    """What the metadata say of pairs, three questions to a clip."""
    return [
        {
            "sample_idx": number // 3,
            "question_idx": number % 3,
            "question": QUESTIONS[number % 3],
            "egpt_text": f"drafter {number}",
            "vl_text": f"target {number}",
            **({"event_image_key": "event_image_1f"} if variant == "1f" else {}),
        }
        for number in range(count)
    ]


def chunk(
    lengths: Sequence[int], metadata: Sequence[dict[str, Any]], seed: int = 0, **more: Any
) -> dict[str, Any]:
    """A chunk: the drafter's states are bfloat16 values, the target's float16 ones, both as f32."""
    made = torch.Generator().manual_seed(seed)
    own, target = (torch.zeros(len(lengths), max(lengths, default=0), WIDTH) for _ in range(2))
    for place, length in enumerate(lengths):
        drawn = torch.randn(2, length, WIDTH, generator=made) * 3
        own[place, :length] = (drawn[0] * 1e5).bfloat16().float()
        target[place, :length] = drawn[1].half().float()
    return {
        "egpt_hidden": own,
        "vl_hidden": target,
        "seq_lens": torch.tensor(list(lengths), dtype=torch.int64),
        "metadata": [
            {**one, "seq_len": length} for one, length in zip(metadata, lengths, strict=True)
        ],
        **more,
    }


def write_folder(
    folder: Path, lots: Sequence[Sequence[int]], variant: str = "", gap: int = 0
) -> dict[str, Any]:
    """A folder of chunks; `1f` has the second variant's keys, and gaps between its chunks.

    Returns:
        The index.
    """
    (folder / "chunks").mkdir(parents=True)
    metadata = samples(sum(map(len, lots)), variant)
    entries: list[dict[str, Any]] = []
    start = taken = 0
    for lengths in lots:
        name = f"chunk_{start:06d}.pt"
        data = chunk(
            lengths, metadata[taken : taken + len(lengths)], seed=start,
            chunk_id=start, n_samples=len(lengths),
        )  # fmt: skip
        torch.save(data, folder / "chunks" / name)
        entry = {"path": name, "start_idx": start, "n_samples": len(lengths)}
        entries.append(entry | ({"source_chunk": name} if variant == "1f" else {}))
        taken += len(lengths)
        start += len(lengths) + gap
    config: dict[str, Any] = {
        "split": "test", "duration": "1s", "quant": "4bit", "max_questions": 3,
        "max_new_tokens": 50, "hidden_dim": WIDTH,
    }  # fmt: skip
    if variant == "1f":
        config |= {"event_image_key": "event_image_1f", "source_chunks": "chunked_test_1s_4bit"}
    index = {
        "total_samples": len(metadata),
        "chunk_size": max(map(len, lots)),
        "chunks": entries,
        "config": config,
        "created": "2026-02-06T11:18:00.123456",
    }
    (folder / "index.json").write_text(json.dumps(index, indent=2))
    return index


def write_file(path: Path, lengths: Sequence[int]) -> dict[str, Any]:
    """The file that holds everything."""
    data = chunk(lengths, samples(len(lengths)))
    data["config"] = {
        "split": "train", "duration": "500ms", "max_questions": 3, "max_new_tokens": 50,
        "max_samples": -1, "hidden_dim": WIDTH, "num_samples": len(lengths),
        "max_seq_len": max(lengths), "created": "2026-01-31T10:00:00", "date": "20260131",
        "dataset_dir": "/data/train", "questions_file": "top50.json",
    }  # fmt: skip
    torch.save(data, path)
    return data


def change(path: Path, **fields: Any) -> None:
    """Other fields in a file of torch.save; None removes one."""
    data = torch.load(path, weights_only=True) | fields
    torch.save({key: value for key, value in data.items() if value is not None}, path)


def change_index(folder: Path, **fields: Any) -> None:
    """Other fields in the index; None removes one."""
    path = folder / "index.json"
    index = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in index.items() if v is not None}))


def head_file(path: Path, rows: int, key: str = "lm_head_weight", **more: Any) -> Tensor:
    """A head as the study took it out of its target."""
    weight = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(rows))
    torch.save({key: weight, **more}, path)
    return weight
