"""Where a model goes: one device, devices by module, or spread evenly over all GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError

#: Spread over all GPUs by accelerate.
BALANCED = "balanced"
_EXPECTED = "a device, or devices by the names of modules, or balanced"


@dataclass(frozen=True)
class Placement:
    """Devices of a model's modules.

    Attributes:
        devices: all of them, the first of one kind with the others.
        by_module: device of each named module and what is below it, `""` for the rest; empty
            where one device was named, or accelerate spreads the model.
    """

    devices: tuple[torch.device, ...]
    by_module: Mapping[str, torch.device] = field(default_factory=dict)

    @classmethod
    def parse(cls, device: str | torch.device | Mapping[str, int | str]) -> Placement:
        """A placement by a device's name, `auto`, `balanced`, or a mapping.

        Args:
            device: the number of a GPU counts as its name in a mapping.

        Raises:
            InputError: a device that is not there, or a mapping over CPU and GPU.
        """
        if isinstance(device, Mapping):
            return cls._by_module(device)
        if device == BALANCED:
            gpus = tuple(torch.device("cuda", i) for i in range(torch.cuda.device_count()))
            if not gpus:
                raise InputError(
                    "device 'balanced', and there is no GPU",
                    expected="GPUs to spread the model over",
                    hint="device cpu",
                )
            return cls(gpus)
        return cls((_numbered(find_device(device, where=None)),))

    @classmethod
    def _by_module(cls, mapping: Mapping[str, int | str]) -> Placement:
        if not mapping or not all(isinstance(name, str) for name in mapping):
            raise InputError(f"a device map of {dict(mapping)!r}", expected=_EXPECTED)
        found = {}
        for module, device in mapping.items():
            name = f"cuda:{device}" if type(device) is int else str(device)
            found[module] = _numbered(find_device(name, where=f"device map, module {module!r}"))
        devices = tuple(dict.fromkeys(found.values()))
        if len({device.type for device in devices}) > 1:
            raise InputError(
                f"a device map over {' and '.join(map(str, devices))}",
                expected="devices of one kind",
                hint="parts on the CPU would be copied to the GPU in every pass; "
                "take narrower weights or a smaller model",
            )
        return cls(devices) if set(found) == {""} else cls(devices, found)

    @property
    def first(self) -> torch.device:
        """The device that decides on number formats."""
        return self.devices[0]

    @property
    def single(self) -> bool:
        """Whether everything goes to one device."""
        return len(self.devices) == 1

    def of(self, name: str) -> torch.device | None:
        """Device of a parameter by its name in the model; None where accelerate decides."""
        if not self.by_module:
            return self.first if self.single else None
        parts = name.split(".")
        for end in range(len(parts), -1, -1):
            if (device := self.by_module.get(".".join(parts[:end]))) is not None:
                return device
        return None

    def check(self, sketch: nn.Module) -> None:
        """See that every key names a module and every parameter has a device.

        Args:
            sketch: the model on the meta device.

        Raises:
            InputError: naming the module.
        """
        known = {name for name, _ in sketch.named_modules()}
        tops = ", ".join(name for name in sorted(known) if name.count(".") < 2 and name)
        for name in self.by_module:
            if name not in known:
                raise InputError(
                    f"a device for {name!r}, and {type(sketch).__name__} has no such module",
                    where="device map",
                    expected=f"names of modules such as {tops}",
                )
        for name, _ in sketch.named_parameters():
            if self.by_module and self.of(name) is None:
                raise InputError(
                    f"no device for {name}",
                    where="device map",
                    expected="a device for every part of the model",
                    hint='give the rest a device under the empty name: "": 0',
                )

    def device_map(self) -> str | dict[str, str]:
        """What transformers is told."""
        if self.by_module:
            return {name: str(device) for name, device in self.by_module.items()}
        return {"": str(self.first)} if self.single else BALANCED


def _numbered(device: torch.device) -> torch.device:
    """One name for one device: `cuda` is the current GPU with its number, `cpu:0` the CPU."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu") if device.type == "cpu" else device
