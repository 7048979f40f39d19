"""What the loop tells drafters, widths and listeners, on a scripted target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding.rules import Greedy, Sampling, TopK, Typical
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.width import NOTHING, Auto, Took
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from tests.decoding.engine import (
    DRAFTABLE,
    PROMPT,
    QUESTION,
    VOCAB,
    Ends,
    Language,
    Made,
    Noting,
    Scripted,
    Silent,
    answer,
    branch,
    largest,
    may_draft,
    plain,
)


def said_by(language: Language, most: int = 12) -> tuple[int, ...]:
    """What a scripted target says where no token ends the answer."""
    return plain(language.behind(), Ends(most), largest)[0]


def easy(language: Language) -> bool:
    """Every token of its answer may be drafted, and the first four differ."""
    said = said_by(language)
    return max(said) < DRAFTABLE and len({*said[:4]}) == 4


LANGUAGE = next(filter(easy, map(Language, range(500))))
SAID = said_by(LANGUAGE)
STATES = {"target_states"}


def never(most: int = 12) -> StopAt:
    """Ends by length alone."""
    return StopAt(frozenset(), most)


class Says(Drafter):
    """Proposes what a table says for each length of the prefix, whatever the budget."""

    name = "says"

    def __init__(self, trees: dict[int, DraftTree]) -> None:
        self.trees = trees

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return self.trees.get(len(prefix), DraftTree.empty())


# --- calls ----------------------------------------------------------------------------------


def test_calls_come_in_the_order_of_the_contract() -> None:
    drafter = Noting(Made(SAID, skill=0.7, spread=2, seed=3))
    found = answer(Scripted(LANGUAGE), drafter, never(), Budget.tree(6, 4))
    kinds = [call[0] for call in drafter.told]
    asked = kinds.count("propose")
    assert kinds[0] == "begin"
    assert kinds[-1] == "finish"
    assert kinds.count("begin") == kinds.count("finish") == 1
    assert kinds[1 : 1 + 2 * asked] == ["propose", "observe"] * asked
    assert set(kinds[1 + 2 * asked : -1]) <= {"observe"}, "no room to draft for the last token"
    assert kinds.count("observe") == len(found.passes)
    context = drafter.calls("begin")[0][0]
    assert (context.question, context.stream.snapshot().closed) == (QUESTION, True)
    assert drafter.calls("finish") == [(found.tokens,)]


def test_prefixes_are_the_accepted_tokens_and_the_first_rides_on_the_prefill() -> None:
    drafter, session = Noting(Made(SAID, skill=0.9, spread=1)), Scripted(LANGUAGE)
    found = answer(session, drafter, never(), Budget.tree(6, 4))
    prefixes = [prefix for prefix, _ in drafter.calls("propose")]
    places = np.cumsum([0, *(one.emitted for one in found.passes)])[: len(prefixes)]
    assert prefixes == [found.tokens[:place] for place in places]
    assert session.calls[0] == ("ask", len(drafter.trees[0]))
    assert found.drafted[0] == len(drafter.trees[0]) > 0
    assert [kind for kind, _ in session.calls[1:]] == ["extend"] * (len(found.passes) - 1)
    assert [nodes for _, nodes in session.calls] == list(found.drafted)


def test_budgets_shrink_towards_the_limit() -> None:
    """The target says one token itself, so the deepest draft is one shorter than what is left."""
    drafter = Noting(Silent())
    answer(Scripted(LANGUAGE), drafter, never(5), Budget(9, 3, 2))
    budgets = [budget for _, budget in drafter.calls("propose")]
    assert budgets == [Budget(9, 3, 2), Budget(9, 3, 2), Budget(9, 2, 2), Budget(9, 1, 2)]


def test_the_prefill_has_a_limit_too() -> None:
    drafter = Noting(Silent())
    answer(Scripted(LANGUAGE), drafter, never(3), Budget(9, 9, 2))
    assert drafter.calls("propose")[0] == ((), Budget(9, 2, 2))
    alone = Noting(Silent())
    found = answer(Scripted(LANGUAGE), alone, never(1), Budget(9, 9, 2))
    assert (found.tokens, found.end, alone.calls("propose")) == (SAID[:1], "length", [])


def test_budgets_shrink_with_the_room() -> None:
    """Room for the prompt and five tokens: six can be said, the last of them is never read."""
    drafter = Noting(Silent())
    session = Scripted(LANGUAGE, len(PROMPT.ids) + 5)
    found = answer(session, drafter, never(50), Budget(9, 9, 2))
    assert (found.tokens, found.end) == (SAID[:6], "length")
    assert [budget.nodes for _, budget in drafter.calls("propose")] == [5, 4, 3, 2, 1]
    assert session.room == 0


@pytest.mark.parametrize("budget", [NOTHING, Budget(0, 5, 5), Budget(5, 0, 5)])
def test_a_width_of_nothing_asks_nobody(budget: Budget) -> None:
    drafter = Noting(Made(SAID))
    found = answer(Scripted(LANGUAGE), drafter, never(6), budget)
    assert found.tokens == SAID[:6]
    assert drafter.calls("propose") == []
    assert [one.path for one, _ in drafter.calls("observe")] == [()] * 6


def test_what_it_observes_is_what_was_decided() -> None:
    right, wrong = SAID[0], (SAID[0] + 1) % DRAFTABLE
    tree = DraftTree.from_parents([wrong, right, SAID[1], wrong, SAID[2]], [-1, -1, 1, 1, 2])
    drafter = Noting(Says({0: tree}))
    answer(Scripted(LANGUAGE), drafter, never(5), Budget.tree(9, 9))
    seen = [verification for verification, _ in drafter.calls("observe")]
    assert seen == [Verification((1, 2, 4), SAID[3]), Verification((), SAID[4])]


@pytest.mark.parametrize(("end", "path"), [(0, (1,)), (1, (1, 2)), (2, (1, 2, 4))])
@pytest.mark.parametrize("why", ["eos", "stop"])
def test_an_end_inside_the_path_leaves_no_token(why: str, end: int, path: tuple[int, ...]) -> None:
    """Found in what was accepted, the end is where plain decoding would have ended; what the
    drafter hears, what the session holds and what is counted end there too."""
    said = SAID
    tree = DraftTree.from_parents(
        [said[3], said[0], said[1], said[3], said[2]], [-1, -1, 1, 1, 2], source="says"
    )
    drafter, session = Noting(Says({0: tree}), STATES), Scripted(LANGUAGE)
    stopping = StopAt(frozenset({said[end]}), 9)
    if why == "stop":
        letters = "".join(chr(97 + token) for token in said)
        stopping = StopAt(
            frozenset(), 9, [letters[end]], lambda all_: "".join(chr(97 + t) for t in all_)
        )
    runs: list[Sequence[int]] = []
    found = answer(session, drafter, stopping, Budget.tree(9, 9), on_tokens=runs.append)
    assert (found.tokens, found.end) == (said[: end + 1], why)
    ((verification, rows),) = drafter.calls("observe")
    assert verification == Verification(path, None)
    assert len(rows.logits) == len(path)  # of what is left of the answer
    assert runs == [list(said[: end + 1])]
    assert session.tokens == (*PROMPT.ids, *said[: end + 1])
    assert (found.accepted, found.tau) == ((len(path),), end + 1)
    assert found.proposed_by == ("says",) * (end + 1)
    assert drafter.calls("finish") == [(said[: end + 1],)]


def test_the_targets_own_token_may_end_it() -> None:
    drafter = Noting(Says({0: DraftTree.chain(SAID[:2])}))
    ends = StopAt(frozenset({SAID[2]}), 9)
    found = answer(Scripted(LANGUAGE), drafter, ends, Budget.tree(9, 9))
    assert (found.tokens, found.end) == (SAID[:3], "eos")
    assert drafter.calls("observe") == [(Verification((0, 1), SAID[2]), None)]


def test_what_a_relaxed_rule_said_is_nothing_to_learn_from() -> None:
    drafter = Noting(Made(SAID))
    answer(Scripted(LANGUAGE), drafter, never(), Budget.chain(3), rule=TopK(2))
    assert drafter.calls("finish") == []
    assert drafter.calls("observe") != []


@settings(max_examples=40)
@given(
    seed=st.integers(0, 60), skill=st.sampled_from([0.0, 0.6, 1.0]), eos=st.integers(0, DRAFTABLE)
)
def test_rows_are_the_plain_states(seed: int, skill: float, eos: int) -> None:
    """Rows of what a pass added, for those who ask for them: together every state that says a
    token, in order, and each of them once."""
    language = Language(seed)
    said, _ = plain(language.behind(), Ends(12, {eos}), largest)
    drafter = Noting(Made(said, seed, skill=skill, spread=2), STATES)
    ends = StopAt(frozenset({eos}), 12)
    found = answer(Scripted(language), drafter, ends, Budget.tree(7, 4))
    states: list[float] = []
    for (verification, rows), one in zip(drafter.calls("observe"), found.passes, strict=True):
        assert verification.path == one.path
        assert (verification.token is None) == (one.emitted == len(one.path))
        # Where the answer ended in the path, the row behind its last token is left out.
        assert rows.hidden.shape == (one.emitted, 1)
        states += rows.hidden[:, 0].tolist()
        expected = [language.logits((*PROMPT.ids, *said[: len(states) - one.emitted]))]
        np.testing.assert_array_equal(rows.logits[:1].numpy(), expected)
    plain_states = [language.state((*PROMPT.ids, *said[:place])) for place in range(len(said))]
    assert states == plain_states


def test_rows_are_for_those_who_need_them() -> None:
    drafter = Noting(Made(SAID))
    answer(Scripted(LANGUAGE), drafter, never(6), Budget.chain(3))
    assert all(rows is None for _, rows in drafter.calls("observe"))


def test_an_ensemble_that_needs_rows_hands_them_on() -> None:
    inner = Noting(Made(SAID), STATES)
    answer(Scripted(LANGUAGE), EnsembleDrafter((inner,)), never(6), Budget.chain(2))
    assert all(rows is not None for _, rows in inner.calls("observe"))


def test_drafters_keep_their_prefix() -> None:
    """What was handed over is not changed behind the drafter's back."""

    class Keeping(Silent):
        def __init__(self) -> None:
            self.kept: list[Sequence[int]] = []

        def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
            self.kept.append(prefix)
            return DraftTree.empty()

        def finish(self, answer: Sequence[int]) -> None:
            self.kept.append(answer)

    drafter = Keeping()
    answer(Scripted(LANGUAGE), drafter, never(5), Budget.chain(2))
    assert [len(prefix) for prefix in drafter.kept] == [0, 1, 2, 3, 5]


