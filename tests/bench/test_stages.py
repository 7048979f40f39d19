"""Five stages of both models: they stand end to end, mean what they say, and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.clock import now_ms, told_by
from crossdraft.base.errors import InputError
from crossdraft.bench import stages
from crossdraft.bench.stages import StagesConfig, run
from crossdraft.bench.stages_clip import Staged, answered
from crossdraft.bench.stages_group import Failure, Group, summary
from crossdraft.bench.stages_scenes import by_length, chosen, rounded_us
from crossdraft.bench.stages_seed import seed_file
from crossdraft.evaluation.stage_file import read_stage_file
from crossdraft.scenes.scene import SIMULATED, Scene
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair_models import PairModels
from tests.bench.staged import FACTS, Ticking, clip, on_gpu
from tests.pairs.extract.ground import Ground, prepare

QUESTION = "What is ahead?"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepare(tmp_path_factory.mktemp("stages"))


def config(ground: Ground, **changes: Any) -> StagesConfig:
    given: dict[str, Any] = {"clips": 2, "max_new_tokens": 4, "warmup": 1}
    return StagesConfig(ground.pair, (ground.world,), QUESTION, **{**given, **changes})


@pytest.mark.parametrize("role", ["drafter", "target"])
def test_stages_stand_end_to_end(ground: Ground, role: str) -> None:
    (scenes,) = chosen([ground.world], "all", 1)
    with PairModels(ground.pair) as models:
        model = getattr(models, role)
        prompt = model.prompt(scenes[0], QUESTION)
        with told_by(Ticking()):
            began_ms = now_ms()
            one = answered(model, scenes[0], QUESTION, 4)
            took_ms = now_ms() - began_ms
    assert one.prompt_tokens == len(prompt.ids)
    assert len(one.tokens) == 4 and one.text is not None
    assert all(ms > 0 for ms in one.stages_ms)
    # Two looks more: at the beginning, and behind the last token.
    assert one.total_ms == took_ms - 2
    assert one.total_ms == one.first_ms + one.stages_ms[4]
    assert sum(one.stages_ms[:3]) < one.last_pass_ms < one.first_ms
    assert (one.render_ms > 0) == (role == "drafter")
    assert one.render_ms < one.stages_ms[1], "drawing events is preprocessing"


def test_one_run(ground: Ground, tmp_path: Path) -> None:
    outcome = run(config(ground))
    found = outcome.payload
    assert (found["question"], outcome.failed, found["errors"]) == (QUESTION, 0, [])
    assert [one["first"] for one in found["clips"]] == ["drafter", "target"]
    (group,) = found["durations"]
    assert (group["clips"], group["seed_file"]) == (2, "seed.json")
    assert outcome.warnings == (SIMULATED,)
    assert group["peak_memory_bytes"] == {"eventgpt": None, "videollava": None}
    file = tmp_path / "seed.json"
    file.write_text(json.dumps(outcome.seed_files["seed.json"]))
    back = read_stage_file(file, eos=-1)
    assert not any("rendered" in note for note in back.notes), "here it is measured"
    assert (back.pairs.format, len(back.clocks)) == ("benchmark", 2)
    for one, pair in zip(found["clips"], back.pairs.pairs, strict=True):
        for role, tokens, stages_ms in (
            ("drafter", pair.draft_tokens, pair.draft_stages_ms),
            ("target", pair.target_tokens, pair.target_stages_ms),
        ):
            assert tokens == one[role]["tokens"]
            assert stages_ms == pytest.approx(one[role]["stages_ms"])
    for model, means in group["stages"].items():
        for name, value in means.items():
            assert back.stages[model][name] == pytest.approx(value), (model, name)
    json.dumps(found)


def test_means_and_the_free_window() -> None:
    found = summary(Group(500_000, (clip(0), clip(1, slower=3))))
    assert (found["duration"], found["clips"]) == ("500ms", 2)
    assert found["prefill_complete_ms"]["eventgpt"] == {
        "mean": 20.0, "std": pytest.approx(200**0.5)
    }  # fmt: skip
    assert found["stages"]["videollava"]["stage4_ms"]["mean"] == 20.0
    window = found["window"]["from_sensor_data"]
    # After 14 ms the first token of 10 ms and two more, of 2 ms each, are there.
    assert window["until_last_pass_starts"]["tokens"] == {"mean": 3.0, "std": 0.0}
    assert window["until_last_pass_starts"]["ms"]["mean"] == 8.0
    # After 20 ms there would be six, and the answer has five.
    assert window["until_prefill_ends"]["tokens"] == {"mean": 5.0, "std": 0.0}


def test_lengths_without_a_clip_have_no_numbers() -> None:
    found = summary(Group(0, (), (Failure("drive/000000", 0, "target", "cut"),)))
    assert (found["duration"], found["failed"]) == ("unknown", 1)
    assert found["stages"] is found["window"] is None


def test_the_seed_layout_says_what_was_measured_alone() -> None:
    settings: Any = type("Settings", (), {"clips": None, "max_new_tokens": 50})
    failures = [Failure("drive/000002", 2, "drafter", "no such file")]
    found = seed_file([clip(0), clip(1, simulated=True)], failures, FACTS, settings)
    assert set(found) == {
        "timestamp", "datetime", "dataset_name", "config", "gpu_memory", "statistics", "results",
        "errors",
    }  # fmt: skip
    plain, simulated = found["results"]
    assert set(plain) == {"sample_idx", "eventgpt", "videollava"}
    assert set(simulated) == {*plain, "simulated"}
    assert set(plain["videollava"]) == {*plain["eventgpt"], "num_frames"}
    drafter = plain["eventgpt"]
    assert drafter["stage5_time"] == 0.008 and drafter["avg_token_time"] == 0.002
    assert drafter["prefill_complete_time"] == pytest.approx(0.010)
    assert drafter["total_time"] == pytest.approx(0.018)
    assert drafter["gpu_memory_mb"] is None
    assert found["config"]["max_samples"] == -1
    assert found["errors"] == [{"sample_idx": 2, "egpt_error": "no such file", "vl_error": None}]
    assert found["statistics"]["n_samples"] == 2
    assert found["statistics"]["videollava"]["stage1_time_avg"] == 0.002
    assert found["statistics"]["videollava"]["gpu_peak_memory_avg"] is None


def test_memory_of_a_gpu_is_told_in_mib() -> None:
    settings: Any = type("Settings", (), {"clips": 1, "max_new_tokens": 50})
    one = clip(0)
    one = replace(one, drafter=on_gpu(one.drafter, 2**20, 3 * 2**20, 5 * 2**20))
    facts = {**FACTS, "drafter": {**FACTS["drafter"], "memory_bytes": 2**21}}
    found = seed_file([one], [], facts, settings)
    memory = found["results"][0]["eventgpt"]["gpu_memory_mb"]
    assert memory == {"before": 1.0, "after": 3.0, "peak": 5.0, "inference_delta": 2.0}
    assert found["statistics"]["eventgpt"]["gpu_peak_memory_avg"] == 5.0
    assert found["gpu_memory"] == {
        "eventgpt_model_mb": 2.0, "videollava_model_mb": None, "total_models_mb": None
    }  # fmt: skip


def test_a_single_token_leaves_nothing_to_divide(ground: Ground) -> None:
    outcome = run(config(ground, max_new_tokens=1, clips=1, warmup=0))
    answer = outcome.seed_files["seed.json"]["results"][0]["eventgpt"]
    assert (answer["stage5_time"], answer["tokens_per_sec"], answer["avg_token_time"]) == (
        0, None, None,
    )  # fmt: skip
    assert outcome.payload["durations"][0]["stages"]["eventgpt"]["total_ms"]["std"] is None


def test_answers_that_warm_up_do_not_count(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    answer = stages._asked

    def noted(models: PairModels, role: Role, scene: Scene, about: StagesConfig) -> Staged:
        asked.append(role)
        return answer(models, role, scene, about)

    monkeypatch.setattr(stages, "_asked", noted)
    outcome = run(config(ground, max_new_tokens=1, clips=1, warmup=3))
    assert len(outcome.payload["durations"]) == len(outcome.payload["clips"]) == 1
    assert sorted(asked) == ["drafter"] * 4 + ["target"] * 4


def test_lengths_are_rounded_and_scenes_grouped(ground: Ground) -> None:
    assert [rounded_us(us) for us in (1, 49_000, 480_000, 949_999, 1_021_000)] == [
        10_000, 50_000, 480_000, 900_000, 1_000_000,
    ]  # fmt: skip
    (dataset,) = chosen([ground.world], "all", None)
    (length_us,) = by_length([dataset])
    cut = [replace(scene, window_us=(7, 500_007)) for scene in dataset]
    mixed = type(dataset)(cut, dataset.folder, dataset.layout)
    assert {us: len(scenes) for us, scenes in by_length([dataset, mixed]).items()} == dict(
        sorted({length_us: 6, 500_000: 6}.items())
    )


@pytest.mark.parametrize("part", ["events", "video"])
def test_what_cannot_be_measured_is_refused(ground: Ground, tmp_path: Path, part: str) -> None:
    with pytest.raises(InputError, match="no dataset"):
        chosen([], "all", None)
    with pytest.raises(InputError, match="split 'test'"):
        chosen([ground.world], "test", None)
    for changes in ({"clips": 0}, {"max_new_tokens": 0}, {"warmup": -1}):
        with pytest.raises(InputError, match="or more"):
            config(ground, **changes)
    manifest = json.loads((ground.world / "scenes.json").read_text())
    del manifest["scenes"][1][part]
    (tmp_path / "scenes.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"clip .* has no (event stream|video)"):
        chosen([tmp_path], "all", None)


def test_clips_that_fail_are_told_and_the_others_measured(ground: Ground, tmp_path: Path) -> None:
    (dataset,) = chosen([ground.world], "all", 3)
    files = [json.loads((ground.world / "scenes.json").read_text())]
    for entry in files[0]["scenes"]:
        for part in ("events", "video"):
            file = tmp_path / entry[part]["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes((ground.world / entry[part]["file"]).read_bytes())
    (tmp_path / "scenes.json").write_text(json.dumps(files[0]))
    damaged = tmp_path / str(dataset[0].events_file)
    damaged.write_bytes(b"nothing")
    outcome = run(replace(config(ground, clips=3), scenes=(tmp_path,)))
    assert outcome.failed == 1
    (error,) = outcome.payload["errors"]
    assert (error["scene"], error["role"]) == (dataset[0].id, "drafter")
    assert str(damaged) in error["error"]
    assert outcome.payload["durations"][0]["clips"] == 2
    seed = outcome.seed_files["seed.json"]
    assert [one["sample_idx"] for one in seed["results"]] == [1, 2]
    assert seed["errors"][0]["sample_idx"] == 0
    for scene in dataset:
        (tmp_path / str(scene.events_file)).write_bytes(b"nothing")
    with pytest.raises(InputError, match="not one of 3 clips"):
        run(replace(config(ground, clips=3), scenes=(tmp_path,)))
