"""The embedded pair's training: what is read, that it learns, that it can be killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress
from crossdraft.drafters.trainable import IGNORE
from crossdraft.scenes.answers import read_answers, write_answers
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.drive.words import named_in
from crossdraft.scenes.synth import plan_synth, run_synth
from crossdraft.scenes.synth_settings import SynthSettings
from crossdraft.training.embedded import material as module
from crossdraft.training.embedded.course import EmbeddedCourse
from crossdraft.training.embedded.folder import WEIGHTS, write_weights
from crossdraft.training.embedded.material import Material, read_material
from crossdraft.training.embedded.models import PATCH, SIDE
from crossdraft.training.embedded.plan import EmbeddedPlan, smoke_plan
from crossdraft.training.embedded.side import Side
from crossdraft.training.embedded.sight import SightCourse
from crossdraft.training.embedded.train import HISTORY, train_side
from crossdraft.training.embedded.vocabulary import embedded_vocabulary
from crossdraft.training.epochs import STATE
from crossdraft.training.settings import TrainSettings
from crossdraft.vlm.model_spec import Role

PLAN = smoke_plan(0)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drives of two clips, small and coarse."""
    folder = tmp_path_factory.mktemp("scenes")
    settings = SynthSettings(seed=0, size=56, events_fps=20)
    run_synth(plan_synth(folder, settings, drives=3, clips_per_drive=2, split="train"))
    return folder


@pytest.fixture(scope="module")
def drafter(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Material]:
    side = Side.start("drafter", tmp_path_factory.mktemp("drafter"), 0)
    return side, read_material(side, scenes, val_share=0.3, most_val=2)


def test_validation_drives_are_others(scenes: Path, drafter: tuple[Side, Material]) -> None:
    side, material = drafter
    assert (len(material.train), len(material.val)) == (4, 2)
    pictures: dict[str, list[Any]] = {drive: [] for drive in SceneDataset.open(scenes).drives}
    for scene in SceneDataset.open(scenes):
        pictures[scene.drive].append(side.shown(scene)[0])
    held = [
        drive
        for drive, shown in pictures.items()
        for one in shown
        if any(np.array_equal(one, clip.pictures) for clip in material.val)
    ]
    assert len(held) == 2
    assert len(set(held)) == 1


def test_mentions_are_the_tokens_of_named_words(
    scenes: Path, drafter: tuple[Side, Material]
) -> None:
    _, material = drafter
    words = embedded_vocabulary()
    texts = {
        words.decode(list(turn.answer[:-1])): (turn, mentions)
        for clip in (*material.train, *material.val)
        for turn, mentions in zip(clip.turns, clip.mentions, strict=True)
    }
    found = 0
    for entry in read_answers(scenes):
        answer = entry.answers["event"]
        turn, mentions = texts[answer.text]
        assert [m.attribute for m in mentions] == [name.attribute for name in answer.names]
        for name, mention in zip(answer.names, mentions, strict=True):
            said = words.decode(list(turn.answer[mention.start : mention.stop])).strip()
            # A token may hold the punctuation behind a word, too.
            assert said.startswith(answer.text[name.start : name.end]), (answer.text, name)
            found += 1
    assert found > 50


@pytest.fixture(scope="module")
def target(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Material]:
    side = Side.start("target", tmp_path_factory.mktemp("target"), 0)
    return side, read_material(side, scenes, val_share=0.3, most_val=2)


def test_the_target_learns_from_repainted_clips(
    scenes: Path, target: tuple[Side, Material]
) -> None:
    """Pictures, truth and answers agree; validation stays as it was filmed."""
    side, material = target
    texts = {a.answers["camera"].text for a in read_answers(scenes)}
    words = embedded_vocabulary()
    new = 0
    for place, clip in enumerate((*material.val, *material.train)):
        said = [words.decode(list(turn.answer[:-1])) for turn in clip.turns]
        if place < len(material.val):
            assert set(said) <= texts
        new += not set(said) <= texts
        paints = {clip.truth[name] for name in ("colour", "second colour") if name in clip.truth}
        for text in said:
            assert named_in(text).get("colour", set()) <= paints
    assert new
    shown = [side.shown(scene)[0] for scene in SceneDataset.open(scenes)]
    assert all(any(np.array_equal(clip.pictures, one) for one in shown) for clip in material.val)
    painted = [clip for clip in material.train if "colour" in clip.truth]
    assert not all(any(np.array_equal(clip.pictures, one) for one in shown) for clip in painted)
    again = read_material(side, scenes, val_share=0.3, most_val=2)
    other = read_material(side, scenes, val_share=0.3, most_val=2, seed=1)
    assert again.digest == material.digest != other.digest


