"""One run of `crossdraft bench stages`: the five stages of both models, from raw sensor files.

Both models are in memory and take turns clip by clip, who goes first changes each time, so that a
machine that slows down on the way slows both. Each works alone: nothing overlaps here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.bench.stages_clip import Staged, StagedClip, answered
from crossdraft.bench.stages_group import Failure, Group, summary
from crossdraft.bench.stages_scenes import about, by_length, chosen
from crossdraft.bench.stages_seed import seed_file
from crossdraft.scenes.scene import Scene, warnings_about
from crossdraft.vlm.model_spec import ROLES, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels


@dataclass(frozen=True)
class StagesConfig:
    """What to measure.

    Attributes:
        pair: the two models; both are held in memory, whatever it says of loading.
        scenes: datasets.
        question: asked about every clip.
        clips: at most so many of each dataset; None: all.
        max_new_tokens: longest answer.
        warmup: clips that are answered first and do not count.
        split: `train`, `test` or `all`.

    Raises:
        InputError: nothing to measure.
    """

    pair: ModelPair
    scenes: tuple[Path, ...]
    question: str
    clips: int | None = None
    max_new_tokens: int = 50
    warmup: int = 3
    split: str = "all"

    def __post_init__(self) -> None:
        least = {"clips": 1, "max_new_tokens": 1, "warmup": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                where = f"--{name.replace('_', '-')}"
                raise InputError(f"{value}", where=where, expected=f"{lowest} or more")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        plain = {"pair": self.pair.to_json(), "scenes": [str(path) for path in self.scenes]}
        kept = ("question", "clips", "max_new_tokens", "warmup", "split")
        return {**plain, **{name: getattr(self, name) for name in kept}}

    @property
    def inputs(self) -> list[Path]:
        """The files whose digests a result carries; weights take long to read and cost nothing."""
        places = (self.pair.spec(role).place(role) / "config.json" for role in ROLES)
        return [place for place in places if place.is_file()]


@dataclass(frozen=True)
class Stages:
    """What came out.

    Attributes:
        payload: of the result.
        seed_files: by name, in the seed study's five-stage layout; one for each length.
        warnings: what to know before using a number.
        failed: clips that could not be measured.
    """

    payload: dict[str, Any]
    seed_files: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]
    failed: int


def run(config: StagesConfig, progress: ProgressSink = silent) -> Stages:
    """Measure.

    Raises:
        InputError: a model that cannot be loaded, a dataset that cannot be opened, a clip without
            events or without a video, or not one clip could be measured.
    """
    datasets = chosen(config.scenes, config.split, config.clips)
    lengths = by_length(datasets)
    with PairModels(replace(config.pair, load="together")) as models:
        facts = _facts(models)
        _warm_up(models, lengths.values(), config)
        groups = [_measured(models, us, scenes, config, progress) for us, scenes in lengths.items()]
    failures = [failure for group in groups for failure in group.failures]
    if not any(group.clips for group in groups):
        raise InputError(
            f"not one of {len(failures)} clips could be measured; {failures[0].scene}: "
            f"{failures[0].error}",
            where=config.scenes[0],
        )
    seeds = _seed_names(groups)
    payload: dict[str, Any] = {
        "pair": config.pair.name,
        "question": config.question,
        "models": facts,
        "threads": torch.get_num_threads(),
        "date": date.today().isoformat(),
        "datasets": about(datasets),
        "durations": [summary(group) | {"seed_file": seeds.get(group.name)} for group in groups],
        "clips": [{"duration": g.name, **clip.to_json()} for g in groups for clip in g.clips],
        "errors": [{"duration": g.name, **asdict(one)} for g in groups for one in g.failures],
    }
    said = warnings_about(*(scene for scenes in lengths.values() for scene in scenes))
    if failures:
        clips = f"{len(failures)} clip{'s' if len(failures) > 1 else ''}"
        said.append(f"failed and in no number: {clips}; see errors")
    files = {
        seeds[group.name]: seed_file(group.clips, group.failures, facts, config)
        for group in groups
        if group.clips
    }
    return Stages(payload, files, tuple(said), len(failures))


def _facts(models: PairModels) -> dict[Role, dict[str, Any]]:
    """What was measured; loads both models, the memory that each takes is in it."""
    facts: dict[Role, dict[str, Any]] = {}
    for role in ROLES:
        before = _held()
        model = models.target if role == "target" else models.drafter
        facts[role] = {
            "model": Path(models.pair.spec(role).model).name,
            "architecture": type(model.model).__name__,
            "parameters": int(model.model.num_parameters()),
            "dtype": models.pair.spec(role).dtype,
            "device": str(model.device),
            "frames": getattr(model.prompts, "frames", None),
            "memory_bytes": _held() - before if model.device.type == "cuda" else None,
        }
    return facts


def _held() -> int:
    return sum(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))


def _asked(models: PairModels, role: Role, scene: Scene, config: StagesConfig) -> Staged:
    model = models.target if role == "target" else models.drafter
    return answered(model, scene, config.question, config.max_new_tokens)


def _warm_up(models: PairModels, groups: Iterable[Sequence[Scene]], config: StagesConfig) -> None:
    """Answers that do not count, about clips of every length; what fails here fails again."""
    for scenes in groups:
        for scene in islice(cycle(scenes), config.warmup):
            for role in ROLES:
                try:
                    _asked(models, role, scene, config)
                except InputError:
                    continue


def _measured(
    models: PairModels,
    length_us: int,
    scenes: Sequence[Scene],
    config: StagesConfig,
    progress: ProgressSink,
) -> Group:
    """Every clip of one length; those that fail are told and left out."""
    clips: list[StagedClip] = []
    failures: list[Failure] = []
    name = Group(length_us).name
    for number, scene in enumerate(track(scenes, f"clips of {name}", len(scenes), progress)):
        order = ROLES if number % 2 else ROLES[::-1]
        found: dict[Role, Staged] = {}
        for role in order:
            try:
                found[role] = _asked(models, role, scene, config)
            except InputError as error:
                failures.append(Failure(scene.id, number, role, str(error)))
                break
        else:
            clips.append(StagedClip(scene, number, order[0], found["drafter"], found["target"]))
    return Group(length_us, tuple(clips), tuple(failures))


def _seed_names(groups: Sequence[Group]) -> dict[str, str]:
    """`seed.json`, or with its length in the name where there are several."""
    measured = [group.name for group in groups if group.clips]
    if len(measured) == 1:
        return {measured[0]: "seed.json"}
    return {name: f"seed_{name}.json" for name in measured}
