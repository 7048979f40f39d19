"""Interrupts of long work: none is lost, whatever it comes in the middle of."""

import os
import signal
import sys
import time

import pytest

from crossdraft.cli.making import sigterm_interrupts


class _InterruptedWhileCleared:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass


def test_an_interrupt_while_an_object_is_cleared_away_is_not_lost() -> None:
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        _InterruptedWhileCleared()
        time.sleep(20)
        pytest.fail("slept on")
    assert sys.unraisablehook is before


def test_other_errors_of_clearing_away_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: shown.append(str(lost.exc_value)))

    class Faulty:
        def __del__(self) -> None:
            raise ValueError("planted")

    with sigterm_interrupts():
        Faulty()
    assert shown == ["planted"]
