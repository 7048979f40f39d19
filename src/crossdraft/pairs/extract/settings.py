"""What is kept of each answer: which states, in which numbers, how many logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from crossdraft.base.errors import InputError
from crossdraft.pairs.store.kinds import DTYPES, READINGS, Kind, Reading
from crossdraft.vlm.model_spec import ROLES, Role

Alignment = Literal["both", "own", "forced"]
#: Precision of the weights by the names that studies give it.
QUANT = {"4bit": "nf4", "8bit": "int8", "fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_EXPECTED_STATES = "last, none, or layers with numbers: layers:4,8 or layers:target.8,drafter.4"


@dataclass(frozen=True)
class Keep:
    """What is kept of every pair.

    Attributes:
        alignment: which of the drafter's states: over its own answer, over the target's, or both.
        last: whether the states behind the final norm are kept; without them no other are.
        layers: numbers of `hidden_states` that are kept too, by model, in order.
        dtype: how states are stored, one of `kinds.DTYPES`.
        top: logits kept of each row.
    """

    alignment: Alignment = "both"
    last: bool = True
    layers: Mapping[Role, tuple[int, ...]] = field(default_factory=dict)
    dtype: str = "bf16"
    top: int = 0

    @classmethod
    def parse(cls, alignment: str, states: str, dtype: str, top: int) -> Keep:
        """The choice that flags make.

        Raises:
            InputError: naming the flag.
        """
        chosen = next((one for one in get_args(Alignment) if one == alignment), None)
        if chosen is None:
            expected = " or ".join(get_args(Alignment))
            raise InputError(f"{alignment!r}", where="--alignment", expected=expected)
        if dtype not in DTYPES:
            raise InputError(f"{dtype!r}", where="--dtype", expected=" or ".join(DTYPES))
        if top < 0:
            raise InputError(f"{top}", where="--top-logits", expected="0 or more")
        return cls(chosen, states != "none", _layers(states), dtype, top)

    def of(self, role: Role) -> tuple[int, ...]:
        """Layers of one model."""
        return self.layers.get(role, ())

    @property
    def states(self) -> tuple[Reading, ...]:
        """Readings whose states are kept."""
        if not self.last:
            return ()
        kept: dict[Alignment, tuple[Reading, ...]] = {
            "both": READINGS, "own": ("target", "own"), "forced": ("target", "forced")
        }  # fmt: skip
        return kept[self.alignment]

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Readings whose logits are kept, if any are: those with states, or both answers."""
        return self.states or ("target", "own")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of states, sorted by name."""
        kinds = [
            Kind(reading, layer)
            for reading in self.states
            for layer in (None, *self.of(Kind(reading).role))
        ]
        return tuple(sorted(kinds, key=lambda kind: kind.name))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; what is not kept does not count."""
        return {
            "alignment": self.alignment if self.last else None,
            "states": "last" if self.last else "none",
            "layers": {role: list(self.of(role)) for role in ROLES if self.of(role)},
            "dtype": self.dtype if self.last else None,
            "top_logits": self.top,
        }


def _layers(states: str) -> dict[Role, tuple[int, ...]]:
    if states in ("last", "none"):
        return {}
    head, _, listed = states.partition(":")
    found: dict[Role, set[int]] = {role: set() for role in ROLES}
    if head != "layers" or not listed:
        raise InputError(f"{states!r}", where="--states", expected=_EXPECTED_STATES)
    for item in listed.split(","):
        of, dot, number = item.strip().rpartition(".")
        roles = [role for role in ROLES if not dot or role == of]
        if not roles or not (number.isascii() and number.isdigit()):
            raise InputError(f"{item.strip()!r}", where="--states", expected=_EXPECTED_STATES)
        for role in roles:
            found[role].add(int(number))
    return {role: tuple(sorted(numbers)) for role, numbers in found.items() if numbers}