def test_kinds_and_paints_are_misread_and_one_of_them_unasked(
    target: tuple[Side, Material],
) -> None:
    side, material = target
    course = EmbeddedCourse(side, material, PLAN.settings["target"], PLAN.pace["target"])
    clip = next(clip for clip in material.train if "colour" in clip.truth)
    turns = [list(range(len(clip.turns)))]
    plain = course._read([clip], turns)
    assert plain.watched["vehicle"] and plain.watched["colour"]
    for hidden in ("vehicle", "colour", "none"):
        torch.manual_seed(0)
        read = course._read([clip], turns, [frozenset({hidden})])
        for name in ("vehicle", "colour"):
            for at in plain.watched[name]:
                assert (int(read.packed.labels[at]) == IGNORE) == (name == hidden)
        asked = read.packed.labels != IGNORE
        assert torch.equal(read.packed.labels[asked], plain.packed.labels[asked])
        assert asked.sum() > 0.7 * (plain.packed.labels != IGNORE).sum()
        assert torch.equal(read.seen, plain.seen)
        assert not torch.equal(read.packed.ids, plain.packed.ids)
    # Validation reads what it has said.
    batch = next(course._held_out())
    assert all(int(batch.packed.labels[at]) != IGNORE for at in batch.watched["vehicle"])


def test_training_batches_are_misread_and_leave_out(target: tuple[Side, Material]) -> None:
    side, material = target
    held = tuple(replace(c, left_out=("",) if "colour" in c.truth else ()) for c in material.train)
    left = replace(material, train=held)
    course = EmbeddedCourse(side, left, PLAN.settings["target"], PLAN.pace["target"])
    torch.manual_seed(0)
    exchanged, asked = 0, {"vehicle": set[bool](), "colour": set[bool]()}
    for batch in (one for _ in range(8) for one in course.batches(0)):
        labels, ids = batch.packed.labels, batch.packed.ids
        rows: dict[str, dict[int, bool]] = {name: {} for name in asked}
        for name, told in rows.items():
            for row, at in batch.watched[name]:
                told[row] = int(labels[row, at]) != IGNORE
                exchanged += told[row] and int(labels[row, at]) != int(ids[row, at + 1])
            asked[name] |= set(told.values())
        both = rows["vehicle"].keys() & rows["colour"].keys()
        assert all(rows["vehicle"][row] != rows["colour"][row] for row in both)
    assert exchanged and asked == {"vehicle": {False, True}, "colour": {False, True}}


def test_every_clip_is_read_equally_often(drafter: tuple[Side, Material]) -> None:
    side, material = drafter
    course = EmbeddedCourse(side, material, PLAN.settings["drafter"], PLAN.pace["drafter"])
    read = [course._order[number] for number in range(3 * len(material.train))]
    for start in range(0, len(read), len(material.train)):
        assert sorted(read[start : start + len(material.train)]) == list(range(4))
    # Wherever a resumed run begins, it reads what the uninterrupted one does.
    fresh = EmbeddedCourse(side, material, PLAN.settings["drafter"], PLAN.pace["drafter"])
    assert [fresh._order[number] for number in range(5, 9)] == read[5:9]


def test_watched_places_are_labels_of_named_words(drafter: tuple[Side, Material]) -> None:
    side, material = drafter
    course = EmbeddedCourse(side, material, PLAN.settings["drafter"], PLAN.pace["drafter"])
    torch.manual_seed(0)
    batch = next(course.batches(0))
    words = embedded_vocabulary()
    labels = batch.packed.labels
    vehicles = [words.id_to_token(int(labels[at])) for at in batch.watched["vehicle"]]
    assert vehicles
    kinds = {"▁car", "▁truck", "▁bus", "▁motorcycle", "▁bicycle", "▁person", "▁pedestrian"}
    assert set(vehicles) <= kinds
    assert all(labels[at] != IGNORE for places in batch.watched.values() for at in places)


@pytest.mark.parametrize("role", ["target", "drafter"])
def test_it_learns(scenes: Path, tmp_path: Path, role: Role) -> None:
    trained = train_side(role, tmp_path, scenes, PLAN)
    losses = [record["train_loss"] for record in trained.history]
    assert losses[-1] < losses[0] - 0.5
    assert (tmp_path / role / WEIGHTS).is_file()
    assert (tmp_path / role / HISTORY).is_file()


