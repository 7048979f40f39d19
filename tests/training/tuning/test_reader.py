"""What is learned from, against sessions that read one answer alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.training.tuning.course import TuneCourse
from crossdraft.training.tuning.lessons import read_lessons, spelling
from crossdraft.training.tuning.reader import Kept, labels_of
from crossdraft.training.tuning.students import HeadStudent
from crossdraft.vlm.drafting import Follower
from crossdraft.vlm.pair_models import PairModels
from tests.training.tuning.ground import QUESTIONS, Ground


def test_states_are_those_that_say_the_answers_tokens(ground: Ground) -> None:
    """State t has read the prompt and the tokens before t, as a session that follows."""
    reader, lessons = ground.read(ground.config(), dtype="float64")
    clips = (lessons.train[0], lessons.val[0])
    states = reader.states([(clips[0], (1, 0)), (clips[1], (0,))])
    wanted = []
    drafter: Any = PairModels(ground.pair.with_value("drafter.dtype=float64")).drafter
    for clip, number in ((clips[0], 1), (clips[0], 0), (clips[1], 0)):
        follower = Follower(drafter.open(clip.scene), QUESTIONS[number])
        follower.follow(clip.turns[number].answer)
        wanted.append(follower.states[:-1])
    assert torch.allclose(states, torch.cat(wanted), atol=1e-9)
    said = [t for c, n in ((clips[0], 1), (clips[0], 0), (clips[1], 0)) for t in c.turns[n].answer]
    assert labels_of([(clips[0], (1, 0)), (clips[1], (0,))]).tolist() == said


def test_drives_are_held_out_whole(ground: Ground) -> None:
    _, lessons = ground.read(ground.config())
    train = {clip.scene.drive for clip in lessons.train}
    val = {clip.scene.drive for clip in lessons.val}
    assert lessons.by_drive and train and val and not train & val
    assert set(lessons.trained_on.drives) == train | val
    assert len(lessons.trained_on.clips) == 6


def test_answers_are_cut_to_what_the_model_reads(ground: Ground) -> None:
    reader, whole = ground.read(ground.config())
    prompts: Any = reader._prompts
    clip = whole.train[0]
    prompt = prompts(clip.scene, QUESTIONS[0])
    cut = read_lessons(ground.pair, prompts, len(prompt.ids) + 1, ground.config()).train[0]
    assert cut.turns[0].answer == clip.turns[0].answer[:1]


def test_what_finds_no_room_is_made_anew(ground: Ground) -> None:
    _, lessons = ground.read(ground.config())
    kept, made = Kept(40), list[str]()

    def make(clip: Any) -> torch.Tensor:
        made.append(clip.scene.id)
        return torch.full((8,), float(len(clip.scene.id)))

    one, other = lessons.train[0], lessons.val[0]
    for clip in (one, other, one, other):
        assert torch.equal(kept.get(clip, make), torch.full((8,), float(len(clip.scene.id))))
    assert made == [one.scene.id, other.scene.id, other.scene.id]


def test_tau_is_that_of_chains_that_follow(ground: Ground) -> None:
    """Guesses right but for one token: a chain ends there, and nowhere else."""
    reader, lessons = ground.read(ground.config())
    course = TuneCourse(HeadStudent(reader), lessons, ground.config(gamma=2), "model")
    clip = lessons.train[0]
    turn = replace(clip.turns[0], answer=(7, 8, 9, 10, 2))
    batch = ((replace(clip, turns=(turn,)), (0,)),)
    right = torch.tensor([7, 8, 9, 10, 2])
    # 7 8 | 9, then 10 2: two passes.
    assert course._chains(batch, right) == (5, 2)
    wrong = right.clone()
    wrong[0] = 3
    # 7, then 8 9 | 10, then 2.
    assert course._chains(batch, wrong) == (5, 3)


def test_every_answer_is_learned_once_in_an_epoch(ground: Ground) -> None:
    reader, lessons = ground.read(ground.config())
    course = TuneCourse(HeadStudent(reader), lessons, ground.config(), "model")
    batches = list(course.batches(0))
    seen = [(clip.scene.id, n) for batch in batches for clip, numbers in batch for n in numbers]
    assert sorted(seen) == sorted((c.scene.id, n) for c in lessons.train for n in (0, 1))
    assert len(batches) == course.steps and len(seen) == course.samples


def test_other_ids_are_refused(ground: Ground) -> None:
    pair = ground.pair
    say = spelling(pair)
    assert say((5, 6, 2)) == (5, 6, 2)
    bare = PairModels.tokenizers
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PairModels, "tokenizers", lambda self: (None, bare(self)[1]))
        say = spelling(pair)
    with pytest.raises(InputError, match="an answer with the id 99999"):
        say((5, 99999))


def test_answers_about_other_clips_are_refused(ground: Ground, extraction_file: Any) -> None:
    with pytest.raises(InputError, match="no answer about a clip of"):
        ground.read(ground.config(pairs=extraction_file))
