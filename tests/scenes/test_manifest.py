"""The manifest survives a round trip, and nothing in a damaged one ends in a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.manifest import MANIFEST, read_manifest, to_record, write_manifest
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.seed_layout import SEED_MANIFEST
from tests.fuzz import anything, places, put


def scenes(folder: Path) -> tuple[Scene, ...]:
    return (
        Scene("night", 0, folder, events_file="events/night/000000.h5", simulated=True),
        Scene(
            "thun", 2, folder, "events/thun/000002.h5", "video/thun/000002.mp4",
            window_us=(51_000_000, 52_000_000), sensor=(640, 480), event_count=7, split="train",
            truth={"road": "winding"}, sha256={"video/thun/000002.mp4": "ab"},
        ),
    )  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    made = scenes(tmp_path)
    records = [to_record(made[1], first_frame=4), to_record(made[0])]
    write_manifest(tmp_path, records, {"overlap": 0.5})
    assert read_manifest(tmp_path) == made
    written = json.loads((tmp_path / MANIFEST).read_text())
    assert written["made_with"] == {"overlap": 0.5}
    assert [record["drive"] for record in written["scenes"]] == ["night", "thun"]
    assert written["scenes"][1]["first_frame"] == 4


def test_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"format": "crossdraft-scenes", "version": 2, "scenes": []}')
    with pytest.raises(InputError, match="version 2"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drive": "../x"}, "drive is '../x'"),
        ({"drive": ""}, "drive is ''"),
        ({"clip": -1}, "clip is -1"),
        ({"clip": None}, "clip is None"),
        ({"events": {"file": "/etc/passwd"}}, "inside the dataset's folder"),
        ({"events": {"file": "a/../../b"}}, "inside the dataset's folder"),
        ({"events": {"file": "a", "width": 640}}, "height is None"),
        ({"start_us": 5, "end_us": 5}, "starts at 5"),
        ({"simulated": 1}, "simulated is 1"),
    ],
)
def test_faults_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    record = {**to_record(scenes(tmp_path)[1]), **changes}
    write_manifest(tmp_path, [], {})
    whole = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**whole, "scenes": [record]}))
    with pytest.raises(InputError, match=message) as raised:
        read_manifest(tmp_path)
    assert MANIFEST in str(raised.value) and "scene 0" in str(raised.value)


@pytest.mark.parametrize("layout", ["own", "seed"])
@settings(max_examples=300)
@given(data=st.data())
def test_any_value_anywhere(
    tmp_path_factory: pytest.TempPathFactory, layout: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    if layout == "own":
        name = MANIFEST
        write_manifest(folder, [to_record(scene) for scene in scenes(folder)], {})
        document = json.loads((folder / name).read_text())
    else:
        name = SEED_MANIFEST
        document = [
            {"id": "u", "split": "x_train", "event_data": "a/000001.npy", "video_data": "a/000001",
             "mp4_data": "a/000001.mp4", "event_image": ["a/000001_0.png"], "conversations": []}
        ]  # fmt: skip
    changed = put(document, data.draw(st.sampled_from(places(document))), data.draw(anything))
    (folder / name).write_text(json.dumps(changed))
    try:
        opened = SceneDataset.open(folder)
    except InputError:
        return
    assert len(opened.fingerprint) == 64
    assert all(isinstance(part, str) for scene in opened for part in scene.missing())
