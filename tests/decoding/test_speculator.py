"""The door: a pair and a drafter, asked about scenes."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossdraft
from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.rules import Sampling, TopK, Warp
from crossdraft.decoding.speculator import Speculator
from crossdraft.decoding.width import Auto, Fixed
from crossdraft.drafters import registry
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.scenes.video_write import write_mp4
from crossdraft.vlm.drafting import own_answer
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.target import Target
from tests.bench.tiny_pair import QUESTION, write_pair
from tests.vlm.models import Words, scene_of, tiny

TREE = Budget.tree(8, 4)


class Listener(Drafter):
    """Proposes the event model's words, and keeps what it was told."""

    name = "listener"
    needs = frozenset({"draft_tokens"})

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[int, ...], bool]] = []
        self.answers: list[tuple[int, ...]] = []

    def begin(self, context: Context) -> None:
        now = context.stream.snapshot()
        self.heard.append((context.question, now.tokens, now.closed))

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain(self.heard[-1][1][len(prefix) :][: budget.depth], source=self.name)

    def finish(self, answer: Sequence[int]) -> None:
        self.answers.append(tuple(answer))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ModelPair:
    file = write_pair(tmp_path_factory.mktemp("pair"))
    return ModelPair.find(str(file), ("target.dtype=float64", "drafter.dtype=float64"))


@pytest.fixture(scope="module")
def models(pair: ModelPair) -> PairModels:
    return PairModels(pair)


def test_the_answer_is_the_targets_own_and_both_models_stages_are_there(models: PairModels) -> None:
    scene, drafter = MadeScene(), Listener()
    plain = Speculator(models, "none").ask(scene, QUESTION, max_new_tokens=20)
    answer = Speculator(models, drafter, width=TREE).ask(scene, QUESTION, max_new_tokens=20)
    assert (answer.tokens, answer.text, answer.end) == (plain.tokens, plain.text, plain.end)
    assert plain.drafter_spans is None
    assert answer.drafter_spans is not None
    stages = [span.name for span in answer.drafter_spans.spans]
    assert {"read", "vision", "prefill", "decode"} <= set(stages)
    # One clock for both: the event model's words are there before the target looks.
    last_ms = max(span.end_ms for span in answer.drafter_spans.spans)
    assert last_ms <= min(s.start_ms for s in answer.spans.spans if s.name == "vision")
    assert sum(answer.drafted) > 0
    assert drafter.answers == [answer.tokens]


def test_a_drafter_reads_the_event_models_words_in_the_targets_tokens(models: PairModels) -> None:
    scene, drafter = MadeScene(), Listener()
    speculator = Speculator(models, drafter, width=TREE)
    speculator.ask(scene, QUESTION, max_new_tokens=12)
    question, words, closed = drafter.heard[-1]
    assert (question, closed) == (QUESTION, True)
    event_model = models.drafter
    own = own_answer(event_model.open(scene), QUESTION, 12, event_model.eos_ids)
    said = [arrival.token for arrival in own]
    bridge = speculator.words.bridge
    assert bridge is not None
    assert words == bridge.translate(said, closed=True).ids


def test_a_scene_is_read_once_for_all_its_questions() -> None:
    model = tiny("video-llava")
    target = Target(model, Words())
    one, other = (scene_of(model, random.Random(seed)) for seed in (5, 6))
    speculator = Speculator(target, "none")
    plain = [Speculator(target, "none").ask(one, q).tokens for q in ("a b", "c d e")]
    reads = len(one.reads)
    assert [speculator.ask(one, q).tokens for q in ("a b", "c d e")] == plain
    assert len(one.reads) == reads + 1
    again = speculator.ask(one, "a b")
    assert {span.name for span in again.spans.spans} >= {"prefill", "decode"}
    assert "vision" not in {span.name for span in again.spans.spans}
    other_answer = speculator.ask(other, "a b")
    assert other_answer.tokens == Speculator(target, "none").ask(other, "a b").tokens
    assert speculator.ask(one, "a b").tokens == plain[0]


def test_what_was_answered_is_drafted_the_next_time() -> None:
    model = tiny("video-llava")
    target, scene = Target(model, Words()), scene_of(model, random.Random(5))
    speculator = Speculator(target, "suffix", width=Budget.tree(16, 8))
    first, second = (speculator.ask(scene, "what is ahead", max_new_tokens=30) for _ in range(2))
    assert first.tokens == second.tokens
    assert second.tau > 4 > first.tau
    assert second.by_source()["suffix"]["accepted"] == sum(second.accepted)


