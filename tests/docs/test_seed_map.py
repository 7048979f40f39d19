"""docs/seed_map.md promises nothing that is not there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.commands import ROOT, built, parses

KINDS = {"script", "flag", "config", "output", "metric", "format"}
#: Commands of the finished program (README lists what exists).
ALL_COMMANDS = {
    "demo", "study", "generate", "scenes", "pair", "extract", "convert", "train", "evaluate",
    "analyze", "bench", "estimate", "doctor", "verify", "report", "lm-head", "import",
}  # fmt: skip


def rows() -> list[list[str]]:
    text = (ROOT / "docs" / "seed_map.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    table = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert table[0] == ["seed", "kind", "ours", "status", "check"]
    return table[1:]


def commands(cell: str) -> list[str]:
    return re.findall(r"`(crossdraft [^`]+)`", cell.replace("\\|", "|"))


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_is_whole() -> None:
    for row in rows():
        assert len(row) == 5, row
        _, kind, ours, status, check = row
        assert kind in KINDS, row
        assert ours and status in {"done", "planned", "dropped"}, row
        assert (status == "done") == (check != "–"), row
        assert (status == "dropped") == ours.startswith("dropped"), row


def test_nothing_stands_twice() -> None:
    seeds = [row[0] for row in rows()]
    assert len(seeds) == len(set(seeds))


def test_done_rows_name_a_check_that_runs() -> None:
    for seed, _, _, status, check in rows():
        if status == "done":
            path, _, name = check.strip("`").partition("::")
            assert name in names_in(path), (seed, check)


@pytest.mark.parametrize(
    "command", sorted({c for row in rows() if row[3] == "done" for c in commands(row[2])})
)
def test_done_commands_parse(command: str) -> None:
    parses(command)


def test_planned_commands_belong_to_the_program() -> None:
    assert built() <= ALL_COMMANDS
    for row in rows():
        for command in commands(row[2]):
            assert command.split()[1] in ALL_COMMANDS, row
