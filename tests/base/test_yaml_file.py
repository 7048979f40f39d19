"""YAML: exponents, keys that stand twice, faults with their line, text that reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.yaml_file import parse_yaml, read_yaml, yaml_text

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1.E+2", 100.0), (".5e1", 5.0), ("-1e-3", -1e-3), ("1e4", 1e4)],
)
def test_exponents_without_a_point_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"x: {text}\ny: '{text}'\n")
    assert read_yaml(path) == {"x": value, "y": text}


@given(PLAIN | st.lists(PLAIN) | st.dictionaries(st.text(), PLAIN))
def test_one_line_reads_back(value: Any) -> None:
    text = yaml_text(value)
    assert "\n" not in text
    assert parse_yaml(text, "here", expected="a value") == value
    assert parse_yaml(f"a:\n  b: {text}\n  c: 1\n", "here", expected="keys") == {
        "a": {"b": value, "c": 1}
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", "the key 'a' stands twice"),
        ("a: 1\nb: [\n", "not valid YAML in line 3"),
        ("a: 2026-13-45\n", "not valid YAML"),
        ("\0", "not valid YAML"),
        ("- a\n- b\n", "no keys at the top level"),
        ("just words", "no keys at the top level"),
        ("", "the file is empty"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML in line 1"),
    ],
)
def test_faults_name_the_file_and_what_it_should_hold(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path, expected="a list of wishes")
    assert said in str(caught.value) and str(path) in str(caught.value)
    assert not text or text.isspace() or "a list of wishes" in str(caught.value)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="not valid YAML"):
        parse_yaml("[" * 100_000, "--set x", expected="a value")
