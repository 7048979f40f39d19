"""Sources of answers to measure: datasets and recorded answers, split, tokenised, refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.evaluation import predictability_source
from crossdraft.evaluation.predictability import predictability
from crossdraft.evaluation.predictability_source import Options, read_source
from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import Pair, PairSet
from crossdraft.scenes.answers import VOICES, Answer, Named, SceneAnswers, Voice, write_answers
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.traffic import Split
from crossdraft.scenes.drive.voices import answers
from crossdraft.scenes.manifest import to_record, write_manifest
from crossdraft.scenes.scene import SIMULATED, Scene
from crossdraft.vlm.bpe import train_bpe


def write_drive(folder: Path, drives: Mapping[Split, int], clips: int = 4) -> Path:
    """A dataset without pictures: truth and answers alone."""
    folder.mkdir(parents=True, exist_ok=True)
    planned = [
        (split, clip)
        for split, count in drives.items()
        for number in range(count)
        for clip in plan_drive(0, split, number, clips)
    ]
    records = [
        to_record(Scene(c.drive, c.number, folder, split=split, simulated=True, truth=c.to_truth()))
        for split, c in planned
    ]
    write_manifest(folder, records, {})
    write_answers(folder, (entry for _, clip in planned for entry in answers(clip)))
    return folder


def test_a_drive_is_split_as_its_manifest_says(tmp_path: Path) -> None:
    source = read_source(write_drive(tmp_path, {"train": 3, "test": 2}), Options())
    (part,) = source.parts
    assert {one.pair.drive for one in part.train} == {f"train-000{n}" for n in range(3)}
    assert {one.pair.drive for one in part.test} == {"test-0000", "test-0001"}
    assert len(part.test) == 2 * 4 * 10
    assert all(one.pair.target_tokens[-1] == 2 for one in part.test)
    assert source.vocabulary is not None
    assert source.vocabulary <= 1500


def test_answers_about_simulated_scenes_say_so(tmp_path: Path) -> None:
    source = read_source(write_drive(tmp_path / "made", {"train": 2, "test": 1}), Options())
    assert source.notes == (SIMULATED,)


def test_camera_tokens_are_those_that_touch_a_camera_only_mark(tmp_path: Path) -> None:
    truth = {"event_visible": {"vehicle": "bus"}, "camera_only": {"colour": "red"}}
    scenes = [Scene(d, 0, tmp_path, split=d, truth=truth) for d in ("train", "test")]
    write_manifest(tmp_path, [to_record(scene) for scene in scenes], {})
    marks = (Named("colour", "red", 2, 5), Named("vehicle", "bus", 6, 9))
    said = Answer("A red bus.", marks)
    write_answers(tmp_path, [SceneAnswers(s.drive, 0, "Q?", {"camera": said}) for s in scenes])
    (part,) = read_source(tmp_path, Options()).parts
    assert [one.camera_tokens for one in part.test] == [1]
    assert len(part.test[0].pair.target_tokens) == 5, "A, red, bus, the full stop, the end"


def test_the_vocabulary_is_learned_from_both_voices_of_the_train_answers(tmp_path: Path) -> None:
    scenes = [Scene(split, 0, tmp_path, split=split) for split in ("train", "test")]
    write_manifest(tmp_path, [to_record(scene) for scene in scenes], {})
    texts = {"train": ("A red bus.", "Someone waits."), "test": ("Quite unheard.", "Zebras jump.")}
    voices: list[dict[Voice, Answer]] = [
        {"camera": Answer(camera), "event": Answer(event)} for camera, event in texts.values()
    ]
    write_answers(
        tmp_path, [SceneAnswers(s.drive, 0, "Q?", v) for s, v in zip(scenes, voices, strict=True)]
    )
    for voice in VOICES:
        source = read_source(tmp_path, Options(voice))
        assert source.vocabulary == train_bpe(texts["train"]).get_vocab_size()
        assert [one.words for one in source.parts[0].train] == [3 if voice == "camera" else 2]


def test_recorded_answers_know_their_words_where_they_bring_a_text(tmp_path: Path) -> None:
    pairs = [
        Pair(f"c/{n}", n, "Q", 0, (7, 8, 2), (5, 6, 6, 2) if n else (5,), "one two", text)
        for n, text in enumerate(["a b c", None, "a b c"])
    ]
    write_pairs(PairSet(tuple(pairs), "made"), tmp_path / "pairs.jsonl")
    for voice, words, ended in (
        ("camera", {3, None}, {True, False}), ("event", {2}, {True}),
    ):  # fmt: skip
        source = read_source(tmp_path / "pairs.jsonl", Options(voice, folds=2, gap=0))  # type: ignore[arg-type]
        tested = [one for part in source.parts for one in part.test]
        assert {one.words for one in tested} == words
        assert {one.ended for one in tested} == ended


def test_a_folder_without_answers_of_any_kind_is_refused(
    tmp_path: Path, extraction_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"neither answers\.jsonl nor recorded answers"):
        read_source(tmp_path, Options())
    recorded = read_source(extraction_file, Options(gap=4))
    monkeypatch.setattr(predictability_source, "_recorded", lambda *_: recorded)
    (tmp_path / "draft_tokens.pt").touch()
    assert read_source(tmp_path, Options()) is recorded, "a folder of tensors"


def test_a_drive_without_a_test_part_is_folded_by_drive(tmp_path: Path) -> None:
    source = read_source(write_drive(tmp_path, {"train": 4}), Options(folds=2))
    assert len(source.parts) == 2
    for part in source.parts:
        assert not {o.pair.drive for o in part.train} & {o.pair.drive for o in part.test}
    assert "2 folds of whole drives" in source.split


def test_the_voice_chooses_the_answers(extraction_file: Path) -> None:
    camera = read_source(extraction_file, Options("camera", gap=4)).parts
    event = read_source(extraction_file, Options("event", gap=4)).parts
    assert camera[0].test[0].pair.target_tokens != event[0].test[0].pair.target_tokens
    assert camera[0].test[0].seen is None


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (Options(vocabulary=20), "--vocabulary"),
        (Options(folds=1), "--folds"),
        (Options(gap=-1), "--gap"),
        (Options(eos=-1), "--eos"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_out_of_range_are_refused(
    extraction_file: Path, options: Options, option: str
) -> None:
    with pytest.raises(InputError, match=option):
        read_source(extraction_file, options)


def test_answers_that_fit_no_scene_or_stand_twice_are_refused(tmp_path: Path) -> None:
    folder = write_drive(tmp_path, {"train": 2}, clips=1)
    good = SceneAnswers("train-0000", 0, "Q?", {"camera": Answer("Hm.")})
    for entries, said in (
        ([SceneAnswers("train-0009", 0, "Q?", good.answers)], "no such scene"),
        ([good, good], "answered twice"),
        (
            [SceneAnswers("train-0000", 0, "Q?", {"event": Answer("Hm.")})],
            "no answer of the camera",
        ),
        ([], "the file is empty"),
    ):
        write_answers(folder, entries)
        with pytest.raises(InputError, match=said):
            read_source(folder, Options())


def test_a_drive_in_both_parts_is_refused(tmp_path: Path) -> None:
    scenes = [Scene("d", n, tmp_path, split=s) for n, s in enumerate(("train", "test"))]
    write_manifest(tmp_path, [to_record(scene) for scene in scenes], {})
    said = Answer("Hm.")
    write_answers(tmp_path, [SceneAnswers("d", n, "Q?", {"camera": said}) for n in range(2)])
    with pytest.raises(InputError, match="drive d is in train and in test"):
        read_source(tmp_path, Options())


def test_the_made_drive_is_as_predictable_as_it_should_be(tmp_path: Path) -> None:
    source = read_source(write_drive(tmp_path, {"train": 24, "test": 8}, clips=5), Options())
    found, _ = predictability(source.parts)
    assert 2.3 <= found["tau"]["value"] <= 3.3
    assert found["position_match"]["value"] <= 0.35
    assert found["camera_tokens"]["value"] >= 0.10
    assert found["gain_seen"]["low"] > 0.02, "twelve points on 80 drives of 20 clips"
    assert found["gain_all"]["value"] > found["gain_seen"]["value"]


def test_recorded_answers(real_answers: Path) -> None:
    found, _ = predictability(read_source(real_answers, Options()).parts)
    assert found["tau"]["value"] == pytest.approx(3.08, abs=0.005)
    assert found["position_match"]["value"] == pytest.approx(0.303, abs=0.001)
