"""What is to be extracted, checked before any model is loaded: the same plan, the same store.

A shard holds whole clips in the dataset's order, so which pair stands where follows from the plan
alone, whoever extracts it and however often that was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.pairs.extract.model_facts import (
    ModelFacts,
    ids_of_questions,
    refuse_layers,
    same_tokens,
)
from crossdraft.pairs.extract.settings import Keep
from crossdraft.pairs.store.kinds import Reading, Side
from crossdraft.pairs.store.manifest import TUNED_ON, Schema, StoredKind
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.folder_note import FolderNote
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.model_spec import ROLES, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.tuned import tuned_on

NOTE, _FORMAT = ".extract.json", "crossdraft.extract/1"
#: A model of fewer parameters is small.
_SMALL = 10**9


@dataclass(frozen=True)
class _Usual:
    """How much is done at once where nobody says it.

    Small models on a CPU are half again as quick with eight clips at once, and small shards leave
    no core without work; of a model of 7 billion parameters each clip's picture takes a gigabyte.
    """

    chunk_size: int
    batch_clips: int

    @classmethod
    def of(cls, models: Mapping[Role, ModelFacts]) -> _Usual:
        return cls(160, 8) if _small(models) else cls(500, 1)


def _small(models: Mapping[Role, ModelFacts]) -> bool:
    return all(facts.parameters < _SMALL for facts in models.values())


@dataclass(frozen=True)
class Plan:
    """An extraction.

    Attributes:
        out: folder of the store.
        pair: the two models, at the precision and on the devices where they run.
        scenes: clips in their order.
        dataset: name of the folder they come from.
        fingerprint: of the clips, as `SceneDataset.fingerprint`.
        split: of the clips, `all` for every one.
        questions: as asked.
        keep: what is kept of the answers.
        max_new_tokens: longest answer.
        clips_per_shard: clips of a shard; the last may have fewer.
        batch_clips: clips that are answered in one batch.
        models: what is known of the models.
        shuffled: the drafter sees another drive's events, the target its own scene: a control.
        tuned_on: drives that the drafter was tuned on, if it was: no test may be made of them.
        question_ids: the target's, as `Manifest.question_ids`.
    """

    out: Path
    pair: ModelPair
    scenes: tuple[Scene, ...]
    dataset: str
    fingerprint: str
    split: str
    questions: tuple[str, ...]
    keep: Keep
    max_new_tokens: int
    clips_per_shard: int
    batch_clips: int
    models: Mapping[Role, ModelFacts]
    shuffled: bool = False
    tuned_on: tuple[str, ...] = ()
    question_ids: tuple[tuple[int, ...], ...] = ()

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.scenes) // self.clips_per_shard)

    @property
    def small(self) -> bool:
        """Whether both models are small."""
        return _small(self.models)

    @property
    def pairs(self) -> int:
        """Number of pairs, if no clip fails."""
        return len(self.scenes) * len(self.questions)

    def clips(self, shard: int) -> range:
        """Numbers of a shard's clips."""
        first = shard * self.clips_per_shard
        return range(first, min(first + self.clips_per_shard, len(self.scenes)))

    def seen(self, number: int) -> Scene:
        """The scene whose events the drafter sees beside clip `number`: its own; shuffled, the
        first of another drive from half the set away on."""
        if not self.shuffled:
            return self.scenes[number]
        here, half = self.scenes[number], number + len(self.scenes) // 2
        turned = (self.scenes[(half + i) % len(self.scenes)] for i in range(len(self.scenes)))
        return next(scene for scene in turned if scene.drive != here.drive)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Clip numbers by the id of the scene."""
        return {scene.id: number for number, scene in enumerate(self.scenes)}

    @property
    def schema(self) -> Schema:
        """What every pair of the store has."""
        return self._schema(("target", "own"))

    @property
    def half_schema(self) -> Schema:
        """What a pair has while the target alone has answered."""
        return self._schema(("target",))

    def _schema(self, sides: Sequence[Side]) -> Schema:
        half = sides == ("target",)
        kinds = tuple(
            StoredKind(kind.name, self.models[kind.role].width, self.keep.dtype)
            for kind in self.keep.kinds
            if not half or kind.reading == "target"
        )
        return Schema(kinds, self.keep.top, dict.fromkeys(sides, "generated"))

    def tops(self, reading: Reading) -> int:
        """Logits that are kept of each row of a reading."""
        return self.keep.top if reading in self.keep.readings else 0

    @property
    def source(self) -> dict[str, Any]:
        """What the store is made from; the same wherever the files lie. Plain JSON."""
        return {
            "dataset": {
                "name": self.dataset,
                "fingerprint": self.fingerprint,
                "split": self.split,
                "clips": len(self.scenes),
            },
            "pair": self.pair.name,
            "models": {role: self.models[role].identity for role in ROLES},
            "max_new_tokens": self.max_new_tokens,
            **self.keep.to_json(),
            **({"events": "shuffled"} if self.shuffled else {}),
            **({TUNED_ON: list(self.tuned_on)} if self.tuned_on else {}),
        }

    @property
    def note(self) -> FolderNote:
        """What all processes that work in the folder must agree on."""
        asked = {str(number): text for number, text in enumerate(self.questions)}
        settings = {
            "format": _FORMAT,
            **self.source,
            "questions": asked,
            "clips_per_shard": self.clips_per_shard,
            "batch_clips": self.batch_clips,
        }
        return FolderNote(NOTE, settings, "extracted")


def make_plan(
    out: Path,
    pair: ModelPair,
    scenes: Path,
    *,
    split: str = "all",
    questions: Sequence[str],
    keep: Keep,
    max_new_tokens: int = 50,
    max_samples: int | None = None,
    chunk_size: int | None = None,
    batch_clips: int | None = None,
    shuffled: bool = False,
) -> Plan:
    """Plan an extraction; nothing is loaded or written.

    Args:
        out: folder of the store.
        scenes: a dataset.
        split: `all` for every scene.
        questions: asked about every scene.
        max_samples: at most so many clips, as many of each drive.
        chunk_size: pairs of a shard; None: as many as suit the models.
        batch_clips: clips that are answered in one batch; None: as many as suit the models.
        shuffled: show the drafter another drive's events.

    Raises:
        InputError: no dataset, nothing of the split; a model that is not there; layers, logits or
            an alignment that the models do not have; a number out of range; a folder that holds
            something else.
    """
    for name, value in (
        ("max-new-tokens", max_new_tokens),
        ("chunk-size", 1 if chunk_size is None else chunk_size),
        ("max-samples", 1 if max_samples is None else max_samples), ("questions", len(questions)),
        ("batch-clips", 1 if batch_clips is None else batch_clips),
    ):  # fmt: skip
        if value < 1:
            raise InputError(f"{value}", where=f"--{name}", expected="1 or more")
    dataset = SceneDataset.open(scenes).of_split(split)
    if max_samples is not None:
        dataset = dataset.thinned(max_samples)
    models = {role: ModelFacts.of(pair.spec(role), role) for role in ROLES}
    _refuse_unfit(pair, keep, models)
    asked = {role: ids_of_questions(pair.spec(role), role, dataset[0], questions) for role in ROLES}
    usual = _Usual.of(models)
    plan = Plan(
        out, pair, tuple(dataset), dataset.folder.resolve().name, dataset.fingerprint, split,
        tuple(questions), keep, max_new_tokens,
        max(1, (chunk_size or usual.chunk_size) // len(questions)),
        batch_clips or usual.batch_clips, models, shuffled,
        tuned_on(pair.drafter.place("drafter")).drives, asked["target"],
    )  # fmt: skip
    if shuffled and len({scene.drive for scene in plan.scenes}) < 2:
        raise InputError(
            "clips of one drive alone",
            where="--shuffle-events",
            expected="two drives or more: each clip is shown another drive's events",
        )
    plan.note.check(out)
    return plan


def _refuse_unfit(pair: ModelPair, keep: Keep, models: Mapping[Role, ModelFacts]) -> None:
    for role in ROLES:
        refuse_layers(models[role], role, keep.of(role))
    if keep.top > (least := min(facts.vocabulary for facts in models.values())):
        raise InputError(
            f"{keep.top}", where="--top-logits", expected=f"at most the vocabulary, {least:,}"
        )
    if "forced" in keep.states and not same_tokens(pair, models["target"], models["drafter"]):
        raise InputError(
            "the two models have different tokenizers: the drafter cannot read the target's ids",
            where="--alignment",
            expected="a pair whose ids stand for the same, for the drafter's forced states",
            hint="keep its states over its own answer alone: --alignment own",
        )
