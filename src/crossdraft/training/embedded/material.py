"""What is learned from: pictures of scenes and their answers, held in memory.

Drives are held out for validation by the one rule for all splits.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.scenes.answers import Answer, read_answers
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.drive.boxes import boxes
from crossdraft.scenes.drive.voices import answers
from crossdraft.scenes.drive.world import CLIP_S
from crossdraft.scenes.drive.world import Clip as World
from crossdraft.scenes.drives import drives_near
from crossdraft.scenes.scene import Scene
from crossdraft.training.embedded.misread import Mention
from crossdraft.training.embedded.models import PATCH, SIDE
from crossdraft.training.embedded.packing import Turn
from crossdraft.training.embedded.repaint import left_out, repaint, repainted
from crossdraft.training.embedded.side import Side
from crossdraft.training.embedded.vocabulary import embedded_vocabulary
from crossdraft.vlm.pixels import Pixels

#: Share of a patch that somebody must fill to own it, or share of themselves that it must hold.
_FILLED, _HELD = 0.3, 0.5


@dataclass(frozen=True)
class Clip:
    """One clip, ready to be packed.

    Attributes:
        pictures: uint8 [frames, height, width, 3].
        turns: every question with its answer.
        truth: attributes that this side's camera sees, with their values.
        owners: int64 [frames, patches] who is in each patch: 0 nobody, 1 the most prominent road
            user, 2 the second.
        mentions: by turn, which tokens of the answer name what, in the order of the words.
        left_out: before which attributes stands whoever training drives never show so (`WHOSE`);
            of these, kind and paint are never told at once.
    """

    pictures: Pixels
    turns: tuple[Turn, ...]
    truth: Mapping[str, str]
    owners: npt.NDArray[np.int64]
    mentions: tuple[tuple[Mention, ...], ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """Clips to learn from, and clips of other drives to validate on.

    Attributes:
        digest: of everything that is learned from.
        drives: of the dataset's training split.
        fingerprint: of these drives' files.
    """

    train: tuple[Clip, ...]
    val: tuple[Clip, ...]
    digest: str
    drives: int = 0
    fingerprint: str = ""


def read_material(
    side: Side,
    folder: Path,
    *,
    val_share: float,
    most_val: int,
    seed: int = 0,
    progress: ProgressSink = silent,
) -> Material:
    """Read the training scenes of a dataset; of a side that sees paint, what is learned from is
    repainted.

    Args:
        folder: of the dataset, which brings answers.
        val_share: of the clips, held out by whole drives.
        most_val: clips that validation reads, evenly chosen.
        seed: of the paints.

    Raises:
        InputError: no answers, no training scenes, or fewer than two drives.
    """
    scenes = SceneDataset.open(folder).where(lambda scene: scene.split == "train")
    lengths = Counter(scene.drive for scene in scenes)
    if len(lengths) < 2:
        raise InputError(
            f"training scenes of {len(lengths)} drives",
            where=folder,
            expected="two drives or more: one is held out for validation",
            hint="crossdraft scenes synth --drives 480 --clips-per-drive 10",
        )
    held = drives_near(lengths, val_share)
    train = [scene for scene in scenes if scene.drive not in held]
    val = _some([scene for scene in scenes if scene.drive in held], most_val)
    said = _answers(folder, side, {scene.id for scene in (*train, *val)})
    total = len(train) + len(val)
    clips = [
        _clip(side, scene, said[scene.id], folder, seed if scene.drive not in held else None)
        for scene in track([*train, *val], f"scenes of the {side.role}", total, progress)
    ]
    digest = hashlib.sha256(repr((scenes.fingerprint, side.prefix)).encode())
    for clip in clips:
        digest.update(repr(clip.turns).encode())
    return Material(
        tuple(clips[: len(train)]),
        tuple(clips[len(train) :]),
        digest.hexdigest(),
        len(lengths),
        scenes.fingerprint,
    )


def _some(scenes: Sequence[Scene], most: int) -> list[Scene]:
    """At most so many, evenly spaced."""
    if len(scenes) <= most:
        return list(scenes)
    return [scenes[place] for place in np.linspace(0, len(scenes) - 1, most).round().astype(int)]


def _answers(folder: Path, side: Side, wanted: set[str]) -> dict[str, list[tuple[str, Answer]]]:
    """By scene, every question with the answer of this side's voice."""
    said: dict[str, list[tuple[str, Answer]]] = defaultdict(list)
    for entry in read_answers(folder):
        if entry.scene_id in wanted and side.voice in entry.answers:
            said[entry.scene_id].append((entry.question, entry.answers[side.voice]))
    return said


def _clip(
    side: Side,
    scene: Scene,
    said: Sequence[tuple[str, Answer]],
    folder: Path,
    paint_seed: int | None,
) -> Clip:
    """One clip as it was filmed, or with a seed in paints of its own."""
    if not said:
        raise InputError(
            f"no answer of the {side.voice} voice about {scene.id}",
            where=folder,
            expected="answers.jsonl as `crossdraft scenes synth` writes it",
        )
    world = World.from_truth(scene.truth, scene.id)
    pictures, times_s = side.shown(scene)
    if paint_seed is not None and side.voice == "camera":
        before, world = world, repaint(world, paint_seed)
        pictures = repainted(pictures, before, world, times_s)
        told = {entry.question: entry.answers[side.voice] for entry in answers(world)}
        said = [(question, told[question]) for question, _ in said if question in told]
    truth = world.event_visible() | (world.camera_only() if side.voice == "camera" else {})
    return Clip(
        pictures,
        tuple(side.turn(question, answer.text) for question, answer in said),
        truth,
        _owners(world, times_s),
        tuple(_mentions(answer) for _, answer in said),
        left_out(world) if side.voice == "camera" else (),
    )


def _owners(world: World, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """A patch belongs to whoever fills a good part of it, or has most of themselves in it; where
    two do, to the nearer one."""
    cells = SIDE // PATCH
    edges = np.arange(cells) * PATCH
    owners = np.zeros((len(times_s), cells, cells), np.int64)
    for frame, found in enumerate(boxes(world, (SIDE, SIDE), np.clip(times_s, 0.0, CLIP_S))):
        # Whose box ends lower in the picture stands nearer: drawn last.
        for agent in np.argsort(found[:, 3]).tolist():
            left, top, right, bottom = found[agent].tolist()
            across = np.clip(np.minimum(edges + PATCH, right) - np.maximum(edges, left), 0, None)
            down = np.clip(np.minimum(edges + PATCH, bottom) - np.maximum(edges, top), 0, None)
            shared, whole = np.outer(down, across), (right - left) * (bottom - top)
            inside = (shared >= _FILLED * PATCH**2) | (shared >= _HELD * whole)
            owners[frame][inside & (shared > 0)] = agent + 1
    return owners.reshape(len(times_s), -1)


def _mentions(answer: Answer) -> tuple[Mention, ...]:
    """Which tokens name what: all that hold a character of a name."""
    spoken = embedded_vocabulary().encode(answer.text, add_special_tokens=False)
    begins, ends = np.array(spoken.offsets).reshape(-1, 2).T
    return tuple(
        Mention(
            name.attribute,
            int(np.searchsorted(ends, name.start, side="right")),
            int(np.searchsorted(begins, name.end, side="left")),
        )
        for name in answer.names
    )
