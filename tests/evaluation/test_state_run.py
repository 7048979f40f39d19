"""State drafters in whole evaluations: rows, controls, twins, two phases, the head."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import rank_of_next, rank_without_prefix
from crossdraft.drafters.checkpoint import TrainedOn
from crossdraft.drafters.registry import REGISTRY
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.run import evaluate
from crossdraft.evaluation.state_controls import IDENTITY, MEAN, NEXT, POSITION, controls
from crossdraft.evaluation.state_run import measure_states
from crossdraft.pairs.split import folds
from crossdraft.pairs.thoughts import thoughts_of
from tests.evaluation.state_kit import (
    PLACES,
    TinyHead,
    TinyNext,
    TinyState,
    head_file,
    saved,
    state_pairs,
    state_store,
    thinking,
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, its head, and a checkpoint of both tiny drafters."""
    for name, place in PLACES.items():
        monkeypatch.setitem(REGISTRY, name, place)
    state_store(tmp_path / "store", state_pairs(24, noise=0.2))
    head_file(tmp_path / "head.safetensors", TinyHead())
    saved(TinyState, tmp_path / "runs" / "state")
    saved(TinyNext, tmp_path / "runs" / "next")
    return tmp_path


def run(data: Path, *drafters: str, **options: Any) -> Any:
    options = {"lm_head": data / "head.safetensors", "arrived": "all", "folds": 3, **options}
    config = EvaluateConfig.parse(pairs=data / "store", drafters=drafters, **options)
    return evaluate(config)


def rows(payload: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["source"], row["alignment"]): row for row in payload["states"]["rows"]}


def test_states_tokens_controls_and_twins_stand_beside_each_other(data: Path) -> None:
    state, following = str(data / "runs/state"), str(data / "runs/next")
    outcome = run(data, state, following, f"{state}:{following}", f"{state}:suffix")
    found = rows(outcome.payload)
    assert found.keys() == {
        ("tiny-state", "own"), ("tiny-state", "forced"), ("tiny-state@shuffled", "own"),
        ("tiny-next", "forced"),
        *((name, a) for name in (IDENTITY, MEAN, POSITION, NEXT) for a in ("own", "forced")),
    }  # fmt: skip

    def top1(source: str, alignment: str) -> float:
        row = found[source, alignment]
        value = row["next" if row["shift"] else "same"]["metrics"]["token_top1"]["value"]
        assert isinstance(value, float)
        return value

    assert top1("tiny-state", "own") == top1(IDENTITY, "own") > 0.6
    assert top1("tiny-state@shuffled", "own") < 0.2 and top1(MEAN, "forced") < 0.3
    copied = found["tiny-next", "forced"]
    assert copied["same"]["metrics"]["cosine"]["value"] == pytest.approx(1, abs=1e-6)
    assert top1("tiny-next", "forced") < 0.3, "a copy says nothing of the next token"
    drafters = outcome.payload["drafters"]
    assert drafters["tiny-state"]["first_window"]["value"] > 1.5
    assert drafters["tiny-state@shuffled"]["first_window"]["value"] < 0.5
    # The phases of the two-phase rows: its prefill half, then its decode half.
    both = drafters["tiny-state:suffix"]
    assert both["first_window"] == drafters["tiny-state"]["first_window"]
    assert outcome.payload["networks"]["tiny-state"]["parameters"] == 64
    assert [one["decode"] for one in outcome.payload["two_phase"]] == ["tiny-next", "suffix"]
    assert all(one["estimate"]["speedup"]["value"] > 1 for one in outcome.payload["two_phase"])
    assert any("@shuffled reads another scene's words and states" in w for w in outcome.warnings)


