"""Event frames: equal to a slow oracle, and to what the official code drew."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.safe_load import load_pickled_npy
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.render import CHOICES, PRESETS, Frame, RenderSettings, render_frames
from crossdraft.scenes.windows import Window, frame_ranges

SHARED = Path(__file__).parents[3] / "shared"
WIDTH, HEIGHT = 7, 5
COMBINATIONS = list(product(CHOICES["by"], CHOICES["canvas"], CHOICES["overlap"]))
RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


def stream_of(events: list[tuple[int, int, int, int]]) -> EventStream:
    """A stream of (x, y, t, p), sorted by time here."""
    columns = np.array(sorted(events, key=lambda e: e[2]), np.int64).reshape(-1, 4).T
    return EventStream.checked(*columns, sensor=(WIDTH, HEIGHT))


streams = st.lists(
    st.tuples(
        st.integers(0, WIDTH - 1),
        st.integers(0, HEIGHT - 1),
        st.integers(0, 60),
        st.integers(0, 1),
    ),
    max_size=60,
).map(stream_of)


def oracle(stream: EventStream, start: int, stop: int, canvas: str, overlap: str) -> Frame:
    """One frame, event by event."""
    events = [(int(stream.x[i]), int(stream.y[i]), int(stream.p[i])) for i in range(start, stop)]
    height, width = stream.height, stream.width
    if canvas == "tight" and events:
        height, width = max(y for _, y, _ in events) + 1, max(x for x, _, _ in events) + 1
    order = events
    if overlap != "last":
        winner = 1 if overlap == "positive" else 0
        order = [e for e in events if e[2] != winner] + [e for e in events if e[2] == winner]
    frame = np.full((height, width, 3), 255, np.uint8)
    for x, y, p in order:
        frame[y, x] = RED if p else BLUE
    return frame


@pytest.mark.parametrize(("by", "canvas", "overlap"), COMBINATIONS)
@given(stream=streams, parts=st.integers(1, 6))
def test_frames_equal_a_per_event_loop(
    by: str, canvas: str, overlap: str, stream: EventStream, parts: int
) -> None:
    settings = RenderSettings(parts, by, canvas, overlap)
    expected = [
        oracle(stream, a, b, canvas, overlap)
        for a, b in frame_ranges(stream, parts, by=by).tolist()
    ]
    used = np.full((parts, HEIGHT, WIDTH, 3), 77, np.uint8)
    for frames in (render_frames(stream, settings), render_frames(stream, settings, out=used)):
        assert [frame.shape for frame in frames] == [frame.shape for frame in expected]
        assert all((a == b).all() for a, b in zip(frames, expected, strict=True))
        assert all(frame.dtype == np.uint8 for frame in frames)


@given(stream=streams, length=st.integers(1, 80), kind=st.sampled_from(["last", "spread"]))
def test_windows_draw_their_events(stream: EventStream, length: int, kind: str) -> None:
    settings = RenderSettings(parts=3, window=f"{kind}:{length}us")
    ranges = frame_ranges(stream, 3, window=Window(kind, length), span_us=(0, 60))
    expected = [oracle(stream, a, b, "sensor", "last") for a, b in ranges.tolist()]
    frames = render_frames(stream, settings, span_us=(0, 60))
    assert all((a == b).all() for a, b in zip(frames, expected, strict=True))


def test_one_pixel_under_every_rule() -> None:
    both = stream_of([(1, 2, 0, 0), (1, 2, 1, 1), (1, 2, 2, 0), (3, 0, 3, 1), (0, 4, 4, 0)])
    colours = {"last": BLUE, "positive": RED, "negative": BLUE}
    for overlap, colour in colours.items():
        (frame,) = render_frames(both, RenderSettings(parts=1, overlap=overlap))
        assert frame[2, 1].tolist() == colour
        assert frame[0, 3].tolist() == RED
        assert frame[4, 0].tolist() == BLUE
        assert frame[0, 0].tolist() == WHITE


def test_empty_parts_give_white_frames_of_the_sensor_size() -> None:
    for canvas in ("sensor", "tight"):
        frames = render_frames(stream_of([(0, 0, 5, 1)]), RenderSettings(parts=3, canvas=canvas))
        assert [frame.shape for frame in frames[:2]] == [(HEIGHT, WIDTH, 3)] * 2
        assert all((frame == 255).all() for frame in frames[:2])
        assert frames[2][0, 0].tolist() == RED
    empty = render_frames(EventStream.empty((WIDTH, HEIGHT)))
    assert len(empty) == 5 and all((frame == 255).all() for frame in empty)


def test_views_and_read_only_columns_are_drawn() -> None:
    whole = stream_of([(i % WIDTH, i % HEIGHT, i, i % 2) for i in range(60)])
    columns: list[Any] = [np.repeat(column, 2)[::2] for column in (whole.x, whole.y, whole.p)]
    x, y, p = columns
    strided = EventStream(x, y, whole.t, p, WIDTH, HEIGHT)
    for column in (x, y, p):
        column.flags.writeable = False
    for overlap in CHOICES["overlap"]:
        settings = RenderSettings(overlap=overlap)
        assert_equal(render_frames(strided, settings), render_frames(whole, settings))
        sliced = render_frames(whole.slice(10, 20), RenderSettings(1, overlap=overlap))
        assert_equal(sliced, [oracle(whole, 10, 20, "sensor", overlap)])


def test_presets_are_the_three_codes() -> None:
    drawn_as = {name: (preset.canvas, preset.overlap) for name, preset in PRESETS.items()}
    assert drawn_as == {
        "default": ("sensor", "last"),
        "official": ("tight", "last"),
        "training": ("sensor", "positive"),
        "seed": ("tight", "negative"),
    }
    assert {preset.parts for preset in PRESETS.values()} == {5}
    assert PRESETS["default"] == RenderSettings()


@pytest.mark.parametrize(
    ("hz", "span_us", "expected"),
    [(5, (0, 1_000_000), 5), (10, (0, 500_000), 5), (1, (0, 500_000), 1), (3, (0, 999_000), 2)],
)
def test_hz_counts_frames_by_the_clip(hz: int, span_us: tuple[int, int], expected: int) -> None:
    frames = render_frames(stream_of([(0, 0, 1, 1)]), RenderSettings(hz=hz), span_us=span_us)
    assert len(frames) == expected


@pytest.mark.parametrize(
    ("last_us", "expected"), [(999_998, 5), (960_000, 5), (1_099_000, 5), (299_990, 1), (10, 1)]
)
def test_hz_without_known_bounds_rounds_the_events_span(last_us: int, expected: int) -> None:
    """Events end a little before their clip does."""
    stream = stream_of([(0, 0, 0, 1), (0, 0, last_us, 0)])
    assert len(render_frames(stream, RenderSettings(hz=5))) == expected
    assert len(render_frames(EventStream.empty((2, 2)), RenderSettings(hz=5))) == 1


def test_a_clip_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match="a clip from 9 to 1"):
        render_frames(stream_of([(0, 0, 5, 1)]), span_us=(9, 1))


def test_first_is_the_first_of_the_parts() -> None:
    stream = stream_of([(x, 0, x, 1) for x in range(5)])
    (frame,) = render_frames(stream, RenderSettings(keep="first"))
    assert frame[0, 0].tolist() == RED
    assert (frame[0, 1:] == 255).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parts", 0), ("parts", 2.5), ("parts", True), ("parts", 5000), ("by", "events"),
        ("canvas", "Sensor"), ("overlap", "first"), ("window", "last"), ("hz", 0), ("hz", 10**6),
        ("keep", "last"),
    ],
)  # fmt: skip
def test_other_settings_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        RenderSettings(**{field: value})
    assert caught.value.where == field


def test_settings_of_one_meaning_are_equal() -> None:
    assert RenderSettings(window="last:0.05s") == RenderSettings(window="last:50ms")
    assert RenderSettings(**RenderSettings(hz=4).to_json()) == RenderSettings(hz=4)


def test_too_many_frames_are_refused() -> None:
    stream = stream_of([(0, 0, 0, 1)])
    with pytest.raises(InputError, match="frames of a clip of 100 s"):
        render_frames(stream, RenderSettings(hz=100), span_us=(0, 100_000_000))
    with pytest.raises(InputError, match="GiB"):
        render_frames(EventStream.empty((65536, 65536)), RenderSettings(parts=5))


@pytest.mark.parametrize(
    "out",
    [
        np.empty((5, HEIGHT, WIDTH, 3), np.float32),
        np.empty((4, HEIGHT, WIDTH, 3), np.uint8),
        np.empty((5, HEIGHT, WIDTH, 6), np.uint8)[..., ::2],
        np.frombuffer(bytes(5 * HEIGHT * WIDTH * 3), np.uint8).reshape(5, HEIGHT, WIDTH, 3),
    ],
    ids=["float32", "short", "strided", "read-only"],
)
def test_out_that_does_not_fit_is_refused(out: Any) -> None:
    with pytest.raises(InputError) as caught:
        render_frames(stream_of([]), out=out)
    assert caught.value.where == "out"


@pytest.fixture(scope="module")
def official() -> dict[str, list[Frame]]:
    """Frames that the official code drew, by sample."""
    path = SHARED / "reference" / "eventgpt_parity" / "frames_uint8.safetensors"
    if not path.exists():
        pytest.skip(f"no official frames at {path}")
    from safetensors.numpy import load_file

    frames = load_file(path)
    assert len(frames) == 15
    samples: dict[str, list[Frame]] = {}
    for name in sorted(frames):
        samples.setdefault(name.split(".")[0], []).append(frames[name])
    return samples


@pytest.mark.parametrize(
    ("sample", "file"),
    [("sample1", "eventgpt_sample1.npy"), ("dsec74", "interlaken_00_d_000074.npy")],
)
def test_real_windows_equal_the_official_frames(
    official: dict[str, list[Frame]], sample: str, file: str
) -> None:
    columns = load_pickled_npy(SHARED / "real" / "events" / file)
    stream = EventStream.checked(*(columns[name] for name in "xytp"))
    assert_equal(render_frames(stream, PRESETS["official"]), official[sample])


def test_a_sparse_sample_equals_the_official_frames(official: dict[str, list[Frame]]) -> None:
    """Its events are not recorded: rebuild some that must give these frames, every pixel hit by
    the other polarity before, parts of equal count except the last, which gets the remainder."""
    frames = official["sparse"]
    assert len({frame.shape for frame in frames}) > 1, "the tight canvas differs between parts"
    parts = [events_that_give(frame) for frame in frames]
    longest = max(len(part) for part in parts)
    for part in parts[:-1]:
        part.extend([part[-1]] * (longest - len(part)))
    parts[-1].extend([parts[-1][-1]] * (longest + 3 - len(parts[-1])))
    x, y, p = np.array([event for part in parts for event in part]).T
    stream = EventStream.checked(x, y, np.arange(len(x)), p, sensor=(640, 480))
    assert len(stream) % 5 == 3
    assert_equal(render_frames(stream, PRESETS["official"]), frames)
    out = np.zeros((5, 480, 640, 3), np.uint8)
    assert_equal(render_frames(stream, PRESETS["official"], out=out), frames)


def events_that_give(frame: Frame) -> list[tuple[int, int, int]]:
    """(x, y, p) whose last one at each coloured pixel has its colour."""
    coloured = (frame != 255).any(axis=2)
    events = []
    for y, x in np.argwhere(coloured).tolist():
        assert frame[y, x].tolist() in (RED, BLUE)
        p = int(frame[y, x, 0] == 255)
        events += [(x, y, 1 - p), (x, y, p)]
    return events


def assert_equal(found: list[Frame], expected: list[Frame]) -> None:
    assert [frame.shape for frame in found] == [frame.shape for frame in expected]
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
