"""Stated time: threads take turns by their moments, the same way every time."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.clock import Spans, now_ms, told_by, waiting
from crossdraft.base.stated_time import StatedTime

Seen = list[tuple[str, float]]
#: What one thread does: passes that many milliseconds, one after the other.
Steps = list[int]


class Beside:
    """A thread that takes part, and what it raised."""

    def __init__(self, time: StatedTime, work: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        aside = time.beside()

        def run() -> None:
            try:
                with aside:
                    work()
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def join(self, time: StatedTime) -> None:
        with time.waiting():
            self.thread.join()
        if self.error is not None:
            raise self.error


def stepping(time: StatedTime, seen: Seen, name: str, *steps: float) -> Callable[[], None]:
    """Note the moment at the start and behind every step."""

    def run() -> None:
        seen.append((name, time.now_ms()))
        for ms in steps:
            time.pass_ms(ms)
            seen.append((name, time.now_ms()))

    return run


def test_threads_take_turns_by_their_moments() -> None:
    time, seen = StatedTime(), Seen()
    other = Beside(time, stepping(time, seen, "b", 97, 10, 10, 500))
    stepping(time, seen, "a", 141, 316)()
    other.join(time)
    assert seen == [
        ("a", 0), ("b", 0), ("b", 97), ("b", 107), ("b", 117), ("a", 141), ("a", 457), ("b", 617),
    ]  # fmt: skip
    assert time.now_ms() == 617


def test_of_several_at_one_moment_the_last_to_join_goes_first() -> None:
    for _ in range(20):
        time, seen = StatedTime(), Seen()
        # As numbers of a computer the two of b are more than the one of c.
        others = [
            Beside(time, stepping(time, seen, "b", 57.799, 8.06)),
            Beside(time, stepping(time, seen, "c", 65.859)),
        ]
        time.pass_ms(65.859)
        seen.append(("a", time.now_ms()))
        for other in others:
            other.join(time)
        assert seen == [
            ("c", 0), ("b", 0), ("b", 57.799), ("c", 65.859), ("b", 65.859), ("a", 65.859),
        ]  # fmt: skip


def test_who_joins_late_begins_where_its_parent_is() -> None:
    time, seen = StatedTime(), Seen()
    time.pass_ms(5)

    def parent() -> None:
        time.pass_ms(1)
        child = Beside(time, stepping(time, seen, "grandchild", 2))
        seen.append(("child", time.now_ms()))
        child.join(time)
        seen.append(("child", time.now_ms()))

    Beside(time, parent).join(time)
    assert seen == [("child", 6), ("grandchild", 6), ("grandchild", 8), ("child", 8)]


def test_nothing_happens_between_two_calls_of_the_one_whose_turn_it_is() -> None:
    time, seen = StatedTime(), Seen()
    other = Beside(time, stepping(time, seen, "b", 1))
    other.thread.join(0.05)
    assert not seen
    time.pass_ms(0)
    assert seen == [("b", 0)]
    other.join(time)


def test_waiting_ends_with_those_that_end_and_never_goes_back() -> None:
    time = StatedTime()
    short = Beside(time, lambda: time.pass_ms(3))
    time.pass_ms(10)
    short.join(time)
    assert time.now_ms() == 10
    long = Beside(time, lambda: time.pass_ms(40))
    long.join(time)
    assert time.now_ms() == 50


def test_who_waits_holds_nobody_up_and_is_woken_where_the_furthest_is() -> None:
    time = StatedTime()
    there, read = threading.Event(), threading.Event()

    def work() -> None:
        time.pass_ms(7)
        there.set()
        with time.waiting():
            read.wait()
        time.pass_ms(2)

    other = Beside(time, work)
    with time.waiting():
        there.wait()
    assert time.now_ms() == 7
    read.set()
    other.join(time)
    assert time.now_ms() == 9


def test_who_was_woken_is_never_behind_what_it_may_have_seen() -> None:
    """One thread ends at 10 while another waits for what the first does at 60."""
    time, done, woken = StatedTime(), threading.Event(), Seen()

    def work() -> None:
        with time.waiting():
            done.wait()
        woken.append(("work", time.now_ms()))

    others = [Beside(time, work), Beside(time, lambda: time.pass_ms(10))]
    time.pass_ms(60)
    done.set()
    for other in others:
        other.join(time)
    assert woken == [("work", 60)]
    assert time.now_ms() == 60


def test_what_fails_takes_no_part_any_more() -> None:
    time = StatedTime()

    def work() -> None:
        time.pass_ms(5)
        raise KeyError("broken")

    other = Beside(time, work)
    time.pass_ms(100)
    assert time.now_ms() == 100
    with pytest.raises(KeyError, match="broken"):
        other.join(time)


def test_a_schedule_that_is_stuck_is_an_error_in_all_its_threads() -> None:
    time, held = StatedTime(patience_s=0.05), threading.Event()

    def work() -> None:
        held.wait()  # not told that it waits
        time.pass_ms(1)

    other = Beside(time, work)
    with pytest.raises(RuntimeError, match=r"thread 0 .* thread 1 has it at 0 ms"):
        time.pass_ms(1)
    held.set()
    other.thread.join()
    assert isinstance(other.error, RuntimeError)
    assert "waits for its turn" in str(other.error)


def test_a_thread_that_never_enters_is_found() -> None:
    time = StatedTime(patience_s=0.02)
    time.beside()
    with pytest.raises(RuntimeError, match="thread 1 has it"):
        time.pass_ms(1)


def test_wrong_uses_are_refused() -> None:
    time = StatedTime()
    for ms in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="ms to pass"):
            time.pass_ms(ms)
    for call in (lambda: time.pass_ms(1), time.beside, lambda: time.waiting().__enter__()):
        with time.waiting(), pytest.raises(RuntimeError, match="nothing of its own"):
            call()
    errors: list[str] = []

    def stranger() -> None:
        for wrong in (time.now_ms, time.beside, lambda: time.pass_ms(1)):
            try:
                wrong()
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=stranger, name="stranger")
    thread.start()
    thread.join()
    assert len(errors) == 3
    assert all("thread 'stranger' takes no part" in error for error in errors)
    aside = time.beside()
    with pytest.raises(RuntimeError, match="takes part already"), aside:
        pass


def test_the_clock_is_told_and_spans_are_exact() -> None:
    time = StatedTime()
    with told_by(time):
        time.pass_ms(2.5)
        spans = Spans()
        with spans.measure("whole"):
            time.pass_ms(1.25)
            other = Beside(time, lambda: time.pass_ms(4))
            with spans.measure("wait"), waiting():
                other.thread.join()
        assert now_ms() == 7.75
    assert [(one["name"], one["start_ms"], one["end_ms"]) for one in spans.to_records()] == [
        ("whole", 0, 5.25),
        ("wait", 1.25, 5.25),
    ]


# --- against a simulation of a single thread -------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(0, 4), max_size=5)), max_size=3),
)
def test_any_schedule_is_that_of_one_thread(own: Steps, others: list[tuple[int, Steps]]) -> None:
    """The first thread starts each of the others before one of its own steps, and waits for all."""
    time, seen = StatedTime(), Seen()
    started: list[Beside] = []

    def start(place: int) -> None:
        for number, (at, steps) in enumerate(others):
            if min(at, len(own) - 1) == place:
                started.append(Beside(time, stepping(time, seen, str(number), *steps)))

    for place, ms in enumerate(own):
        start(place)
        time.pass_ms(ms)
        seen.append(("own", time.now_ms()))
    with time.waiting():
        for other in started:
            other.thread.join()
    seen.append(("end", time.now_ms()))
    assert seen == simulated(own, others)


def simulated(own: Steps, others: list[tuple[int, Steps]]) -> Seen:
    """What every thread should have seen, by a queue of moments."""
    seen = Seen()
    queue: list[tuple[int, int, str, Iterator[int]]] = [(0, 0, "own", iter([]))]
    joined, place, last = 0, -1, 0
    while queue:
        moment, order, name, steps = heapq.heappop(queue)
        last = max(last, moment)
        if name != "own" or place >= 0:
            seen.append((name, moment))
        if name == "own":
            place += 1
            if place == len(own):
                continue
            for number, (at, ahead) in enumerate(others):
                if min(at, len(own) - 1) == place:
                    joined += 1
                    heapq.heappush(queue, (moment, -joined, str(number), iter(ahead)))
            heapq.heappush(queue, (moment + own[place], order, name, steps))
        elif (ms := next(steps, None)) is not None:
            heapq.heappush(queue, (moment + ms, order, name, steps))
    seen.append(("end", last))
    return seen
