"""A tiny pair, a tiny world, a plan to extract the one from the other, and what a store holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.pairs.extract.plan import Plan, make_plan
from crossdraft.pairs.extract.run import Outcome, extract
from crossdraft.pairs.extract.settings import Keep
from crossdraft.pairs.extract.work import How, Work
from crossdraft.pairs.extract.workplace import Phase
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.kinds import Side
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Packed, Row, Said
from crossdraft.vlm.pair import ModelPair
from tests.bench.tiny_pair import write_pair
from tests.scenes.synth_world import draw_waves, make

QUESTIONS = ("What is ahead?", "Where is the bus going?")
#: A clip is saved as soon as it is done.
OFTEN = How(save_every=1)


@dataclass(frozen=True)
class Ground:
    """Where `tiny.yaml` and `world` lie: six clips of two drives."""

    folder: Path

    @property
    def pair(self) -> ModelPair:
        return ModelPair.find(str(self.folder / "tiny.yaml"))

    @property
    def world(self) -> Path:
        return self.folder / "world"

    def plan(self, out: Path, **options: Any) -> Plan:
        """Three shards of two clips each, one clip at a time, if nothing else is said."""
        given: dict[str, Any] = {
            "pair": self.pair, "scenes": self.world, "questions": QUESTIONS, "keep": Keep(),
            "max_new_tokens": 4, "chunk_size": 4, "batch_clips": 1,
        }  # fmt: skip
        return make_plan(out, **{**given, **options})

    def extract(self, out: Path, how: How = OFTEN, **options: Any) -> Outcome:
        """Extract in this process."""
        return extract(self.plan(out, **options), how, argv=())


def prepare(folder: Path) -> Ground:
    """Write pair and world."""
    write_pair(folder)
    with pytest.MonkeyPatch.context() as patched:
        draw_waves(patched)
        make(folder / "world", drives=2, clips=3)
    return Ground(folder)


def content(store: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The manifest without its provenance, and a digest of each shard, both read anew."""
    PairStore.open(store).check()
    manifest = json.loads((store / "store.json").read_text())
    del manifest["provenance"]
    shards = sorted((store / "shards").iterdir())
    return manifest, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shards}


def made_up(
    work: Work, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
) -> list[list[Row]]:
    """Rows of clips that nobody has asked a model about; each clip and question has its own."""
    return [_of_clip(work, phase, number, halves.get(number)) for number in numbers]


def _of_clip(work: Work, phase: Phase, number: int, half: Sequence[Row] | None) -> list[Row]:
    plan: Plan = work._plan
    scene, rows = plan.scenes[number], list(half or ())
    if half is None:
        for place, question in enumerate(plan.questions):
            tokens, states = _answer(plan, "target", number, place)
            pair = Pair(scene.id, scene.clip, question, place, (), tokens, None, "t", scene.drive)
            said: dict[Side, Said] = {"target": Said("eos", "1a", len(tokens))}
            rows.append(Row(pair, said, {"target": states}))
    if phase == "target":
        return rows
    whole = []
    for place, row in enumerate(rows):
        tokens, own = _answer(plan, "own", number, place)
        count = row.said["target"].count
        forced = pack(row.states["target"].codes.float()[:, :64].cumsum(0)[:count], plan.keep.dtype)
        whole.append(
            Row(
                replace(row.pair, draft_tokens=tokens, simulated=True),
                {**row.said, "own": Said("length", "2b", len(tokens))},
                {**row.states, "own": own, "forced": forced},
            )
        )
    return whole


def _answer(plan: Plan, side: Side, number: int, place: int) -> tuple[tuple[int, ...], Packed]:
    random = torch.Generator().manual_seed(1000 * number + 10 * place + (side == "own"))
    count = int(torch.randint(1, 5, (), generator=random))
    tokens = tuple(torch.randint(0, 99, (count,), generator=random).tolist())
    width = plan.models["drafter" if side == "own" else "target"].width
    return tokens, pack(torch.randn(count, width, generator=random), plan.keep.dtype)
