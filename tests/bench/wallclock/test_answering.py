"""Each configuration, asked for one answer: the same tokens, and times that add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from crossdraft.base.clock import Span, Spans
from crossdraft.bench.wallclock.answering import Ground, Place, answering
from crossdraft.bench.wallclock.configuration import Configuration
from crossdraft.bench.wallclock.reading import busy_ms
from crossdraft.bench.wallclock.record import Run
from crossdraft.vlm.pair_models import PairModels
from tests.bench.wallclock.ground import Aside, Site, asked, bare_ground, prepare, stay_here, steep

CONFIGS = (
    "none", "none+sequential", "none+overlap", "hf-generate", "hf-prompt-lookup", "drafter-only",
    "seed-procedure", "suffix", "suffix+gamma=4", "suffix+nodes=4+separate-verify",
    "drafter-text+sequential", "drafter-text+overlap+nodes=8",
    "drafter-text+sequential+shuffled+nodes=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="module")
def ground(site: Site) -> Iterator[Ground]:
    with pytest.MonkeyPatch.context() as patch, PairModels(site.pair) as models:
        stay_here(patch)
        made = bare_ground(steep, models=models)
        yield made
        made.close()


@pytest.fixture(scope="module")
def places(site: Site) -> list[Place]:
    """Two questions about each of six scenes; the other scene is the last one's."""
    found = asked("test", list(site.dataset.of_split("test")))
    return [replace(place, other=found[-1].scene) for place in found]


def one_answer(name: str, ground: Ground, place: Place) -> Run:
    who = answering(Configuration.parse(name), ground)
    found, _ = who.ask(place, 3)
    who.close()
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_an_answer_and_its_times(name: str, ground: Ground, places: list[Place]) -> None:
    plain, found = (one_answer(each, ground, places[0]) for each in ("none", name))
    about = (found.configuration, found.part, found.round, found.number, found.scene)
    assert about == (name, "test", 3, 0, places[0].scene.id)
    if name != "drafter-only":
        assert found.tokens == plain.tokens
    assert len(found.arrival_ms) == len(found.tokens) == 20
    assert list(found.arrival_ms) == sorted(found.arrival_ms)
    assert 0 < found.first_ms <= found.arrival_ms[-1] <= found.total_ms
    assert sum(found.stages_ms.values()) == pytest.approx(found.total_ms)
    assert min(found.stages_ms.values()) >= -1e-6, "stages overlap"
    assert found.stages_ms["prefill"] > 0 and found.warnings == ()
    if not name.startswith("hf"):
        assert sum(one.emitted for one in found.forwards) == 20
        assert all(one.accepted < one.emitted or not one.accepted for one in found.forwards)
    reads = any(word in name for word in ("drafter-text", "seed", "none+"))
    assert (found.event_model_ms is not None) == (found.mode is not None) == reads
    assert ("event model" in found.stages_ms) == ("sequential" in name)
    if reads:
        assert found.mode == ("sequential" if "sequential" in name else "thread")


def test_who_drafts_when(ground: Ground, places: list[Place]) -> None:
    """The seed procedure verifies once, behind a prefill alone; the others as they say."""

    def drafted(name: str) -> list[int]:
        return [one.drafted for one in one_answer(name, ground, places[0]).forwards]

    assert drafted("none") == drafted("none+sequential") == [0] * 20
    before = drafted("drafter-text+sequential+nodes=8")
    assert before[0] > 0 and max(before) <= 8
    alone = drafted("drafter-text+sequential+nodes=8+separate-verify")
    assert alone[0] == 0 and alone[1] > 0
    seed = answering(Configuration.parse("seed-procedure"), ground)
    counts = [one.drafted for one in seed.ask(places[0], 0)[0].forwards]
    assert counts[0] == 0 < counts[1] and not any(counts[2:])
    # As many as were asked for, whatever they cost: 19 words may follow the first.
    assert drafted("drafter-text+sequential+gamma=3")[:3] == [3, 3, 3]
    assert before[0] == 8, "not cut to what pays"


def test_a_shuffled_drafter_reads_another_drives_events(
    ground: Ground, places: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    drafter = ground.models.drafter
    prompt = drafter.prompt

    def watched(scene: Any, question: str) -> Any:
        seen.append(scene.id)
        return prompt(scene, question)

    monkeypatch.setattr(drafter, "prompt", watched)
    for name in ("drafter-text+sequential+shuffled", "drafter-text+sequential"):
        one_answer(name, ground, places[0])
    assert set(seen[: len(seen) // 2]) == {places[0].other.id}
    assert set(seen[len(seen) // 2 :]) == {places[0].scene.id}


@pytest.mark.parametrize(("picture", "reads"), [("cold", 3), ("shared", 2)])
def test_a_picture_is_shared_or_not(
    ground: Ground, places: list[Place], picture: Any, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    target = ground.models.target
    whole = target.open

    def watched(*given: Any, **more: Any) -> Any:
        opened.append(given)
        return whole(*given, **more)

    monkeypatch.setattr(target, "open", watched)
    who = answering(Configuration.parse("none"), replace(ground, picture=picture))
    for place in places[:3]:  # two questions about one scene, one about the next
        who.ask(place, 0)
    assert len(opened) == reads


def test_who_runs_beside_outlives_a_round(ground: Ground, places: list[Place]) -> None:
    """One for all that overlap, another one for those that see other scenes."""
    for name in ("seed-procedure", "drafter-text+overlap", "none+overlap"):
        one_answer(name, ground, places[0])
    sides = ground._sides
    shared = sides[False]
    assert isinstance(shared, Aside) and shared.closed == 0
    one_answer("drafter-text+overlap+shuffled", ground, places[0])
    assert sides[True] is not shared
    ground.close()
    assert [side.closed for side in sides.values() if isinstance(side, Aside)] == [1, 1]


def test_busy_time_counts_a_moment_once() -> None:
    spans = Spans(0.0)
    for name, start, end in (("a", 0, 10), ("b", 2, 8), ("c", 9, 12), ("d", 20, 21)):
        spans.spans.append(Span(name, float(start), float(end)))
    assert busy_ms(spans) == 13.0
