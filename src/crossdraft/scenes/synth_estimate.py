"""What a dataset of the procedural drive will take, before anything is made.

The figures are means that `benchmarks/synth.py` measured on 2 cores of an AMD EPYC; clips differ.
"""

from __future__ import annotations

from crossdraft.scenes import disk
from crossdraft.scenes.synth_settings import FPS, THRESHOLD, SynthSettings

#: Events per pixel in the second of a clip at the default threshold; in inverse proportion to it.
_EVENTS_PER_PIXEL = 6.0
#: Short event files: so much per event, and so much for what holds them.
_EVENT_BYTES, _EVENT_FILE_BYTES = 3.5, 40_000
#: Answers in both voices; ground truth stands in the record and in the manifest.
_WORDS_BYTES, _TRUTH_BYTES = 10_000, 5_000
#: Seconds of one core: a look of both cameras per pixel and as such, and what comes after them.
_PIXEL_S, _LOOK_S, _FILES_S = 2e-7, 1e-4, 0.06


def clip_bytes(settings: SynthSettings) -> int:
    """Bytes of one clip on the disk."""
    pixels, simulator = settings.size**2, settings.simulator
    threshold = (simulator.threshold_on + simulator.threshold_off) / 2
    events = (_EVENTS_PER_PIXEL * THRESHOLD / threshold + simulator.leak_hz) * pixels
    video = disk.video_bytes(FPS, settings.sensor, settings.crf)
    words = _WORDS_BYTES + _TRUTH_BYTES
    return int(events * _EVENT_BYTES) + _EVENT_FILE_BYTES + video + words


def clip_s(settings: SynthSettings) -> float:
    """Seconds of one core that a clip takes, roughly: machines differ."""
    look_s = _LOOK_S + settings.size**2 * _PIXEL_S
    return (settings.events_fps + 1) * look_s + _FILES_S
