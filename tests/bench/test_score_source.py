"""What is asked of a pair: scenes, their true answers, and who stands in for whom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.bench.score_source import in_place_of, read_asked
from crossdraft.scenes.answers import ANSWERS, Answer, SceneAnswers, read_answers, write_answers
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.vlm.model_spec import ROLES
from tests.evaluation.test_predictability_source import write_drive


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return write_drive(tmp_path, {"train": 2, "test": 3})


@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.randoms())
def test_a_scene_of_another_drive_stands_in_for_each(lengths: list[int], random: object) -> None:
    drives = [f"d{n}" for n, length in enumerate(lengths) for _ in range(length)]
    random.shuffle(drives)  # type: ignore[attr-defined]
    others = in_place_of(drives)
    assert all(drives[place] != drives[other] for place, other in enumerate(others))


def test_in_drives_of_one_length_each_scene_stands_in_once_and_every_drive_for_every_other() -> (
    None
):
    drives = [drive for drive in "abcd" for _ in range(6)]
    others = in_place_of(drives)
    assert sorted(others) == list(range(24))
    assert Counter((a, drives[other]) for a, other in zip(drives, others, strict=True)) == {
        (a, b): 2 for a in "abcd" for b in "abcd" if a != b
    }


def test_the_scenes_of_a_split_with_both_voices(drive: Path) -> None:
    asked = read_asked(drive, "test", ROLES)
    assert sorted(set(asked.drives)) == [f"test-000{n}" for n in range(3)]
    assert len(asked.asked) == len(asked.dataset) == 12
    assert asked.questions == [question.text for question in DEFAULT_QUESTIONS]
    one = asked.asked[5]
    truth = one.scene.truth
    assert one.known("road") == truth["event_visible"]["road"]
    assert one.known("colour") == truth["camera_only"].get("colour")
    assert one.known("smell") is None
    assert [path.name for path in asked.files] == ["scenes.json", "answers.jsonl"]
    assert len(read_asked(drive, "all", ROLES).asked) == 20


def test_fewer_clips_come_evenly_from_all_drives(drive: Path) -> None:
    asked = read_asked(drive, "test", ROLES, 7)
    lengths = Counter(asked.drives)
    assert sum(lengths.values()) == 7 and set(lengths.values()) == {2, 3}
    (clips,) = ([o.scene.clip for o in asked.asked if o.scene.drive == d]
                for d in [min(lengths, key=lambda d: (lengths[d], d))])  # fmt: skip
    assert clips == [0, 2]
    assert len(read_asked(drive, "test", ROLES, 999).asked) == 12


@pytest.mark.parametrize(
    ("split", "clips", "said"),
    [("train", 1, "of 1 drive"), ("nights", None, "no scene of the split 'nights'")],
)
def test_what_leaves_no_controls_is_refused(
    drive: Path, split: str, clips: int | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_asked(drive, split, ROLES, clips)


def test_answers_that_do_not_fit_are_refused(drive: Path) -> None:
    entries = list(read_answers(drive))
    stranger = SceneAnswers("nowhere", 0, "Q?", {"camera": Answer("A car.")})
    deaf = SceneAnswers(entries[0].drive, 0, "Q?", {"camera": Answer("A car.")})
    for added, said in (
        (stranger, "nowhere/000000.*no such scene"),
        (deaf, "no answer of the event voice"),
        (entries[0], "answered twice"),
    ):
        write_answers(drive, [*entries, added])
        with pytest.raises(InputError, match=said):
            read_asked(drive, "test", ROLES)
    write_answers(drive, [*entries, deaf])
    assert read_asked(drive, "all", ["target"]).questions[-1] == "Q?", "the camera voice is there"
    (drive / ANSWERS).unlink()
    with pytest.raises(InputError, match="brings no answers"):
        read_asked(drive, "test", ROLES)
