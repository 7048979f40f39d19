"""Which questions are asked about which scenes, and what is refused before a model is loaded."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.bench.wallclock.plan import (
    Plan,
    WallclockConfig,
    learned_apart,
    mixed,
    places,
    planned,
    refuse_sizes,
)
from crossdraft.drafters.checkpoint import TrainedOn, save_drafter
from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import Pair, PairSet
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import write_pair
from tests.bench.wallclock.ground import TEXTS, asked, scenes, write_scenes
from tests.make import recorded_pairs
from tests.tiny import built

TEST = scenes(["t0", "t1", "t2"], 4, "test")
OTHERS = scenes(["a", "b", "c", "d"], 3, "train")


def pair(drive: str | None, clip: str = "") -> Pair:
    return Pair(clip or f"clip of {drive}", 0, TEXTS[0], 0, (5,), (6, 7), drive=drive)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> WallclockConfig:
    """Six test questions and four others of a world of seven drives."""
    folder = tmp_path_factory.mktemp("plan")
    world = write_scenes(folder / "world", [*TEST, *OTHERS])
    models = ModelPair.find(str(write_pair(folder)))
    return WallclockConfig(models, world, "suffix", questions=6, validation=4, texts=TEXTS)


def plan(config: WallclockConfig, **changes: Any) -> Plan:
    return planned(replace(config, **changes))


def test_test_drives_are_reported_and_others_calibrate(config: WallclockConfig) -> None:
    found = plan(config)
    assert [(p.part, p.number) for p in found.test] == [("test", n) for n in range(6)]
    assert [p.scene.drive for p in found.test] == ["t0", "t0", "t1", "t1", "t2", "t2"]
    assert [p.question for p in found.test] == list(TEXTS) * 3
    assert [p.number for p in found.validation] == list(range(4))
    assert {p.scene.drive for p in found.validation} == {"d"}
    assert plan(config, validation=0).validation == ()


def test_a_drive_of_both_splits_does_not_calibrate(config: WallclockConfig, tmp_path: Path) -> None:
    both = [replace(scene, clip=9, split="train") for scene in TEST[:1]]
    found = plan(config, scenes=write_scenes(tmp_path, [*TEST, *both, *OTHERS]), validation=20)
    assert {p.scene.drive for p in found.validation} == {"a", "b", "c", "d"}
    with pytest.raises(InputError, match="no validation scene"):
        plan(config, scenes=write_scenes(tmp_path, [*TEST, *both]))


def test_short_drives_calibrate_together(config: WallclockConfig, tmp_path: Path) -> None:
    """Where the last drives have too few clips, more drives are taken."""
    world = write_scenes(tmp_path, [*TEST, *scenes(["a", "b", "c"], 1), *scenes(["d"], 1)])
    found = plan(config, scenes=world, validation=6)
    assert [p.scene.drive for p in found.validation] == ["b", "b", "c", "c", "d", "d"]
    with pytest.raises(InputError, match=r"(?s)9 validation questions.*1 to 8: 4 clips"):
        plan(config, scenes=world, validation=9)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 4), st.data()
)  # fmt: skip
def test_so_many_questions_spread_evenly(clips: list[int], texts: int, data: Any) -> None:
    made = [one for n, count in enumerate(clips) for one in scenes([f"t{n}"], count)]
    count = data.draw(st.integers(1, texts * len(made)))
    questions = [f"question {n}" for n in range(texts)]
    found = places("test", SceneDataset(made, Path("world"), "crossdraft"), questions, count)
    assert [p.number for p in found] == list(range(count))
    assert len({(p.scene.id, p.question) for p in found}) == count
    drives = Counter(p.scene.drive for p in {p.scene.id: p for p in found}.values())
    assert drives.total() == -(-count // texts)
    if len(set(clips)) == 1:
        shares = [drives[f"t{n}"] for n in range(len(clips))]
        assert max(shares) - min(shares) <= 1
    used = len({p.scene.drive for p in found})
    for place in found:
        assert (place.other.drive != place.scene.drive) or used == 1
        assert place.other.id in {p.scene.id for p in found}


def test_clips_that_one_sensor_missed_are_not_asked_about() -> None:
    blind = [replace(TEST[0], video_file=None), replace(TEST[1], events_file=None), TEST[2]]
    dataset = SceneDataset(blind, Path("world"), "crossdraft")
    assert [p.scene.clip for p in places("test", dataset, TEXTS, 2)] == [2, 2]
    with pytest.raises(InputError, match=r"(?s)3 test questions.*1 to 2: 1 clips, 2 questions"):
        places("test", dataset, TEXTS, 3)
    with pytest.raises(InputError, match="0 test questions"):
        places("test", dataset, TEXTS, 0)
    with pytest.raises(InputError, match="no test scene with events and a video"):
        places("test", dataset[:2], TEXTS, 1)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 3))
def test_mixing_keeps_every_question_once_and_in_order(tested: int, held: int, texts: int) -> None:
    questions = [f"question {n}" for n in range(texts)]
    test = asked("test", scenes(["t"], tested), questions)
    validation = asked("validation", scenes(["v"], held), questions)
    order = mixed(test, validation)
    assert [p for p in order if p.part == "test"] == test
    assert [p for p in order if p.part == "validation"] == validation
    assert len(order) == len(test) + len(validation)
    clips = [p.scene.id for p in order][::texts]
    assert [p.scene.id for p in order] == [clip for clip in clips for _ in range(texts)]
    if held and tested % held == 0:  # as many test clips before each, one more or less
        before = [i - n for n, i in enumerate(i for i, c in enumerate(clips) if c[0] == "v")]
        gaps = [b - a for a, b in pairwise(before)]
        assert all(abs(gap - tested // held) <= 1 for gap in gaps)


def test_learned_answers_stay_apart(config: WallclockConfig, tmp_path: Path) -> None:
    held = asked("validation", scenes(["d"], 1))
    test = asked("test", TEST)
    pairs = (pair("a"), pair("d"), pair("b"), pair("d", "another"))
    assert learned_apart(pairs, test, held) == (pairs[0], pairs[2])
    with pytest.raises(InputError, match="answers of the test drive t1"):
        learned_apart((*pairs, pair("t1")), test, held)
    with pytest.raises(InputError, match="unnamed drives"):
        learned_apart((*pairs, pair(None)), test, held)
    file = tmp_path / "pairs.jsonl"
    write_pairs(PairSet(pairs, "own"), file)
    assert [p.drive for p in plan(config, learn_from=file).learned] == ["a", "b"]


@pytest.mark.parametrize(
    ("configs", "why"),
    [
        ("falcon", "no drafter is called 'falcon'"),
        ("seed-procedure=falcon", "no drafter is called 'falcon'"),
        ("suffix+falcon+overlap", "no drafter is called 'falcon'"),
        ("translator", "train"),
        ("suffix+shuffled", "shuffled behind suffix, which does not read"),
        ("suffix+overlap", "overlap behind suffix, which does not read"),
        ("seed-procedure=suffix+shuffled", "shuffled behind suffix, which does not read"),
    ],
)
def test_drafters_are_refused_before_models_are_loaded(
    config: WallclockConfig, monkeypatch: pytest.MonkeyPatch, configs: str, why: str
) -> None:
    def loads(*_: Any) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(PairModels, "_model", loads)
    with pytest.raises(InputError, match=why):
        plan(config, configs=configs)


def test_no_test_drives(config: WallclockConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scene of the split 'test'"):
        plan(config, scenes=write_scenes(tmp_path, OTHERS))


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"rounds": 0}, "--alternations"),
        ({"warmup": -1}, "--warmup"),
        ({"max_new_tokens": 0}, "--max-new-tokens"),
        ({"kth": 0}, "--kth"),
        ({"validation": -1}, "--validation"),
        ({"threads": 0}, "--threads"),
    ],
)
def test_sizes(config: WallclockConfig, changes: dict[str, int], option: str) -> None:
    refuse_sizes(config)
    with pytest.raises(InputError) as caught:
        refuse_sizes(replace(config, **changes))  # type: ignore[arg-type]
    assert caught.value.where == option


def test_a_checkpoint_of_a_test_drive_is_refused(config: WallclockConfig, tmp_path: Path) -> None:
    pairs = recorded_pairs(8)
    for drives in (("a", "t1"), ("a", "b")):
        seen = TrainedOn(drives=drives)
        save_drafter(built("translator", pairs), tmp_path / "best_model.safetensors", seen)
        wanted = f"suffix+{tmp_path}"
        if "t1" in drives:
            with pytest.raises(InputError, match="was trained on the test drive t1"):
                plan(config, configs=wanted)
        else:
            assert plan(config, configs=wanted).configurations[1].drafter == wanted


def test_an_event_model_that_was_tuned_on_a_test_drive_is_refused(config: WallclockConfig) -> None:
    tuned = config.pair.drafter.place("drafter") / "tuned.json"
    seen = {"clips": [], "drives": ["a", "t1"]}
    tuned.write_text(json.dumps({"format": "crossdraft.tuned/1", "trained_on": seen}))
    try:
        for asking in ("drafter-text", "drafter-only"):
            with pytest.raises(InputError, match="was tuned on the test drive t1"):
                plan(config, configs=asking)
        assert plan(config, configs="suffix").configurations, "nobody asks it"
    finally:
        tuned.unlink()
