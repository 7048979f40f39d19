"""The first lesson of a tower: labels say who is where, and it learns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossdraft.drafters.trainable import IGNORE
from crossdraft.training.embedded.clip_order import ClipOrder
from crossdraft.training.embedded.material import Clip, Material
from crossdraft.training.embedded.models import PATCH, SIDE
from crossdraft.training.embedded.plan import smoke_plan
from crossdraft.training.embedded.side import Side
from crossdraft.training.embedded.sight import Looked, SightCourse
from crossdraft.training.epochs import run_epochs

SETTINGS = smoke_plan(0).sight["drafter"]
CELLS = SIDE // PATCH


def _clip(number: int, colour: str) -> Clip:
    """A square of one colour, the owner of the patch that it fills."""
    rng = np.random.default_rng(number)
    pictures = np.full((5, SIDE, SIDE, 3), 255, np.uint8)
    owners = np.zeros((5, CELLS, CELLS), np.int64)
    for frame in range(5):
        row, column = rng.integers(0, CELLS, 2).tolist()
        down, across = row * PATCH, column * PATCH
        paint = {"red": (255, 0, 0), "blue": (0, 0, 255)}[colour]
        pictures[frame, down : down + PATCH, across : across + PATCH] = paint
        owners[frame, row, column] = 1
    truth = {"motion": colour, "vehicle": "car" if colour == "red" else "bus"}
    return Clip(pictures, (), truth, owners.reshape(5, -1), ())


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Side:
    return Side.start("drafter", tmp_path_factory.mktemp("drafter"), 0)


def _course(side: Side, clips: int, epochs: int) -> SightCourse:
    made = tuple(_clip(number, ("red", "blue")[number % 2]) for number in range(clips))
    settings = SETTINGS.model_copy(
        update={"num_epochs": epochs, "early_stopping": epochs, "batch_size": 8}
    )
    return SightCourse(side, Material(made, made[:4], "made"), settings, clips)


def test_labels_are_those_of_whoever_is_in_the_patch(side: Side) -> None:
    course = _course(side, 4, 1)
    clips = course.material.train
    looked = course._looked(clips, [0, 1, 2, 3])
    names = list(course._patch)
    assert names == ["owner", "vehicle", "motion"]
    for row, (clip, frame) in enumerate(zip(clips, range(4), strict=True)):
        owned = clip.owners[frame] == 1
        assert looked.labels[0][row].tolist() == clip.owners[frame].tolist()
        for head in (1, 2):
            known = course._patch[names[head]]
            labels = looked.labels[head][row]
            assert (labels[torch.from_numpy(~owned)] == IGNORE).all()
            value = known[int(labels[torch.from_numpy(owned)][0])]
            assert value == clip.truth[names[head]]


def test_patches_of_the_second_road_user_tell_of_the_second(side: Side) -> None:
    course = _course(side, 2, 1)
    red = course.material.train[0]
    truth = {**red.truth, "second motion": "blue", "second vehicle": "bus"}
    looked = course._looked([replace(red, owners=2 * red.owners, truth=truth)], [0])
    (place,) = np.flatnonzero(red.owners[0]).tolist()
    told = {
        name: known[int(looked.labels[head][0, place])]
        for head, (name, known) in enumerate(course._patch.items())
    }
    assert told == {"owner": "second", "vehicle": "bus", "motion": "blue"}


def test_what_is_hidden_is_not_asked_for(side: Side) -> None:
    made = tuple(_clip(number, ("red", "blue")[number % 2]) for number in range(8))
    truths = [{"colour": clip.truth["motion"], "vehicle": clip.truth["vehicle"]} for clip in made]
    seen = tuple(
        replace(clip, truth=truth, left_out=("",)) for clip, truth in zip(made, truths, strict=True)
    )
    course = SightCourse(side, Material(seen, seen[:4], "made"), SETTINGS, 8)
    names = [*course._patch, *(f"whole {name}" for name in course._whole)]
    assert names == ["owner", "vehicle", "colour", "whole colour", "whole vehicle"]
    for hidden in ("vehicle", "colour"):
        looked = course._looked(seen, [0] * 8, [frozenset({hidden})] * 8)
        for name, labels in zip(names, looked.labels, strict=True):
            assert bool((labels == IGNORE).all()) == (name.removeprefix("whole ") == hidden)
    torch.manual_seed(0)
    for _ in range(6):
        for batch in course.batches(0):
            told = [(batch.labels[head] != IGNORE).flatten(1).any(1) for head in (1, 2)]
            assert not (told[0] & told[1]).any(), "nobody is told both"
            assert (told[0] | told[1]).all()
    plain = course._looked(seen[:4], [0, 1, 2, 3])
    assert all((labels != IGNORE).any() for labels in plain.labels)


def test_validation_looks_at_frames_of_every_time(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tuple(_clip(number, ("red", "blue")[number % 2]) for number in range(7))
    course = SightCourse(side, Material(made[:2], made, "made"), SETTINGS, 2)
    looked, frames = course._looked, list[int]()

    def seen(clips: Sequence[Clip], chosen: Sequence[int]) -> Looked:
        frames.extend(chosen)
        return looked(clips, chosen)

    monkeypatch.setattr(course, "_looked", seen)
    course.validate()
    assert len(frames) == 7 and set(frames) == set(range(5))
    first = list(frames)
    course.validate()
    assert frames[7:] == first, "the same ones in every epoch"


def test_patches_count_as_much_as_the_whole_frame(side: Side) -> None:
    course = _course(side, 4, 1)
    labels = course._looked(course.material.train, [0, 0, 0, 0]).labels
    patches = len(course._patch)
    assert patches == 3 and len(labels) == 5
    # Wrong by the same measure in one head of each: a third of one side, half of the other.
    sure = [torch.nn.functional.one_hot(told.clamp_min(0), 3) * 20.0 for told in labels]
    whole = course._loss([*sure[:4], torch.zeros_like(sure[4])], labels)
    patch = course._loss([torch.zeros_like(sure[0]), *sure[1:]], labels)
    assert float(patch) == pytest.approx(np.log(3) / 3 / 2, abs=1e-4)
    assert float(whole) == pytest.approx(np.log(3) / 2 / 2, abs=1e-4)
    # Where patches tell nothing, the whole counts alone.
    nothing = [torch.full_like(told, IGNORE) for told in labels[:3]] + list(labels[3:])
    assert float(course._loss([*sure[:4], torch.zeros_like(sure[4])], nothing)) == pytest.approx(
        np.log(3) / 2, abs=1e-4
    )


def test_a_tower_learns_what_is_where(side: Side) -> None:
    course = _course(side, 32, 8)
    progression = run_epochs(course, course.settings)
    first, last = progression.history[0], progression.history[-1]
    assert last["val_loss"] < 0.5 * first["val_loss"]
    assert last["val_motion"] == 1.0


def test_only_the_tower_is_the_models_own(side: Side) -> None:
    before = {name: value.clone() for name, value in side.network.state_dict().items()}
    course = _course(side, 8, 1)
    run_epochs(course, course.settings)
    changed = {
        name
        for name, value in side.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed
    assert all(name.startswith("model.vision_tower.") for name in changed)


def test_another_lesson_is_another_fingerprint(side: Side) -> None:
    one, other = _course(side, 8, 1), _course(side, 8, 2)
    assert one.fingerprint() == _course(side, 8, 1).fingerprint() != other.fingerprint()
    material = replace(one.material, digest="other")
    assert SightCourse(side, material, one.settings, 8).fingerprint() != one.fingerprint()


def test_order_can_be_entered_anywhere(tmp_path: Path) -> None:
    order = ClipOrder(5, seed=1)
    read = [order[number] for number in range(20)]
    assert [ClipOrder(5, seed=1)[number] for number in range(20)] == read
    assert all(sorted(read[start : start + 5]) == list(range(5)) for start in range(0, 20, 5))
    assert read[:5] != read[5:10]
