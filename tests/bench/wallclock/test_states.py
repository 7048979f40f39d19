"""Configurations whose drafter reads hidden states: the same answers, and what is predicted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdraft.bench.wallclock.answering import Ground, answering
from crossdraft.bench.wallclock.configuration import Configuration
from crossdraft.bench.wallclock.plan import reads_states, reads_words
from crossdraft.bench.wallclock.record import Run
from crossdraft.bench.wallclock.run import run
from crossdraft.decoding.generation import Generation
from crossdraft.drafters.checkpoint import save_drafter
from crossdraft.drafters.registry import LADDER
from crossdraft.vlm.pair_models import PairModels
from tests.bench.wallclock.ground import (
    Site,
    asked,
    bare_ground,
    prepare,
    stay_here,
    steep,
    with_costs,
)
from tests.decoding.states_kit import recorded
from tests.drafters.crossmodal.kit import drafter_of
from tests.drafters.ladder.test_drafting import level


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(tmp_path_factory.mktemp("states"))


@pytest.fixture(scope="module")
def ground(site: Site) -> Iterator[Ground]:
    with pytest.MonkeyPatch.context() as patch, PairModels(site.pair) as models:
        stay_here(patch)
        made = bare_ground(steep, models=models)
        yield made
        made.close()


@pytest.fixture(scope="module")
def checkpoints(site: Site, ground: Ground) -> dict[str, Path]:
    scene = site.dataset.of_split("train")[0]
    pair = recorded(ground.models.target, ground.models.drafter, scene, 4)
    files = {name: site.folder / f"{name}.safetensors" for name in ("bottleneck", "fused-eagle")}
    for name, file in files.items():
        assert name in LADDER
        save_drafter(level(name, [pair]), file)
    files["crossmodal"] = site.folder / "crossmodal.safetensors"
    save_drafter(drafter_of([pair]), files["crossmodal"])
    return files


def answered(text: str, ground: Ground, site: Site) -> tuple[Run, Generation | None]:
    place = asked("test", list(site.dataset.of_split("test")))[0]
    who = answering(Configuration.parse(text), ground)
    who.learn(place.question, [5, 6, 7])
    found = who.ask(place, 0)
    who.close()
    return found


@pytest.mark.parametrize("name", ["bottleneck", "fused-eagle"])
@pytest.mark.parametrize(
    "form", ["{}+sequential", "{}+overlap+gamma=3", "suffix+{}+overlap", "seed-procedure={}"]
)
def test_answers_are_plain_decodings(
    form: str, name: str, site: Site, ground: Ground, checkpoints: dict[str, Path]
) -> None:
    text = form.format(checkpoints[name])
    plain, _ = answered("none", ground, site)
    found, answer = answered(text, ground, site)
    assert answer is not None
    assert (found.tokens, found.warnings) == (plain.tokens, ())
    assert found.event_model_ms is not None
    one = Configuration.parse(text)
    assert reads_states(one)
    assert reads_words(one)
    drafted = [one.drafted for one in found.forwards]
    if form.startswith("seed"):
        # One window, of the states of its own answer.
        assert [number for number, count in enumerate(drafted) if count] == [1]
    elif "gamma" in form:
        assert sum(drafted) > 0


@pytest.mark.parametrize("beside", ["overlap", "sequential"])
def test_two_in_turn_answer_as_plain_decoding_does(
    beside: str, site: Site, ground: Ground, checkpoints: dict[str, Path]
) -> None:
    phases = f"{checkpoints['bottleneck']}:{checkpoints['fused-eagle']}"
    plain, _ = answered("none", ground, site)
    found, answer = answered(f"{phases}+{beside}+gamma=3", ground, site)
    assert answer is not None
    assert (found.tokens, found.warnings) == (plain.tokens, ())
    assert sum(one.drafted for one in found.forwards) > 0


def test_nothing_is_predicted_and_that_is_said(
    site: Site, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stay_here(monkeypatch)
    name = f"seed-procedure={checkpoints['bottleneck']}"
    found = run(site.config(f"none,{name}"), with_costs(site.folder / "whole"))
    rows = {row["name"]: row for row in found.payload["configurations"]}
    assert rows["none"]["prediction"] is not None
    assert rows[name]["prediction"] is None
    assert [text for text in found.warnings if text.startswith(f"no prediction for {name}")]


def test_what_reads_states_is_predicted_by_a_replay(
    site: Site, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prediction's drafts are the measurement's: same passes, same tokens a pass."""
    stay_here(monkeypatch)
    name = str(checkpoints["crossmodal"])
    ways = [f"{name}+sequential+gamma=3", f"{name}+unasked+gamma=3", f"{name}+sequential+shuffled"]
    found = run(site.config(",".join(["none", *ways])), with_costs(site.folder / "predicted"))
    rows = {row["name"]: row for row in found.payload["configurations"]}
    for way in ways:
        assert rows[way]["prediction"]["total_ms"] > 0
        assert rows[way]["equality"]["equal"] == rows[way]["equality"]["answers"]
    assert not [text for text in found.warnings if text.startswith("no prediction")]


def test_an_event_model_that_is_not_asked_costs_nothing(
    site: Site, ground: Ground, checkpoints: dict[str, Path]
) -> None:
    plain, _ = answered("none", ground, site)
    found, answer = answered(f"{checkpoints['crossmodal']}+unasked+gamma=3", ground, site)
    assert answer is not None
    assert (found.tokens, found.warnings) == (plain.tokens, ())
    assert found.event_model_ms is None
    assert sum(one.drafted for one in found.forwards) > 0
