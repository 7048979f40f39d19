"""Answers with drafts against answers without, and every way to break that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.bench import divergence, lossless_runs
from crossdraft.bench.adversaries import ADVERSARIES
from crossdraft.bench.divergence import Sibling
from crossdraft.bench.lossless import WIDTHS, chain, tree, verify_lossless
from crossdraft.bench.lossless_lines import Compared, Difference, Plain, summary
from crossdraft.decoding import verify
from crossdraft.decoding.models import Models
from crossdraft.decoding.rules import Greedy, Rule, Sampling, TopK, Warp
from crossdraft.decoding.stopping import StopAt
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.drafters.none import NoDrafter
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.vlm.attention import Block
from crossdraft.vlm.cache import GrowingCache, SessionCache
from crossdraft.vlm.decoder import Decoder
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.session import Step
from tests.bench.tiny_pair import write_pair

QUESTIONS = ("What is in this scene?", "Where is the road?")
#: Enough of them to break what can be broken.
FEW = chain(4) | tree(8)
SAMPLING = Sampling(Warp(temperature=0.9), seed=5)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


def models_of(pair: Path, dtype: str, **values: str) -> PairModels:
    keys = {"target.dtype": dtype, "drafter.dtype": dtype, **values}
    return PairModels(ModelPair.find(str(pair), [f"{key}={v}" for key, v in keys.items()]))


@pytest.fixture(scope="module")
def exact(pair: Path) -> Iterator[PairModels]:
    """The pair in float64."""
    with models_of(pair, "float64") as models:
        yield models


@pytest.fixture
def single(pair: Path) -> Iterator[PairModels]:
    """The pair in float32, for one test: some change it."""
    with models_of(pair, "float32") as models:
        yield models


def lines(
    models: Models, *drafters: Drafter, questions: Sequence[str] = QUESTIONS[:1], **given: Any
) -> list[Plain | Compared]:
    options: dict[str, Any] = {"max_new_tokens": 10, "widths": FEW, **given}
    return list(verify_lossless(models, drafters, questions, **options))


def difference(found: Sequence[Plain | Compared]) -> Difference:
    """The one difference, which is in the last line."""
    last = found[-1]
    assert isinstance(last, Compared) and last.difference is not None, summary(found)
    assert all(line.difference is None for line in found[:-1] if isinstance(line, Compared))
    return last.difference


def test_every_drafter_at_every_width_in_float64(exact: PairModels) -> None:
    found = lines(
        exact, SuffixDrafter(), DrafterText(), NoDrafter(),
        questions=QUESTIONS, widths=WIDTHS, rules=(Greedy(), SAMPLING), max_new_tokens=8,
    )  # fmt: skip
    names = ["suffix", "drafter-text", "none", *(kind.name for kind in ADVERSARIES)]
    by_rule: dict[str, list[Compared]] = {"greedy": [], "sampling": []}
    plain = [line for line in found if isinstance(line, Plain)]
    for line in found:
        if isinstance(line, Compared):
            by_rule[line.rule].append(line)
    for rule, compared in by_rule.items():
        assert [line.drafter for line in compared] == names, rule
        assert all(line.difference is None and not line.drawn for line in compared)
        taus = {line.drafter: line.tau for line in compared}
        assert taus["none"] == taus["empty"] == taus["always wrong"] == 1
        assert (taus["always right"] or 0) > 2 and (taus["random"] or 0) > 1.1
        runs = {line.drafter: line.runs for line in compared}
        assert runs["suffix"] == 2 * 2 * len(WIDTHS) and runs["empty"] == 2 * 2
        assert all(line.siblings == 2 for line in compared)
    assert [one.rule for one in plain] == ["greedy", "sampling"]
    assert plain[0].answers != plain[1].answers
    assert plain[0].precision == "float64" and plain[0].noise < 1e-5
    assert plain[0].margin is not None and plain[0].margin > 0
    assert summary(found).startswith("lossless: ")


def _keeps_the_first_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = GrowingCache.keep

    def keep(self: GrowingCache, start: int, rows: Sequence[int]) -> None:
        kept(self, start, [start + place for place in range(len(rows))])

    monkeypatch.setattr(GrowingCache, "keep", keep)


def _places_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Block.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[Block], tokens: Sequence[int], tree: DraftTree) -> Block:
        block: Block = made(cls, tokens, tree)
        return dataclasses.replace(block, depth=np.arange(len(block.tokens)))

    monkeypatch.setattr(Block, "of", classmethod(of))


def _everybody_sees_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Block.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[Block], tokens: Sequence[int], tree: DraftTree) -> Block:
        block: Block = made(cls, tokens, tree)
        return dataclasses.replace(block, visible=None)

    monkeypatch.setattr(Block, "of", classmethod(of))


def _one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    walk = verify.walk

    def further(tree: DraftTree, says: Callable[[int], int]) -> Verification:
        found = walk(tree, says)
        last = found.path[-1] if found.path else -1
        below = np.flatnonzero(tree.parents == last)
        if not len(below):
            return found
        node = int(below[-1])
        return Verification((*found.path, node), says(node + 1))

    monkeypatch.setattr(verify, "walk", further)


def _ends_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = StopAt.cut

    def at_the_last(self: StopAt, answer: Sequence[int], new: Sequence[int]) -> Any:
        count, end = cut(self, (*answer, *new[:-1]), new[-1:])
        return len(new) - 1 + count, end

    monkeypatch.setattr(StopAt, "cut", at_the_last)


@pytest.mark.parametrize(
    "sabotage",
    [_keeps_the_first_rows, _places_by_row, _everybody_sees_all, _one_too_many, _ends_unseen],
)
def test_a_fault_is_found_and_stays_in_float64(
    sabotage: Any, single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        plain = lines(single, NoDrafter())[0]
        sabotage(patched)
        found = lines(single, NoDrafter())
    told = difference(found)
    assert isinstance(plain, Plain) and told.verdict == "real", told
    assert told.drafter in [kind.name for kind in ADVERSARIES]
    answer = plain.answers[0]
    expected = None if told.expected.id is None else answer[told.place]
    assert told.expected.id == expected
    assert told.found.id != told.expected.id or told.ends[0] != told.ends[1]
    assert f"token {told.place}" in found[-1].text and "real: " in found[-1].text
    assert summary(found).startswith("not lossless (real): token")
    assert single.target.dtype == torch.float32


def test_numbers_that_depend_on_the_tree(
    single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = verify.sampled
    monkeypatch.setattr(
        verify,
        "sampled",
        lambda rows, tree, uniform: drawn(
            rows, tree, lambda depth: (uniform(depth) + 0.37 * len(tree)) % 1.0
        ),
    )
    found = lines(single, NoDrafter(), rules=(Greedy(), SAMPLING))
    told = difference(found)
    assert (told.rule, told.verdict) == ("sampling", "real")
    assert told.expected.id != told.found.id


def _almost_tied(models: PairModels) -> tuple[int, int]:
    """Two ids of which the head makes almost equal logits; the first is said."""
    head: Any = models.target.decoder.head
    plain = lines(models, NoDrafter())[0]
    assert isinstance(plain, Plain)
    said = plain.answers[0][3]
    twin = next(token for token in range(300, 392) if token not in plain.answers[0])
    with torch.no_grad():
        head.weight[twin] = head.weight[said] * (1 - 1e-6)
    return said, twin


def _leaning(twin: int, by: float) -> Any:
    """Logits that come out otherwise in wide passes of float32."""
    logits = Decoder.logits

    def leaning(self: Decoder, hidden: torch.Tensor) -> torch.Tensor:
        rows = logits(self, hidden)
        if rows.dtype == torch.float32 and len(rows) > 1:
            rows[:, twin] += by
        return rows

    return leaning


def test_rounding_vanishes_in_float64(single: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    said, twin = _almost_tied(single)
    monkeypatch.setattr(Decoder, "logits", _leaning(twin, 1e-3))
    model: Any = single.target.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    told = difference(lines(single, NoDrafter()))
    assert {told.expected.id, told.found.id} == {said, twin}
    assert told.verdict == "rounding", told
    assert told.margin is not None and abs(told.margin) < 1e-3 < 2 * told.noise
    assert told.apart == pytest.approx(1e-3, rel=0.1)
    after = model.state_dict()
    assert all(
        after[name].dtype == value.dtype and torch.equal(after[name], value)
        for name, value in before.items()
    )


def test_what_no_rounding_explains_is_unknown(
    single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, twin = _almost_tied(single)
    monkeypatch.setattr(Decoder, "logits", _leaning(twin, 0.5))
    told = difference(lines(single, NoDrafter()))
    assert told.verdict == "unknown" and "does not happen again" in told.why


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("quantised", "quantised weights"),
        ("full", "free"),
        ("broken", "float64 failed: RuntimeError: no kernel"),
    ],
)
def test_without_float64_it_is_unknown(
    name: str, why: str, single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    _one_too_many(monkeypatch)
    if name == "quantised":
        monkeypatch.setattr(type(single.target.model), "is_quantized", True, raising=False)
    elif name == "full":
        monkeypatch.setattr("crossdraft.bench.float64.available_bytes", lambda device: 1000)
    else:

        def fails(*_: Any) -> Any:
            raise RuntimeError("no kernel")

        monkeypatch.setattr(divergence.Divergence, "_stays", fails)
    told = difference(lines(single, NoDrafter()))
    assert told.verdict == "unknown" and why in told.why
    assert single.target.dtype == torch.float32


def test_a_fork_that_remembers_is_found(exact: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture of all forks changes with every answer; sessions opened anew do not see it."""
    forked = lossless_runs.Bench._forked

    def dirty(self: Any, other: Any) -> Any:
        session: Any = forked(self, other)
        for row in session._cache.rows:
            row.keys = row.keys * 1.5
        return session

    monkeypatch.setattr(lossless_runs.Bench, "_forked", dirty)
    told = difference(lines(exact, NoDrafter()))
    assert (told.drafter, told.session, told.verdict) == ("none", lossless_runs.FORK, "real")


