"""Free memory of machines, containers and GPUs; advice, true of models that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.vlm import free_memory
from crossdraft.vlm.free_memory import available_bytes, refuse_unless_fits
from crossdraft.vlm.memory import MemoryEstimate

CPU, GB = torch.device("cpu"), 10**9


def made(**sizes: int) -> MemoryEstimate:
    """An estimate of so many GB, with narrower ones of half and a quarter."""
    name, size = next(iter(sizes.items()))
    narrower = tuple(
        MemoryEstimate(name, kind, size * GB // part, 0, 0, 4096)
        for kind, part in (("int8", 2), ("nf4", 4))
    )
    return MemoryEstimate(name, "bfloat16", size * GB, 0, 0, 4096, narrower)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Free GB by device, to be filled; the installed packages do not matter."""
    sizes: dict[str, int] = {}

    def found(device: torch.device | str) -> int | None:
        return size * GB if (size := sizes.get(str(device))) is not None else None

    monkeypatch.setattr(free_memory, "available_bytes", found)
    monkeypatch.setattr(free_memory, "lacking", lambda: None)
    monkeypatch.setattr(
        torch.cuda, "device_count", lambda: sum(name.startswith("cuda") for name in sizes)
    )
    return sizes


def advice(estimates: list[MemoryEstimate], *devices: str) -> tuple[str, str]:
    """What was found and what is advised."""
    with pytest.raises(InputError) as refused:
        refuse_unless_fits(estimates, *map(torch.device, devices))
    return refused.value.found, refused.value.hint or ""


def test_what_fits_is_not_refused(free: dict[str, int]) -> None:
    free["cpu"] = 14
    refuse_unless_fits([made(one=14)], CPU)
    refuse_unless_fits([made(one=10), made(two=4)], CPU)
    free.clear()
    refuse_unless_fits([made(one=10**6)], CPU)  # the system does not tell


def test_advice_names_precisions_that_fit(
    free: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    free["cpu"] = 8
    found, hint = advice([made(one=14)], "cpu")
    assert found.endswith("; cpu has 8 GB free")
    assert hint == "dtype int8 (7 GB) or nf4 (3.5 GB)"
    free["cpu"] = 5
    assert advice([made(one=14)], "cpu")[1] == "dtype nf4 (3.5 GB)"
    monkeypatch.setattr(free_memory, "lacking", lambda: "bitsandbytes is not installed")
    assert advice([made(one=14)], "cpu")[1] == (
        "dtype nf4 (3.5 GB, with pip install 'crossdraft[quant]')"
    )
    free["cpu"] = 2
    assert "no precision of this one fits" in advice([made(one=14)], "cpu")[1]


def test_two_models_fit_one_after_the_other(free: dict[str, int]) -> None:
    free["cpu"] = 16
    found, hint = advice([made(one=14), made(two=12)], "cpu")
    assert found.startswith("26 GB are needed together: one 14 GB (weights 14 GB")
    assert "; two 12 GB" in found
    assert hint == (
        "one after the other, load: in_turn (14 GB at most); or dtype int8 (13 GB) or nf4 (6.5 GB)"
    )
    free["cpu"] = 13
    assert "in_turn" not in advice([made(one=14), made(two=12)], "cpu")[1]


def test_advice_names_devices_that_have_room(free: dict[str, int]) -> None:
    free |= {"cuda:0": 8, "cuda:1": 10, "cpu": 13}
    assert advice([made(one=14)], "cuda:0")[1].endswith("device balanced, over 2 GPUs")
    free["cuda:1"] = 40
    assert "; or device cuda:1 (40 GB free)" in advice([made(one=14)], "cuda:0")[1]
    free["cpu"] = 64
    assert "; or device cpu (64 GB free)" in advice([made(one=14)], "cuda:0")[1]
    free |= {"cuda:1": 3, "cpu": 1}
    found, hint = advice([made(one=14)], "cuda:0", "cuda:1")
    assert found.endswith("cuda:0 and cuda:1 have 11 GB free") and "balanced" not in hint


def test_free_memory_is_known_here_or_not_told() -> None:
    free = available_bytes(CPU)
    assert free is None or 0 < free < 2**50
    assert available_bytes("meta") is None


def test_free_memory_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   5 kB\n")
    assert free_memory._available(tmp_path / "meminfo") == 5 * 1024
    assert free_memory._available(tmp_path / "none") is None


def group(version: int, folder: Path, limit: str, used: int, files: int = 0) -> None:
    """A control group of that version."""
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
             2: ("memory.max", "memory.current")}[version]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    prefix = "total_" if version == 1 else ""
    lines = f"{prefix}inactive_file {files}\n{prefix}active_file 50\nanon 300\n"
    (folder / "memory.stat").write_text(lines if files else "")


@pytest.mark.parametrize("version", [1, 2])
def test_free_memory_of_a_container(version: int, tmp_path: Path) -> None:
    member, mounted = tmp_path / "member", tmp_path / "cgroup"
    root = mounted / "memory" if version == 1 else mounted

    def left(path: str = "/") -> int | None:
        member.write_text(
            f"4:cpu,memory:{path}\n1:name=systemd:/\n" if version == 1 else f"0::{path}\n"
        )
        return free_memory._within_group(mounted, member)

    assert free_memory._within_group(mounted, member) is None and left() is None
    group(version, root, "max" if version == 2 else f"{2**63 - 4096}", 600)
    assert left() is None
    group(version, root, "1000", 600)
    assert left() == 400
    group(version, root, "1000", 600, files=150)
    assert left() == 600, "pages of files are given back"
    assert left("/docker/0f3c") == 600, "a group that is not to be seen from inside"


@pytest.mark.parametrize("version", [1, 2])
def test_free_memory_of_a_job(version: int, tmp_path: Path) -> None:
    """The narrowest of its group and those around it; a neighbour's does not matter."""
    member, mounted = tmp_path / "member", tmp_path / "cgroup"
    root = mounted / "memory" if version == 1 else mounted
    member.write_text({1: "9:memory:/slurm/job_1/step_0\n0::/user.slice\n",
                       2: "0::/slurm/job_1/step_0\n"}[version])  # fmt: skip
    group(version, root / "slurm" / "job_1" / "step_0", "9000", 100)
    group(version, root / "slurm" / "job_2", "200", 100)
    assert free_memory._within_group(mounted, member) == 8900
    group(version, root / "slurm" / "job_1", "8000", 1000)
    assert free_memory._within_group(mounted, member) == 7000
    group(version, root / "slurm" / "job_1" / "step_0", "500", 100)
    assert free_memory._within_group(mounted, member) == 400


def test_free_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5, 80))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 10)
    assert available_bytes("cuda:0") == 25, "what torch holds and does not use is free"
