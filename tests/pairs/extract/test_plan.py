"""What is checked before a model is loaded, and what makes two calls the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.pairs.extract.estimate import Measured, most_bytes
from crossdraft.pairs.extract.finish import begin
from crossdraft.pairs.extract.ranks import rank_of
from crossdraft.pairs.extract.settings import Keep
from crossdraft.pairs.extract.team import threads_of, workers_here
from crossdraft.pairs.extract.work import How, Work
from crossdraft.vlm import shipped
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.tuned import TUNED
from tests.bench.tiny_pair import write_pair
from tests.pairs.extract.ground import Ground


def test_a_shard_holds_whole_clips(ground: Ground, tmp_path: Path) -> None:
    plan = ground.plan(tmp_path, chunk_size=5)
    assert [list(plan.clips(shard)) for shard in range(plan.shards)] == [[0, 1], [2, 3], [4, 5]]
    plan = ground.plan(tmp_path, chunk_size=1)
    assert (plan.shards, plan.clips_per_shard, plan.pairs) == (6, 1, 12)
    plan = ground.plan(tmp_path, chunk_size=8)
    assert [len(plan.clips(shard)) for shard in range(plan.shards)] == [4, 2]


def test_fewer_clips_are_as_many_of_each_drive(ground: Ground, tmp_path: Path) -> None:
    plan = ground.plan(tmp_path, max_samples=4)
    assert [scene.drive for scene in plan.scenes] == ["train-0000"] * 2 + ["train-0001"] * 2


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("last", ["forced", "own", "target"]),
        ("none", []),
        ("layers:1", ["forced", "forced@1", "own", "own@1", "target", "target@1"]),
        ("layers:target.2,target.0", ["forced", "own", "target", "target@0", "target@2"]),
        ("layers:drafter.2, drafter.2", ["forced", "forced@2", "own", "own@2", "target"]),
    ],
)
def test_which_states_are_kept(states: str, expected: list[str]) -> None:
    assert [kind.name for kind in Keep.parse("both", states, "bf16", 0).kinds] == expected


@pytest.mark.parametrize("states", ["first", "layers", "layers:", "layers:a", "layers:x.1", "1"])
def test_states_that_mean_nothing(states: str) -> None:
    with pytest.raises(InputError, match="--states"):
        Keep.parse("both", states, "bf16", 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": Keep.parse("both", "layers:9", "bf16", 0)}, "layer 9 of the target, which has 2"),
        ({"keep": Keep.parse("both", "last", "bf16", 10**6)}, "--top-logits: 1000000"),
        ({"split": "test"}, "no scene of the split 'test'"),
        ({"questions": ()}, "--questions: 0"),
        ({"max_new_tokens": 0}, "--max-new-tokens: 0"),
        ({"chunk_size": 0}, "--chunk-size: 0"),
        ({"max_samples": 0}, "--max-samples: 0"),
        ({"scenes": Path("nowhere")}, "nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(
    ground: Ground, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        ground.plan(tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_another_tokenizer_leaves_the_drafter_its_own_words(ground: Ground, tmp_path: Path) -> None:
    other = shipped.FOLDER / "embedded" / "target"
    pair = ground.pair.with_value(f"drafter.tokenizer={other}")
    with pytest.raises(InputError, match=r"(?s)different tokenizers.*--alignment own"):
        ground.plan(tmp_path, pair=pair)
    ground.plan(tmp_path, pair=pair, keep=Keep("own"))
    ground.plan(tmp_path, pair=pair, keep=Keep.parse("both", "none", "bf16", 0))


def test_another_plan_in_the_same_folder_is_refused(ground: Ground, tmp_path: Path) -> None:
    begin(ground.plan(tmp_path))
    for options, said in (
        ({"keep": Keep("own")}, "alignment 'both' .now 'own'"),
        ({"questions": ("What is ahead?", "Who?")}, "questions.1 .*now 'Who"),
        ({"max_samples": 2}, "dataset.fingerprint"),
        ({"pair": ground.pair.with_value("target.dtype=float64")}, "models.target.dtype"),
        ({"chunk_size": 2}, r"clips_per_shard 2 .now 1"),
    ):
        with pytest.raises(InputError, match=said):
            ground.plan(tmp_path, **options)
    ground.plan(tmp_path, pair=ground.pair.with_value("load=in_turn"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"holds mine\.txt"):
        ground.plan(tmp_path / "other")


def test_a_fine_tuned_copy_is_another_model(ground: Ground, tmp_path: Path) -> None:
    from tests.vlm.eventgpt_folder import write_eventgpt

    begin(ground.plan(tmp_path / "store"))
    same = write_eventgpt(tmp_path / "copy")
    ground.plan(tmp_path / "store", pair=ground.pair.with_value(f"drafter.model={same}"))
    tuned = write_eventgpt(tmp_path / "tuned", seed=1)
    with pytest.raises(InputError, match=r"models\.drafter\.files\.model"):
        ground.plan(tmp_path / "store", pair=ground.pair.with_value(f"drafter.model={tuned}"))


def test_ranks_come_from_the_environment() -> None:
    assert rank_of({}) is None
    assert rank_of({"RANK": "1", "WORLD_SIZE": "3"}) == (1, 3)
    for wrong in ({"RANK": "0"}, {"RANK": "x", "WORLD_SIZE": "2"},
                  {"RANK": "2", "WORLD_SIZE": "2"}):  # fmt: skip
        with pytest.raises(InputError):
            rank_of(wrong)


def test_as_many_processes_as_have_memory(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers_here(ground.pair, 4) == 4
    monkeypatch.setattr("crossdraft.pairs.extract.team.available_bytes", lambda _: 10)
    assert workers_here(ground.pair, 4) == 1


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_the_most_that_a_store_can_take(ground: Ground, tmp_path: Path, dtype: str) -> None:
    keep = Keep.parse("both", "layers:target.1", dtype, 2)
    plan = ground.plan(tmp_path / "store", keep=keep)
    # Not one answer of these models ends by itself, so all are as long as they may be.
    ground.extract(tmp_path / "store", keep=keep)
    taken = sum(path.stat().st_size for path in (tmp_path / "store" / "shards").iterdir())
    assert taken <= most_bytes(plan) <= 4 * taken
    assert Measured(1, 2, (8, 8), 1.0).bytes_of(plan) == most_bytes(plan)
    assert Measured(2, 4, (8, 8), 3.0).seconds_of(10, 3) == pytest.approx(5.0)


def test_a_question_that_cannot_be_asked_is_named(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="question 1 cannot be asked of the target"):
        ground.plan(tmp_path, questions=("Where?", "<video> What?"))


def test_small_models_have_one_thread_however_many_processes_there_are(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ground.plan(tmp_path)
    assert [threads_of(plan, 8, workers) for workers in (1, 2, 8)] == [1, 1, 1]
    on_gpu = ground.plan(tmp_path, pair=ground.pair.with_value("target.device=cuda:0"))
    assert threads_of(on_gpu, 8, 1) is None
    monkeypatch.setattr("crossdraft.pairs.extract.plan._SMALL", 1)
    assert [threads_of(plan, 8, workers) for workers in (1, 2, 8)] == [8, 4, 1]


def test_threads_reach_torch(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", set_to.append)
    Work(ground.plan(tmp_path), How(threads=3), stop=lambda: True).run()
    assert set_to == [3]


def test_how_much_is_done_at_once_where_nobody_says_it(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {"chunk_size": None, "batch_clips": None}
    small = ground.plan(tmp_path, **usual)
    assert (small.clips_per_shard, small.batch_clips) == (80, 8)
    monkeypatch.setattr("crossdraft.pairs.extract.plan._SMALL", 1)
    large = ground.plan(tmp_path, **usual)
    assert (large.clips_per_shard, large.batch_clips) == (250, 1)
    assert ground.plan(tmp_path, chunk_size=6, batch_clips=3).clips_per_shard == 3


def test_a_store_names_the_drives_that_its_drafter_was_tuned_on(
    ground: Ground, tmp_path: Path
) -> None:
    assert "tuned_on" not in ground.plan(tmp_path).source
    pair = ModelPair.find(str(write_pair(tmp_path)))
    seen = {"clips": [], "drives": ["train-0000"], "task": ""}
    (tmp_path / "drafter" / TUNED).write_text(json.dumps({"trained_on": seen}))
    assert ground.plan(tmp_path / "out", pair=pair).source["tuned_on"] == ["train-0000"]
