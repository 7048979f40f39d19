"""The seed study's dataset folders, written so that its own programs read them.

`event_npy/<drive>/<clip>.npy`, `event_image/<drive>/<clip>_<i>.png`,
`event_image_1f/<drive>/<clip>_0.png`, `mp4/<drive>/<clip>.mp4` and a manifest; names of files in
the manifest are relative to the folder of their kind.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from crossdraft.base.files import write_json
from crossdraft.scenes.cut_windows import Window
from crossdraft.scenes.seed_layout import SEED_MANIFEST
from crossdraft.scenes.units import format_duration

#: Made once; ids are the same whenever a manifest is written, unlike the seed study's own.
_IDS = uuid.UUID("6a3f2b52-5d0e-4f0a-9d1c-0c6f5f9be3a7")


def seed_folder(split: str, duration_us: int) -> str:
    """Where the seed study keeps the clips of a duration."""
    duration = format_duration(duration_us)
    if split == "train":
        return f"my_egpt_dsec_train/my_egpt_dsec_train_{duration}"
    return f"my_egpt_dsec_test/my_egpt_dsec_seq_{duration}"


def seed_extra(window: Window, event_count: int) -> dict[str, int | float | list[int]]:
    """What an event file of the seed study holds beside its events."""
    return {
        "time_start": window.start_us,
        "time_end": window.end_us,
        "duration_ms": (window.end_us - window.start_us) / 1000,
        "image_timestamp": window.end_us,
        "image_idx": window.first_frame,
        "image_indices_in_clip": list(
            range(window.first_frame, window.first_frame + window.frames)
        ),
        "num_events": event_count,
    }


def write_seed_manifest(folder: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write `EventGPT_Instruction_Subset.json` from manifest records, sorted by drive and clip.

    Answers are empty, as the seed study leaves them; `mp4_data` stands only where a video does.
    """
    ordered = sorted(records, key=lambda record: (record["drive"], record["clip"]))
    write_json(folder / SEED_MANIFEST, [_entry(record, folder.name) for record in ordered])


def _entry(record: Mapping[str, Any], split: str) -> dict[str, Any]:
    stem = f"{record['drive']}/{record['clip']:06d}"
    entry: dict[str, Any] = {"id": str(uuid.uuid5(_IDS, f"{split}/{stem}")), "split": split}
    if "events" in record:
        entry["event_data"] = f"{stem}.npy"
    entry["video_data"] = stem
    if "video" in record:
        entry["mp4_data"] = f"{stem}.mp4"
    for name, files in record.get("event_frames", {}).items():
        entry[name] = [PurePosixPath(file).relative_to(name).as_posix() for file in files]
    speakers = ("human", "gpt")
    entry["conversations"] = [{"from": speaker, "value": ""} for speaker in speakers]
    return entry
