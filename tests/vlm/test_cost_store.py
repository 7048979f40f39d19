"""Costs are measured once for each model and machine, and a bad file stops nobody."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from crossdraft.vlm.cost_setup import CONTEXT_BUCKET, Setup
from crossdraft.vlm.cost_store import cost_folder, measured
from crossdraft.vlm.target import Target
from tests.vlm.costs import SETUP, MadeTarget, linear
from tests.vlm.models import tiny

ASKED: dict[str, Any] = {
    "context": 300, "widths": (1, 4, 9), "tail_widths": (3,), "repeats": 4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "cost"


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Any:
    return cast(Any, MadeTarget(monkeypatch, linear))


def ran(target: Any, **changes: Any) -> tuple[int, list[str]]:
    """Passes that a call takes, and its notes."""
    before, notes = target.passes, list[str]()
    measured(target, **{**ASKED, **changes}, note=notes.append)
    return target.passes - before, notes


def test_folder_follows_the_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cost_folder() == folder
    monkeypatch.delenv("CROSSDRAFT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cost_folder() == tmp_path / ".cache" / "crossdraft" / "cost"


def test_second_call_runs_nothing(target: Any, folder: Path) -> None:
    first = measured(target, **ASKED)
    assert [path.stem for path in folder.iterdir()] == [first.setup.fingerprint]
    passes, notes = ran(target)
    assert passes == 0
    assert measured(target, **ASKED) == first
    assert len(notes) == 1 and first.date in notes[0] and str(folder) in notes[0]


def test_what_a_busy_machine_measured_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = count()
    target = cast(Any, MadeTarget(monkeypatch, lambda *_: 10.0 * (1 + next(number) % 7)))
    for _ in range(2):
        passes, notes = ran(target)
        assert passes > 0 and len(notes) == 1 and "busy" in notes[0]
    assert not folder.exists()


@pytest.mark.parametrize(
    "more", [{"widths": (1, 5)}, {"tail_widths": (3, 4)}, {"repeats": 5}, {"fresh": True}], ids=str
)
def test_whoever_asks_for_more_measures_again(target: Any, more: dict[str, Any]) -> None:
    ran(target)
    passes, notes = ran(target, **more)
    assert passes > 0 and notes == []


def test_whoever_asks_for_less_does_not(target: Any) -> None:
    ran(target)
    assert ran(target, widths=(4,), tail_widths=(), repeats=2)[0] == 0


def test_what_others_asked_for_is_kept_too(target: Any) -> None:
    ran(target, widths=(1, 8))
    ran(target, widths=(1, 4), repeats=6)
    assert ran(target, widths=(1, 4, 8), repeats=6)[0] == 0


@pytest.mark.parametrize("less", [{"widths": (1, 2)}, {"tail_widths": ()}, {"repeats": 1}], ids=str)
def test_a_poorer_measurement_replaces_none(target: Any, less: dict[str, Any]) -> None:
    ran(target)
    passes, notes = ran(target, fresh=True, **less)
    assert passes > 0 and len(notes) == 1 and "not kept" in notes[0]
    assert ran(target)[0] == 0


def test_the_note_says_which_context_was_measured(target: Any) -> None:
    ran(target)
    assert "with 300 tokens of context" in ran(target, context=301)[1][0]


def test_a_home_in_the_environment_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CROSSDRAFT_CACHE", "~/here")
    assert cost_folder() == tmp_path / "here" / "cost"


def test_contexts_of_one_bucket_share(target: Any) -> None:
    ran(target)
    assert ran(target, context=301)[0] == 0
    assert ran(target, context=300 + CONTEXT_BUCKET)[0] > 0


def test_another_model_is_measured_anew(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(target)
    other = cast(Any, MadeTarget(monkeypatch, linear, hidden_size=16))
    assert ran(other)[0] > 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00", b'{"chain": []}'], ids=str)
def test_damaged_file_is_measured_again(target: Any, folder: Path, content: bytes) -> None:
    ran(target)
    (path,) = folder.iterdir()
    path.write_bytes(content)
    passes, notes = ran(target)
    assert passes > 0
    assert len(notes) == 1 and "damaged" in notes[0] and str(path) in notes[0]
    assert ran(target)[0] == 0, "it was replaced"


def test_file_of_another_machine_is_measured_again(target: Any, folder: Path) -> None:
    ran(target)
    (path,) = folder.iterdir()
    value = json.loads(path.read_text())
    value["setup"]["device"] = "cpu: another"
    path.write_text(json.dumps(value))
    passes, notes = ran(target)
    assert passes > 0 and "another model or machine" in notes[0]


def test_folder_that_cannot_be_written(target: Any, folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file in its place")
    passes, notes = ran(target)
    assert passes > 0
    assert len(notes) == 1 and "cannot be written" in notes[0]


def test_everything_but_small_steps_of_context_is_in_the_fingerprint() -> None:
    prints = {SETUP.fingerprint}
    for field in fields(Setup):
        value = getattr(SETUP, field.name)
        other: Any
        if isinstance(value, bool):
            other = not value
        elif isinstance(value, int):
            other = value + CONTEXT_BUCKET
        else:
            other = value + "x"
        prints.add(replace(SETUP, **{field.name: other}).fingerprint)
    assert len(prints) == 1 + len(fields(Setup))
    assert replace(SETUP, context=SETUP.context + 1).fingerprint == SETUP.fingerprint


def test_setup_of_a_target_tells_models_and_caches_apart() -> None:
    llama = Target(tiny("llama"))
    setups = [
        Setup.of(llama, 100, 15),
        Setup.of(Target(tiny("gpt2")), 100, 15),
        Setup.of(Target(tiny("llama"), cache="preallocated"), 100, 15),
        Setup.of(Target(tiny("llama"), cache="preallocated", room=200), 100, 15),
        Setup.of(Target(tiny("llama"), layers=(1,)), 100, 15),
    ]
    assert len({setup.fingerprint for setup in setups}) == len(setups)
    assert Setup.of(llama, 100, 15) == setups[0]
    assert setups[0].parameters == sum(p.numel() for p in tiny("llama").parameters())
