"""A scene has a picture of its own, whatever was read before it.

The frames in a mirror are shown after the frames themselves, and then the scene is opened once
more: a picture that was kept for the wrong scene gives the rows of another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdraft.bench.checks.case import Case, joined, open_scene
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import largest_difference, read_rows
from crossdraft.vlm.session import Session

#: Rows compared of each scene.
_ROWS = 4


def check_scenes(case: Case) -> Check:
    """Rows about the mirrored scene, and about the first one again, against one forward's."""
    first, fed = case.opened, case.reference.tokens[:_ROWS]
    scene = _mirrored(case)
    prompt = case.prompts(scene, case.question)
    inputs = case.placed(prompt.inputs())
    if all(torch.equal(inputs[name], case.inputs[name]) for name in inputs):
        return case.skipped("scenes", "the frames are their own mirror image")
    other = open_scene(case.target, scene, inputs)
    expected, _ = read_rows(case.target.model, prompt.ids, fed, inputs)
    again = case.target.open(case.scene)
    apart = {
        "a mirrored scene": largest_difference(_rows(case, other.session), expected),
        "the first again": largest_difference(_rows(case, again), case.reference.logits[:_ROWS]),
    }
    # The forward above has the same modules: what they keep, it would repeat.
    own = other.embeddings is not None and not _same(other.embeddings, first.embeddings)
    noise = case.reference.logits_noise
    line = ", ".join(f"{name} {difference:.2g}" for name, difference in apart.items())
    line = f"logits differ from one forward's: {line} (noise {noise.level:.2g})"
    if not own:
        line += "; the mirrored scene did not reach the language model with rows of its own"
    return case.check(
        "scenes",
        own and all(difference <= noise.allowed for difference in apart.values()),
        line,
        differences=apart,
        own_rows=own,
        noise=noise.measured,
    )


def _mirrored(case: Case) -> Any:
    """The frames that the scene shows, left and right exchanged, as the builder takes frames."""
    frames = [np.ascontiguousarray(frame[:, ::-1]) for frame in case.shown.frames]
    return np.stack(frames) if case.wanted.render is None else frames


def _rows(case: Case, session: Session) -> Tensor:
    """Logits of the first rows of an answer, the reference's tokens fed."""
    fed = case.reference.tokens[: _ROWS - 1]
    return joined([session.ask(case.question), *(session.extend(token) for token in fed)]).logits


def _same(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and torch.equal(one, other)
