"""Finding the device that a command was asked for, before anything large is loaded; and cores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from crossdraft.base.errors import InputError, gist

if TYPE_CHECKING:
    import torch


def find_device(name: str | torch.device, where: str | Path | None = "--device") -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        InputError: it is not there.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # A torch without CUDA asserts.
        raise InputError(
            f"device {str(name)!r} cannot be used ({gist(error)})",
            where=where,
            expected="auto, cpu, or a GPU that is there, such as cuda or cuda:1",
        ) from error
    return device


def usable_cores() -> int:
    """Cores this process may use; not every system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
