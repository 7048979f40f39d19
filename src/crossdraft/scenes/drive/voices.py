"""Both voices on every default question about a clip: what a camera says and what events say.

Answers follow from what the clip shows, by the same words for the same sight; nothing is drawn by
chance.
"""

from __future__ import annotations

from collections.abc import Iterator

from crossdraft.scenes.answers import SceneAnswers
from crossdraft.scenes.drive import camera_voice, event_voice
from crossdraft.scenes.drive.world import Clip
from crossdraft.scenes.questions import DEFAULT_QUESTIONS


def answers(clip: Clip) -> Iterator[SceneAnswers]:
    """Answers of both voices, one entry for each default question, in their order."""
    builders = zip(DEFAULT_QUESTIONS, camera_voice.BUILDERS, event_voice.BUILDERS, strict=True)
    for question, camera, event in builders:
        yield SceneAnswers(
            clip.drive, clip.number, question.text, {"camera": camera(clip), "event": event(clip)}
        )