def _one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks of a picture write behind it into the same rows."""
    made = GrowingCache.over.__func__  # type: ignore[attr-defined]

    def over(cls: type[GrowingCache], cache: SessionCache) -> GrowingCache:
        child: GrowingCache = made(cls, cache)
        for its, mine in zip(cache.rows, child.rows, strict=True):
            keys, values = its.buffers()
            if keys.shape[2] < cache.length + 300:
                room = (0, 0, 0, 600)
                its.use(torch.nn.functional.pad(keys, room), torch.nn.functional.pad(values, room))
            mine.use(*its.buffers(), shared=False)
        return child

    monkeypatch.setattr(GrowingCache, "over", classmethod(over))


@pytest.mark.parametrize("questions", [QUESTIONS, QUESTIONS[:1]], ids=["two", "one"])
def test_forks_that_share_rows_are_found(
    questions: Sequence[str], single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone is right: only what is said in turn with another fork is not."""
    _one_buffer(monkeypatch)
    told = difference(lines(single, NoDrafter(), questions=questions))
    assert (told.session, told.verdict) == (lossless_runs.IN_TURN, "real"), told


def test_a_sibling_that_loses_its_rows_is_found(
    single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer with drafts is right, the plain one that it took turns with is not."""
    wrong: list[Sibling] = []
    go_on = Sibling.go_on

    def overwritten(self: Sibling, new: Sequence[int] = ()) -> None:
        session: Any = self._session
        if new and self not in wrong:  # in turn with another answer, once
            wrong.append(self)
            for row in session._cache.rows:
                row.keys[:, :, : session.cache_length] *= -1
        go_on(self, new)

    monkeypatch.setattr(Sibling, "go_on", overwritten)
    found = lines(single, NoDrafter(), questions=QUESTIONS)
    told = difference(found)
    assert wrong and told.sibling and told.verdict == "real", told
    assert (told.drafter, told.question, told.number) == ("none", QUESTIONS[1], 2)
    assert told.place >= 5  # half of it was said before
    assert "beside drafts it is" in found[-1].text


def test_rows_of_a_sibling_are_compared_in_float64(
    single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokens differ in float32 alone, its rows in float64 too."""
    decide = Sibling._decide

    def shifted(self: Sibling, step: Step) -> None:
        rows = step.logits.clone()
        if self._said and rows.dtype == torch.float32:
            rows[:, 7] += 1000
        elif self._said:
            rows[:, 7] -= 1000
        decide(self, Step(rows, step.hidden))

    monkeypatch.setattr(Sibling, "_decide", shifted)
    told = difference(lines(single, NoDrafter()))
    assert told.sibling and told.verdict == "real" and "rows of logits" in told.why, told


def test_an_engine_that_fails_is_named(exact: PairModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdraft.decoding.loop.draftable", lambda tree, allowed: tree)
    found = lines(exact, NoDrafter())
    last = found[-1]
    assert isinstance(last, Compared) and last.failure is not None and last.difference is None
    told = last.failure
    assert told.drafter in [kind.name for kind in ADVERSARIES] and told.width in FEW
    assert (told.question, told.number) == (QUESTIONS[0], 1)
    assert told.error.startswith("ValueError: ids [") and told.where.startswith("causal.py, line ")
    assert told.error in last.text and "the next answer fails" in last.text
    assert summary(found).startswith("not lossless (failed): question 1, ValueError")
    assert last.to_json()["failure"]["session"] == told.session and not last.equal


class Unusable(Drafter):
    """Cannot be used with this pair, or breaks."""

    name = "unusable"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        raise self.error


def test_whose_fault_an_error_is(exact: PairModels) -> None:
    """A drafter that was asked for may be the wrong one for the pair, memory may be too little."""
    for error in (InputError("states of another width"), torch.cuda.OutOfMemoryError("full")):
        with pytest.raises(type(error)):
            lines(exact, Unusable(error))
    assert "KeyError: 'x' (test_lossless.py" in lines(exact, Unusable(KeyError("x")))[-1].text


def test_an_end_that_both_answers_miss_is_real(
    single: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain decoding does not see it in float64 either, and is no measure of it."""
    monkeypatch.setattr(
        StopAt,
        "cut",
        lambda self, answer, new: (
            min(len(new), self.most - len(answer)),
            "length" if len(answer) + len(new) >= self.most else None,
        ),
    )
    told = difference(lines(single, NoDrafter()))
    assert (told.drafter, told.expected.id, told.ends) == ("early end", None, ("eos", "length"))
    assert told.verdict == "real" and f"from token {told.place} on" in told.why, told


class Drawn(Drafter):
    """Says what its drafts were drawn from."""

    name = "drawn"

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        made = DraftTree.chain([5], source=self.name)
        row = np.full((1, self.vocabulary), 1 / self.vocabulary)
        return dataclasses.replace(made, q_rows=row)


def test_drawn_drafts_are_compared_greedily_alone(exact: PairModels) -> None:
    drafter = Drawn(exact.target.decoder.vocabulary)
    found = lines(exact, drafter, rules=(Greedy(), SAMPLING))
    greedy, sampled = (
        line for line in found if isinstance(line, Compared) and line.drafter == "drawn"
    )
    assert (greedy.drawn, sampled.drawn) == (0, 4)
    assert sampled.tau is None and "4 not compared" in sampled.text


def test_a_pair_that_holds_one_model_at_a_time(pair: Path) -> None:
    with models_of(pair, "float64", load="in_turn") as models:
        found = lines(models, DrafterText(), max_new_tokens=4)
    assert isinstance(found[1], Compared) and found[1].drafter == "drafter-text"
    assert summary(found).startswith("lossless")


@pytest.mark.parametrize(
    ("questions", "widths", "rules", "most", "said"),
    [
        ((), FEW, (Greedy(),), 5, "no question"),
        (QUESTIONS, {}, (Greedy(),), 5, "no width"),
        (QUESTIONS, FEW, (), 5, "no rule"),
        (QUESTIONS, FEW, (Greedy(),), 0, "from 1"),
        (QUESTIONS, FEW, (Greedy(), TopK(2)), 5, "lossy top-2"),
    ],
    ids=["questions", "widths", "rules", "tokens", "lossy"],
)
def test_what_it_refuses(
    questions: tuple[str, ...], widths: Any, rules: tuple[Rule, ...], most: int, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        list(
            verify_lossless(
                None,  # type: ignore[arg-type]  # refused before a model is asked for
                [NoDrafter()], questions, widths=widths, rules=rules, max_new_tokens=most,
            )
        )  # fmt: skip


def test_an_answer_of_one_token(exact: PairModels) -> None:
    assert summary(lines(exact, NoDrafter(), max_new_tokens=1)).startswith("lossless: ")
