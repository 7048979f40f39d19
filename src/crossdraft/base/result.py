"""Results: one schema behind every result.json and every --json, and the folder they live in.

A result says not only what came out but what it was made from: command line, versions, input
fingerprints. result.json is the source of truth; tables and figures are drawn from it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of, write_json, write_text

SCHEMA = "crossdraft.result/1"
_PACKAGES = ("crossdraft", "numpy", "numba", "torch", "transformers", "safetensors")


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval; None where there was nothing to measure."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Result:
    """One command's outcome.

    Attributes:
        command: name of the command.
        payload: what came out; its keys stand at the top level of the JSON.
        config: the resolved configuration.
        inputs: files read.
        warnings: what a reader must know before using a number.
    """

    command: str
    payload: Mapping[str, Any]
    config: Mapping[str, Any]
    inputs: Sequence[Path] = ()
    warnings: Sequence[str] = ()
    argv: Sequence[str] = field(default_factory=lambda: tuple(sys.argv))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value, provenance included."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            **self.payload,
            "warnings": list(self.warnings),
            "config": dict(self.config),
            "provenance": provenance(self.inputs, self.argv),
        }


def provenance(inputs: Sequence[Path], argv: Sequence[str]) -> dict[str, Any]:
    """When, with what and from what a result was made."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command_line": [Path(argv[0]).name, *argv[1:]] if argv else [],
        "git_revision": git_revision(),
        "packages": package_versions(),
        "machine": machine(),
        "inputs": [{"path": str(path), "sha256": sha256_of(path)} for path in inputs],
    }


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():  # Linux names the processor here alone
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "system": platform.system(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that decide numbers (without importing them)."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """Commit of the source tree this code runs from, `-dirty` if it has changes.

    None where this file is not tracked: an installed package may lie inside somebody else's
    repository, whose revision says nothing about it.
    """
    here = Path(__file__).resolve()
    if _git("ls-files", "--error-unmatch", here.name, folder=here.parent) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=12", folder=here.parent)


def _git(*arguments: str, folder: Path) -> str | None:
    """Output of a git command, None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


class RunFolder:
    """A folder for one run: config.yaml first, result.json last."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def planned(name: str, now: datetime | None = None) -> Path:
        """A free `runs/<name>_<YYYYMMDD>_<HHMMSS>` below the current folder; nothing is made."""
        stamp = (now or datetime.now()).strftime("%Y%m%d_%H%M%S")
        return _free_name(Path("runs") / f"{name}_{stamp}")

    @classmethod
    def create(cls, name: str, out: Path | None = None, now: datetime | None = None) -> RunFolder:
        """Make `out`, or `runs/<name>_<YYYYMMDD>_<HHMMSS>` below the current folder.

        Raises:
            InputError: `out` already holds a result (nothing is overwritten) or cannot be made.
        """
        if out is None:
            out = cls.planned(name, now)
        refuse_taken(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make this folder ({error.strerror})", where=out) from error
        return cls(out)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration as config.yaml."""
        write_text(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json; call it last, its presence says that the run finished."""
        write_json(self.path / "result.json", result)


def refuse_taken(out: Path) -> None:
    """Refuse a folder that holds a result; worth asking before a long computation.

    Raises:
        InputError: naming the folder.
    """
    if (out / "result.json").exists():
        raise InputError(
            "this folder already holds a result", where=out, hint="name another folder"
        )


def _free_name(path: Path) -> Path:
    """`path`, or `path-2`, `path-3`, … where two runs start within one second."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
