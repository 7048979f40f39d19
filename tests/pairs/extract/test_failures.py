"""Clips that fail, processes that die in the middle of one, disks that are full."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.pairs.extract import workplace
from crossdraft.pairs.extract.claims import SpoiledError, claimed
from crossdraft.pairs.extract.finish import begin
from crossdraft.pairs.extract.work import How, Work
from crossdraft.pairs.extract.workplace import Phase, Workplace
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.rows import Row
from crossdraft.pairs.store.shard import write_shard
from tests.pairs.extract.ground import OFTEN, Ground, content


class Failing:
    """Lets the models fail at chosen clips, so many times each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception, *clips: int) -> None:
        self.error, self.clips, self.left, self.asked = error, clips, 10**6, 0
        rows = Work.rows

        def failing(
            work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
        ) -> list[list[Row]]:
            if set(numbers) & set(self.clips) and self.left:
                self.left -= 1
                self.asked += 1
                raise self.error
            return rows(work, phase, numbers, halves)

        monkeypatch.setattr(Work, "rows", failing)


pytestmark = pytest.mark.usefixtures("quick")

Wanted = tuple[dict[str, Any], dict[str, str]]


@pytest.mark.parametrize("sequential", [False, True])
def test_a_clip_that_fails_is_listed_and_tried_by_the_next_call(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    sequential: bool,
) -> None:  # fmt: skip
    failing = Failing(monkeypatch, InputError("too dark"), 0)
    how = How(save_every=1, retries=1, sequential=sequential)
    outcome = ground.extract(tmp_path, how)
    assert failing.asked == 2
    assert outcome.manifest is not None
    (missing,) = outcome.manifest.missing
    assert (missing.reason, missing.tries) == ("too dark", 2)
    assert missing.clip == ground.plan(tmp_path / "new").scenes[0].id
    store = PairStore.open(tmp_path)
    assert len(store) == 10 and missing.clip not in {pair.clip for pair in store.pairs()}
    # Once more it fails, then it does not.
    ground.extract(tmp_path, how)
    assert (failing.asked, len(PairStore.open(tmp_path))) == (4, 10)
    failing.left = 0
    outcome = ground.extract(tmp_path, how)
    assert outcome.made == 2, "nothing else is made again"
    assert content(tmp_path) == wanted


def test_a_whole_shard_may_fail(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, ValueError("not finite"), 2, 3)
    ground.extract(tmp_path, How(retries=0))
    store = PairStore.open(tmp_path)
    assert [info.file for info in store.manifest.shards] == [
        "000000.safetensors", "000002.safetensors"
    ]  # fmt: skip
    assert len(store) == 8 and len(store.manifest.missing) == 2
    failing.left = 0
    ground.extract(tmp_path)
    assert content(tmp_path) == wanted


def test_a_second_try_may_do(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, torch.cuda.OutOfMemoryError("CUDA out of memory"), 4)
    failing.left = 2
    ground.extract(tmp_path, How(retries=2))
    assert failing.asked == 2 and content(tmp_path) == wanted


def test_without_a_single_pair_there_is_no_store(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, InputError("no events"), *range(6))
    with pytest.raises(InputError, match=r"all 6 clips failed, and there is no store.*no events"):
        ground.extract(tmp_path, How(retries=0))
    assert not (tmp_path / "store.json").exists()
    failing.left = 0
    ground.extract(tmp_path)
    assert content(tmp_path) == wanted


def test_a_clip_that_takes_processes_along_fails_in_the_end(ground: Ground, tmp_path: Path) -> None:
    begin(ground.plan(tmp_path))
    path = Workplace(tmp_path).claim_path(1)
    with claimed(path) as claim:
        assert claim is not None
        for number in (2, 3, 3):  # killed in 2 once, in 3 twice; 2 ended well later
            with pytest.raises(SpoiledError), claim.on(str(number)):
                raise SpoiledError("killed")
        with claim.on("2"):
            pass
        assert (claim.deaths("2"), claim.deaths("3")) == (1, 2)
        with pytest.raises(KeyboardInterrupt), claim.on("3"):
            raise KeyboardInterrupt  # the user's wish is not the clip's fault
        assert claim.deaths("3") == 2
    outcome = ground.extract(tmp_path, How(retries=1))
    assert outcome.manifest is not None
    (missing,) = outcome.manifest.missing
    assert missing.reason == "its process died 2 times in the middle of it"
    assert missing.clip == ground.plan(tmp_path / "new").scenes[3].id


def test_a_gpu_that_takes_no_more_work_ends_the_process_and_counts_as_its_death(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Failing(monkeypatch, RuntimeError("CUDA error: device-side assert triggered"), 2)
    for _ in range(2):
        with pytest.raises(SpoiledError, match="the GPU takes no more work"):
            ground.extract(tmp_path, How(retries=1))
    outcome = ground.extract(tmp_path, How(retries=1))
    assert outcome.manifest is not None
    assert [one.tries for one in outcome.manifest.missing] == [2]


@pytest.mark.parametrize("name", ["piece", "shard", "scene"])
def test_a_full_disk_is_no_clips_failure(
    ground: Ground, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = write_shard

    def full(path: Path, *arguments: Any, **options: Any) -> Any:
        if (path.parent.name == "open") == (name == "piece") and "1" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, *arguments, **options)

    with monkeypatch.context() as patch:
        if name == "scene":
            fault = RuntimeError("no picture")
            fault.__cause__ = OSError(errno.EDQUOT, "quota")
            Failing(patch, fault, 3)
        else:
            patch.setattr(workplace, "write_shard", full)
        with pytest.raises(InputError, match="what is done is kept"):
            ground.extract(tmp_path)
    assert not (tmp_path / "store.json").exists()
    outcome = ground.extract(tmp_path, OFTEN)
    assert outcome.made < 12, "what was done was kept"
    assert content(tmp_path) == wanted
