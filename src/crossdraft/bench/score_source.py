"""What `crossdraft pair score` asks: scenes of one split, and what can truly be said about them.

Also which scene of another drive stands in for each: the control shows a model that one instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.scenes.answers import ANSWERS, SceneAnswers, Voice, read_answers
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.manifest import MANIFEST
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.model_spec import Role

#: What each model can truly say is what its camera sees.
VOICE_OF: Mapping[Role, Voice] = {"target": "camera", "drafter": "event"}


@dataclass(frozen=True)
class Asked:
    """A scene, and the true answers to the questions that are asked about it.

    Attributes:
        truths: by question, in the file's order.
    """

    scene: Scene
    truths: Mapping[str, SceneAnswers]

    def known(self, attribute: str) -> str | None:
        """An attribute of the scene's ground truth, None where it does not say."""
        for kind in ("event_visible", "camera_only"):
            given = self.scene.truth.get(kind)
            if isinstance(given, Mapping) and attribute in given:
                return str(given[attribute])
        return None


@dataclass(frozen=True)
class AskedScenes:
    """Everything that is asked.

    Attributes:
        dataset: the scenes that are asked about.
        asked: the same with their true answers, in the order of drive and clip.
        split: that they are of, `all` for every scene.
        files: what was read.
    """

    dataset: SceneDataset
    asked: tuple[Asked, ...]
    split: str
    files: tuple[Path, ...]

    @property
    def drives(self) -> list[str]:
        """[scenes] drive of each."""
        return [one.scene.drive for one in self.asked]

    @property
    def questions(self) -> list[str]:
        """Every question, in the order of its first appearance."""
        return list(dict.fromkeys(question for one in self.asked for question in one.truths))


def read_asked(
    folder: Path, split: str, roles: Sequence[Role], clips: int | None = None
) -> AskedScenes:
    """Scenes of a split with their true answers.

    Args:
        split: `all` for every scene.
        roles: models that will be asked; there must be true answers for each.
        clips: at most so many scenes, as many of each drive.

    Raises:
        InputError: no dataset, no answers or damaged ones, an answer without a scene, in two
            copies or without a voice that is needed, nothing of this split, or scenes of one drive
            only.
    """
    dataset = SceneDataset.open(folder)
    entries = _by_scene(dataset, roles)
    chosen = dataset.of_split(split).where(lambda scene: scene.id in entries)
    if clips is not None:
        chosen = chosen.thinned(clips)
    if len(chosen.drives) < 2:
        raise InputError(
            f"answers about {len(chosen)} clips of {len(chosen.drives)} drive(s) of the split "
            f"{split!r}",
            where=dataset.folder / ANSWERS,
            expected="two drives or more: the controls show each scene the data of another drive",
            hint="ask about more clips" if clips is not None else "name another --split",
        )
    asked = tuple(Asked(scene, entries[scene.id]) for scene in chosen)
    files = tuple(dataset.folder / name for name in (MANIFEST, ANSWERS))
    return AskedScenes(chosen, asked, split, tuple(file for file in files if file.is_file()))


def in_place_of(drives: Sequence[str]) -> list[int]:
    """For each scene the one of another drive that stands in for it.

    The n-th scene of a drive gets the n-th of another one, for every n the drive that many places
    further on: where all drives are equally long each scene stands in once, and every drive for
    every other.

    Args:
        drives: [scenes] drive of each, two different ones at least.

    Returns:
        [scenes] places in `drives`.
    """
    names = sorted(set(drives))
    places = {name: [i for i, drive in enumerate(drives) if drive == name] for name in names}
    found = [0] * len(drives)
    for number, name in enumerate(names):
        for n, place in enumerate(places[name]):
            other = places[names[(number + 1 + n % (len(names) - 1)) % len(names)]]
            found[place] = other[n % len(other)]
    return found


def _by_scene(dataset: SceneDataset, roles: Sequence[Role]) -> dict[str, dict[str, SceneAnswers]]:
    """True answers by scene and question."""
    path = dataset.folder / ANSWERS
    known = {scene.id for scene in dataset}
    found: dict[str, dict[str, SceneAnswers]] = {}
    for entry in read_answers(dataset.folder):
        what = f"{entry.scene_id}, {entry.question!r}"
        if entry.scene_id not in known:
            raise InputError(f"{what}: no such scene", where=path, expected="one of the dataset")
        for role in roles:
            if VOICE_OF[role] not in entry.answers:
                raise InputError(
                    f"{what}: no answer of the {VOICE_OF[role]} voice",
                    where=path,
                    expected=f"one, to hold the {role}'s answer against",
                )
        of_scene = found.setdefault(entry.scene_id, {})
        if entry.question in of_scene:
            raise InputError(f"{what}: answered twice", where=path, expected="once")
        of_scene[entry.question] = entry
    return found
