"""What benchmarks share: medians with quartiles, trainings that take turns, counts that a call may
name, and how a call ends."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from statistics import quantiles
from threading import Thread
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.files import output_path, write_json

Record = dict[str, float]


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles; of a single value three times that."""
    low, middle, high = quantiles(values * (1 + (len(values) == 1)), method="inclusive")
    return {"median": middle, "low": low, "high": high}


def in_turns(train: Callable[[Callable[[Record], None]], object], count: int) -> Iterator[Record]:
    """Records of a training, one epoch at a time.

    The training runs in a thread of its own and waits after each epoch until the next record is
    asked for: of several such trainings only one ever computes.

    Args:
        train: takes what is to be called with the record of each epoch.
        count: its epochs.

    Raises:
        Exception: what the training raised.
    """
    turns: Queue[bool] = Queue()
    records: Queue[Record | BaseException] = Queue()

    def hand_over(record: Record) -> None:
        records.put(record)
        turns.get()

    def work() -> None:
        turns.get()
        try:
            train(hand_over)
        except BaseException as error:
            records.put(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    for _ in range(count):
        turns.put(True)
        record = records.get()
        if isinstance(record, BaseException):
            raise record
        yield record
    turns.put(True)
    thread.join()


def refuse_below_one(arguments: Namespace, names: Sequence[str]) -> None:
    """Refuse counts below 1, of lists their least; what was not given is right.

    Raises:
        InputError: naming the option.
    """
    for name in names:
        value = getattr(arguments, name)
        least = min(value) if isinstance(value, list) else value
        if least is not None and least < 1:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{least}", where=option, expected="1 or more")


def reported(
    measure: Callable[[], dict[str, Any]],
    json: Path | None,
    lines: Callable[[dict[str, Any]], Iterable[str]],
) -> int:
    """Measure, write the result where it is wanted, and print it.

    Args:
        lines: what is printed of a result.

    Returns:
        The exit code: 2 for wrong input, 1 where one of the result's `checks` failed, else 0.
    """
    try:
        out = None if json is None else output_path(json)
        result = measure()
        if out is not None:
            write_json(out, result)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n".join(lines(result)))
    return 0 if all(result.get("checks", {}).values()) else 1