def test_a_memory_lasts_for_the_next_process(tmp_path: Path) -> None:
    model = tiny("video-llava")
    target, scene = Target(model, Words()), scene_of(model, random.Random(5))
    file = tmp_path / "memory" / "suffix.safetensors"
    with Speculator(target, "suffix", width=TREE, memory=file) as speculator:
        first = speculator.ask(scene, "what is ahead", max_new_tokens=30)
    with Speculator(target, "suffix+position", width=TREE, memory=file) as speculator:
        second = speculator.ask(scene, "what is ahead", max_new_tokens=30)
    assert first.tokens == second.tokens
    assert second.tau > 2 > first.tau
    with pytest.raises(InputError):
        Speculator(target, "position", width=TREE, memory=file)


def test_sampling_does_not_depend_on_drafts_and_lossy_rules_say_so() -> None:
    model = tiny("video-llava")
    target, scene = Target(model, Words()), scene_of(model, random.Random(5))
    rule = Sampling(Warp(2.0, 40, 0.9), seed=4)
    plain = Speculator(target, "none", rule=rule).ask(scene, "what", max_new_tokens=30)
    speculator = Speculator(target, "suffix", rule=rule, width=TREE)
    answers = [speculator.ask(scene, "what", max_new_tokens=30) for _ in range(2)]
    assert [one.tokens for one in answers] == [plain.tokens] * 2
    assert answers[1].tau > 2
    assert not answers[1].lossy
    other = Speculator(target, "none", rule=replace(rule, seed=5)).ask(scene, "what")
    assert other.tokens[:30] != plain.tokens
    lossy = Speculator(target, "suffix", rule=TopK(3), width=TREE).ask(scene, "what")
    assert lossy.lossy
    assert lossy.rule.startswith("lossy")
    assert lossy.to_json()["lossy"] is True


@pytest.mark.usefixtures("quiet_machine")
def test_without_a_width_the_measured_costs_decide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path))
    model = tiny("video-llava")
    target, scene = Target(model, Words()), scene_of(model, random.Random(5))
    notes: list[str] = []
    speculator = Speculator(target, "suffix", note=notes.append)
    answers = [speculator.ask(scene, "what", max_new_tokens=20) for _ in range(2)]
    assert answers[0].tokens == answers[1].tokens
    assert isinstance(speculator._width, Auto)
    assert isinstance(speculator.drafter, EnsembleDrafter)
    assert speculator.drafter.name == "suffix"
    assert list((tmp_path / "cost").iterdir())
    Speculator(target, "suffix", note=notes.append).ask(scene, "what", max_new_tokens=2)
    assert any("measured on" in note for note in notes)
    # Plain decoding asks for no measurement.
    assert isinstance(_prepared(Speculator(target, "none"), scene)._width, Fixed)


def test_what_cannot_be_done_is_refused(pair: ModelPair, models: PairModels) -> None:
    scene = MadeScene()
    with pytest.raises(InputError, match="a target alone"):
        Speculator(models.target, Listener(), width=TREE).ask(scene, QUESTION)
    in_turn = PairModels(replace(pair, load="in_turn"))
    with pytest.raises(InputError, match="one model at a time"):
        Speculator(in_turn, Listener(), width=TREE).ask(scene, QUESTION)
    with pytest.raises(InputError, match="telepathy"):
        Speculator(models, "telepathy")
    with pytest.raises(InputError, match="train"):
        Speculator(models, "translator")
    with pytest.raises(InputError, match="ids in place of a question"):
        Speculator(models, "none").ask(scene, (1, 2))
    with pytest.raises(AttributeError, match="Speculater"):
        crossdraft.Speculater  # noqa: B018


def test_a_new_drafter_costs_one_registry_line(
    monkeypatch: pytest.MonkeyPatch, models: PairModels
) -> None:
    monkeypatch.setitem(registry.REGISTRY, "listener", f"{__name__}:Listener")
    scene = MadeScene()
    speculator = crossdraft.Speculator(models, "listener+suffix", width=TREE)
    answer = speculator.ask(scene, QUESTION, max_new_tokens=12)
    plain = Speculator(models, "none").ask(scene, QUESTION, max_new_tokens=12)
    assert answer.tokens == plain.tokens
    assert "listener" in answer.by_source()


