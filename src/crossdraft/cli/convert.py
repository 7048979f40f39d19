"""`crossdraft convert`: answers, hidden states and heads from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from crossdraft.pairs.recognise import Content

#: What each kind of source can become, and what a name without a suffix means.
_WAYS: dict[Content, tuple[str, ...]] = {
    "answers": ("pairs", "extraction"),
    "store": ("pairs", "extraction", "chunks", "single"),
    "states": ("store",),
    "head": ("head",),
}
_FOLDERS = {"store": "chunks", "states": "store"}
_SUFFIXES = {".jsonl": "pairs", ".json": "extraction", ".pt": "single"}
#: Written compressed where the name asks for it.
_PACKED = ("pairs", "extraction")
_NAMES: dict[Content, str] = {
    "answers": "recorded answers",
    "store": "a pair store",
    "states": "states of the seed study",
    "head": "the head of a model",
}


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="What to convert, recognised by its content, never by its name: recorded answers "
            "(crossdraft pairs, extraction, five-stage benchmark, inference, plain or .gz, or a "
            "cached directory); a pair store; the seed study's hidden states (a folder of chunks, "
            "or one .pt); a model's head (.safetensors of crossdraft lm-head, or vl_lm_head.pt).",
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DST",
            help="File or folder to write; .gz compresses recorded answers. A folder must be free.",
        ),
    ],
    to: Annotated[
        Literal["pairs", "extraction", "store", "chunks", "single"] | None,
        typer.Option(
            help="Format to write.",
            show_default="pairs for .jsonl[.gz], extraction for .json[.gz], single for .pt; of a "
            "name without a suffix: store of the study's states, chunks of a store",
        ),
    ] = None,
    dtype: Annotated[
        Literal["auto", "bf16", "fp16", "fp32", "int8"] | None,
        typer.Option(
            help="How a store keeps states. auto: for each model the smallest of bf16, fp16 and "
            "fp32 that holds every value exactly.",
            show_default="auto",
        ),
    ] = None,
    lm_head: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The target's head: recovers its token ids, which the study's states lack.",
        ),
    ] = None,
    drafter_lm_head: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The drafter's head: the same for its ids.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where heads compute: auto, cpu, cuda, cuda:1, ...")
    ] = "auto",
    chunk_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pairs of a chunk.", show_default="as in the folder that SRC was, else 1000"
        ),
    ] = None,
    min_length: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="chunks and single leave out pairs whose shorter answer has fewer states, as the "
            "study did; 0 keeps all.",
            show_default="0 for a store made of the study's files, which come back as they were; "
            "else 5, as in the study",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace DST if it is a file; folders never are.")
    ] = False,
) -> None:
    """Convert recorded answers, hidden states and heads.

    Answers become crossdraft's own pairs (JSON Lines) or the seed study's extraction format.
    Nothing is cut short; items without a pair are counted with the reason.

    The study's hidden states become a pair store: its egpt_hidden the drafter's own states, its
    vl_hidden the target's. Everything is checked first, and what is wrong is named. A store becomes
    the study's chunks or single file: both answers cut to the shorter one, padded, float32.

    A head becomes a file that crossdraft reads (.safetensors), or the study's (.pt).

    DST appears whole or not at all.

    Examples:

    crossdraft convert extraction.json.gz answers.jsonl.gz

    crossdraft convert chunked_train_1s_4bit train_store --lm-head vl_lm_head.pt

    crossdraft convert train_store chunked_again

    crossdraft convert vl_lm_head.pt head.safetensors
    """
    from crossdraft.base.errors import InputError
    from crossdraft.cli import convert_states as work
    from crossdraft.cli.making import sigterm_interrupts
    from crossdraft.pairs.recognise import content_of

    content = content_of(source)
    wanted = _wanted(content, target, to)
    given = {
        "--dtype": (dtype, ("store",)),
        "--lm-head": (lm_head, ("store",)),
        "--drafter-lm-head": (drafter_lm_head, ("store",)),
        "--chunk-size": (chunk_size, ("chunks",)),
        "--min-length": (min_length, ("chunks", "single")),
    }
    for option, (value, formats) in given.items():
        if value is not None and wanted not in formats:
            raise InputError(
                f"has no meaning for {_NAMES[content]} to {wanted}",
                where=option,
                expected=f"a conversion to {' or '.join(formats)}",
            )
    _refuse_target(source, target, folder=wanted in ("store", "chunks"), force=force)
    with sigterm_interrupts():
        if wanted == "store":
            work.states_to_store(source, target, dtype or "auto", lm_head, drafter_lm_head, device)
        elif wanted in ("chunks", "single"):
            work.store_to_states(source, target, wanted == "chunks", chunk_size, min_length)
        elif wanted == "head":
            work.head_to_head(source, target)
        else:
            work.answers_to_answers(source, target, wanted == "pairs")


def _wanted(content: Content, target: Path, to: str | None) -> str:
    """The format to write."""
    from crossdraft.base.errors import InputError

    packed = target.suffix.lower() == ".gz"
    last = (Path(target.stem) if packed else target).suffix.lower()
    ways = _WAYS[content]
    if content == "head":
        if packed:
            raise _not_packed(content, target)
        if to is None and last in (".pt", ".safetensors"):
            return "head"
        raise InputError(
            f"SRC is a model's head, DST is called {target.name}",
            where=target,
            expected="FILE.safetensors for crossdraft's format, or FILE.pt for the study's",
        )
    wanted = to or _SUFFIXES.get(last) or (None if last else _FOLDERS.get(content))
    if wanted is None:
        raise InputError(
            f"cannot tell the format from the name {target.name}",
            where=target,
            expected="a name in .jsonl, .json, .jsonl.gz or .json.gz, or --to",
        )
    if wanted not in ways:
        raise InputError(
            f"{_NAMES[content]} cannot be written as {wanted}",
            where=target,
            expected=f"--to {' or '.join(ways)}",
            hint="convert it to a store first" if content == "states" else None,
        )
    if packed and wanted not in _PACKED:
        raise _not_packed(content, target)
    return wanted


def _not_packed(content: Content, target: Path) -> Exception:
    from crossdraft.base.errors import InputError

    return InputError(
        f"{_NAMES[content]} is not written compressed",
        where=target,
        expected="a name without .gz, which is for recorded answers only",
    )


def _refuse_target(source: Path, target: Path, *, folder: bool, force: bool) -> None:
    """Before anything long: DST is free, or may be replaced, and lies outside of SRC."""
    from crossdraft.base.errors import InputError

    if source.is_dir() and source.resolve() in (target.resolve(), *target.resolve().parents):
        raise InputError("lies in the folder that is converted", where=target, hint="elsewhere")
    if folder:
        if target.is_dir() and not any(target.iterdir()):
            return
        if target.exists():
            raise InputError(
                "this folder holds something" if target.is_dir() else "this is no folder",
                where=target,
                expected="a name that is free, or an empty folder",
                hint="name another folder; convert replaces none",
            )
    elif target.exists() and not force:
        raise InputError("this file exists", where=target, hint="--force replaces it")
