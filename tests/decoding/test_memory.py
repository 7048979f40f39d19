"""Learned answers outlive their process: none is lost or doubled, whoever is killed or writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from crossdraft.base.errors import InputError
from crossdraft.decoding import memory as module
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.decoding.memory import Memory, memory_path
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.position import PositionDrafter
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.vlm.pair import ModelPair
from tests.make import recorded_pairs

ANSWERS = [(f"question {i % 3}", pair.target_tokens) for i, pair in enumerate(recorded_pairs(12))]


class Heard(SuffixDrafter):
    """Notes what it is told to remember."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, tuple[int, ...]]] = []

    def remember(self, question: str, answer: Any) -> None:
        self.heard.append((question, tuple(map(int, answer))))
        super().remember(question, answer)


def held(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """The answers of a memory, in order."""
    drafter = Heard()
    assert Memory(path).recall(drafter) == len(drafter.heard)
    return drafter.heard


def saved(path: Path, answers: Any = ANSWERS) -> Memory:
    memory = Memory(path)
    for question, tokens in answers:
        memory.add(question, tokens)
    memory.save()
    return memory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "memory.safetensors"


def test_a_new_process_proposes_as_the_old_one_did(path: Path) -> None:
    old, memory = SuffixDrafter(), Memory(path)
    assert memory.recall(old) == 0
    for question, tokens in ANSWERS:
        old.begin(Context(question, RecordedStream(())))
        old.finish(tokens)
        memory.add(question, tokens)
    memory.save()
    new = SuffixDrafter()
    assert Memory(path).recall(new) == len(ANSWERS)
    for question in ("question 1", "another"):
        trees = []
        for one in (old, new):
            one.begin(Context(question, RecordedStream(())))
            trees.append(one.propose(ANSWERS[-1][1][:4], Budget.tree(40, 8)))
        assert len(trees[0])
        np.testing.assert_array_equal(trees[0].tokens, trees[1].tokens)
        np.testing.assert_array_equal(trees[0].logq, trees[1].logq)


@given(
    st.lists(st.lists(st.tuples(st.text(max_size=4), st.lists(st.integers(0, 2**31 - 1)))),
             max_size=4)
)  # fmt: skip
def test_answers_come_back_in_order(tmp_path_factory: pytest.TempPathFactory, runs: Any) -> None:
    path = tmp_path_factory.mktemp("memory") / "m.safetensors"
    for answers in runs:
        saved(path, answers)
    assert held(path) == [(question, tuple(row)) for answers in runs for question, row in answers]


def test_saving_twice_learns_nothing_twice(path: Path) -> None:
    memory = saved(path, ANSWERS[:3])
    memory.save()
    memory.add(*ANSWERS[3])
    memory.save()
    assert held(path) == ANSWERS[:4]


def test_nothing_learned_is_nothing_written(path: Path) -> None:
    Memory(path).save()
    assert not path.parent.exists()


def test_every_suffix_drafter_inside_learns(path: Path) -> None:
    saved(path)
    inner, outer = Heard(), Heard()
    nested = EnsembleDrafter((PositionDrafter(), EnsembleDrafter((inner,), "inner"), outer), "all")
    assert Memory(path).recall(nested) == len(ANSWERS)
    assert inner.heard == outer.heard == ANSWERS


@pytest.mark.parametrize(
    "drafter", [PositionDrafter(), EnsembleDrafter((PositionDrafter(),), "few")], ids=["one", "all"]
)
def test_others_remember_nothing(path: Path, drafter: Drafter) -> None:
    with pytest.raises(InputError, match=f"{drafter.name}, which remembers nothing"):
        Memory(path).recall(drafter)


def test_the_oldest_leave_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 5)
    saved(path, [("a", (1, 2, 3)), ("b", (4, 5)), ("c", (6, 7, 8))])
    assert held(path) == [("b", (4, 5)), ("c", (6, 7, 8))]
    saved(path, [("d", (9,))])
    assert held(path) == [("c", (6, 7, 8)), ("d", (9,))]


_DIE = """
import os, signal, sys
from pathlib import Path
import safetensors.numpy
from crossdraft.decoding.memory import Memory

write, sync = safetensors.numpy.save_file, os.fsync

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half(arrays, path, **about):
    write(arrays, path, **about)
    os.truncate(path, os.path.getsize(path) // 2)
    die()

if sys.argv[2] == "half":
    safetensors.numpy.save_file = half
else:
    os.fsync = die
memory = Memory(Path(sys.argv[1]))
memory.add("new", [1, 2])
memory.save()
"""


@pytest.mark.parametrize("when", ["half", "unsynced"])
def test_a_killed_save_loses_nothing_old(path: Path, when: str) -> None:
    saved(path)
    before = path.read_bytes()
    died = subprocess.run([sys.executable, "-c", _DIE, str(path), when], check=False)
    assert died.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert list(path.parent.glob(".*.part*")), "it was in the middle of its work"
    saved(path, [("later", (3,))])
    assert held(path) == [*ANSWERS, ("later", (3,))]
    assert not list(path.parent.glob(".*.part*")), "what it left is gone"


def test_what_could_not_be_saved_is_saved_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(path, ANSWERS[:2])
    memory = Memory(path)
    memory.add(*ANSWERS[2])
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            memory.save()
    memory.save()
    assert held(path) == ANSWERS[:3]


_WRITE = """
import sys
from pathlib import Path
from crossdraft.decoding.memory import Memory

memory = Memory(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    memory.add(sys.argv[2], [number])
    memory.save()
"""


