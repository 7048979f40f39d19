"""Clocks of the GPU benchmark: stages with their peak memory, and the floor of a decoding step.

A step reads every weight of the language model once and all keys and values before it; no kernel
is faster than the memory that they lie in. That time is the floor.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from crossdraft.base.clock import now_ms
from crossdraft.vlm.decoder import Decoder
from crossdraft.vlm.memory import kv_bytes

#: Calls before the first that counts: kernels are chosen and memory is taken in them.
WARMUP = 2
#: Reads between two looks at the clock, so that launching a kernel is not what is measured.
READS = {"cuda": 10, "cpu": 2}
#: Columns of the matrix whose product with a vector is the closest thing to a decoding step.
COLUMNS = 4096


class Meter:
    """Measures calls on one device.

    Args:
        repeats: calls that count.
    """

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def synchronise(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def reset_peak(self) -> None:
        """Count the device's peak of memory from here."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_bytes(self) -> int | None:
        """Most memory in use since `reset_peak`, weights included; None on a CPU."""
        if self.device.type != "cuda":
            return None
        return int(torch.cuda.max_memory_allocated(self.device))

    def allocated_bytes(self) -> int | None:
        """Memory in use now; None on a CPU."""
        if self.device.type != "cuda":
            return None
        return int(torch.cuda.memory_allocated(self.device))

    def once_ms(self, run: Callable[[], Any]) -> float:
        """One call, from an idle device to an idle device."""
        self.synchronise()
        began_ms = now_ms()
        run()
        self.synchronise()
        return now_ms() - began_ms

    def stage(self, run: Callable[[], Any]) -> dict[str, Any]:
        """Median and quartiles of a call, and the memory that it needed."""
        self.reset_peak()
        for _ in range(WARMUP):
            run()
        times_ms = [self.once_ms(run) for _ in range(self.repeats)]
        return {**spread(times_ms), "peak_memory_bytes": self.peak_bytes()}


def spread(times_ms: list[float]) -> dict[str, float]:
    """Median, and the quartiles around it."""
    several = times_ms if len(times_ms) > 1 else times_ms * 2
    low_ms, median_ms, high_ms = statistics.quantiles(several, n=4, method="inclusive")
    return {"median_ms": median_ms, "low_ms": low_ms, "high_ms": high_ms}


@torch.no_grad()
def bandwidth(meter: Meter, dtype: torch.dtype, nbytes: int) -> dict[str, Any]:
    """Bytes per second that the device reads, three ways; the best of them counts.

    Args:
        dtype: of the matrix of the product.
        nbytes: of the buffer that is read.
    """
    device = meter.device
    reads = READS.get(device.type, 1)
    flat = torch.ones(nbytes // 4, dtype=torch.float32, device=device)
    other = torch.empty_like(flat)
    matrix = flat.view(dtype).view(-1, COLUMNS)
    vector = torch.ones(COLUMNS, dtype=dtype, device=device)
    # A copy reads and writes.
    ways: dict[str, tuple[int, Callable[[], Any]]] = {
        "sum": (nbytes, flat.sum),
        "copy": (2 * nbytes, lambda: other.copy_(flat)),
        "product": (nbytes, lambda: matrix @ vector),
    }
    per_s: dict[str, float] = {}
    for name, (moved, run) in ways.items():

        def several(run: Callable[[], Any] = run) -> None:
            for _ in range(reads):
                run()

        median_ms = meter.stage(several)["median_ms"]
        per_s[name] = moved * reads / (median_ms / 1e3)
    best = max(per_s, key=per_s.__getitem__)
    return {
        "buffer_bytes": nbytes,
        "bytes_per_s_by_way": per_s,
        "best": best,
        "bytes_per_s": per_s[best],
    }


def step_bytes(decoder: Decoder, rows: int) -> dict[str, int]:
    """What one decoding step reads.

    Args:
        rows: committed tokens in the cache.

    Returns:
        Bytes of `weights`: every layer and the head, of the embeddings only the one row that no
        clock sees; of `keys_and_values`; and of both.
    """
    embeddings: Any = decoder.model.get_input_embeddings()
    head: Any = decoder.head
    looked_up = {embeddings.weight.data_ptr()}
    body = {part.data_ptr(): part.nbytes for part in decoder.body.parameters()}
    weights = sum(size for place, size in body.items() if place not in looked_up)
    weights += head.weight.nbytes
    cached = kv_bytes(decoder.model, rows, decoder.dtype)
    return {"weights": weights, "keys_and_values": cached, "total": weights + cached}


def floor_ms(read: dict[str, int], bytes_per_s: float) -> float:
    """The time in which so many bytes can be read."""
    return read["total"] / bytes_per_s * 1e3
