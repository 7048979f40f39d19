"""Who trains together: this process alone, or those that torchrun has started.

Each process of a team sees its share of every batch; gradients are averaged over all of them
(torch's DistributedDataParallel, through accelerate). The first one writes, measures and decides.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from crossdraft.base.errors import InputError

#: How long a process waits for the others; torchrun ends it at once where one of them dies.
_PATIENCE = timedelta(hours=12)
#: How long a process waits for its own threads before it ends.
_LETTING_GO_S = 0.2


class Alone:
    """One process.

    Attributes:
        rank: which one this is.
        world: how many there are.
    """

    rank, world = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, measures and decides."""
        return self.rank == 0

    def joined(self, module: nn.Module) -> nn.Module:
        """The module, its gradients shared."""
        return module

    def unshared(self, module: nn.Module) -> AbstractContextManager[Any]:
        """Inside, gradients are not shared yet: more of the same step are to come."""
        return nullcontext()

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        return list(values)

    def told(self, value: Mapping[str, float]) -> dict[str, float]:
        """What the first process says."""
        return dict(value)

    def device(self, asked: torch.device) -> torch.device:
        """Where this process computes."""
        return asked


class Torchrun(Alone):
    """The processes of a `torchrun` call; each on the CPU or on a GPU of its own."""

    def __init__(self, device: torch.device) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

        options = [
            # Some losses leave a head or an embedding out.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            # The others wait while the first process validates.
            InitProcessGroupKwargs(timeout=_PATIENCE),
        ]
        self._accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=options)
        self.rank = self._accelerator.process_index
        self.world = self._accelerator.num_processes
        atexit.register(self._leave)

    def _leave(self) -> None:
        """Before the process ends.

        A thread of gloo's lets go of the last collective's tensors as soon as it is given the
        interpreter's lock. Where the interpreter ends first, it aborts the process (torch 2.13).
        """
        time.sleep(_LETTING_GO_S)
        self._accelerator.end_training()

    def joined(self, module: nn.Module) -> nn.Module:
        joined: nn.Module = self._accelerator.prepare_model(module)
        return joined

    def unshared(self, module: nn.Module) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._accelerator.no_sync(module)
        return context

    def sums(self, values: Sequence[float]) -> list[float]:
        row = torch.tensor(values, dtype=torch.float64, device=self._accelerator.device)
        summed: Tensor = self._accelerator.reduce(row, reduction="sum")
        return [float(value) for value in summed.tolist()]

    def told(self, value: Mapping[str, float]) -> dict[str, float]:
        from accelerate.utils import broadcast_object_list

        (said,) = broadcast_object_list([dict(value)])
        return dict(said)

    def device(self, asked: torch.device) -> torch.device:
        here: torch.device = self._accelerator.device
        return here


def team_here(device: torch.device) -> Alone:
    """The team that this process belongs to.

    Args:
        device: that was asked for.

    Raises:
        InputError: torchrun's variables are there in part.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if not world.isdigit():
        raise InputError(f"WORLD_SIZE is {world!r}", expected="a number, as torchrun sets it")
    return Torchrun(device) if int(world) > 1 else Alone()
