"""Whether every way of answering gave the same tokens, and what is behind a difference.

Two ways compute the same sums in another order, so the larger of two nearly equal logits may be
another one. That is rounding: it is no larger than the noise of the model's number format, and in
float64 plain decoding, verification in blocks and transformers' own forward agree. All else is a
fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any, Literal

from torch import Tensor

from crossdraft.base.errors import gist
from crossdraft.base.tree import DraftTree
from crossdraft.bench.checks.case import joined
from crossdraft.bench.checks.noise import explained
from crossdraft.bench.checks.reference import Noise, noise_of, read_rows
from crossdraft.bench.divergence import Asked, Watched, first_difference
from crossdraft.bench.float64 import in_float64, obstacle
from crossdraft.bench.wallclock.record import Run
from crossdraft.decoding.event_words import silent
from crossdraft.decoding.rules import GREEDY
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.width import Fixed
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.vlm.picture import placed
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target

Verdict = Literal["rounding", "fault", "unknown"]
#: Tokens of the passes whose logits are compared with passes of one.
_BLOCKS = (2, 8, 32)
#: Drafts of a pass in float64.
_DRAFTS = Budget(8, 8, 1)


@dataclass(frozen=True)
class Difference:
    """A question that a configuration answered with other tokens.

    Attributes:
        configuration: its name.
        part, number, scene, question: as in `Run`.
        rounds: in which it gave this answer.
        place: of the first token that differs, from 0.
        plain, other: the answers, the reference's and this one.
    """

    configuration: str
    part: str
    number: int
    scene: str
    question: str
    rounds: tuple[int, ...]
    place: int
    plain: tuple[int, ...]
    other: tuple[int, ...]

    def judged(self, target: Target, scene: Any, most: int) -> dict[str, Any]:
        """Plain JSON value with the verdict; see `judge`."""
        said = judge(target, scene, self.question, self.plain, self.other, self.place, most)
        return {**self.to_json(), **said, "scene": self.scene}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; of the answers the two tokens alone, None where one had ended."""
        tokens = {
            "plain": _token(self.plain, self.place),
            "other": _token(self.other, self.place),
        }
        return {**asdict(self), "rounds": list(self.rounds), **tokens}


def compare(reference: Sequence[Run], runs: Sequence[Run]) -> list[Difference]:
    """Every question whose tokens are not the reference's, in any round.

    The reference is its first answer to each question; its other rounds are compared too.

    Raises:
        ValueError: a question that the reference has not answered.
    """
    plain: dict[tuple[str, int], Run] = {}
    for run in reference:
        plain.setdefault((run.part, run.number), run)
    rounds: dict[tuple[str, str, int, tuple[int, ...]], tuple[Run, set[int]]] = {}
    for run in (*reference, *runs):
        first = plain.get((run.part, run.number))
        if first is None or (first.scene, first.question) != (run.scene, run.question):
            raise ValueError(f"the reference has not answered {run.part} question {run.number}")
        if run.tokens != first.tokens:
            key = (run.configuration, run.part, run.number, run.tokens)
            rounds.setdefault(key, (run, set()))[1].add(run.round)
    found = []
    for run, numbers in rounds.values():
        said = plain[run.part, run.number].tokens
        found.append(
            Difference(
                run.configuration, run.part, run.number, run.scene, run.question,
                tuple(sorted(numbers)), first_difference(said, run.tokens), said, run.tokens,
            )
        )  # fmt: skip
    return found


