"""`crossdraft pair score` as a library: do the two models of a pair really look?

Both answer questions whose true answers are known. Right answers alone prove little, since a model
may say what is frequent; so beside them stands what is right by chance, and what is right when each
scene is shown the sensor data of a scene of another drive. A model's answer under swapped data *is*
its answer to the same question about the scene that was swapped in, so that control costs no pass.
Linear probes look into the states, and the predictability of the answers says whether they are as
hard to draft as recorded ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.bench.score_answers import Said, SceneSaid, answers_of
from crossdraft.bench.score_source import VOICE_OF, AskedScenes, in_place_of
from crossdraft.decoding.models import Models
from crossdraft.evaluation.attributes import (
    UNSEEN_BY_EVENTS,
    Truth,
    Values,
    accuracies,
    shares_named,
)
from crossdraft.evaluation.bootstrap import BlockBootstrap, Floats, few_blocks
from crossdraft.evaluation.predictability import Part, Spoken, predictability
from crossdraft.evaluation.probe import Probed, probe
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import folds
from crossdraft.scenes.scene import warnings_about
from crossdraft.vlm.checkpoint import inspect
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair import ModelPair

#: What probes are asked for: of the most prominent road user, and the time of day.
PROBED = ("colour", "vehicle", "motion", "time")
#: Which states they look at.
STATES = ("prompt", "answer")
_FOLDS, _RESAMPLES = 5, 2000


@dataclass
class Outcome:
    """What came out.

    Attributes:
        payload: as `Result` takes it.
        said: by model, [scenes] its answers.
        warnings: what a reader must know before using a number.
    """

    payload: dict[str, Any]
    said: dict[Role, list[SceneSaid]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def score(
    models: Models,
    asked: AskedScenes,
    roles: Sequence[Role],
    max_new_tokens: int = 80,
    seed: int = 0,
    sink: ProgressSink = silent,
) -> Outcome:
    """Let models answer, and measure what they have seen.

    Args:
        models: asked for one after the other; whoever holds one at a time may drop the first.
        max_new_tokens: longest answer.
        seed: of bootstraps and permutations.

    Raises:
        InputError: a model cannot be loaded, or a scene cannot be read.
    """
    outcome = Outcome({"data": _about(asked)}, warnings=warnings_about(*asked.dataset))
    for role in roles:
        model = models.target if role == "target" else models.drafter
        outcome.said[role] = answers_of(model, role, asked.asked, max_new_tokens, sink)
        del model  # before the other is loaded, where both do not fit
    outcome.warnings += few_blocks(asked.dataset.drives)
    for role, said in outcome.said.items():
        outcome.payload[role] = score_answers(asked, role, said, outcome.warnings, seed, sink)
    return outcome


def checkpoints(pair: ModelPair, roles: Sequence[Role]) -> tuple[dict[str, Any], list[Path]]:
    """What the models are, and the files that decide what they say.

    Raises:
        InputError: a checkpoint is not there or damaged.
    """
    about: dict[str, Any] = {}
    files: list[Path] = []
    for role in roles:
        spec = pair.spec(role)
        found = inspect(spec.place(role))
        about[role] = {
            "folder": str(found.folder),
            "architecture": found.architectures[0],
            "parameters": found.parameters,
        }
        files += [found.config_path, *found.files]
        if spec.tower is not None:
            files += inspect(spec.tower).files
    return about, files


def score_answers(
    asked: AskedScenes,
    role: Role,
    said: Sequence[SceneSaid],
    warnings: list[str],
    seed: int = 0,
    sink: ProgressSink = silent,
) -> dict[str, Any]:
    """Measure what one model has said.

    Args:
        said: [scenes].
        warnings: what is to be known is added here.

    Returns:
        Plain JSON: `exact` and `ended`, the shares of answers that equal the true one and that
        ended by themselves; `attributes` as `accuracies` gives them, with the controls `swapped`
        and `chance`; `unseen`, what an event model names that leaves no event, None of a target;
        `probes` by label and states; `calibration` as `predictability` gives it.
    """
    rows = _rows(asked, role, said)
    groups = _by_drive([row.drive for row in rows])
    bootstrap = BlockBootstrap(groups, _RESAMPLES, seed)
    values = [row.said.values for row in rows]
    controls = {"swapped": [row.swapped for row in rows], "chance": [row.chance for row in rows]}
    ones = np.ones((len(rows), 2))
    wholes = np.array([[row.exact, row.said.end == "eos"] for row in rows], np.float64)
    exact, ended = bootstrap.ratio(wholes, ones)
    calibration, notes = _calibration(asked, said, seed, sink)
    warnings += [f"{role}: {note}" for note in notes if note not in warnings]
    return {
        "voice": VOICE_OF[role],
        "answers": len(rows),
        "exact": exact.to_json(),
        "ended": ended.to_json(),
        "attributes": accuracies([row.truth for row in rows], values, controls, bootstrap),
        "unseen": shares_named(values, UNSEEN_BY_EVENTS, bootstrap) if role == "drafter" else None,
        "probes": _probes(asked, role, said, seed, sink),
        "calibration": calibration,
    }


@dataclass(frozen=True)
class _Row:
    """One answer, its truth, and what stands in for it in the controls."""

    drive: str
    said: Said
    truth: Truth
    exact: bool
    swapped: Values | None
    chance: Values | None


def _rows(asked: AskedScenes, role: Role, said: Sequence[SceneSaid]) -> list[_Row]:
    """Every answer; a control stays empty where the other scene was not asked this question."""
    voice = VOICE_OF[role]
    texts = [
        {question: entry.answers[voice] for question, entry in one.truths.items()}
        for one in asked.asked
    ]
    truths = [{q: Truth.of(answer) for q, answer in answers.items()} for answers in texts]
    rows = []
    for place, other in enumerate(in_place_of(asked.drives)):
        for question, answer in said[place].answers.items():
            there = question in truths[other]
            rows.append(
                _Row(
                    asked.asked[place].scene.drive,
                    answer,
                    truths[place][question],
                    answer.text.strip() == texts[place][question].text,
                    said[other].answers[question].values if there else None,
                    truths[other][question].named if there else None,
                )
            )
    return rows


def _probes(
    asked: AskedScenes, role: Role, said: Sequence[SceneSaid], seed: int, sink: ProgressSink
) -> dict[str, dict[str, Any]]:
    """By label and states what a probe finds, over scenes with a road user; None where there is
    nothing to tell apart."""
    states = {
        "prompt": np.stack([one.prompt_state for one in said]),
        "answer": np.stack([one.answer_state for one in said]),
    }
    found: dict[str, dict[str, Any]] = {}
    for label in track(PROBED, f"{role}: probes", len(PROBED), sink):
        known = [one.known(label) if one.known("vehicle") else None for one in asked.asked]
        rows = [place for place, value in enumerate(known) if value is not None]
        labels = [str(known[place]) for place in rows]
        drives = [asked.drives[place] for place in rows]
        kinds = [str(asked.asked[place].known("vehicle")) for place in rows]
        unseen = label in UNSEEN_BY_EVENTS
        by_kind = probe(_one_hot(kinds), labels, drives, seed) if unseen else None
        found[label] = {
            kind: _with_kind(probed, by_kind)
            if (probed := probe(states[kind][rows], labels, drives, seed))
            else None
            for kind in STATES
        }
    return found


def _with_kind(probed: Probed, by_kind: Probed | None) -> dict[str, Any]:
    """A probe with what the kind of the road user alone tells of the label.

    Test drives tie paints to kinds, so a model that knows the kind and no paint is right about the
    paint more often than by chance: `chance` is the largest of all three.
    """
    told = probed.to_json()
    told["by_kind"] = None if by_kind is None else by_kind.accuracy.value
    told["chance"] = max(told["chance"], told["by_kind"] or 0.0)
    return told


def _one_hot(names: Sequence[str]) -> Floats:
    """[names, different ones]."""
    known = sorted(set(names))
    return np.eye(len(known))[[known.index(name) for name in names]]


def _calibration(
    asked: AskedScenes, said: Sequence[SceneSaid], seed: int, sink: ProgressSink
) -> tuple[dict[str, Any], list[str]]:
    """How predictable the answers are: tables learned on answers about other drives."""
    numbers = {question: number for number, question in enumerate(asked.questions)}
    spoken = {}
    for one, answers in zip(asked.asked, said, strict=True):
        for question, answer in answers.answers.items():
            pair = Pair(
                one.scene.id, one.scene.clip, question, numbers[question], (), answer.tokens,
                drive=one.scene.drive,
            )  # fmt: skip
            words = len(answer.text.split())
            spoken[pair.key] = Spoken(pair, words=words, ended=answer.end == "eos")
    made = folds([one.pair for one in spoken.values()], _FOLDS, 0)
    parts = [
        Part(*(tuple(spoken[pair.key] for pair in side) for side in (fold.train, fold.test)))
        for fold in made
    ]
    payload, warnings = predictability(parts, seed, sink)
    return {"split": f"{len(made)} folds of whole drives", **payload}, warnings


def _about(asked: AskedScenes) -> dict[str, Any]:
    dataset = asked.dataset
    return {
        "folder": str(dataset.folder),
        "fingerprint": dataset.fingerprint,
        "split": asked.split,
        "clips": len(dataset),
        "drives": len(dataset.drives),
        "questions": asked.questions,
    }


def _by_drive(drives: Sequence[str]) -> list[list[int]]:
    """Places of each drive."""
    places: dict[str, list[int]] = {}
    for place, drive in enumerate(drives):
        places.setdefault(drive, []).append(place)
    return list(places.values())