def test_named_two_phases_and_drafters_twice(data: Path) -> None:
    state = str(data / "runs/state")
    payload = run(data, named={"A": f"{state}:none", "B": f"none:{state}"}).payload
    drafters = payload["drafters"]
    assert drafters["A"]["first_window"]["value"] > 1.5 > drafters["A"]["alpha"]["value"]
    assert drafters["B"]["first_window"]["value"] == 0 < drafters["B"]["alpha"]["value"]
    assert list(payload["networks"]) == ["tiny-state"], "one drafter, measured once"
    with pytest.raises(InputError, match="'suffix' names two drafters"):
        run(data, named={"suffix": f"{state}:none"})
    other = saved(TinyState, data / "runs" / "other")
    named = run(data, state, str(other), f"{state}:{other}").payload
    assert [*named["networks"]] == ["tiny-state", "tiny-state (other)"]
    with pytest.raises(InputError, match="stands twice"):
        run(data, f"{state}:none", f"{state}:none", f"{state}:none")


def test_checkpoint_in_a_phase_that_has_seen_the_test_is_refused(data: Path) -> None:
    seen = saved(TinyState, data / "runs" / "seen", TrainedOn.of(state_pairs(24)[:8]))
    with pytest.raises(InputError, match="trained on the drive drive_00"):
        run(data, f"suffix:{seen}")


def test_without_a_head_states_are_measured_and_tokens_are_not(data: Path) -> None:
    class Blind(TinyState):
        needs = frozenset[str]()

    pairs = []
    for pair in state_pairs(12):
        own, forced, target = (thoughts_of(pair).states(k) for k in ("own", "forced", "target"))
        pairs.append(thinking(pair, own, forced, target, None))
    drafter = Blind()
    drafter.build((), 0)
    made, notes = measure_states(lambda _: {"blind": drafter}, folds(pairs, 3, 0))
    assert made and not any(row.tokens for row in made)
    assert any("no token metrics of states" in note for note in notes)


def test_words_alone_give_no_state_metrics() -> None:
    pairs = tuple(replace(p, thoughts=None) for p in state_pairs(9))
    made, notes = measure_states(lambda _: {}, folds(pairs, 3, 0))
    assert made == [] and "no states of the target" in notes[0]


def test_means_are_those_of_the_training_part() -> None:
    pairs = state_pairs(12)
    made = controls(pairs[:8], frozenset({"own", "forced", "target"}))[MEAN]
    wanted = torch.cat([thoughts_of(p).states("target") for p in pairs[:8]]).mean(0)
    torch.testing.assert_close(made.states[0], wanted)  # type: ignore[attr-defined]


def test_identity_only_where_widths_agree() -> None:
    pair = state_pairs(1)[0]
    thoughts = thoughts_of(pair)
    narrow = thinking(
        pair, thoughts.states("own")[:, :4], thoughts.states("forced")[:, :4],
        thoughts.states("target"), TinyHead(),
    )  # fmt: skip
    kinds = frozenset({"own", "forced", "target"})
    assert controls([narrow], kinds).keys() == {MEAN, POSITION}
    assert controls([pair], kinds, frozenset({0, 1})).keys() == {IDENTITY, MEAN, POSITION, NEXT}


def test_position_means_are_those_of_each_place() -> None:
    pairs = state_pairs(5)
    made = controls(pairs, frozenset({"target"}))[POSITION]
    states = made.states  # type: ignore[attr-defined]
    assert len(states) == max(len(p.target_tokens) for p in pairs)
    for place in (0, len(states) - 1):
        there = [thoughts_of(p).states("target") for p in pairs]
        wanted = torch.stack([s[place] for s in there if len(s) > place]).mean(0)
        torch.testing.assert_close(states[place], wanted)