# --- proposals that do not keep to the rules ------------------------------------------------


def test_what_is_beyond_the_budget_is_cut() -> None:
    session = Scripted(LANGUAGE)
    found = answer(session, Made(SAID, spread=2, excess=3), never(), Budget(4, 2, 2))
    assert found.tokens == SAID[:12]
    assert max(found.drafted) == 4
    assert max(one.tree.depth.max() for one in found.passes if len(one.tree)) == 2
    assert max(found.accepted) == 2


def test_ids_that_must_not_be_drafted_are_cut() -> None:
    words = (0, 1, DRAFTABLE, DRAFTABLE + 1, 10**6, -1)
    drafter = Noting(Made((), words=words, spread=4))
    found = answer(Scripted(LANGUAGE), drafter, never(), Budget.tree(9, 3))
    assert found.tokens == SAID[:12]
    assert all(may_draft(one.tree.tokens).all() for one in found.passes)
    assert sum(found.drafted) < sum(map(len, drafter.trees))


def banned_first() -> tuple[Noting, Sequence[int], DraftTree]:
    """A drafter whose first child, and a child further down, must not be drafted."""
    tokens = [DRAFTABLE, SAID[0], DRAFTABLE, SAID[1], DRAFTABLE + 1, SAID[2]]
    tree = DraftTree.from_parents(tokens, [-1, -1, 0, 1, 3, 3])
    return Noting(Says({0: tree})), tokens, tree


