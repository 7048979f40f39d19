"""Time that passes only where it is told to, for threads that work side by side.

    time = StatedTime()
    with told_by(time):
        aside = beside()             # made here, entered by the thread: `with aside: ...`
        time.pass_ms(141.6)          # returns when every other thread has come so far

Real work between two calls of `pass_ms` takes no time, so that the same program gives the same
times on any machine. A conservative simulation of discrete events whose actors are threads.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from crossdraft.base.clock import Time

_NS = 1_000_000


@dataclass(eq=False)
class _Actor:
    """A thread that takes part.

    Attributes:
        joined: how many had joined before it.
        now_ns: how far it has come.
        waits: whether it waits for another thread, and holds nobody up.
    """

    joined: int
    now_ns: int
    waits: bool = False


class StatedTime(Time):
    """A clock at which threads take turns; the one that makes it is the first to take part.

    One thread runs at a time, always the earliest, until it passes time, waits or ends. Of several
    at the same moment the one that joined last goes first: who looks at a moment t sees what those
    that it has started did up to t, t included, as `decoding.arrival` counts. Moments are whole
    nanoseconds, so that sums that are equal on paper are equal here.

    The price: a thread that waits for another outside of `waiting`, for a lock or an event, keeps
    its turn, and nobody goes on. After `patience_s` of real time that is an error in every thread
    whose turn does not come.

    Args:
        patience_s: real seconds that a thread may wait for its turn.
    """

    def __init__(self, patience_s: float = 30.0) -> None:
        self._patience_s = patience_s
        self._turns = threading.Condition()
        self._own = threading.local()
        first = _Actor(0, 0)
        self._own.actor = first
        self._actors = [first]
        self._joined = 1
        #: Whose turn it is; None while all wait.
        self._turn: _Actor | None = first
        #: Moment of the last turn; never goes back.
        self._reached_ns = 0
        self._stuck: str | None = None

    def now_ms(self) -> float:
        """How far this thread has come, in milliseconds since the clock was made.

        Raises:
            RuntimeError: it takes no part.
        """
        return self._me().now_ns / _NS

    def pass_ms(self, ms: float) -> None:
        """Let time pass for this thread; returns when its turn has come again.

        Raises:
            RuntimeError: it takes no part, or waits, or its turn does not come.
            ValueError: no duration.
        """
        if not (math.isfinite(ms) and ms >= 0):
            raise ValueError(f"{ms} ms to pass")
        with self._turns:
            me = self._me(working=True)
            me.now_ns += round(ms * _NS)
            self._hand_on()
            self._await_turn(me)

    def beside(self) -> AbstractContextManager[None]:
        """See `Time.beside`. The other thread takes part from here on, at this one's moment: a
        context that is never entered holds everybody up.

        Raises:
            RuntimeError: this thread takes no part, or waits; of the context, the thread that
                enters it takes part already.
        """
        with self._turns:
            actor = _Actor(self._joined, self._me(working=True).now_ns)
            self._joined += 1
            self._actors.append(actor)
        return self._taking_part(actor)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """See `Time.waiting`. Afterwards this thread is where the furthest of the others has come:
        the end of the last one, if all have ended. Where one goes on meanwhile, how far it comes
        before this thread wakes depends on the machine.

        Raises:
            RuntimeError: it takes no part, or waits already, or its turn does not come afterwards.
        """
        with self._turns:
            me = self._me(working=True)
            me.waits = True
            self._hand_on()
        try:
            yield
        finally:
            with self._turns:
                me.now_ns, me.waits = self._reached_ns, False
                if self._turn is None:
                    self._hand_on()
                self._await_turn(me)

    @contextlib.contextmanager
    def _taking_part(self, actor: _Actor) -> Iterator[None]:
        if getattr(self._own, "actor", None) is not None:
            raise RuntimeError("this thread takes part already; enter what beside gave in another")
        self._own.actor = actor
        try:
            with self._turns:
                self._await_turn(actor)
            yield
        finally:
            self._own.actor = None
            with self._turns:
                self._leave(actor)

    def _leave(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        if self._turn is actor:
            self._hand_on()

    def _me(self, working: bool = False) -> _Actor:
        """This thread's actor, which may have to be one that does not wait."""
        actor: _Actor | None = getattr(self._own, "actor", None)
        if actor is None:
            raise RuntimeError(
                f"thread {threading.current_thread().name!r} takes no part in stated time; make "
                "beside() in the thread that starts it, and enter that in it"
            )
        if working and actor.waits:
            raise RuntimeError("a thread that waits for another does nothing of its own")
        return actor

    def _hand_on(self) -> None:
        """Give the turn to the earliest; of those at one moment to the one that joined last."""
        ready = (actor for actor in self._actors if not actor.waits)
        self._turn = min(ready, key=lambda actor: (actor.now_ns, -actor.joined), default=None)
        if self._turn is not None:
            self._reached_ns = self._turn.now_ns
        self._turns.notify_all()

    def _await_turn(self, me: _Actor) -> None:
        """Sleep until it is this thread's turn."""

        def mine() -> bool:
            return self._turn is me or self._stuck is not None

        if not self._turns.wait_for(mine, self._patience_s):
            holder = "nobody" if self._turn is None else f"thread {self._turn.joined}"
            self._stuck = (
                f"thread {me.joined} (in order of joining) waits for its turn for more than "
                f"{self._patience_s:g} s of real time, and {holder} has it at "
                f"{self._reached_ns / _NS:g} ms; does that one wait outside of waiting()?"
            )
            self._turns.notify_all()
        if self._stuck is not None:
            raise RuntimeError(self._stuck)
