"""What a tuning learns from: scenes, and the target's answers about them in the drafter's tokens.

Drives are held out for validation by the one rule for all splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.decoding.answers import read_answers
from crossdraft.drafters.checkpoint import TrainedOn
from crossdraft.pairs.record import Pair, PairSet, warnings_about_pairs
from crossdraft.pairs.split import hold_out
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.scene import Scene, warnings_about
from crossdraft.training.embedded.packing import Turn
from crossdraft.training.tuning.settings import TuneConfig
from crossdraft.vlm.model_config import model_config
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.prompt import PromptBuilder
from crossdraft.vlm.scene_events import with_events
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge

#: The target's ids in the drafter's vocabulary.
Spelling = Callable[[Sequence[int]], tuple[int, ...]]


@dataclass(frozen=True)
class Clip:
    """One scene and what was asked about it.

    Attributes:
        scene: with the events that the drafter reads.
        prefix: ids of every prompt about it, up to its picture's last slot.
        turns: each question with the target's answer.
    """

    scene: Scene
    prefix: tuple[int, ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Lessons:
    """Clips to learn from, and clips of other drives to validate on.

    Attributes:
        by_drive: no drive stands on both sides.
        digest: of everything that is learned from.
        trained_on: clips and drives of both sides.
        fingerprint: of the scenes' files.
        warnings: what a reader of the result must know.
    """

    train: tuple[Clip, ...]
    val: tuple[Clip, ...]
    by_drive: bool
    digest: str
    trained_on: TrainedOn
    fingerprint: str
    warnings: tuple[str, ...]


def read_lessons(
    pair: ModelPair, prompts: PromptBuilder, longest: int, config: TuneConfig
) -> Lessons:
    """Find the target's answers about the scenes of a split.

    Args:
        prompts: the drafter's.
        longest: tokens that it reads, prompt and answer; what is longer is cut.

    Raises:
        InputError: no scenes or answers, none of the ones about the others, too few to hold some
            out, or ids that the drafter does not know.
    """
    dataset = SceneDataset.open(config.scenes).of_split(config.split)
    if config.max_samples is not None:
        dataset = dataset.thinned(config.max_samples)
    scenes = {scene.id: scene for scene in dataset}
    found = read_answers(config.pairs, config.eos)
    pairs = _about(scenes, found, config)
    settings = config.settings
    fold = hold_out(pairs, settings.val_split, settings.gap)
    spelled = spelling(pair)
    sides = [
        _clips(pair, prompts, longest, scenes, side, spelled) for side in (fold.train, fold.test)
    ]
    digest = hashlib.sha256(dataset.fingerprint.encode())
    for clips in sides:
        digest.update(repr([(one.scene.id, one.prefix, one.turns) for one in clips]).encode())
    used = (*fold.train, *fold.test)
    warnings = [*warnings_about(*dataset), *warnings_about_pairs(used)]
    if len(used) < len(found):
        warnings.append(f"not used: {len(found) - len(used):,} answers about other clips")
    return Lessons(
        sides[0], sides[1], fold.by_drive, digest.hexdigest(), TrainedOn.of(used),
        dataset.fingerprint, tuple(dict.fromkeys(warnings)),
    )  # fmt: skip


def spelling(pair: ModelPair) -> Spelling:
    """From ids of the target's answers to the drafter's: the same ones where the vocabularies
    agree, or where a model has no tokenizer."""
    drafter, target = PairModels(pair).tokenizers()
    vocab = _vocabulary(pair, "drafter")
    bridge: TokenizerBridge | None = None
    if drafter is not None and target is not None:
        bridge = TokenizerBridge(
            target, drafter, source_vocab=_vocabulary(pair, "target"), target_vocab=vocab
        )

    def spelled(tokens: Sequence[int]) -> tuple[int, ...]:
        ids = tuple(tokens) if bridge is None else bridge.translate(tokens, closed=True).ids
        if ids and not 0 <= min(ids) <= max(ids) < vocab:
            raise InputError(
                f"an answer with the id {max(ids)}",
                expected=f"ids below {vocab:,}, as the drafter has",
                hint="are these answers of this pair's target?",
            )
        return ids

    return spelled


def _vocabulary(pair: ModelPair, role: Any) -> int:
    config: Any = model_config(pair.spec(role).place(role))
    return int(config.get_text_config(decoder=True).vocab_size)


def _about(scenes: dict[str, Scene], found: PairSet, config: TuneConfig) -> list[Pair]:
    """The pairs about these scenes, each naming its scene's drive."""
    about = [
        replace(one, drive=one.drive or scenes[one.clip].drive)
        for one in found.pairs
        if one.clip in scenes and one.target_tokens
    ]
    if not about:
        example = found.pairs[0].clip if found.pairs else "nothing"
        raise InputError(
            f"no answer about a clip of {config.scenes}, split {config.split!r}",
            where=config.pairs,
            expected=f"clips such as {next(iter(scenes))}, not {example}",
            hint="crossdraft extract --states none makes answers of a dataset",
        )
    return about


def _clips(
    pair: ModelPair,
    prompts: PromptBuilder,
    longest: int,
    scenes: dict[str, Scene],
    pairs: Sequence[Pair],
    spelled: Spelling,
) -> tuple[Clip, ...]:
    made: dict[str, tuple[Scene, tuple[int, ...], list[Turn]]] = {}
    for one in pairs:
        known = made.get(one.clip)
        scene = with_events(pair, scenes[one.clip]) if known is None else known[0]
        prompt = prompts(scene, one.question)
        if known is None:
            known = made[one.clip] = (scene, prompt.prefix, [])
        answer = spelled(one.target_tokens)[: longest - len(prompt.ids)]
        if answer:
            known[2].append(Turn(prompt.question, answer))
    return tuple(
        Clip(scene, prefix, tuple(turns)) for scene, prefix, turns in made.values() if turns
    )
