"""Drafters are found by name, by checkpoint, and by several of these joined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.checkpoint import TrainedOn, is_trainable, save_drafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.find import find_drafter, seen_drives
from crossdraft.drafters.registry import REGISTRY
from tests.make import QUESTION, recorded_pairs
from tests.tiny import built

PAIRS = recorded_pairs(8)
TRAINABLE = [name for name in REGISTRY if is_trainable(name)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a run of each trainable drafter; one name holds a `+`."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (("translator", "run"), ("token-adapter", "runs/a+b")):
        (tmp_path / folder).mkdir(parents=True)
        save_drafter(built(name, PAIRS), tmp_path / folder / "best_model.safetensors")
    return tmp_path


def parts(drafter: Drafter) -> Sequence[str]:
    assert isinstance(drafter, EnsembleDrafter)
    return drafter.sources


@pytest.mark.parametrize("name", [n for n in REGISTRY if n not in TRAINABLE and n != "ensemble"])
def test_names(name: str) -> None:
    assert find_drafter(name).name == name


def test_names_joined() -> None:
    drafter = find_drafter("suffix+position")
    assert drafter.name == "suffix+position" and parts(drafter) == ("suffix", "position")


@pytest.mark.parametrize("text", ["run", "run/best_model.safetensors", "./run"])
def test_a_checkpoint_is_ready_to_propose(here: Path, text: str) -> None:
    drafter = find_drafter(text)
    assert drafter.name == "translator"
    drafter.begin(Context(QUESTION, RecordedStream(PAIRS[0].draft_tokens)))
    assert len(drafter.propose([], Budget.chain(3)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("suffix+run", ("suffix", "translator")),
        ("run+suffix", ("translator", "suffix")),
        ("suffix+runs/a+b", ("suffix", "token-adapter")),
        ("runs/a+b+run", ("token-adapter", "translator")),
        (
            "position+runs/a+b/best_model.safetensors+suffix",
            ("position", "token-adapter", "suffix"),
        ),
    ],
)
def test_mixes_of_names_and_checkpoints(here: Path, text: str, expected: Sequence[str]) -> None:
    drafter = find_drafter(text)
    assert parts(drafter) == tuple(expected) and drafter.name == "+".join(expected)
    assert ("draft_tokens" in drafter.needs) == any(map(is_trainable, expected))


def test_an_existing_path_wins_over_its_parts(here: Path) -> None:
    (here / "runs" / "a").mkdir()  # without a checkpoint
    (here / "b").mkdir()
    assert find_drafter("runs/a+b").name == "token-adapter"
    assert parts(find_drafter("suffix+runs/a+b")) == ("suffix", "token-adapter")


def test_a_folder_does_not_hide_a_name(here: Path) -> None:
    (here / "suffix").mkdir()
    (here / "suffix+position").mkdir()
    assert find_drafter("suffix").name == "suffix"
    assert parts(find_drafter("suffix+position")) == ("suffix", "position")
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        find_drafter("./suffix")


@pytest.mark.parametrize(
    ("text", "name", "instead"),
    [
        *((name, name, "RUN") for name in TRAINABLE),
        ("suffix+translator", "translator", "suffix+RUN"),
        ("token-adapter+position", "token-adapter", "RUN+position"),
        ("run+token-adapter", "token-adapter", "run+RUN"),
        ("ensemble", "crossmodal", "suffix+RUN"),
        ("ensemble+runs/a+b", "crossmodal", "suffix+RUN+runs/a+b"),
    ],
)
def test_an_untrained_network_is_refused(here: Path, text: str, name: str, instead: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be trained first") as caught:
        find_drafter(text)
    wanted = f"crossdraft train {name} --pairs FILE --out RUN, then name {instead}"
    assert caught.value.hint == wanted


@pytest.mark.parametrize("text", ["telepathy", "suffix+telepathy", "run+telepathy", "telepathy+b"])
def test_unknown_names_list_the_known(here: Path, text: str) -> None:
    with pytest.raises(InputError, match="no drafter is called 'telepathy'") as caught:
        find_drafter(text)
    assert all(name in str(caught.value.expected) for name in REGISTRY)


@pytest.mark.parametrize("text", ["", "+", "suffix+", "suffix++position", "x" * 5000, "a\0b"])
def test_no_name_at_all(here: Path, text: str) -> None:
    with pytest.raises(InputError, match="no drafter is called"):
        find_drafter(text)


@pytest.mark.parametrize("text", ["suffix+suffix", "run+run", "run+suffix+./run"])
def test_a_drafter_stands_once(here: Path, text: str) -> None:
    with pytest.raises(InputError, match="stands twice"):
        find_drafter(text)


def test_other_files_are_no_checkpoints(here: Path) -> None:
    (here / "notes.txt").write_text("words")
    for text in ("notes.txt", "suffix+notes.txt"):
        with pytest.raises(InputError, match=r"notes\.txt"):
            find_drafter(text)


def test_drives_that_checkpoints_have_seen(here: Path) -> None:
    assert seen_drives("suffix+run") == frozenset(), "this one does not say"
    save_drafter(
        built("translator", PAIRS), here / "run" / "best_model.safetensors",
        TrainedOn(clips=("c",), drives=("north", "south")),
    )  # fmt: skip
    assert seen_drives("suffix+run") == {"north", "south"}
    assert seen_drives("suffix") == frozenset()


def test_a_pair_brings_what_has_to_be_trained(here: Path) -> None:
    """Its checkpoints stand for their names, all it drafts with for `ensemble`."""
    drafting = "suffix+run"
    (name,) = set(parts(find_drafter(drafting))) - {"suffix"}
    assert find_drafter(name, drafting).name == name
    assert parts(find_drafter("ensemble", drafting)) == ("suffix", name)
    assert parts(find_drafter(f"position+{name}", drafting)) == ("position", name)
    assert find_drafter("suffix", drafting).name == "suffix"
    assert find_drafter("run", drafting).name == name, "a path stays what it is"
    with pytest.raises(InputError, match="must be trained first"):
        find_drafter("ensemble", "suffix")