def test_a_killed_training_ends_in_the_same_weights(scenes: Path, tmp_path: Path) -> None:
    whole = train_side("drafter", tmp_path / "whole", scenes, PLAN)

    def kill(_: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_side("drafter", tmp_path / "parts", scenes, PLAN, on_epoch=kill)
    again = train_side("drafter", tmp_path / "parts", scenes, PLAN)
    assert len(again.history) == len(whole.history)
    one, other = (load_file(trained.folder / WEIGHTS) for trained in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
    # Another seed is another training, and is refused in the same folder.
    before = (tmp_path / "parts" / "training" / "drafter" / STATE).read_bytes()
    with pytest.raises(InputError, match="started with other options"):
        train_side("drafter", tmp_path / "parts", scenes, smoke_plan(1))
    assert (tmp_path / "parts" / "training" / "drafter" / STATE).read_bytes() == before


@pytest.fixture
def read_before(drafter: tuple[Side, Material], monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are not read anew for every training."""
    monkeypatch.setattr(
        "crossdraft.training.embedded.train.read_material", lambda *_, **__: drafter[1]
    )


@pytest.mark.usefixtures("read_before")
def test_a_tower_killed_in_its_lesson_goes_on(scenes: Path, tmp_path: Path) -> None:
    plan = _short(sight=2, answers=1)
    whole = train_side("drafter", tmp_path / "whole", scenes, plan)
    stages: list[str] = []

    def kill(progress: Progress) -> None:
        if progress.stage == "epoch 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_side("drafter", tmp_path / "parts", scenes, plan, sink=kill)
    again = train_side(
        "drafter", tmp_path / "parts", scenes, plan, sink=lambda one: stages.append(one.stage)
    )
    assert [len(one.sight) for one in (whole, again)] == [2, 2]
    epochs = list(dict.fromkeys(stage for stage in stages if stage.startswith("epoch ")))
    assert epochs == ["epoch 2", "epoch 1"], "the tower's second pass, then the model's only one"
    one, other = (load_file(trained.folder / WEIGHTS) for trained in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("read_before")
def test_the_best_weights_are_written_and_not_the_last(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First epochs are made the best ones, of the tower and of the whole model."""
    after: dict[str, list[dict[str, torch.Tensor]]] = {"tower": [], "model": []}
    read: list[dict[str, torch.Tensor]] = []
    networks: list[Any] = []

    def scripted(kind: str) -> Any:
        def validate(course: Any) -> dict[str, float]:
            network = course.side.tower if kind == "tower" else course.side.network
            after[kind].append({n: v.detach().clone() for n, v in network.state_dict().items()})
            return {"val_loss": float(len(after[kind]))}

        return validate

    begin = EmbeddedCourse.__init__

    def begun(course: EmbeddedCourse, side: Side, *given: Any) -> None:
        networks.append(side.network)
        read.append({name: v.detach().clone() for name, v in side.tower.state_dict().items()})
        begin(course, side, *given)

    monkeypatch.setattr(SightCourse, "validate", scripted("tower"))
    monkeypatch.setattr(EmbeddedCourse, "validate", scripted("model"))
    monkeypatch.setattr(EmbeddedCourse, "__init__", begun)
    trained = train_side("drafter", tmp_path, scenes, _short(sight=2, answers=2))
    assert trained.best_epoch == 1 and len(trained.history) == 2
    first, last = after["tower"]
    assert all(torch.equal(read[0][name], value) for name, value in first.items())
    assert not all(torch.equal(first[name], value) for name, value in last.items())
    files = [trained.folder / WEIGHTS]
    for number, state in enumerate(after["model"]):
        folder = tmp_path / f"epoch{number}"
        folder.mkdir()
        write_weights(folder, networks[0], state)
        files.append(folder / WEIGHTS)
    written, of_first, of_last = (load_file(file) for file in files)
    assert all(torch.equal(value, of_first[name]) for name, value in written.items())
    assert not all(torch.equal(value, of_last[name]) for name, value in written.items())


def _short(sight: int, answers: int) -> EmbeddedPlan:
    """The short form with other numbers of epochs."""

    def with_epochs(of: Mapping[Role, TrainSettings], epochs: int) -> dict[Role, TrainSettings]:
        update = {"num_epochs": epochs, "early_stopping": epochs}
        return {role: one.model_copy(update=update) for role, one in of.items()}

    return replace(
        PLAN, sight=with_epochs(PLAN.sight, sight), settings=with_epochs(PLAN.settings, answers)
    )


def test_a_patch_belongs_to_the_nearer_one_and_not_to_a_sliver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = [0.0, 0.0, 2.0, 2.0]
    near = [1.0, 0.0, 3.2, 3.0]  # a fifth of a patch further
    dot = [5.1, 5.1, 5.3, 5.3]  # small, and wholly in one patch
    moments = [[far, near], [near, far], [dot, [0.0] * 4]]

    world: Any = None
    monkeypatch.setattr(module, "boxes", lambda *_: PATCH * np.array(moments, np.float32))
    found = module._owners(world, np.zeros(3)).reshape(3, SIDE // PATCH, -1)
    wanted = np.zeros_like(found)
    for moment, (of_far, of_near) in enumerate(((1, 2), (2, 1))):
        wanted[moment, :2, 0] = of_far
        wanted[moment, :3, 1:3] = of_near
    wanted[2, 5, 5] = 1
    np.testing.assert_array_equal(found, wanted)


def test_a_dataset_without_enough_drives_is_refused(
    scenes: Path, drafter: tuple[Side, Material], tmp_path: Path
) -> None:
    side, _ = drafter
    one = tmp_path / "one"
    settings = SynthSettings(seed=0, size=56, events_fps=20)
    run_synth(plan_synth(one, settings, drives=1, clips_per_drive=1, split="train"))
    with pytest.raises(InputError, match="training scenes of 1 drives"):
        read_material(side, one, val_share=0.3, most_val=2)
    entries = [
        replace(entry, answers={"camera": entry.answers["camera"]})
        for entry in read_answers(scenes)
    ]
    kept = (scenes / "answers.jsonl").read_bytes()
    try:
        write_answers(scenes, entries)
        with pytest.raises(InputError, match="no answer of the event voice"):
            read_material(side, scenes, val_share=0.3, most_val=2)
    finally:
        (scenes / "answers.jsonl").write_bytes(kept)