def test_an_observed_path_is_one_of_the_tree_that_was_proposed() -> None:
    """Nodes are known to a drafter by their number in its own tree, whatever was cut from it."""
    drafter, _, _ = banned_first()
    answer(Scripted(LANGUAGE), drafter, never(4), Budget.tree(9, 9))
    assert drafter.calls("observe")[0][0] == Verification((1, 3, 5), SAID[3])


def test_an_ensemble_learns_what_was_accepted_when_some_was_cut() -> None:
    part, _, tree = banned_first()
    answer(Scripted(LANGUAGE), EnsembleDrafter((part,)), never(4), Budget.tree(9, 9))
    seen = part.calls("observe")[0][0]
    assert branch(tree, seen.path[-1] if seen.path else ROOT) == SAID[:3]
    assert seen.token == SAID[3]


# --- listeners and records ------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=st.integers(0, 60), skill=st.sampled_from([0.0, 0.6, 1.0]), most=st.integers(1, 12))
def test_records_add_up(seed: int, skill: float, most: int) -> None:
    language = Language(seed)
    said, end = plain(language.behind(), Ends(most, {5}), largest)
    runs: list[list[int]] = []
    found = answer(
        Scripted(language),
        Made(said, seed, skill=skill, spread=2),
        StopAt(frozenset({5}), most),
        Budget.tree(6, 3),
        on_tokens=lambda run: runs.append(list(run)),
    )
    assert (found.tokens, found.end) == (said, end)
    assert [len(run) for run in runs] == [one.emitted for one in found.passes]
    assert [token for run in runs for token in run] == list(said)
    assert found.tau == len(said) / len(found.passes)
    for one in found.passes:
        assert one.emitted - len(one.path) in (0, 1)
    assert len(found.arrival_ms) == len(said)
    assert list(found.arrival_ms) == sorted(found.arrival_ms)
    ours = [name for name in found.proposed_by if name is not None]
    assert set(ours) <= {"made"}
    assert len(found.proposed_by) == len(said)
    assert len(ours) == sum(found.accepted)
    drafted = {"drafted": sum(found.drafted), "accepted": sum(found.accepted)}
    assert found.by_source() == ({"made": drafted} if drafted["drafted"] else {})
    # A token of its own follows every path but one in which the answer ended.
    place = 0
    for one in found.passes:
        names = found.proposed_by[place : place + one.emitted]
        assert names == (("made",) * len(one.path) + (None,))[: one.emitted]
        place += one.emitted
    assert place == len(said)


