"""Which questions a benchmark asks about which scenes: test drives to report, others to calibrate
on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from crossdraft.base.errors import InputError
from crossdraft.bench.wallclock.answering import Picture, Place
from crossdraft.bench.wallclock.configuration import Configuration, configurations
from crossdraft.drafters.base import (
    DRAFT_STATES,
    FORCED_STATES,
    OF_THE_EVENT_MODEL,
    TARGET_STATES,
)
from crossdraft.drafters.find import find_drafter, seen_drives, with_checkpoints
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.record import Pair
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.tuned import tuned_on


@dataclass(frozen=True)
class WallclockConfig:
    """What is measured.

    Attributes:
        pair: of models.
        scenes: a dataset with test drives and others.
        configs: as `configurations` reads them.
        drafters: where drafters lie whose names in `configs` are none that `find_drafter` takes.
        questions, validation: how many to report, and how many to calibrate the prediction on.
        learn_from: recorded answers of drives that are not tested; drafters know them beforehand.
        texts: what is asked about each scene.
        rounds: alternations.
        warmup: questions that every configuration answers first, uncounted.
        max_new_tokens: of an answer.
        picture: `cold`: every question from its sensor files on; `shared`: a scene is read once
            for its questions.
        threads: of the target on a CPU; None: as torch has it.
        cores: `apart`: the target on one core and the event model's process on another one.
        rivals: configurations, as they are written in `configs`, that speed-ups are given over as
            well as over plain decoding and what transformers answers with.
        kth: the token whose arrival is reported beside the first and the last.
        seed: of the bootstrap.
    """

    pair: ModelPair
    scenes: Path
    configs: str
    questions: int = 300
    validation: int = 40
    learn_from: Path | None = None
    texts: tuple[str, ...] = tuple(one.text for one in DEFAULT_QUESTIONS)
    rounds: int = 5
    warmup: int = 3
    max_new_tokens: int = 60
    picture: Picture = "cold"
    threads: int | None = None
    cores: Literal["shared", "apart"] = "shared"
    rivals: tuple[str, ...] = ()
    kth: int = 10
    seed: int = 0
    drafters: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        paths = {
            "scenes": str(self.scenes),
            "learn_from": None if self.learn_from is None else str(self.learn_from),
        }
        return {**asdict(self), "pair": self.pair.to_json(), "texts": list(self.texts), **paths}


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a model is loaded."""

    configurations: tuple[Configuration, ...]
    test: tuple[Place, ...]
    validation: tuple[Place, ...]
    learned: tuple[Pair, ...]


def _found(one: Configuration, config: WallclockConfig) -> Configuration:
    """With its drafter's place: where the caller says it lies, or the pair brings it."""
    if one.drafter is None:
        return one
    named = config.drafters.get(one.drafter)
    return replace(one, drafter=named or with_checkpoints(one.drafter, config.pair.drafting))


def _refuse_strangers(rivals: Sequence[str], wanted: Sequence[Configuration]) -> None:
    names = [one.name for one in wanted]
    for rival in rivals:
        if rival not in names:
            raise InputError(f"{rival!r}", where="--rivals", expected=f"one of {', '.join(names)}")


def refuse_sizes(config: WallclockConfig) -> None:
    sizes = (
        ("--alternations", config.rounds, 1), ("--warmup", config.warmup, 0),
        ("--max-new-tokens", config.max_new_tokens, 1), ("--kth", config.kth, 1),
        ("--validation", config.validation, 0),
        ("--threads", 1 if config.threads is None else config.threads, 1),
    )  # fmt: skip
    for name, value, least in sizes:
        if value < least:
            raise InputError(f"{value}", where=name, expected=f"{least} or more")


