"""Where a benchmark can be run in a second: a tiny pair in float64, a small world, known costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.files import write_json
from crossdraft.bench.wallclock import answering
from crossdraft.bench.wallclock.answering import Ground, Place
from crossdraft.bench.wallclock.plan import WallclockConfig
from crossdraft.decoding.overlap import InThread
from crossdraft.drafters.base import CostCurve
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.manifest import to_record, write_manifest
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.decoding.overlap_kit import float64_pair
from tests.scenes.synth_world import draw_waves, make
from tests.vlm.costs import curves

TEXTS = ("What is ahead?", "Is the road wet?")


def steep(tokens: int) -> float:
    """T(n)/T(1) that rises by a quarter with every token."""
    return 1.0 + 0.25 * (tokens - 1)


@dataclass(frozen=True)
class Site:
    """Where `tiny.yaml` and `world` lie: three test and two training drives of two clips."""

    folder: Path

    @property
    def pair(self) -> ModelPair:
        return ModelPair.find(str(self.folder / "tiny.yaml"))

    @property
    def world(self) -> Path:
        return self.folder / "world"

    @property
    def dataset(self) -> SceneDataset:
        return SceneDataset.open(self.world)

    def config(self, configs: str, **changes: Any) -> WallclockConfig:
        """Four test questions and two others, one round, answers of six tokens."""
        settings: dict[str, Any] = {
            "questions": 4, "validation": 2, "texts": TEXTS, "rounds": 1, "warmup": 0,
            "max_new_tokens": 6, "kth": 3,
        }  # fmt: skip
        return WallclockConfig(self.pair, self.world, configs, **{**settings, **changes})


def prepare(folder: Path) -> Site:
    """Write pair and world."""
    pair, file = float64_pair(folder), folder / "tiny.yaml"
    file.write_text(pair.to_yaml())
    with pytest.MonkeyPatch.context() as patched:
        draw_waves(patched)
        make(folder / "world", drives=3, clips=2, split="test")
        make(folder / "world", drives=2, clips=2, split="train")
    return Site(folder)


def with_costs(folder: Path) -> Path:
    """The folder of a benchmark whose costs are known, so that nobody has to measure them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = curves({n: steep(n) for n in (1, 8, 33)})
    write_json(folder / "cost_curves.json", made.to_json())
    return folder


class Aside(InThread):
    """The event model in a thread of this process: no second process has to load it."""

    def __init__(self, pair: ModelPair, **_: Any) -> None:
        models = PairModels(pair)
        super().__init__(lambda: models.drafter)
        self.closed = 0

    def wait_until_ready(self) -> bool:
        return True

    def begin(self, *question: Any) -> Any:
        """Answers before the target goes on: a tiny one would be done before the thread runs."""
        given = super().begin(*question)
        assert self._thread is not None
        self._thread.join()
        return given

    def close(self) -> None:
        self.closed += 1
        super().close()


def stay_here(patch: pytest.MonkeyPatch) -> None:
    """Let what runs beside the target be a thread."""
    patch.setattr(answering, "InProcess", Aside)


def bare_ground(cost: CostCurve, step_ms: float = 10.0, models: Any = None) -> Ground:
    """What configurations share, without models where none are asked."""
    return Ground(models, 20, "cold", cost, step_ms, ())


def scenes(drives: Sequence[str], clips: int, split: str | None = None) -> list[Scene]:
    """Scenes that both sensors saw; their files are not there."""
    return [
        Scene(drive, clip, Path("world"), f"{drive}{clip}.npz", f"{drive}{clip}.mp4", split=split)
        for drive in drives
        for clip in range(clips)
    ]


def write_scenes(folder: Path, made: Sequence[Scene]) -> Path:
    """A dataset of which only the manifest is there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, [to_record(scene) for scene in made], {})
    return folder


def asked(part: str, made: Sequence[Scene], texts: Sequence[str] = TEXTS) -> list[Place]:
    """Every question about every scene."""
    pairs = [(scene, text) for scene in made for text in texts]
    return [Place(part, n, scene, text, scene) for n, (scene, text) in enumerate(pairs)]