def test_what_is_recorded_is_json() -> None:
    found = answer(Scripted(LANGUAGE), Made(SAID), never(7), Budget.chain(2))
    value = json.loads(json.dumps(found.to_json()))
    assert value["tokens"] == list(SAID[:7])
    assert (value["end"], value["text"], value["rule"], value["lossy"]) == (
        "length", None, "greedy", False,
    )  # fmt: skip
    assert value["accepted"] == [2, 2, 0]
    assert value["drafted"] == [2, 2, 0]
    assert value["tau"] == pytest.approx(7 / 3)
    assert value["proposed_by"] == ["made", "made", None, "made", "made", None, None]
    assert value["by_source"] == {"made": {"drafted": 4, "accepted": 4}}
    assert value["prompt_hash"] == PROMPT.hash
    assert value["prompt_tokens"] == 3
    assert len(value["arrival_ms"]) == 7
    assert value["drafter_spans"] is None
    # Proposed, committed, heard; the last pass had no room for a draft.
    pass_with_drafts = ["draft", "commit", "draft"]
    assert [span["name"] for span in value["spans"]] == [*pass_with_drafts * 2, "commit"]


def test_sources_of_several_drafters_are_told_apart() -> None:
    tree = DraftTree.from_parents([*SAID[:3], SAID[1]], [-1, 0, 1, -1])
    tree = replace(tree, sources=np.array([0, 1, 0, 1], np.int32), source_names=("one", "other"))
    found = answer(Scripted(LANGUAGE), Says({0: tree}), never(4), Budget.tree(4, 4))
    assert found.proposed_by == ("one", "other", "one", None)
    assert found.by_source() == {
        "one": {"drafted": 2, "accepted": 2},
        "other": {"drafted": 2, "accepted": 1},
    }


@pytest.mark.parametrize(
    ("rule", "name", "lossy"),
    [(Greedy(), "greedy", False), (Sampling(), "sampling", False), (TopK(2), "lossy top-2", True)],
)
def test_the_rule_is_recorded(rule: Any, name: str, lossy: bool) -> None:
    found = answer(Scripted(LANGUAGE), Silent(), never(2), NOTHING, rule=rule)
    assert (found.rule, found.lossy) == (name, lossy)


@pytest.mark.parametrize("rule", [TopK(4), Typical(0.1, 0.5)])
def test_relaxed_rules_say_what_was_drafted(rule: Any) -> None:
    """Any draft is good enough: the answer is the drafts', and other drafts give another one."""

    class First(Silent):
        """The target's second choice, one token at a time."""

        def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
            second = np.argsort(LANGUAGE.behind()(prefix))[-2]
            return DraftTree.chain([int(second)])

    found = answer(
        Scripted(LANGUAGE), First(), never(8), Budget.chain(3), rule=rule, allowed=may_draft
    )
    assert found.lossy
    assert found.tokens != SAID[:8]
    for place, who in enumerate(found.proposed_by):
        order = np.argsort(LANGUAGE.behind()(found.tokens[:place]))
        assert found.tokens[place] == order[-1 if who is None else -2]


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError):
        answer(Scripted(LANGUAGE, 2), Silent(), never(), Budget.chain(3))


