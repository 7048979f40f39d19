"""`crossmodal` at work: the answer is the target's own, and drafts are those of the replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdraft.base.tree import Verification
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.arrival import Arrival, RecordedStream
from crossdraft.decoding.overlap import EventSide, InThread, InTurn, Way
from crossdraft.decoding.overlap_process import InProcess
from crossdraft.decoding.replay import replay
from crossdraft.decoding.speculator import Speculator
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.crossmodal.drafter import CrossmodalDrafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import QUESTION
from tests.decoding.overlap_kit import float64_pair
from tests.decoding.states_kit import recorded
from tests.drafters.crossmodal.kit import drafter_of

MOST = 12
CHAIN = Budget.chain(3)
WIDTHS = [CHAIN, Budget.tree(8, 4), None]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> PairModels:
    return PairModels(float64_pair(tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def pair(models: PairModels) -> Pair:
    return recorded(models.target, models.drafter, MadeScene(), MOST)


@pytest.fixture(scope="module")
def sides(models: PairModels) -> Iterator[dict[str, EventSide]]:
    process = InProcess(models.pair)
    assert process.wait_until_ready()
    thread = InThread(lambda: models.drafter)
    yield {"sequential": InTurn(lambda: models.drafter), "thread": thread, "process": process}
    process.close()
    thread.close()


@pytest.mark.parametrize("mode", ["none", "sequential", "thread", "process"])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_answer_is_the_targets_own(
    models: PairModels, sides: dict[str, EventSide], pair: Pair, mode: str, compiled: bool
) -> None:
    side = Way("none") if mode == "none" else sides[mode]
    for width in WIDTHS:
        drafter = drafter_of([pair], compiled=compiled, num_layers=1)
        mixed = EnsembleDrafter([SuffixDrafter(), drafter_of([pair], compiled=compiled)], "mixed")
        for one in (drafter, mixed):
            speculator = Speculator(models, one, width=width, overlap=side, cost=lambda n: 1.0)
            for _ in range(2):  # the second time with the same drafter
                answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
                assert answer.tokens == pair.target_tokens
                assert sum(answer.drafted) > 0


@pytest.mark.parametrize("memory", ["own", "none"])
@pytest.mark.parametrize("width", WIDTHS[:2])
def test_live_drafts_are_those_of_the_replay(
    models: PairModels, pair: Pair, memory: str, width: Budget
) -> None:
    """The event model has said all before the target begins, as in the replay."""
    drafter = drafter_of([pair], memory=memory)
    speculator = Speculator(models, drafter, width=width, overlap=Way("sequential"))
    answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
    offline = replay(drafter_of([pair], memory=memory), pair, width, Arrival())
    assert tuple(len(one.path) for one in answer.passes) == offline.accepted
    # The last ones are no deeper than what is left of the answer.
    ahead = len(offline.drafted) - width.depth - 1
    assert ahead > 3
    assert answer.drafted[:ahead] == offline.drafted[:ahead]


@pytest.mark.parametrize("options", [{"memory": "none"}, {"memory": "forced"}, {"max_question": 2}])
def test_the_next_answer_is_right_behind_one_without_rows(
    models: PairModels, pair: Pair, options: dict[str, Any]
) -> None:
    """An answer told again from words alone, then one with the target's states."""
    drafter = drafter_of([pair], **options)
    drafted = []
    for told in (False, True):
        if told:
            stream = RecordedStream(pair.draft_tokens)
            drafter.begin(Context(QUESTION, stream, head=thoughts_of(pair).head))
            for place, token in enumerate(pair.target_tokens):
                drafter.propose(pair.target_tokens[:place], CHAIN)
                drafter.observe(Verification((), token), None)
            drafter.finish(pair.target_tokens)
        speculator = Speculator(models, drafter, width=CHAIN, overlap=Way("sequential"))
        answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
        assert answer.tokens == pair.target_tokens
        drafted.append((answer.drafted, [len(one.path) for one in answer.passes]))
    assert drafted[0] == drafted[1]


def test_the_question_is_read_live(models: PairModels, pair: Pair) -> None:
    """By the ids that extraction keeps."""
    asked: list[tuple[int, ...]] = []

    class Noted(CrossmodalDrafter):
        def begin(self, context: Context) -> None:
            asked.append(context.question_ids)
            super().begin(context)

    made = drafter_of([pair])
    noted = Noted.restore(made.describe(), made.tensors())
    speculator = Speculator(models, noted, width=CHAIN, overlap=Way("sequential"))
    speculator.ask(MadeScene(), QUESTION, max_new_tokens=2)
    replay(noted, pair, CHAIN, Arrival())
    assert len(asked) >= 2
    assert set(asked) == {thoughts_of(pair).question_ids}
    assert asked[0]