def _prepared(speculator: Speculator, scene: Any) -> Speculator:
    speculator.ask(scene, "what", max_new_tokens=1)
    return speculator


def test_a_picture_is_read_again_where_it_may_be_another(
    models: PairModels, tmp_path: Path
) -> None:
    """A camera's buffer that is written over, a file that is, and a prompt that begins anew."""
    speculator, plain = Speculator(models, "none"), Speculator(models, "none")
    frames = [np.full((8, 48, 48, 3), 40 * shade, np.uint8) for shade in (1, 5)]
    frames[1][:, 8:30, 10:20] = 7
    alone = [plain.ask(one, QUESTION, max_new_tokens=8).tokens for one in frames]
    assert alone[0] != alone[1]
    buffer = frames[0].copy()
    assert speculator.ask(buffer, QUESTION, max_new_tokens=8).tokens == alone[0]
    buffer[:] = frames[1]
    assert speculator.ask(buffer, QUESTION, max_new_tokens=8).tokens == alone[1]
    file = tmp_path / "now.mp4"
    for one, moment in zip(frames, (1_000, 2_000), strict=True):
        write_mp4(file, one)
        os.utime(file, ns=(moment, moment))
        fresh = Speculator(models, "none").ask(file, QUESTION, max_new_tokens=8)
        assert speculator.ask(file, QUESTION, max_new_tokens=8).tokens == fresh.tokens


def test_a_prompt_that_begins_otherwise_is_asked_of_a_picture_of_its_own() -> None:
    model = tiny("video-llava")
    target, one = Target(model, Words()), scene_of(model, random.Random(5), before=2)
    longer = replace(one, ids=(9, *one.ids))
    prompts = {"short": one, "long": longer}
    target.prompts = lambda scene, question: Words()(prompts[question], "what is it")
    scene = object()
    speculator = Speculator(target, "none")
    said = {name: speculator.ask(scene, name).tokens for name in ("short", "long", "short")}
    for name, shown in prompts.items():
        alone = Speculator(Target(model, Words()), "none").ask(shown, "what is it")
        assert said[name] == alone.tokens


def test_one_stop_string_needs_no_list_and_text_ends_before_it(models: PairModels) -> None:
    scene = MadeScene()
    plain = Speculator(models, "none").ask(scene, QUESTION, max_new_tokens=20)
    assert plain.text is not None
    stop = plain.text[4:6]
    for given in (stop, [stop]):
        answer = Speculator(models, "none").ask(scene, QUESTION, max_new_tokens=20, stop=given)
        assert answer.end == "stop"
        assert answer.text == plain.text[: plain.text.index(stop)]
        assert answer.tokens == plain.tokens[: len(answer.tokens)]


def test_where_costs_cannot_be_measured_a_few_drafts_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cache with room for the answer and for nothing wider."""
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path))
    model = tiny("video-llava")
    target = Target(model, Words(), cache="preallocated", room=20)
    scene = scene_of(model, random.Random(5))
    notes: list[str] = []
    speculator = Speculator(target, "suffix", note=notes.append)
    answers = [speculator.ask(scene, "a b c", max_new_tokens=9) for _ in range(2)]
    plain = Speculator(target, "none").ask(scene, "a b c", max_new_tokens=9)
    assert [one.tokens for one in answers] == [plain.tokens] * 2
    assert answers[1].tau > 2
    assert "not measured, 8 drafts a pass" in notes[-1]


def test_only_what_it_opened_is_closed_and_lossy_answers_are_not_remembered(
    pair: ModelPair, tmp_path: Path
) -> None:
    scene, file = MadeScene(), tmp_path / "memory.safetensors"
    with PairModels(pair) as mine:
        target = mine.target
        with Speculator(mine, "suffix", width=TREE, rule=TopK(3), memory=file) as speculator:
            speculator.ask(scene, QUESTION, max_new_tokens=5)
        assert mine.target is target
        assert not file.exists()
        with Speculator(mine, "suffix", width=TREE, memory=file) as speculator:
            speculator.ask(scene, QUESTION, max_new_tokens=5)
        assert file.exists()
