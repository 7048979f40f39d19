"""Where answers to measure come from: a dataset that brings them along, or recorded answers.

Texts of a dataset become tokens by a vocabulary of their own; recorded answers have their models'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from crossdraft.base.errors import InputError
from crossdraft.decoding.answers import read_answers as read_recorded
from crossdraft.decoding.answers import until_eos
from crossdraft.evaluation.predictability import Part, Spoken
from crossdraft.pairs.record import Pair, warnings_about_pairs
from crossdraft.pairs.split import folds
from crossdraft.pairs.store.manifest_file import is_store
from crossdraft.scenes.answers import ANSWERS, Answer, SceneAnswers, Voice, read_answers
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.manifest import MANIFEST
from crossdraft.scenes.scene import Scene, warnings_about
from crossdraft.vlm.bpe import END_ID, train_bpe


@dataclass(frozen=True)
class Options:
    """How answers are read and split.

    Attributes:
        vocabulary: entries at most of the vocabulary that a dataset's texts get.
        folds: where nothing says what is train and what is test.
        gap: clips left out between train and test where drives are not known.
        eos: token id that ends a recorded answer.
    """

    voice: Voice = "camera"
    vocabulary: int = 1500
    folds: int = 5
    gap: int = 20
    eos: int = 2

    def check(self) -> None:
        """
        Raises:
            InputError: a number that nothing can be made of.
        """
        for name, value, least in (
            ("--vocabulary", self.vocabulary, 300), ("--folds", self.folds, 2),
            ("--gap", self.gap, 0), ("--eos", self.eos, 0),
        ):  # fmt: skip
            if value < least:
                raise InputError(f"{value}", where=name, expected=f"{least} or more")


@dataclass(frozen=True)
class Source:
    """Answers, split and ready.

    Attributes:
        split: how train and test were told apart, in words.
        vocabulary: entries of the vocabulary, None where the tokens were recorded.
        files: what was read.
        notes: what a reader of the numbers must know about the scenes.
    """

    parts: tuple[Part, ...]
    split: str
    vocabulary: int | None
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def read_source(path: Path, options: Options) -> Source:
    """Read and split the answers of a dataset folder or of a file of recorded answers.

    Raises:
        InputError: nothing readable there, no answer of this voice, or nothing to train on.
    """
    options.check()
    if path.is_dir() and ((path / MANIFEST).is_file() or (path / ANSWERS).is_file()):
        return _dataset(path, options)
    if path.is_dir() and not any(path.glob("*_tokens.pt")) and not is_store(path):
        raise InputError(
            f"neither {ANSWERS} nor recorded answers in it",
            where=path,
            expected="a dataset that brings answers along, or a file of recorded answers",
            hint="make such a dataset: crossdraft scenes synth",
        )
    return _recorded(path, options)


def _recorded(path: Path, options: Options) -> Source:
    pairs = read_recorded(path, options.eos).pairs
    if options.voice == "event":
        pairs = tuple(
            replace(pair, target_tokens=until_eos(pair.draft_tokens, options.eos)) for pair in pairs
        )
    if not any(pair.target_tokens for pair in pairs):
        raise InputError(f"every answer of the {options.voice} voice is empty", where=path)
    told = {pair.key: _recorded_one(pair, options) for pair in pairs}
    parts, split = _folded(told, options)
    notes = tuple(warnings_about_pairs(pairs))
    return Source(parts, split, None, (path,) if path.is_file() else (), notes)


def _recorded_one(pair: Pair, options: Options) -> Spoken:
    text = pair.target_text if options.voice == "camera" else pair.draft_text
    ended = pair.target_tokens[-1:] == (options.eos,)
    return Spoken(pair, words=None if text is None else len(text.split()), ended=ended)


def _dataset(path: Path, options: Options) -> Source:
    scenes = {scene.id: scene for scene in SceneDataset.open(path)}
    notes = tuple(warnings_about(*scenes.values()))
    entries = list(_checked(read_answers(path), scenes, options.voice, path / ANSWERS))
    train_drives = {s.drive for s in scenes.values() if s.split == "train"}
    test_drives = {s.drive for s in scenes.values() if s.split == "test"}
    if shared := sorted(train_drives & test_drives):
        raise InputError(f"drive {shared[0]} is in train and in test", where=path / MANIFEST)
    spoken_of = {split: [e for e in entries if scenes[e.scene_id].split == split]
                 for split in ("train", "test")}  # fmt: skip
    divided = all(spoken_of.values())
    learned = spoken_of["train"] if divided else entries
    texts = (answer.text for entry in learned for answer in entry.answers.values())
    tokenizer = train_bpe(texts, options.vocabulary)
    numbers = {text: n for n, text in enumerate(dict.fromkeys(e.question for e in entries))}

    def spoken(entry: SceneAnswers) -> Spoken:
        scene, said = scenes[entry.scene_id], entry.answers[options.voice]
        return _spoken(scene, entry.question, numbers[entry.question], said, tokenizer)

    files = (path / MANIFEST, path / ANSWERS)
    size = tokenizer.get_vocab_size()
    if divided:
        part = Part(*(tuple(map(spoken, spoken_of[split])) for split in ("train", "test")))
        return Source((part,), "train and test drives of the manifest", size, files, notes)
    made = [spoken(entry) for entry in entries]
    parts, split = _folded({one.pair.key: one for one in made}, options)
    return Source(parts, f"{split}, one vocabulary for all", size, files, notes)


def _checked(
    entries: Iterable[SceneAnswers], scenes: Mapping[str, Scene], voice: Voice, path: Path
) -> Iterator[SceneAnswers]:
    """Entries whose scene is there, each once, with the voice asked for."""
    seen = set()
    for entry in entries:
        what = f"{entry.scene_id}, {entry.question!r}"
        if entry.scene_id not in scenes:
            raise InputError(f"{what}: no such scene", where=path, expected=f"one of {MANIFEST}")
        if voice not in entry.answers:
            raise InputError(f"{what}: no answer of the {voice} voice", where=path)
        if (entry.scene_id, entry.question) in seen:
            raise InputError(f"{what}: answered twice", where=path, expected="once")
        seen.add((entry.scene_id, entry.question))
        yield entry
    if not seen:
        raise InputError("holds no answers", where=path)


def _spoken(scene: Scene, question: str, number: int, said: Answer, tokenizer: Tokenizer) -> Spoken:
    encoded = tokenizer.encode(said.text, add_special_tokens=False)
    pair = Pair(
        scene.id, scene.clip, question, number, (), (*encoded.ids, END_ID), drive=scene.drive
    )
    seen, hidden = _attributes(scene, "event_visible"), _attributes(scene, "camera_only")
    marks = [(n.start, n.end) for n in said.names if hidden is not None and n.attribute in hidden]
    overlapping = sum(
        any(start < last and first < end for first, last in marks) for start, end in encoded.offsets
    )
    named = None if hidden is None else overlapping
    return Spoken(pair, seen, hidden, named, len(said.text.split()), ended=True)


def _attributes(scene: Scene, kind: str) -> dict[str, str] | None:
    """Attributes of the ground truth, None where the scene has none."""
    given = scene.truth.get(kind)
    if not isinstance(given, Mapping):
        return None
    return {str(name): str(value) for name, value in given.items()}


def _folded(
    spoken: Mapping[tuple[str, int, str], Spoken], options: Options
) -> tuple[tuple[Part, ...], str]:
    """Folds by drive or block, and what they are in words."""
    made = folds([one.pair for one in spoken.values()], options.folds, options.gap)

    def those(pairs: Sequence[Pair]) -> tuple[Spoken, ...]:
        return tuple(spoken[pair.key] for pair in pairs)

    kind = "whole drives" if made[0].by_drive else f"contiguous blocks, gap {options.gap} clips"
    parts = tuple(Part(those(fold.train), those(fold.test)) for fold in made)
    return parts, f"{len(made)} folds of {kind}"
