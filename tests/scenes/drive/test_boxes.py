"""Boxes around road users hold what is drawn of them, and little else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossdraft.scenes.drive.boxes import boxes
from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.drive.plan import plan_drive

SIZE = (112, 112)


def test_boxes_hold_what_is_drawn() -> None:
    checked = 0
    for number in range(4):
        for clip in plan_drive(3, "train", number, 6)[::2]:
            # By day nothing but the agent itself changes the picture: no headlights, no haze of it.
            clip = replace(clip, time="day", weather="clear", agents=clip.agents[:1])
            empty = replace(clip, agents=())
            times_s = np.array([0.1, 0.9])
            found = boxes(clip, SIZE, times_s)
            for moment, time_s in enumerate(times_s.tolist()):
                shown = Camera(clip, SIZE).look(time_s).rgb.astype(int)
                without = Camera(empty, SIZE).look(time_s).rgb.astype(int)
                rows, columns = np.nonzero(np.abs(shown - without).sum(axis=2) > 20)
                if not len(rows):
                    continue
                box = found[moment, 0]
                # A pixel for what a pixel's samples see beyond its middle.
                inside = (columns.min(), rows.min()) >= box[:2] - 2
                assert inside.all(), (clip, time_s)
                assert ((columns.max(), rows.max()) <= box[2:] + 1).all(), (clip, time_s)
                if clip.agents[0].motion != "ahead":
                    continue  # a guard rail or a wall may stand before whoever is aside
                drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert np.abs(np.array(drawn) - box).max() <= 2, (clip, time_s, drawn, box)
                checked += 1
    assert checked >= 8


def test_who_is_out_of_the_picture_has_no_box() -> None:
    clip = next(c for c in plan_drive(0, "train", 0, 20) if c.agents)
    gone = replace(clip.agents[0], distance_m=-30.0, closing_mps=0.0)
    aside = replace(clip.agents[0], lateral_m=90.0, drift_mps=0.0)
    found = boxes(replace(clip, agents=(gone, aside)), SIZE, np.array([0.5]))
    assert found.shape == (1, 2, 4)
    assert not found.any()


def test_nobody_has_no_boxes() -> None:
    clip = replace(plan_drive(0, "train", 0, 1)[0], agents=())
    assert boxes(clip, SIZE, np.array([0.0, 1.0])).shape == (2, 0, 4)
