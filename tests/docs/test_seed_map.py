"""docs/seed_map.md promises nothing that is not there."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache

import pytest

from tests.docs.commands import ROOT, built, parses

KINDS = {"script", "flag", "config", "output", "metric", "format"}
#: Commands of the finished program, and the sub-commands of those that have some.
ALL_COMMANDS: dict[str, set[str]] = {
    **{name: set() for name in (
        "demo", "study", "generate", "extract", "convert", "train", "evaluate", "analyze",
        "estimate", "doctor", "verify", "report", "lm-head", "import",
    )},
    "scenes": {"synth", "dsec", "simulate", "render", "info"},
    "pair": {"show", "score", "train-embedded", "tune"},
    "bench": {"stages", "verify-cost", "wallclock"},
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
    assert built() <= ALL_COMMANDS.keys()
    for row in rows():
        for command in commands(row[2]):
            name, *rest = shlex.split(command)[1:]
            assert name in ALL_COMMANDS, row
            subs = ALL_COMMANDS[name]
            assert not subs or (rest and rest[0] in subs), row
            assert all(re.fullmatch(r"--[a-z][a-z0-9-]*", w) for w in rest if w[0] == "-"), row
