"""A paced model says what the model says, exactly when its pace states."""

from __future__ import annotations

import random
import threading
from copy import copy
from functools import cache
from typing import Any, NamedTuple, cast

import pytest
import torch

from crossdraft.base.clock import Spans, beside, now_ms, told_by, waiting
from crossdraft.base.errors import InputError
from crossdraft.base.stated_time import StatedTime
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.arrival import PUBLISHED_1S
from crossdraft.vlm.drafting import own_answer
from crossdraft.vlm.paced import Pace, PacedSession, PacedTarget
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.vlm.models import llama, scene_of, tiny, word_ids
from tests.vlm.shadow import Asked, Setting, Shadow, random_tree

#: Every stage a number of its own; each token more of a pass costs a quarter of the first.
PACE = Pace(1.0, 2.0, 4.0, 8.0, 16.0, lambda tokens: 1 + (tokens - 1) / 4)
PROMPT = Prompt((1, 7, 8, 9, 10), 2)


@cache
def small(seed: int) -> Target:
    return Target(llama(seed=seed))


def stages(spans: Spans) -> list[Any]:
    return [(span.name, pytest.approx(span.duration_ms, abs=1e-6)) for span in spans.spans]


def test_every_stage_takes_what_is_stated() -> None:
    time = StatedTime()
    with told_by(time):
        time.pass_ms(100)
        spans, own = Spans(), Spans()
        root = PacedTarget(small(0), PACE, time).open(PROMPT, spans=spans)
        assert now_ms() == 107
        child = root.fork(own)
        child.ask(PROMPT, DraftTree.chain((5, 6)))
        child.keep((0,))
        child.extend(9)
        child.extend(9, DraftTree.chain((5, 6, 7)))
        child.keep((0, 1))
        child.read((4, 4, 4))
        child.rollback(2)
        assert now_ms() == 107 + 16 + 16 + 28 + 24
        assert root.fork().spans is spans
    assert stages(spans) == [("read", 1), ("vision", 2), ("prefill", 4)]
    assert stages(own) == [("prefill", 16), ("decode", 16), ("verify", 28), ("decode", 24)]
    assert {span.device for span in spans.spans + own.spans} == {"cpu"}


@pytest.mark.parametrize("name", ["llama", "video-llava"])
def test_the_contract_of_a_session_holds(name: str) -> None:
    rng, time = random.Random(5), StatedTime()
    model = tiny(name)
    scene = scene_of(model, rng, "text" if name == "llama" else "video", before=4)
    setting = Setting.of(model, "growing", layers=(1,))
    setting.target = cast(Target, PacedTarget(setting.target, PACE, time))
    with told_by(time):
        shadow = Shadow.open(setting, Asked(scene))
        assert isinstance(shadow.session, PacedSession)
        for _ in range(2):
            shadow = shadow.fork()
            shadow.ask(word_ids(rng, 4), random_tree(rng, 6))
            for turn in range(6):
                tree = shadow.last
                assert tree is not None
                shadow.keep(tree.path(rng.randrange(-1, len(tree))) if len(tree) else ())
                if turn % 3 == 2:
                    shadow.rollback(rng.randrange(0, 3))
                    shadow.read(word_ids(rng, 2))
                shadow.extend(7, random_tree(rng, rng.randrange(0, 6)))


def test_steps_are_those_of_the_plain_session_bit_for_bit() -> None:
    time, tree = StatedTime(), DraftTree.chain((5, 6))
    with told_by(time):
        plain, paced = small(0).open(PROMPT), PacedTarget(small(0), PACE, time).open(PROMPT)
        for session in (plain, paced):
            assert session.room == 512 - PROMPT.cut
        steps = [(s.ask(PROMPT, tree), s.keep((0,)), s.extend(3, tree)) for s in (plain, paced)]
    for one, other in zip(steps[0][::2], steps[1][::2], strict=True):
        assert one is not None and other is not None
        assert torch.equal(one.logits, other.logits)
        assert torch.equal(one.hidden, other.hidden)
    assert plain.tokens == paced.tokens


def test_what_is_refused_takes_no_time() -> None:
    time = StatedTime()
    with told_by(time):
        target = PacedTarget(small(0), PACE, time)
        with pytest.raises(InputError, match="does not know"):
            target.open(Prompt((1, 99999), 1))
        assert now_ms() == 0
        session = target.open(PROMPT)
        with pytest.raises(RuntimeError, match="no question"):
            session.extend(3)
        for many in (session.answer_many, session.read_many):
            with pytest.raises(RuntimeError, match="batches"):
                cast(Any, many)([PROMPT], [()])
        assert now_ms() == 7
    assert len(session.spans.spans) == 3


