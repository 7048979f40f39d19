"""The one vocabulary of both embedded models: words of the drive, of the prompts, of questions.

It is learned from planned drives alone, so that it is there before any picture is drawn and is the
same for whatever data the models are trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from tokenizers import Tokenizer

from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.voices import answers
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.vlm.bpe import train_bpe
from crossdraft.vlm.eventgpt.processing import TEMPLATES

#: Entries: every word of the texts has one of its own, and pieces for other words are left.
SIZE = 1100
#: Drives whose answers are read, and clips of each.
_DRIVES, _CLIPS = 120, 10
#: Questions beyond the default ones, for their words: what else people ask about a road.
_ASKED = (
    "Is there a pedestrian or a cyclist anywhere near us, and who has to give way?",
    "How many vehicles can you see, which of them is closest, and where are they going?",
    "What colour is the vehicle that drives in front of the camera?",
    "Which time of day does it look like: morning, noon, evening or night?",
    "Does the weather seem dangerous, such as heavy rain, fog, ice or deep snow?",
    "Should the driver stop, slow down, turn left, turn right or keep driving straight?",
    "Can I overtake safely here? Why, or why not? Please explain your reasoning briefly.",
    "Are there any traffic signs, traffic lights or lane markings that matter now?",
    "When will someone cross, and whose path could come too close to ours?",
    "Would you say that this street is busy, quiet, narrow, wide, dark or bright?",
    "Tell me about every object, animal, tree, wall, house and bridge on both sides.",
    "Give a short summary of what happened during the last second, then what comes next.",
    "Do you notice anything unusual, for example a broken car, an accident or an obstacle?",
    "List the colours, shapes and positions of all visible things, beginning with the largest.",
    "Could these people have been waiting at a corner before they started walking?",
    "Where am I, was I moving, and how fast did we go compared with other traffic?",
)


@cache
def embedded_vocabulary() -> Tokenizer:
    """The tokenizer, without control tokens of either model."""
    return train_bpe(_texts(), SIZE)


def _texts() -> Iterator[str]:
    for number in range(_DRIVES):
        for clip in plan_drive(0, "train", number, _CLIPS):
            for said in answers(clip):
                yield from (answer.text for answer in said.answers.values())
    questions = (*(question.text for question in DEFAULT_QUESTIONS), *_ASKED)
    for question in questions:
        yield f"USER: \n{question} ASSISTANT:"
        # A question may also stand behind a space.
        yield question
        for before, between in TEMPLATES.values():
            yield before
            yield f"{between}{question} ASSISTANT:"
