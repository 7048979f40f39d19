"""Repainted clips: any paint on anyone, pictures that differ in the paint alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from crossdraft.scenes.drive.boxes import boxes
from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.traffic import HELD_OUT_PAINT
from crossdraft.scenes.drive.world import Clip, Colour
from crossdraft.training.embedded.repaint import left_out, repaint, repainted, unasked

TIMES_S = np.array([0.0, 0.4, 0.9])


@pytest.fixture(scope="module")
def worlds() -> list[Clip]:
    return [clip for number in range(25) for clip in plan_drive(3, "train", number, 8)]


def test_every_kind_is_met_in_every_paint_equally(worlds: list[Clip]) -> None:
    met = Counter(
        a.colour for clip in worlds for seed in range(5) for a in repaint(clip, seed).agents
    )
    assert set(met) == set(get_args(Colour))
    assert max(met.values()) < 1.3 * min(met.values())
    held = [bool(left_out(repaint(clip, 0))) for clip in worlds if len(clip.agents) == 1]
    assert 0.05 < np.mean(held) < 0.35, "of one in six"
    assert not any(left_out(clip) for clip in worlds), "training drives have none"


def test_only_paints_change(worlds: list[Clip]) -> None:
    for clip in worlds[:20]:
        other = repaint(clip, 1)
        assert repaint(clip, 1) == other
        back = zip(other.agents, clip.agents, strict=True)
        assert replace(other, agents=tuple(replace(a, colour=b.colour) for a, b in back)) == clip


def test_pictures_change_where_somebody_is(worlds: list[Clip]) -> None:
    clip = next(c for c in worlds if len(c.agents) == 1 and c.time == "day")
    paint: Colour = "green" if clip.agents[0].colour != "green" else "blue"
    other = replace(clip, agents=(replace(clip.agents[0], colour=paint),))
    camera, new = Camera(clip, (64, 64)), Camera(other, (64, 64))
    filmed = np.stack([camera.look(time_s).rgb for time_s in TIMES_S])
    drawn = np.stack([new.look(time_s).rgb for time_s in TIMES_S])
    assert np.array_equal(repainted(filmed, clip, other, TIMES_S), drawn)
    # A film's own noise stays, in and beside the paint.
    noisy = (filmed // 2 + 40).astype(np.uint8)
    shown = repainted(noisy, clip, other, TIMES_S)
    wanted = (noisy.astype(int) + drawn - filmed).clip(0, 255)
    assert np.array_equal(shown, wanted)
    changed = np.argwhere((shown != noisy).any(axis=-1))
    assert len(changed)
    found = list(boxes(clip, (64, 64), TIMES_S))
    for frame, row, column in changed.tolist():
        left, top, right, bottom = found[frame][0].tolist()
        assert left - 2 <= column <= right + 2 and top - 2 <= row <= bottom + 2


def test_who_is_left_out_is_told_by_kind_or_paint() -> None:
    torch.manual_seed(0)
    asked = Counter(unasked(("", "second ")) for _ in range(400))
    assert set(asked) == {
        frozenset({one, f"second {other}"})
        for one in ("vehicle", "colour") for other in ("vehicle", "colour")
    }  # fmt: skip
    assert min(asked.values()) > 60
    assert unasked(()) == frozenset()


def test_left_out_is_what_training_drives_never_show(worlds: list[Clip]) -> None:
    clip = next(c for c in worlds if len(c.agents) == 2)
    first, second = clip.agents
    held = replace(second, colour=HELD_OUT_PAINT[second.kind])
    assert left_out(replace(clip, agents=(first, held))) == ("second ",)
    both = (replace(first, colour=HELD_OUT_PAINT[first.kind]), held)
    assert left_out(replace(clip, agents=both)) == ("", "second ")