def test_an_error_of_a_listener_comes_through() -> None:
    def fail(_: Sequence[int]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(Scripted(LANGUAGE), Silent(), never(), NOTHING, on_tokens=fail)


# --- width ----------------------------------------------------------------------------------


class Watching:
    """A width that drafts on every second pass, and takes down what passes took."""

    def __init__(self) -> None:
        self.took: list[Took] = []
        self.asked = 0

    def budget(self, number: int) -> Budget:
        assert number == (len(self.took) + 1 if self.asked else 0)
        self.asked += 1
        return Budget.chain(2) if len(self.took) % 2 == 0 else NOTHING

    def saw(self, took: Took) -> None:
        assert took.number == (len(self.took) + 1 if took.number else 0)
        if took.number:
            self.took.append(took)
        else:
            self.prefill = took


def test_a_width_hears_of_every_pass_behind_the_prefill() -> None:
    width = Watching()
    found = answer(Scripted(LANGUAGE), Made(SAID), never(9), width)
    assert found.tokens == SAID[:9]
    assert len(width.took) == len(found.passes) - 1
    for took, one in zip(width.took, found.passes[1:], strict=True):
        assert (took.drafted, took.emitted) == (len(one.tree), one.emitted)
        assert took.pass_ms > 0
        assert took.draft_ms >= 0
    # Three tokens at the prefill, then 3, 1 without a draft, and 2 at the limit of nine, where one
    # draft is left to ask for.
    assert [(took.asked, took.drafted) for took in width.took] == [(True, 2), (False, 0), (True, 1)]
    assert [(took.depth, took.verified) for took in width.took] == [(2, 2), (0, 0), (1, 1)]
    first = width.prefill
    assert (first.depth, first.verified, first.emitted) == (2, 2, 3)


def test_an_empty_proposal_was_asked_for() -> None:
    width = Watching()
    answer(Scripted(LANGUAGE), Silent(), never(5), width)
    assert [took.asked for took in width.took] == [True, False, True, False]
    assert [took.drafted for took in width.took] == [0] * 4
    assert [(took.depth, took.verified) for took in width.took] == [(2, 0), (0, 0), (1, 0), (0, 0)]


def test_auto_stops_asking_a_drafter_that_is_never_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that every pass moves by what its tokens cost."""
    clock = [0.0]
    for place in ("decoding.loop", "base.clock"):
        monkeypatch.setattr(f"crossdraft.{place}.now_ms", lambda: clock[0])

    class Timed(Scripted):
        def _pass(self, kind: str, tokens: Sequence[int], tree: DraftTree) -> Any:
            clock[0] += 10 + len(tree)
            return super()._pass(kind, tokens, tree)

    said = said_by(LANGUAGE, 60)

    def drafted(drafter: Drafter) -> list[bool]:
        width = Auto(lambda tokens: 1 + 0.1 * (tokens - 1), Budget.chain(4))
        session = Timed(LANGUAGE, draftable=VOCAB)
        found = answer(session, drafter, never(60), width, allowed=lambda ids: ids < VOCAB)
        assert found.tokens == said
        return [nodes > 0 for _, nodes in session.calls]

    wrong = {place: DraftTree.chain([(said[place] + 1) % VOCAB] * 4) for place in range(60)}
    asked = drafted(Says(wrong))
    assert asked[: 1 + Auto.TRIAL] == [True] * (1 + Auto.TRIAL)
    assert asked[1 + Auto.TRIAL :][: Auto.REST + 1] == [False] * Auto.REST + [True]
    assert all(drafted(Made(said))[:-1])


def test_torch_and_numpy_ids_never_leave_the_loop() -> None:
    """Tokens are plain numbers wherever they go."""
    drafter = Noting(Made(SAID, spread=2))
    runs: list[Sequence[int]] = []
    found = answer(Scripted(LANGUAGE), drafter, never(6), Budget.tree(6, 3), on_tokens=runs.append)
    tokens = [*found.tokens, *(token for run in runs for token in run)]
    tokens += [verification.token for verification, _ in drafter.calls("observe")]
    assert {type(token) for token in tokens} <= {int, type(None)}
    assert not any(isinstance(token, torch.Tensor) for token in tokens)
