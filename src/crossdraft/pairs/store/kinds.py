"""What a pair store keeps of an answer: tokens of two answers, states of three readings.

The target answers, the drafter answers (`own`), and the drafter reads the target's answer
(`forced`). State t emits token t in each of them; forced state t has read the target's tokens
before t, and may be used for token t only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from crossdraft.base.errors import InputError
from crossdraft.vlm.model_spec import Role

#: Whose tokens.
Side = Literal["target", "own"]
SIDES: tuple[Side, ...] = get_args(Side)
#: Whose states, over whose tokens.
Reading = Literal["target", "own", "forced"]
READINGS: tuple[Reading, ...] = get_args(Reading)
#: How states are stored.
DTYPES = ("bf16", "int8", "fp16", "fp32")

_NAME = re.compile(rf"({'|'.join(READINGS)})(?:@(\d{{1,4}}))?")


@dataclass(frozen=True, order=True)
class Kind:
    """States of one reading: behind the final norm, or behind one decoder layer.

    Attributes:
        reading: `target`, `own` or `forced`.
        layer: transformers' number of `hidden_states`; None: behind the final norm.
    """

    reading: Reading
    layer: int | None = None

    @classmethod
    def parse(cls, name: str) -> Kind:
        """The kind of a name such as `own` or `target@8`.

        Raises:
            InputError: no such kind.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise InputError(
                f"no kind of states {name!r}",
                expected=f"{', '.join(READINGS)}, or one of them with a layer, such as target@8",
            )
        reading = next(one for one in READINGS if one == match[1])
        return cls(reading, None if match[2] is None else int(match[2]))

    @property
    def name(self) -> str:
        """As it stands in files and flags."""
        return self.reading if self.layer is None else f"{self.reading}@{self.layer}"

    @property
    def side(self) -> Side:
        """Whose tokens these states belong to, one state to each."""
        return "own" if self.reading == "own" else "target"

    @property
    def role(self) -> Role:
        """Whose states these are."""
        return "target" if self.reading == "target" else "drafter"
