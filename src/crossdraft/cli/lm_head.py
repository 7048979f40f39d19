"""`crossdraft lm-head`: the target's head, final norm and input embedding as one small file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import Pair, Set


def lm_head(
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.safetensors", help="File to write.", show_default=False),
    ],
    pair: Pair = "eventgpt-videollava",
    overrides: Set = None,
    of: Annotated[
        Literal["target", "drafter"], typer.Option(help="Which of the two models.")
    ] = "target",
    dtype: Annotated[
        str,
        typer.Option(help="auto (as stored) | float32 | bfloat16 | float16 | float64."),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Take the language-model head out of a checkpoint, with its final norm and input embedding.

    Drafters that work in the target's space are trained with these three. Only their tensors are
    read; the model itself is not loaded.

    Example: crossdraft lm-head --pair eventgpt-videollava --out lm_head.safetensors
    """
    _check_target(out, force)
    from crossdraft.scenes.disk import format_bytes
    from crossdraft.vlm.lm_head import lm_head_of, write_lm_head
    from crossdraft.vlm.pair import ModelPair
    from crossdraft.vlm.precision import Precision

    precision = Precision.parse(dtype)
    if precision.quantised:
        raise InputError(
            f"{dtype!r}", where="--dtype", expected="auto or a floating-point number format"
        )
    chosen = ModelPair.find(pair, overrides or ())
    place = chosen.spec(of).place(of)
    _refuse_inside(out, place)
    head = lm_head_of(place)
    if (wanted := precision.dense()) is not None:
        head = head.to(wanted)
    write_lm_head(head, out)
    tensors = {
        name: {"shape": list(part.shape), "dtype": str(part.dtype).removeprefix("torch.")}
        for name, part in head.tensors().items()
    }
    if as_json:
        from dataclasses import asdict

        from crossdraft.base.result import Result

        payload = {"out": str(out), "tensors": tensors, "facts": asdict(head.facts)}
        config = {"pair": chosen.to_json(), "of": of, "dtype": dtype}
        print_json(Result("lm-head", payload, config).to_json())
        return
    facts = head.facts
    for name, tensor in tensors.items():
        print(f"{name:<20}{tensor['dtype']:<10}{tensor['shape']}")
    tied = "; head and embedding are one" if facts.tied else ""
    print(f"{facts.architecture}: ids below {facts.draftable:,} may be drafted{tied}")
    print(f"{out}: {format_bytes(out.stat().st_size)}")


def _check_target(out: Path, force: bool) -> None:
    """Before gigabytes are read."""
    if out.suffix != ".safetensors":
        raise InputError(
            f"a name in {out.suffix or 'no suffix'}", where=out, expected="FILE.safetensors"
        )
    if out.exists() and not force:
        raise InputError("this file exists", where=out, hint="--force replaces it")
    if not out.parent.is_dir():
        raise InputError("no such folder", where=out.parent, expected="a folder that exists")


def _refuse_inside(out: Path, model: Path) -> None:
    """The head must not replace weights that it is taken from, whatever links lead to them."""
    files = [path for path in model.iterdir() if path.is_file()]
    known = out.exists() and any(out.samefile(path) for path in files)
    if known or model.resolve() in (out.resolve().parent, *out.parent.resolve().parents):
        raise InputError(
            "this lies in the folder of the model that the head is taken from",
            where=out,
            expected="a file elsewhere",
        )
