"""Where in the picture each vehicle or person of a clip is: the ground truth of a detector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crossdraft.scenes.drive.layout import layout_of
from crossdraft.scenes.drive.picture import places_of, view_of
from crossdraft.scenes.drive.raster import EYE_M, NEAREST_M
from crossdraft.scenes.drive.vehicles import agent_polygons
from crossdraft.scenes.drive.world import Clip


def boxes(
    clip: Clip, size: tuple[int, int], times_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """The smallest boxes around what is drawn of each agent, shadows included.

    What stands before an agent is not taken off, and of one whom the picture's edge cuts the part
    outside counts too.

    Args:
        size: (width, height) of the picture in pixels.
        times_s: [moments] seconds after the clip began.

    Returns:
        float32 [moments, agents, 4]: left, top, right, bottom in pixels, cut to the picture; all 0
        for one who is out of it.
    """
    curve = layout_of(clip).curve
    shapes = [_corners(clip, owner) for owner in range(1, len(clip.agents) + 1)]
    found = np.zeros((len(times_s), len(shapes), 4), np.float32)
    for moment, time_s in enumerate(times_s.tolist()):
        view, places = view_of(clip, size, curve, time_s), places_of(clip, time_s)
        for agent, shape in enumerate(shapes):
            x, y, z = (shape + places[agent + 1, :3]).T
            x, y, z = (values[z >= NEAREST_M] for values in (x, y, z))
            if not len(z):
                continue
            across = view.centre + view.focal * (x + curve * z * z) / z
            down = view.horizon - view.focal * (y - EYE_M) / z
            box = (across.min(), down.min(), across.max(), down.max())
            left, top, right, bottom = np.clip(box, 0, (*size, *size))
            if left < right and top < bottom:
                found[moment, agent] = left, top, right, bottom
    return found


def _corners(clip: Clip, owner: int) -> npt.NDArray[np.float64]:
    """[corners, 3] metres, the agent standing at x = 0 with its nearest face at z = 0."""
    polygons = agent_polygons(clip.agents[owner - 1], owner, lit=False, snow=False)
    used = np.arange(polygons.corners.shape[1])[None] < polygons.used[:, None]
    return polygons.corners[used]
