"""Parse command lines as the program would, without running them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer

from crossdraft.cli.app import app

ROOT = Path(__file__).parents[2]
_NUMBERS = re.compile(r"\b[NS]\b")


def parses(command: str) -> None:
    """Raise click's usage error unless `crossdraft …` is a call the program accepts.

    Capitals are placeholders: N and S are numbers, other words any text. Where output is sent to
    a file is the shell's business.
    """
    words = shlex.split(_NUMBERS.sub("5", command))
    words = words[: words.index(">")] if ">" in words else words
    assert words[0] == "crossdraft"
    group = typer.main.get_command(app)
    context = group.make_context("crossdraft", words[1:])
    while hasattr(group, "resolve_command"):
        left = [*context._protected_args, *context.args]
        name, sub, rest = group.resolve_command(context, left)
        assert sub is not None
        group, context = sub, sub.make_context(name, rest, parent=context)


def built() -> set[str]:
    """Names of the commands that exist."""
    group = typer.main.get_command(app)
    return set(group.commands)  # type: ignore[attr-defined]