def test_two_processes_lose_nothing_of_each_other(path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITE, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for run in runs:
        assert run.stdout is not None and run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    answers = held(path)
    for name in ("one", "two"):
        assert [tokens for by, tokens in answers if by == name] == [(n,) for n in range(30)]
    assert len(answers) == 60


@pytest.mark.parametrize("damage", ["empty", "cut", "words", "other", "short", "question", "type"])
def test_a_damaged_file_is_named(path: Path, damage: str) -> None:
    saved(path)
    whole = path.read_bytes()
    sound = {"format": "crossdraft.memory/1", "questions": ["a"]}
    row, two = np.arange(3, dtype=np.int32), np.array([3], np.int64)
    first = np.zeros(1, np.int64)
    arrays: dict[str, dict[str, Any]] = {
        "other": {"a": row},
        "short": {"tokens": row[:2], "lengths": two, "asked": first},
        "question": {"tokens": row, "lengths": two, "asked": first + 1},
        "type": {"tokens": row.astype(np.float32), "lengths": two, "asked": first},
    }
    if damage in arrays:
        about = {"crossdraft": json.dumps(sound)}
        save_file(arrays[damage], path, metadata=about)
    else:
        path.write_bytes({"empty": b"", "cut": whole[:-9], "words": b"not tensors" * 9}[damage])
    before = path.read_bytes()
    later = Memory(path)
    later.add("b", [1])
    for refused in (lambda: Memory(path).recall(SuffixDrafter()), later.save):
        with pytest.raises(InputError, match="not a readable memory") as caught:
            refused()
        assert caught.value.where == path and "move it away" in str(caught.value.hint)
    assert path.read_bytes() == before
    path.rename(path.with_name("away"))
    later.save()
    assert held(path) == [("b", (1,))]


@pytest.mark.parametrize(
    "value", ["[]", "{}", '{"format": "crossdraft.suffix/1"}', "[" * 100_000, "words",
              '{"format": "crossdraft.memory/1", "questions": [1]}'],
    ids=["list", "empty", "format", "deep", "words", "numbers"],
)  # fmt: skip
def test_what_a_file_says_of_itself_is_checked(path: Path, value: str) -> None:
    path.parent.mkdir()
    rows: dict[str, Any] = {"tokens": np.zeros(0, np.int32), "lengths": np.zeros(0, np.int64)}
    rows["asked"] = rows["lengths"].copy()
    save_file(rows, path, metadata={"crossdraft": value})
    with pytest.raises(InputError, match="not a readable memory"):
        Memory(path).recall(SuffixDrafter())


def test_a_place_that_cannot_be_written_is_told_before_the_first_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write in"):
        Memory(tmp_path / "file" / "memory").recall(SuffixDrafter())
    with pytest.raises(InputError, match="this is a folder"):
        Memory(tmp_path).recall(SuffixDrafter())
    (tmp_path / "closed").mkdir(mode=0o500)
    if not os.access(tmp_path / "closed", os.W_OK):  # not so for root
        with pytest.raises(InputError, match="cannot write in"):
            Memory(tmp_path / "closed" / "memory").recall(SuffixDrafter())


# Where it is kept.


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelPair:
    """A pair whose target is a folder with a tokenizer."""
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "cache"))
    for name in ("video", "video-2", "event", "words"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text("{}")
    (tmp_path / "pair.yaml").write_text("target: {model: video}\ndrafter: {model: event}\n")
    return ModelPair.find(str(tmp_path / "pair.yaml"))


def test_the_place_follows_the_environment(pair: ModelPair, tmp_path: Path) -> None:
    place = memory_path(pair)
    assert place.parent == tmp_path / "cache" / "suffix" and place.suffix == ".safetensors"
    assert not place.parent.exists()


def test_another_target_has_another_memory(pair: ModelPair, tmp_path: Path) -> None:
    first = memory_path(pair)

    def of(**changes: Any) -> Path:
        return memory_path(replace(pair, target=replace(pair.target, **changes)))

    assert of() == first
    # Neither how it is run nor who drafts decides what its ids mean.
    assert of(dtype="nf4", device="cpu", frames=4) == first
    assert memory_path(replace(pair, name="other", drafter=pair.target)) == first
    assert of(model=str(tmp_path / "video-2")) != first
    # The same folder by another way.
    (tmp_path / "link").symlink_to(tmp_path / "video")
    assert of(model=str(tmp_path / "link")) == first
    assert of(tokenizer=str(tmp_path / "words")) == first, "it has the same words"
    (tmp_path / "words" / "added_tokens.json").write_text('{"<new>": 7}')
    assert of(tokenizer=str(tmp_path / "words")) != first
    (tmp_path / "video" / "tokenizer.json").write_text('{"model": 1}')
    assert of() != first


def test_a_hub_model_is_known_by_name_and_revision(
    pair: ModelPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    places = []
    for cache, commit in (("one", "0" * 40), ("two", "0" * 40), ("two", "1" * 40)):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / cache))
        (tmp_path / cache / "models--lab--video" / "snapshots" / commit).mkdir(parents=True)
        target = replace(pair.target, model=f"lab/video@{commit}")
        places.append(memory_path(replace(pair, target=target)))
    assert places[0] == places[1] != places[2]


def test_a_missing_target_is_named(pair: ModelPair) -> None:
    missing = replace(pair, target=replace(pair.target, model="./absent"))
    with pytest.raises(InputError, match=r"target\.model"):
        memory_path(missing)