def planned(config: WallclockConfig) -> Plan:
    wanted = tuple(_found(one, config) for one in configurations(config.configs))
    for one in wanted:
        _refuse_deaf(one)
    _refuse_strangers(config.rivals, wanted)
    dataset = SceneDataset.open(config.scenes)
    test = places("test", dataset.of_split("test"), config.texts, config.questions)
    tested = {place.scene.drive for place in test}
    if any(one.shuffled for one in wanted) and len(tested) < 2:
        raise InputError(
            "shuffled events of one test drive",
            where=config.scenes,
            expected="two drives or more, each of which can show the other's events",
        )
    for one in wanted:
        _refuse_seen(one, tested)
    if any(one.kind == "drafter-only" or reads_words(one) for one in wanted):
        _refuse_tuned(config.pair, tested)
    validation: tuple[Place, ...] = ()
    if config.validation:
        others = dataset.where(lambda scene: scene.split != "test" and scene.drive not in tested)
        held = _last_drives(others, -(-config.validation // len(config.texts)))
        validation = places("validation", held, config.texts, config.validation)
    learned: tuple[Pair, ...] = ()
    if config.learn_from is not None:
        learned = learned_apart(read_pairs(config.learn_from).pairs, test, validation)
    return Plan(wanted, test, validation, learned)


def _last_drives(others: SceneDataset, clips: int) -> SceneDataset:
    """The last drives, two clips of each, or more drives where theirs are not enough: those that
    recorded answers are least likely to be made of."""
    drives = others.drives
    for count in range(max(1, (clips + 1) // 2), len(drives)):
        held = others.of_drives(drives[-count:])
        if sum(map(_seen, held)) >= clips:
            return held
    return others


def _seen(scene: Scene) -> bool:
    """Whether both sensors saw it."""
    return bool(scene.events_file and scene.video_file)


def _refuse_deaf(one: Configuration) -> None:
    """Drafters that are not there; modifiers that are about the event model, behind one that never
    asks it."""
    if one.drafter is None:
        return
    if not reads_words(one) and (one.shuffled or one.beside != "unsaid"):
        word = "shuffled" if one.shuffled else one.beside
        raise InputError(
            f"{word} behind {one.drafter}, which does not read the event model's words",
            where="--configs",
            expected=f"{one.drafter} alone",
        )


def _refuse_seen(one: Configuration, tested: Collection[str]) -> None:
    """A checkpoint that was trained on what is tested."""
    shared = sorted(seen_drives(one.drafter) & set(tested)) if one.drafter is not None else []
    if shared:
        raise InputError(
            f"{one.drafter} was trained on the test drive {shared[0]}",
            where="--configs",
            expected="checkpoints of drives that are not tested",
        )


def _refuse_tuned(pair: ModelPair, tested: Collection[str]) -> None:
    """An event model that was tuned on what is tested."""
    shared = sorted(set(tuned_on(pair.drafter.place("drafter")).drives) & set(tested))
    if shared:
        raise InputError(
            f"the event model was tuned on the test drive {shared[0]}",
            where=pair.drafter.model,
            expected="a test of drives that the tuning has not seen",
        )


def reads_words(one: Configuration) -> bool:
    """Whether a configuration's drafter reads the event model's words, or the states behind
    them."""
    return one.drafter is not None and bool(OF_THE_EVENT_MODEL & find_drafter(one.drafter).needs)


def reads_states(one: Configuration) -> bool:
    """Whether its drafter reads hidden states, of either model: words alone do not replay it."""
    states = {DRAFT_STATES, FORCED_STATES, TARGET_STATES}
    return one.drafter is not None and bool(states & find_drafter(one.drafter).needs)


def follows(one: Configuration) -> bool:
    """Whether the event model reads the target's words for it: the model of time knows no such
    passes."""
    return one.drafter is not None and FORCED_STATES in find_drafter(one.drafter).needs


def places(
    part: str, dataset: SceneDataset, questions: Sequence[str], count: int
) -> tuple[Place, ...]:
    """`count` questions about as few clips as carry them, spread evenly over all drives; clip by
    clip, as somebody asks who looks at one scene and then at the next.

    Raises:
        InputError: no clip that both sensors saw, or not so many questions.
    """
    seen = dataset.where(_seen)
    if not len(seen):
        raise InputError(
            f"no {part} scene with events and a video", where=dataset.folder,
            expected="clips of both sensors",
        )  # fmt: skip
    most = len(seen) * len(questions)
    if not 1 <= count <= most:
        raise InputError(
            f"{count} {part} questions",
            where=dataset.folder,
            expected=f"1 to {most}: {len(seen)} clips, {len(questions)} questions about each",
        )
    scenes = _spread(seen, math.ceil(count / len(questions)))
    asked = [(scene, question) for scene in scenes for question in questions][:count]
    return tuple(
        Place(part, number, scene, question, _other(scene, scenes))
        for number, (scene, question) in enumerate(asked)
    )


def _spread(seen: SceneDataset, clips: int) -> list[Scene]:
    """So many clips, as many of each drive as it has."""
    chosen, wanted = seen.thinned(clips), clips
    while len(chosen) < clips:  # a short drive's share falls to the others
        wanted += clips - len(chosen)
        chosen = seen.thinned(wanted)
    return list(chosen)[:clips]


def _other(scene: Scene, scenes: Sequence[Scene]) -> Scene:
    """The next scene of another drive; the scene itself where there is only one drive."""
    at = next(i for i, one in enumerate(scenes) if one is scene)
    around = [*scenes[at + 1 :], *scenes[:at]]
    return next((one for one in around if one.drive != scene.drive), scene)


def mixed(test: Sequence[Place], validation: Sequence[Place]) -> list[Place]:
    """One order for both: validation clips spread among the test clips, so that a machine that
    slows down does so for both."""
    clips: list[tuple[float, int, list[Place]]] = []
    for rank, part in enumerate((test, validation)):
        grouped: dict[str, list[Place]] = {}
        for place in part:
            grouped.setdefault(place.scene.id, []).append(place)
        groups = list(grouped.values())
        clips += [((i + 0.5) / len(groups), rank, group) for i, group in enumerate(groups)]
    return [place for _, _, group in sorted(clips, key=lambda c: c[:2]) for place in group]


def learned_apart(
    pairs: Sequence[Pair], test: Sequence[Place], validation: Sequence[Place]
) -> tuple[Pair, ...]:
    """Recorded answers without those of the validation drives.

    Raises:
        InputError: answers of a test drive, or of no known drive, are among them.
    """
    tested = {place.scene.drive for place in test}
    shared = sorted(tested & {str(pair.drive) for pair in pairs})
    if shared or any(pair.drive is None for pair in pairs):
        raise InputError(
            f"answers of the test drive {shared[0]}" if shared else "answers of unnamed drives",
            where="--learn-from",
            expected="recorded answers of drives that are not tested",
        )
    held = {place.scene.drive for place in validation}
    return tuple(pair for pair in pairs if pair.drive not in held)
