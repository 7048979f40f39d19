"""`crossdraft convert`: recorded answers from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="Recorded answers: crossdraft pairs, extraction, five-stage benchmark, inference "
            "(plain or .gz), or a cached directory. Recognised by structure, not by name.",
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="File to write; .gz compresses.")],
    to: Annotated[
        Literal["pairs", "extraction"] | None,
        typer.Option(
            help="Format to write.",
            show_default="pairs for .jsonl[.gz], extraction for .json[.gz]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace DST if it exists.")] = False,
) -> None:
    """Convert recorded answers.

    Writes crossdraft's own pairs (JSON Lines) or the seed study's extraction format. Nothing is
    cut short; items without a pair are counted with the reason.

    Example: crossdraft convert extraction.json.gz answers.jsonl.gz
    """
    from crossdraft.base.errors import InputError
    from crossdraft.pairs.formats import read_pairs, write_extraction, write_pairs

    suffixes = [suffix for suffix in target.suffixes if suffix != ".gz"]
    wanted = to or {".jsonl": "pairs", ".json": "extraction"}.get(suffixes[-1] if suffixes else "")
    if wanted is None:
        raise InputError(
            f"cannot tell the format from the name {target.name}",
            where=target,
            expected="a name in .jsonl, .json, .jsonl.gz or .json.gz, or --to",
        )
    if target.exists() and not force:
        raise InputError("this file exists", where=target, hint="--force replaces it")
    found = read_pairs(source)
    lost = (
        "" if wanted == "pairs" or not any(p.draft_stages_ms or p.drive for p in found.pairs)
        else " (drives and stage times have no place in the extraction format)"
    )  # fmt: skip
    (write_pairs if wanted == "pairs" else write_extraction)(found, target)
    print(f"{target}: {len(found)} pairs, {found.format} -> {wanted}{lost}")
    for reason, count in sorted(found.skipped.items()):
        print(f"skipped {count}: {reason}")
