"""Rows of ids from a file, and lists of sample numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.evaluation.token_file import chosen_samples, read_token_file

GOOD = {"drafter": [5, 6], "adapter": [7], "target": [7, 8]}


def written(folder: Path, value: Any) -> Path:
    path = folder / "rows.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize("wrap", [0, 1, 2], ids=["bare", "list", "samples"])
def test_three_ways_to_hold_samples(tmp_path: Path, wrap: int) -> None:
    value: Any = [GOOD, [GOOD, GOOD], {"samples": [GOOD, GOOD, GOOD]}][wrap]
    found = read_token_file(written(tmp_path, value))
    assert len(found) == wrap + 1
    assert found[wrap].rows == {"drafter": (5, 6), "adapter": (7,), "target": (7, 8)}
    assert found[wrap].name == ""


@pytest.mark.parametrize(
    "names", [("egpt", "adapted", "vl"), ("egpt_tokens", "adapter_tokens", "vl_tokens")]
)
def test_names_of_the_seed_study(tmp_path: Path, names: tuple[str, ...]) -> None:
    value = dict(zip(names, GOOD.values(), strict=True))
    assert read_token_file(written(tmp_path, value))[0].rows["target"] == (7, 8)


def test_name_and_texts(tmp_path: Path) -> None:
    value = GOOD | {"name": "left turn", "texts": {"target": "a b"}}
    (found,) = read_token_file(written(tmp_path, value))
    assert (found.name, found.texts) == ("left turn", {"target": "a b"})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "not valid JSON"),
        ("", "empty"),
        (5, "no samples"),
        ([], "no samples"),
        ({"samples": []}, "no samples"),
        ({"samples": GOOD}, "no samples"),
        ({"samples": [GOOD], "colour": 1}, "unknown field 'colour'"),
        ([GOOD, 3], r"samples\[1\]: is a number"),
        (GOOD | {"colour": 1}, "unknown field 'colour'"),
        (GOOD | {"egpt": [1]}, r"twice \(drafter and egpt\)"),
        ({"drafter": [1], "target": [1]}, "lacks the adapter row"),
        (GOOD | {"target": []}, "target row is empty"),
        (GOOD | {"target": [1, 2.5]}, r"target\[1\] is 2.5"),
        (GOOD | {"target": [True]}, r"target\[0\] is True"),
        (GOOD | {"adapter": [-1]}, r"adapter\[0\] is -1"),
        (GOOD | {"adapter": "7 8"}, "adapter is text"),
        (GOOD | {"texts": ["a"]}, "texts: is a list"),
        (GOOD | {"texts": {"vl": "a"}}, "texts: has an unknown field 'vl'"),
        (GOOD | {"name": 5}, "name is a number"),
    ],
)
def test_what_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_token_file(written(tmp_path, value))


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [("0,1,2", [0, 1, 2]), ("0-4", [0, 1, 2, 3, 4]), ("7", [7]), ("9, 0-2", [9, 0, 1, 2]),
     ("3-3,3,2-4", [3, 2, 4])],
)  # fmt: skip
def test_sample_lists(wanted: str, numbers: list[int]) -> None:
    assert chosen_samples(wanted, 10, Path("f")) == numbers


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("", "names no sample"), ("a", "'a' names no sample"), ("-1", "'-1' names no sample"),
     ("1,,2", "names no sample"), ("1-2-3", "names no sample"), ("²", "names no sample"),
     ("4-2", "backwards"), ("10", "no sample 10"), ("0-99999999999", "no sample 99999999999"),
     ("9" * 5000, "names no sample")],
    ids=range(10),
)  # fmt: skip
def test_sample_lists_that_are_refused(wanted: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        chosen_samples(wanted, 10, Path("f"))
