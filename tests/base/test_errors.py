"""Errors say what was found, what was expected and what to try."""

from __future__ import annotations

from crossdraft.base.errors import CheckFailedError, InputError, gist


def test_input_error_names_everything() -> None:
    error = InputError("found this", where="a.json", expected="that", hint="do so")
    assert str(error) == "a.json: found this\n  expected: that\n  try: do so"
    assert error.exit_code == 2


def test_failed_check_has_its_own_exit_code() -> None:
    assert CheckFailedError("no").exit_code == 1


def test_the_gist_of_other_peoples_errors() -> None:
    assert gist(ValueError("wrong\nat length")) == "wrong"
    assert (
        gist(ValueError("Validation error:\n\n  size is 3\nmore")) == "Validation error: size is 3"
    )
    assert gist(MemoryError()) == "MemoryError"
