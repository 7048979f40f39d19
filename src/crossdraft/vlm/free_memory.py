"""Memory that a device has free, and models that would need more, refused with advice.

Advice is only given where it was found to be true: a precision, an order of loading or a device
is named because the model fits there now.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch

from crossdraft.base.errors import InputError
from crossdraft.scenes.disk import format_bytes
from crossdraft.vlm.memory import MemoryEstimate
from crossdraft.vlm.precision import NARROWING, Precision, lacking

_NOTHING = "a smaller model or a larger machine: no precision of this one fits here"
#: Of version 1 control groups, whose limit is a huge number where there is none.
_UNLIMITED = 1 << 60


def available_bytes(device: torch.device | str) -> int | None:
    """Memory that is free; None where the system does not tell.

    A CPU: what Linux gives without swapping, within the limits of this process's control groups.
    A GPU: what is free there, and what torch holds without using it.
    """
    device = torch.device(device)
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    if device.type != "cpu":
        return None
    found = (_available(), _within_group())
    return min((size for size in found if size is not None), default=None)


def refuse_unless_fits(estimates: Sequence[MemoryEstimate], *devices: torch.device) -> None:
    """See that models fit together on a device, or spread over several, before any is loaded.

    Raises:
        InputError: with the estimates, what is free, and what would fit.
    """
    free, needed = free_bytes(devices), sum(one.total for one in estimates)
    if free is None or needed <= free:
        return
    one = estimates[0] if len(estimates) == 1 else None
    each = "; ".join(f"{estimate.model} {estimate}" for estimate in estimates)
    found = f"needs {one}" if one else f"{format_bytes(needed)} are needed together: {each}"
    place = f"{' and '.join(map(str, devices))} {'has' if len(devices) == 1 else 'have'}"
    raise InputError(
        f"{found}; {place} {format_bytes(free)} free",
        where=one.model if one else None,
        expected="models that fit in the memory that is free",
        hint=advice(estimates, devices, free),
    )


def free_bytes(devices: Sequence[torch.device]) -> int | None:
    """Memory that is free on all of them; None where the system does not tell of one."""
    sizes = [available_bytes(device) for device in devices]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def advice(estimates: Sequence[MemoryEstimate], devices: Sequence[torch.device], free: int) -> str:
    """What would fit where so much is free, the least change first."""
    needed, largest = sum(one.total for one in estimates), max(one.total for one in estimates)
    found = []
    if len(estimates) > 1 and largest <= free:
        found.append(f"one after the other, load: in_turn ({format_bytes(largest)} at most)")
    if fitting := [
        f"{name} ({format_bytes(size)}{_unless_installed(name)})"
        for name in NARROWING
        if (size := sum(one.at(name).total for one in estimates)) <= free and size < needed
    ]:
        found.append(f"dtype {' or '.join(fitting)}")
    others = {device: available_bytes(device) or 0 for device in _here() if device not in devices}
    found += [
        f"device {device} ({format_bytes(size)} free)"
        for device, size in others.items()
        if size >= needed
    ]
    gpus = [device for device in _here() if device.type == "cuda"]
    if len(gpus) > len(devices) and sum(available_bytes(gpu) or 0 for gpu in gpus) >= needed:
        found.append(f"device balanced, over {len(gpus)} GPUs")
    return "; or ".join(found) or _NOTHING


def _unless_installed(name: str) -> str:
    """What has to be installed for a precision."""
    missing = Precision(name).quantised and lacking() is not None
    return ", with pip install 'crossdraft[quant]'" if missing else ""


def _here() -> list[torch.device]:
    """Every device of this machine."""
    gpus = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return [*gpus, torch.device("cpu")]


def _available(info: Path = Path("/proc/meminfo")) -> int | None:
    """What Linux would give without swapping."""
    if not info.exists():
        return None
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    size = lines.get("MemAvailable", "").split()
    return int(size[0]) * 1024 if size else None


def _within_group(
    mounted: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")
) -> int | None:
    """What the control groups of this process leave it: its own, as Slurm, systemd or a container
    gave it, and every group around that one, of version 2 and of version 1."""
    found = []
    for line in member.read_text().splitlines() if member.exists() else ():
        _, controllers, path = line.split(":", 2)
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            if not controllers:
                found.append(_left(mounted / group, "memory.max", "memory.current", ""))
            elif "memory" in controllers.split(","):
                old = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
                found.append(_left(mounted / "memory" / group, *old))
    return min((size for size in found if size is not None), default=None)


def _left(group: Path, limit: str, used: str, prefix: str) -> int | None:
    """Limit less use, pages of files not counted: the system gives those back."""
    if not (group / limit).exists() or not (group / used).exists():
        return None
    text = (group / limit).read_text().strip()
    if not text.isdecimal() or int(text) >= _UNLIMITED:
        return None
    stat = group / "memory.stat"
    lines = [line.split() for line in stat.read_text().splitlines()] if stat.exists() else []
    names = (f"{prefix}inactive_file", f"{prefix}active_file")
    files = sum(int(line[1]) for line in lines if line[0] in names)
    return max(0, int(text) - int((group / used).read_text()) + files)
