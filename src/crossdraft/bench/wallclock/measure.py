"""Asks every configuration every question, in alternation, and writes a line for each answer.

A round begins with fresh drafters and goes through all questions; within a question the
configurations take turns in an order that is drawn. Killed and called again, it goes on with the
next question; drafters are told the answers that were given before.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.base.files import append_text
from crossdraft.base.progress import Progress, ProgressSink
from crossdraft.bench.wallclock.answering import Answering, Ground, Place, answering
from crossdraft.bench.wallclock.configuration import Configuration
from crossdraft.bench.wallclock.record import Run

LINES = "runs.jsonl"


class Lines:
    """The file of timed answers: appended question by question."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[Run] = _read(path)

    def add(self, runs: Sequence[Run]) -> None:
        """Append answers; they are on the disk when this returns.

        Raises:
            InputError: the file cannot be written.
        """
        text = "".join(json.dumps(run.to_json()) + "\n" for run in runs)
        try:
            append_text(self.path, text)
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", where=self.path) from error
        self.runs += runs


def _read(path: Path) -> list[Run]:
    """The answers of a file; a last line that a kill has cut is dropped from it."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        return [Run.from_json(json.loads(line)) for line in whole.decode().splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"not the lines of a benchmark ({error})", where=path, hint="name another folder"
        ) from error


def measure(
    ground: Ground,
    configurations: Sequence[Configuration],
    order: Sequence[Place],
    rounds: int,
    warmup: int,
    lines: Lines,
    sink: ProgressSink,
) -> None:
    """Answer what is not answered yet.

    Args:
        order: questions of all parts; each part has drafters of its own, which learn from it alone.
        warmup: questions that every configuration answers first, uncounted.
    """
    done: dict[tuple[int, str, int], dict[str, Run]] = {}
    for run in lines.runs:
        done.setdefault((run.round, run.part, run.number), {})[run.configuration] = run
    left = [(turn, place) for turn in range(rounds) for place in order]
    left = [at for at in left if len(_of(done, *at)) < len(configurations)]
    if left and warmup:
        _warm(ground, configurations, order, warmup, sink)
    total = rounds * len(order)
    for turn in range(rounds):
        if not any(at[0] == turn for at in left):
            continue
        hall = _Hall(ground, configurations)
        for number, place in enumerate(order):
            known = _of(done, turn, place)
            new = hall.ask(place, turn, number, known)
            if new:
                lines.add(new)
            sink(Progress(f"round {turn + 1} of {rounds}", turn * len(order) + number + 1, total))
        hall.close()


def _of(
    done: Mapping[tuple[int, str, int], dict[str, Run]], turn: int, place: Place
) -> Mapping[str, Run]:
    return done.get((turn, place.part, place.number), {})


class _Hall:
    """One round: who answers, for each part anew."""

    def __init__(self, ground: Ground, configurations: Sequence[Configuration]) -> None:
        self._ground, self._configurations = ground, configurations
        self._answering: dict[tuple[str, str], Answering] = {}

    def ask(self, place: Place, turn: int, number: int, known: Mapping[str, Run]) -> list[Run]:
        """Every configuration that has not answered yet, in an order drawn for the question."""
        new = []
        order = list(self._configurations)
        # Drawn, so that nobody always comes behind the same one.
        random.Random(f"{turn} {number}").shuffle(order)
        for one in order:
            who = self.who(one, place.part)
            if one.name in known:
                who.learn(place.question, known[one.name].tokens)
                continue
            new.append(who.ask(place, turn)[0])
        return new

    def who(self, one: Configuration, part: str) -> Answering:
        key = (one.name, part)
        if key not in self._answering:
            self._answering[key] = answering(one, self._ground)
        return self._answering[key]

    def close(self) -> None:
        for who in self._answering.values():
            who.close()


def _warm(
    ground: Ground,
    configurations: Sequence[Configuration],
    order: Sequence[Place],
    count: int,
    sink: ProgressSink,
) -> None:
    """Let everything compile and every cache fill, with drafters that are thrown away."""
    hall = _Hall(ground, configurations)
    for number, place in enumerate(order[:count]):
        hall.ask(place, 0, number, {})
        sink(Progress("warming up", number + 1, min(count, len(order))))
    hall.close()