def test_all_else_is_the_targets() -> None:
    target = PacedTarget(small(0), PACE, StatedTime())
    assert target.eos_ids is small(0).eos_ids
    assert copy(target).decoder is small(0).decoder
    assert target.with_layers([1]).decoder is not small(0).decoder
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = target.nothing_of_the_kind


def test_the_published_paces_are_those_of_the_arrival_rule() -> None:
    drafter, times = Pace.published_drafter(), PUBLISHED_1S
    first = drafter.read_ms + drafter.vision_ms + drafter.prefill_ms + drafter.question_ms
    assert first == pytest.approx(times.draft_first_ms, abs=1e-9)
    assert drafter.token_ms == times.draft_token_ms
    target = Pace.published_target()
    start = target.read_ms + target.vision_ms + target.prefill_ms
    assert start == pytest.approx(times.target_prefill_start_ms, abs=1e-9)
    assert start + target.question_ms == pytest.approx(times.target_prefill_end_ms, abs=1e-9)
    assert target.token_ms == times.target_token_ms
    for published in (Pace.published_target, Pace.published_drafter):
        shared, whole = published(0.25), published()
        assert shared.question_ms == pytest.approx(whole.question_ms / 4)
        assert shared.prefill_ms + shared.question_ms == pytest.approx(whole.question_ms)


# --- a drafter beside a target ---------------------------------------------------------------


class Saw(NamedTuple):
    """What had arrived when each pass of the target began."""

    starts_ms: list[float]
    arrived: list[int]
    arrival_ms: list[float]
    said: list[int]


def side_by_side(target_pace: Pace, drafter_pace: Pace, passes: int, words: int) -> Saw:
    """A thread says its own answer while the target prefills and decodes."""
    time = StatedTime()
    with told_by(time):
        target = PacedTarget(small(0), target_pace, time)
        drafter = PacedTarget(small(3), drafter_pace, time)
        arrival_ms: list[float] = []
        aside = beside()

        def say() -> None:
            with aside:
                session = drafter.open(PROMPT).fork()
                for one in own_answer(session, PROMPT, words, frozenset(), origin_ms=0.0):
                    arrival_ms.append(one.arrival_ms)

        thread = threading.Thread(target=say, daemon=True)
        thread.start()
        saw = Saw([], [], arrival_ms, [])
        session = target.open(PROMPT).fork()
        for turn in range(passes):
            saw.starts_ms.append(now_ms())
            saw.arrived.append(len(arrival_ms))
            step = session.extend(saw.said[-1]) if turn else session.ask(PROMPT)
            saw.said.append(int(step.logits[0].argmax()))
        with waiting():
            thread.join()
    return saw


def test_what_has_arrived_is_what_arithmetic_says_at_the_published_pace() -> None:
    saw = side_by_side(Pace.published_target(), Pace.published_drafter(), 9, 50)
    times = PUBLISHED_1S
    ends = [times.target_prefill_end_ms + 14.5 * turn for turn in range(8)]
    assert saw.starts_ms == pytest.approx([141.6, *ends])
    assert saw.arrival_ms == pytest.approx([96.7 + 10 * turn for turn in range(50)])
    assert saw.arrived == [min(50, times.arrived(start)) for start in saw.starts_ms]
    assert saw.arrived[:3] == [5, 37, 38]
    assert saw.said == plain_answer(9)


def test_a_token_that_arrives_as_a_pass_begins_has_arrived_and_fifty_runs_are_one() -> None:
    """The drafter's tokens come at 20, 25, 30, ...; the passes begin at 30, 40, 45, ..."""
    target, drafter = Pace(10, 10, 10, 10, 5), Pace(5, 5, 5, 5, 5)
    runs = [side_by_side(target, drafter, 5, 7) for _ in range(50)]
    assert runs[0].starts_ms == [30, 40, 45, 50, 55]
    assert runs[0].arrived == [3, 5, 6, 7, 7]
    assert all(run == runs[0] for run in runs)


def plain_answer(count: int) -> list[int]:
    session = small(0).open(PROMPT).fork()
    return [one.token for one in own_answer(session, PROMPT, count, frozenset())]