def judge(
    target: Target,
    scene: Any,
    question: str,
    plain_tokens: Sequence[int],
    other_tokens: Sequence[int],
    place: int,
    most: int,
) -> Mapping[str, Any]:
    """What is behind a difference. The model is as it was afterwards.

    Args:
        place: of the first token that differs.
        most: tokens that the answers may have.

    Returns:
        `scene`, `question`, `place`; the two tokens `plain` and `other`; the `margin` of their
        logits and the `noise` of the model's, both in its own number format and None where one of
        the answers had ended; `verdict` (`rounding`, `fault`, `unknown`) and `why`.

    Raises:
        InputError: the scene or the question cannot be read.
    """
    prompt = target.prompt(scene, question)
    prompt = replace(prompt, inputs=cache(prompt.inputs))
    plain, other = _token(plain_tokens, place), _token(other_tokens, place)
    about = {
        "scene": str(getattr(scene, "id", scene)), "question": question, "place": place,
        "plain": plain, "other": other, "margin": None, "noise": None,
    }  # fmt: skip
    if plain is None or other is None:
        return about | _verdict("fault", "one answer has ended where the other goes on")
    rows, noise = _noise(target, prompt, plain_tokens)
    row = rows[place].double()
    about |= {"margin": float((row[plain] - row[other]).abs()), "noise": noise.measured}
    # Two tokens may lie close together and both far below the one that had to be said.
    flip = float(row.max() - row[[plain, other]].min())
    why = obstacle(target.model, len(prompt.ids) + most + _DRAFTS.nodes)
    if why is not None:
        return about | _verdict("unknown", f"it was not tried in float64: {why}")
    try:
        with in_float64(target.model):
            stays = _stays(target, prompt, other_tokens, most)
    except Exception as error:  # out of memory, a kernel that has no float64
        why = f"float64 failed: {type(error).__name__}: {gist(error)}"
        return about | _verdict("unknown", why)
    if stays is not None:
        return about | _verdict("fault", f"in float64 {stays}")
    if not explained(noise, flip, noise.measured):
        said = f"{flip:.3g} between the logits is more than rounding explains"
        return about | _verdict("fault", said)
    said = "all ways agree in float64, and the margin is no larger than rounding makes it"
    return about | _verdict("rounding", said)


def _verdict(verdict: Verdict, why: str) -> dict[str, Any]:
    return {"verdict": verdict, "why": why}


def _token(answer: Sequence[int], place: int) -> int | None:
    return answer[place] if place < len(answer) else None


def _noise(target: Target, prompt: Prompt, tokens: Sequence[int]) -> tuple[Tensor, Noise]:
    """[tokens, vocab] logits of passes of one, and how far other ways to them lie apart."""
    rows = _rows(target, prompt, tokens, 1)
    ways = [_whole(target, prompt, tokens), *(_rows(target, prompt, tokens, k) for k in _BLOCKS)]
    found = [noise_of(target.model, way, rows) for way in ways]
    return rows, max(found, key=lambda one: one.measured)


def _rows(target: Target, prompt: Prompt, tokens: Sequence[int], width: int) -> Tensor:
    """[tokens, vocab] of a session's passes over so many tokens of an answer."""
    session, fed = target.open(prompt), tokens[:-1]
    steps = [session.ask(prompt)]
    steps += [session.read(fed[at : at + width]) for at in range(0, len(fed), width)]
    return joined(steps).logits


def _whole(target: Target, prompt: Prompt, tokens: Sequence[int]) -> Tensor:
    """[tokens, vocab] of one forward of transformers, without a session."""
    made = prompt.inputs() if prompt.cut else {}
    inputs = {name: placed(value, target.decoder) for name, value in made.items()}
    inputs.pop("attention_mask", None)
    return read_rows(target.model, prompt.ids, tokens, inputs)[0]


def _stays(target: Target, prompt: Prompt, other: Sequence[int], most: int) -> str | None:
    """What is wrong in this number format: plain decoding, verification in blocks that are offered
    both answers, and one forward over everything have to agree. None where they do."""
    opened = partial(target.open, prompt)
    stopping = StopAt(target.eos_ids, most)
    asked = Asked("", prompt, silent(), stopping, opened, opened)
    watched, blocks = Watched(GREEDY), Watched(GREEDY)
    plain = asked.answered_plainly(target, watched).tokens
    drafts = _Told(other, plain)
    drafted, _ = asked.answered(target, blocks, drafts, Fixed(_DRAFTS))
    if drafted.tokens != plain:
        return f"drafts change token {first_difference(plain, drafted.tokens)}"
    whole, rows = _whole(target, prompt, plain), watched.logits
    for name, found in (("drafts", blocks.logits[: len(plain)]), ("transformers", whole)):
        noise = noise_of(target.model, found, rows)
        if noise.measured > noise.limit:
            return f"the logits of {name} lie {noise.measured:.3g} from those of plain decoding"
    if tuple(whole.argmax(-1).tolist()) != plain:
        place = first_difference(plain, whole.argmax(-1).tolist())
        return f"transformers says another token {place}"
    return None


class _Told(Drafter):
    """Proposes what the first of several answers says next that begins like this one."""

    name = "told"

    def __init__(self, *answers: Sequence[int]) -> None:
        self._answers = answers

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return next(self._rests(tuple(prefix), budget.depth), DraftTree.empty())

    def _rests(self, prefix: tuple[int, ...], depth: int) -> Iterator[DraftTree]:
        count = len(prefix)
        for answer in self._answers:
            if tuple(answer[:count]) == prefix and len(answer) > count:
                yield DraftTree.chain(list(answer[count : count + depth]))
