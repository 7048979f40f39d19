"""The events that a pair's drafter will read of a scene: its own, or simulated from its video."""

from __future__ import annotations

from crossdraft.base.errors import InputError
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.eventgpt.configuration import FRAMES, EventGPTConfig
from crossdraft.vlm.eventgpt.processing import WINDOW
from crossdraft.vlm.eventgpt.tower_pixels import pixel_settings_of
from crossdraft.vlm.model_config import model_config
from crossdraft.vlm.pair import ModelPair


def with_events(pair: ModelPair, scene: Scene) -> Scene:
    """The scene; if it has a video alone, with events that will be simulated when they are read.

    They are simulated as the drafter looks: in its windows, and in its pixels.

    Returns:
        The scene as it is where it has events or no video, or the drafter reads no events or is
        not there (which whoever loads it says).

    Raises:
        InputError: as `simulated_scene`.
    """
    if scene.events_path is not None or scene.video_path is None:
        return scene
    drafter = pair.drafter
    try:
        place = drafter.place("drafter")
        config = model_config(place)
        if not isinstance(config, EventGPTConfig):
            return scene
        pixels = pixel_settings_of(place, config)
    except InputError:
        return scene
    from crossdraft.scenes.simulated_scene import simulated_scene

    return simulated_scene(
        scene,
        side=pixels.shortest_edge,
        parts=drafter.frames or FRAMES,
        window=drafter.window or WINDOW,
    )
