"""What is stored, against one session per question that says one token after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.pairs.extract.run import extract
from crossdraft.pairs.extract.settings import Keep
from crossdraft.pairs.extract.workplace import Workplace
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.kinds import Side
from crossdraft.pairs.store.rows import Row
from crossdraft.pairs.store.thoughts import HEAD_FILE
from crossdraft.pairs.thoughts import thoughts_of
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.drafting import Follower, own_answer
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.scene_events import with_events
from crossdraft.vlm.target import Target
from tests.pairs.extract.ground import QUESTIONS, Ground

_DOUBLE = ("target.dtype=float64", "drafter.dtype=float64")


def _close(packed: Tensor, wanted: Tensor) -> bool:
    return packed.shape == wanted.shape and torch.allclose(packed.double(), wanted, atol=1e-6)


def _spoken(model: Target, scene: object, question: str) -> tuple[tuple[int, ...], Tensor]:
    arrivals = list(own_answer(model.open(scene), question, 6, model.eos_ids))
    return tuple(one.token for one in arrivals), torch.stack([one.state for one in arrivals])


@pytest.mark.parametrize("sequential", [False, True])
def test_everything_that_is_kept(ground: Ground, tmp_path: Path, sequential: bool) -> None:
    pair = ground.pair
    for override in _DOUBLE:
        pair = pair.with_value(override)
    if sequential:
        pair = pair.with_value("load=in_turn")
    keep = Keep.parse("both", "layers:target.1,drafter.0,drafter.2", "fp32", 3)
    plan = ground.plan(tmp_path / "store", pair=pair, keep=keep, max_new_tokens=6, max_samples=2)
    extract(plan, argv=())
    store = PairStore.open(tmp_path / "store")
    assert len(store) == 4 and store.manifest.questions == QUESTIONS
    kinds = [kind.name for kind in store.manifest.schema.kinds]
    assert kinds == sorted(
        [
            "target",
            "target@1",
            *(f"{reading}{layer}" for reading in ("own", "forced") for layer in ("", "@0", "@2")),
        ]
    )
    with PairModels(pair.with_value("load=together")) as models:
        for i, scene in enumerate(scene for scene in plan.scenes for _ in QUESTIONS):
            question = QUESTIONS[i % 2]
            row = store.row(i)
            shown = with_events(pair, scene)
            target, states = _spoken(models.target, scene, question)
            own, own_states = _spoken(models.drafter, shown, question)
            assert (row.pair.target_tokens, row.pair.draft_tokens) == (target, own)
            assert _close(store.states(i, "target"), states)
            assert _close(store.states(i, "own"), own_states)
            follower = Follower(models.drafter.open(shown), question)
            follower.follow(target[:-1])
            assert _close(store.states(i, "forced"), follower.states)
            _check_words(row, models, scene, shown, question)
            _check_top(row, models.target, "target", states)
            _check_top(row, models.drafter, "forced", follower.states)
            _check_layers(row, models, shown, question)


def _check_words(row: Row, models: PairModels, scene: Scene, shown: Scene, question: str) -> None:
    pair = row.pair
    assert (pair.clip, pair.index, pair.drive) == (scene.id, scene.clip, scene.drive)
    assert (pair.question, pair.dataset, pair.simulated) == (question, "world", True)
    assert row.said["target"].prompt == models.target.prompt(scene, question).hash
    assert row.said["own"].prompt == models.drafter.prompt(shown, question).hash
    side: Side
    for side, tokens in (("target", pair.target_tokens), ("own", pair.draft_tokens)):
        model = models.target if side == "target" else models.drafter
        ended = tokens[-1] in model.eos_ids
        assert row.said[side].end == ("eos" if ended else "length")
        assert row.said[side].count == len(tokens)
        prompts: Any = model.prompts
        text = prompts.tokenizer.decode(tokens, skip_special_tokens=True)
        assert (pair.target_text if side == "target" else pair.draft_text) == text


def _check_top(row: Row, model: Target, reading: str, states: Tensor) -> None:
    logits = model.decoder.logits(states)
    top = row.top[reading]
    assert top.ids.shape == (len(states), 3)
    assert torch.equal(top.ids[:, 0].long(), logits.argmax(-1))
    assert torch.allclose(top.logits.double(), logits.gather(1, top.ids.long()), atol=1e-4)
    assert torch.allclose(top.total.double(), logits.logsumexp(-1), atol=1e-4)


def _check_layers(row: Row, models: PairModels, shown: Scene, question: str) -> None:
    role: Role
    for role, kind, layer in (("target", "target@1", 1), ("drafter", "forced@2", 2)):
        model = models.target if role == "target" else models.drafter
        session = model.with_layers([layer]).open(shown)
        step = session.ask(question)
        rows = [step.layers[layer]]
        for token in row.pair.target_tokens[:-1]:
            rows.append(session.extend(token).layers[layer])
        assert _close(row.states[kind].codes, torch.cat(rows))


def test_ids_alone(ground: Ground, whole: Path, tmp_path: Path) -> None:
    ground.extract(tmp_path / "ids", keep=Keep.parse("both", "none", "bf16", 2), max_samples=2)
    store, full = PairStore.open(tmp_path / "ids"), PairStore.open(whole)
    by_key = {pair.key: pair for pair in full.pairs()}
    assert len(store) == 4 and not store.manifest.schema.kinds
    for i, pair in enumerate(store.pairs()):
        assert pair == by_key[pair.key]
        assert set(store.row(i).top) == {"target", "own"}


@pytest.mark.parametrize(
    ("alignment", "kinds"), [("own", ["own", "target"]), ("forced", ["forced", "target"])]
)
def test_the_states_of_one_alignment(
    ground: Ground, whole: Path, tmp_path: Path, alignment: str, kinds: list[str]
) -> None:
    keep = Keep.parse(alignment, "last", "bf16", 1)
    ground.extract(tmp_path / "store", keep=keep)
    store, full = PairStore.open(tmp_path / "store"), PairStore.open(whole)
    assert [kind.name for kind in store.manifest.schema.kinds] == kinds
    assert list(store.pairs()) == list(full.pairs()), "both answers are always there"
    assert set(store.row(0).top) == set(kinds)
    for kind in kinds:
        assert torch.equal(store.states(5, kind), full.states(5, kind))


def test_the_head_reads_the_tokens_off_the_states(ground: Ground, tmp_path: Path) -> None:
    pair = ground.pair
    for override in _DOUBLE:
        pair = pair.with_value(override)
    keep = Keep.parse("both", "last", "fp32", 2)
    ground.extract(tmp_path / "store", pair=pair, keep=keep, max_samples=2)
    (*pairs, last) = PairStore.open(tmp_path / "store").pairs()
    assert last.thoughts is not None and last.thoughts.kinds == {"own", "forced", "target"}
    for pair_ in (*pairs, last):
        thoughts = thoughts_of(pair_)
        logits = thoughts.head.logits(thoughts.states("target"))
        assert tuple(logits.argmax(-1).tolist()) == pair_.target_tokens
        top = thoughts.top()
        assert torch.allclose(logits.topk(2).values, top.logits, atol=1e-3)
        assert torch.allclose(logits.logsumexp(-1), top.total, atol=1e-3)


def test_without_states_there_is_no_head(ground: Ground, tmp_path: Path) -> None:
    ground.extract(tmp_path / "ids", keep=Keep.parse("both", "none", "bf16", 0), max_samples=2)
    assert not (tmp_path / "ids" / HEAD_FILE).exists()
    (pair, *_) = PairStore.open(tmp_path / "ids").pairs()
    with pytest.raises(InputError, match="only words of clip"):
        thoughts_of(pair)


def test_a_store_without_its_head_says_how_to_get_one(ground: Ground, tmp_path: Path) -> None:
    ground.extract(tmp_path / "store", max_samples=2)
    moved = (tmp_path / "store" / HEAD_FILE).rename(tmp_path / "head.safetensors")
    (pair, *_) = PairStore.open(tmp_path / "store").pairs()
    with pytest.raises(InputError, match="--lm-head FILE"):
        _ = thoughts_of(pair).head
    (pair, *_) = PairStore.open(tmp_path / "store", head_file=moved).pairs()
    assert thoughts_of(pair).head.hidden == 64


def test_shuffled_events_are_another_drives(ground: Ground, whole: Path, tmp_path: Path) -> None:
    plan = ground.plan(tmp_path / "store", shuffled=True)
    assert all(plan.seen(n).drive != scene.drive for n, scene in enumerate(plan.scenes))
    assert len({plan.seen(n).id for n in range(6)}) == 6
    extract(plan, argv=())
    for pair, own in zip(
        PairStore.open(tmp_path / "store").pairs(), PairStore.open(whole).pairs(), strict=True
    ):
        number = plan.number_of[pair.clip]
        (other,) = (
            one for one in PairStore.open(whole).pairs()
            if (one.clip, one.question) == (plan.seen(number).id, pair.question)
        )  # fmt: skip
        assert (pair.key, pair.target_tokens) == (own.key, own.target_tokens)
        assert pair.draft_tokens == other.draft_tokens
        here, there = thoughts_of(pair), thoughts_of(own)
        assert torch.equal(here.states("target"), there.states("target"))
        assert not torch.equal(here.states("forced"), there.states("forced"))
    assert PairStore.open(whole).manifest.source.get("events") is None
    assert PairStore.open(plan.out).manifest.source["events"] == "shuffled"


def test_events_of_one_drive_cannot_be_shuffled(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--shuffle-events: clips of one drive alone"):
        ground.plan(tmp_path / "store", shuffled=True, max_samples=1)


def test_events_of_a_plain_video_are_simulated_and_marked(ground: Ground, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    video = next((ground.world / "video").rglob("*.mp4"))
    (videos / "street.mp4").write_bytes(video.read_bytes())
    ground.extract(tmp_path / "store", scenes=videos)
    (first, _) = PairStore.open(tmp_path / "store").pairs()
    assert first.simulated and first.dataset == "videos" and first.draft_tokens


def test_a_model_that_is_not_there_is_not_the_clips_fault(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise InputError("does not fit")

    monkeypatch.setattr("crossdraft.vlm.pair_models.load_target", refused)
    with pytest.raises(InputError, match="does not fit"):
        ground.extract(tmp_path)
    assert Workplace(tmp_path).failed(0) == {}
