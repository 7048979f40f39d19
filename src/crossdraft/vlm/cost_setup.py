"""What a measured cost holds for: a model, a device, a cache, a length.

The fingerprint is the name under which a measurement is kept; whatever changes the time of a pass
belongs in it, weights do not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
import transformers

from crossdraft.base.result import machine

if TYPE_CHECKING:
    from crossdraft.vlm.target import Target

#: Raised whenever a pass is measured, or run, in another way: older measurements end with it.
METHOD = 1
#: Contexts within one such bucket share a measurement: keys and values read per pass differ by
#: less than that, weights not at all.
CONTEXT_BUCKET = 256
#: Fields of a configuration that say where it came from, not what it computes.
_ORIGIN = ("_name_or_path", "transformers_version", "name_or_path")


@dataclass(frozen=True)
class Setup:
    """Where and on what a cost was measured.

    Attributes:
        architecture: the model's class.
        parameters, layers: its size, pictures' towers included where they are loaded.
        config_digest: of its configuration.
        dtype: of its states.
        device: kind and name.
        threads: of a CPU; 0 where the device is another.
        cache: `growing` or `preallocated`.
        room: tokens behind the picture in a preallocated cache, whose compiled steps see all of
            it; 0 of a growing one.
        compiled: whether steps are compiled.
        kept_layers: number of layers whose states every step carries.
        attention: implementation of attention.
        matmul: precision of float32 products, as torch names it.
        method: number of the way of measuring.
        torch, transformers: versions.
        context: tokens in the cache before the pass.
        question: tokens of the question in whose prefill a tail rides.
    """

    architecture: str
    parameters: int
    layers: int
    config_digest: str
    dtype: str
    device: str
    threads: int
    cache: str
    room: int
    compiled: bool
    kept_layers: int
    attention: str
    matmul: str
    method: int
    torch: str
    transformers: str
    context: int
    question: int

    @classmethod
    def of(cls, target: Target, context: int, question: int) -> Setup:
        """What a measurement with this target would hold for."""
        decoder = target.decoder
        on_cpu = target.device.type == "cpu"
        return cls(
            architecture=type(target.model).__name__,
            parameters=int(target.model.num_parameters()),
            layers=decoder.depth,
            config_digest=_digest(target),
            dtype=str(target.dtype).removeprefix("torch."),
            device=_device(target.device),
            threads=torch.get_num_threads() if on_cpu else 0,
            cache=target.cache,
            room=target.room if target.cache == "preallocated" else 0,
            compiled=target.compiled,
            kept_layers=len(decoder.keeps),
            attention=str(decoder.config._attn_implementation),
            matmul=torch.get_float32_matmul_precision(),
            method=METHOD,
            torch=torch.__version__,
            transformers=transformers.__version__,
            context=context,
            question=question,
        )

    @property
    def fingerprint(self) -> str:
        """16 hex digits, the same for contexts of one bucket."""
        known = {**asdict(self), "context": self.context // CONTEXT_BUCKET}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def _digest(target: Target) -> str:
    """Of everything in the configuration that can decide what a pass computes."""
    config = target.model.config.to_dict()
    kept = {name: value for name, value in config.items() if name not in _ORIGIN}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _device(device: torch.device) -> str:
    """`cuda: NVIDIA H100 80GB HBM3`, `cpu: AMD EPYC, AVX512, 2 cores`."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    if device.type != "cpu":
        return device.type
    about = machine()
    return f"cpu: {about['cpu']}, {torch.backends.cpu.get_cpu_capability()}, {about['cores']} cores"
