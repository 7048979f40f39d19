"""Training clips in paints of their own: no paint tells the kind of a road user.

Training drives never show some paints on some kinds, so a model that sees paint takes that for a
rule and fails on the combination that it meets later. Whoever is met in a training clip is given
any paint instead, in the pictures, in the ground truth and in the answers. What the drives leave
out stays left out in one respect: kind and paint of such a road user are never told at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch

from crossdraft.scenes.drive.dice import Dice
from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.drive.traffic import HELD_OUT_PAINT
from crossdraft.scenes.drive.world import CLIP_S, WHOSE, Clip, Colour
from crossdraft.vlm.pixels import Pixels


def repaint(world: Clip, seed: int) -> Clip:
    """The same clip with everyone in a paint drawn anew, all equally likely.

    Args:
        seed: the same paints for the same seed.
    """
    dice = Dice(f"repaint {seed} {world.drive} {world.number}")
    paints = dict.fromkeys(get_args(Colour), 1.0)
    agents = tuple(replace(agent, colour=dice.pick(paints)) for agent in world.agents)
    return replace(world, agents=agents)


def repainted(
    pictures: Pixels, before: Clip, after: Clip, times_s: npt.NDArray[np.float64]
) -> Pixels:
    """Pictures of a clip, changed by what its paints change: all else stays as it was filmed.

    Args:
        pictures: uint8 [frames, height, width, 3] as the video shows `before`.
        times_s: [frames] since the clip began.
    """
    height, width = pictures.shape[1:3]
    was, now = Camera(before, (width, height)), Camera(after, (width, height))
    shown = pictures.astype(np.int16)
    for picture, time_s in zip(shown, np.clip(times_s, 0.0, CLIP_S).tolist(), strict=True):
        picture += now.look(time_s).rgb.astype(np.int16) - was.look(time_s).rgb
    return shown.clip(0, 255).astype(np.uint8)


def left_out(world: Clip) -> tuple[str, ...]:
    """Before which attributes stands whoever training drives never show so: of `WHOSE`."""
    return tuple(
        whose
        for whose, agent in zip(WHOSE, world.agents, strict=False)
        if HELD_OUT_PAINT[agent.kind] == agent.colour
    )


def unasked(left_out: tuple[str, ...]) -> frozenset[str]:
    """Attributes not to be asked for now: of everyone who is left out, the kind or the paint."""
    return frozenset(whose + ("vehicle", "colour")[int(torch.randint(2, ()))] for whose in left_out)
