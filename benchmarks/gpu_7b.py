"""What both 7B models cost on a GPU, and how far a decoding step is from the memory's speed.

Real shapes with random weights in bfloat16: stages of both models, T(k)/T(1), peak memory, and the
target's step by five paths (growing and preallocated cache, compiled, captured) against the floor
of reading every weight once. A stage that fails is recorded with its reason, the others go on.

    python benchmarks/gpu_7b.py [--save | --out FILE] [--stages bandwidth,target,paths]
    python benchmarks/gpu_7b.py --size tiny --device cpu
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_7b_models import SIZES
from gpu_7b_paths import PATHS, USUAL
from gpu_7b_report import lines, summary
from gpu_7b_stages import STAGES, Run, Settings

from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError
from crossdraft.base.files import output_path, write_json
from crossdraft.base.result import machine, package_versions

SAVED = Path(__file__).with_name("results") / "gpu_7b.json"


def measured(settings: Settings, command: Sequence[str], out: Path | None = None) -> dict[str, Any]:
    """The whole run; `out` is written after every stage, so that a run cut off leaves the rest.

    A file that is there already stays as it is until a stage has succeeded.
    """
    run = Run(settings)
    kept = out is not None and out.exists()
    report: dict[str, Any] = {
        "benchmark": "gpu_7b",
        "command": ["python", "benchmarks/gpu_7b.py", *command],
        "settings": settings.to_json(),
        "weights": "random",
        "stages": {},
    }
    about = {
        "machine": {**machine(), **_device(settings.device)},
        "packages": package_versions(),
        "date": date.today().isoformat(),
    }
    for name in (stage for stage in STAGES if stage in settings.stages):
        report["stages"][name] = run.attempt(partial(STAGES[name], run))
        report["summary"] = summary(report["stages"])
        if out is not None and (succeeded(report) or not kept):
            write_json(out, {**report, **about})
    return {**report, **about}


def succeeded(report: dict[str, Any]) -> bool:
    """Whether any stage has measured something."""
    return any(stage["status"] == "done" for stage in report["stages"].values())


def _device(device: torch.device) -> dict[str, Any]:
    """What `machine` does not know."""
    if device.type != "cuda":
        return {"device": device.type, "threads": torch.get_num_threads()}
    about: Any = torch.cuda.get_device_properties(device)
    return {
        "device": about.name,
        "device_memory_bytes": about.total_memory,
        "cuda": torch.version.cuda,
    }


def _named(text: str, known: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of a list that is separated by commas.

    Raises:
        InputError: a name that is unknown.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or set(names) - set(known):
        raise InputError(repr(text), where=where, expected=f"some of {', '.join(known)}")
    return names


def settings_of(arguments: argparse.Namespace) -> Settings:
    """What was asked for.

    Raises:
        InputError: a device that is not there, a name that is unknown, nothing to repeat.
    """
    device = find_device(arguments.device)
    if device.type not in USUAL:
        raise InputError(f"{device}", where="--device", expected="cpu or a CUDA device")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # streams and graphs are made on the current one
    if arguments.repeats < 1:
        raise InputError(f"{arguments.repeats}", where="--repeats", expected="1 or more")
    usual = "bfloat16" if device.type == "cuda" else "float32"
    paths = ",".join(USUAL[device.type]) if arguments.paths is None else arguments.paths
    return Settings(
        arguments.size,
        device,
        getattr(torch, usual if arguments.dtype == "auto" else arguments.dtype),
        _named(arguments.stages, tuple(STAGES), "--stages"),
        _named(paths, tuple(PATHS), "--paths"),
        arguments.repeats,
        arguments.seconds,
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=tuple(SIZES), default="7b")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    dtypes = ("auto", "bfloat16", "float16", "float32")
    parser.add_argument("--dtype", choices=dtypes, default="auto", help="auto: bfloat16 on a GPU")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--paths", help=f"some of {', '.join(PATHS)}")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="begin nothing later than this"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path)
    where.add_argument("--save", action="store_true", help=f"write {SAVED.name} beside the others")
    command = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(command)
    try:
        settings = settings_of(arguments)
        out = SAVED if arguments.save else arguments.out
        out = None if out is None else output_path(out)
        report = measured(settings, command, out)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n".join(lines(report)))
    return 0 if succeeded(report) else 1


if __name__ == "__main__":
    raise SystemExit(main())