def test_shuffled_pairs_are_what_twins_read(data: Path) -> None:
    """Forced states too: a drafter that follows the target loses what other events cost it."""
    state = str(data / "runs" / "state")
    pairs = state_pairs(24, noise=0.2)
    wrong = [
        thinking(replace(pair, draft_tokens=pair.draft_tokens[::-1]),
                 -thoughts_of(pair).states("own"), -thoughts_of(pair).states("forced"),
                 thoughts_of(pair).states("target"), None)
        for pair in pairs
    ]  # fmt: skip
    state_store(data / "shuffled", wrong)
    plain = run(data, state)
    label = next(one for one in plain.payload["networks"])
    shuffled = run(data, state, shuffled_pairs=data / "shuffled")
    own, twin = (
        shuffled.payload["drafters"][label + end]["tau"]["value"] for end in ("", "@shuffled")
    )
    assert own == plain.payload["drafters"][label]["tau"]["value"]
    assert twin < plain.payload["drafters"][label + "@shuffled"]["tau"]["value"]
    found = rows(shuffled.payload)
    for alignment in ("own", "forced"):
        one, twin_row = (found[label + end, alignment]["same"] for end in ("", "@shuffled"))
        assert twin_row["metrics"]["cosine"]["value"] == pytest.approx(
            -one["metrics"]["cosine"]["value"]
        )
    assert any("@shuffled reads another scene" in note for note in plain.warnings)
    assert not any("@shuffled reads another scene" in note for note in shuffled.warnings)


def test_shuffled_pairs_of_other_answers_are_refused(data: Path) -> None:
    state_store(data / "other", state_pairs(24, seed=5))
    with pytest.raises(InputError, match="--shuffled-pairs"):
        run(data, str(data / "runs" / "state"), shuffled_pairs=data / "other")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"models": {"drafter": 1}}, "saw its own scenes"),
        ({"models": {"drafter": 2}, "events": "shuffled"}, "of other models"),
        ({"models": {"drafter": 1}, "events": "shuffled"}, None),
    ],
)
def test_shuffled_pairs_that_are_none_are_refused(
    data: Path, source: dict[str, Any], said: str | None
) -> None:
    state_store(data / "others", state_pairs(24, noise=0.2))
    for name, about in (("store", {"models": {"drafter": 1}}), ("others", source)):
        manifest = data / name / "store.json"
        noted = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**noted, "source": about}))
    if said is None:
        run(data, shuffled_pairs=data / "others")
        return
    with pytest.raises(InputError, match=said):
        run(data, shuffled_pairs=data / "others")


def test_drives_that_the_event_model_was_tuned_on_are_refused(data: Path) -> None:
    manifest = data / "store" / "store.json"
    noted = json.loads(manifest.read_text())
    for drives in (["elsewhere"], ["drive_01", "elsewhere"]):
        manifest.write_text(json.dumps({**noted, "source": {"tuned_on": drives}}))
        if drives == ["elsewhere"]:
            run(data)
    with pytest.raises(InputError, match="tuned on 1 drives of the test, drive_01 among"):
        run(data)


def test_a_checkpoint_for_states_of_another_width_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"options": {}, "widths": {"hidden": 16}}
    monkeypatch.setattr(TinyState, "describe", lambda _: wide)
    with pytest.raises(InputError, match=r"target states 16 wide(?s:.)*8, as the states of these"):
        run(data, str(saved(TinyState, data / "runs" / "wide")))


def test_what_a_drafter_writes_alone_is_not_read_off_the_targets_words() -> None:
    (pair,) = state_pairs(1, drives=1, noise=0.0)
    target = thoughts_of(pair).states("target")
    drafter = TinyState()
    drafter.build((), 0)
    wrong = thinking(pair, target[:3].flip(0), target, target, TinyHead())
    assert rank_of_next(drafter, wrong, Arrival())[1:] == [0] * (len(target) - 1)
    assert rank_without_prefix(drafter, wrong) == [
        0 if pair.target_tokens[2 - t : 3 - t] == (token,) else None
        for t, token in enumerate(pair.target_tokens)
    ]


def test_a_cost_model_without_states_is_said_to_have_no_row(data: Path) -> None:
    def noted(**options: Any) -> bool:
        return any("cost model has no row" in said for said in run(data, **options).warnings)

    assert noted(lm_head=None, cost_model="seed-a") and not noted(lm_head=None)
    assert noted(lm_head=None, seed_times={"gamma_decode": 3})
