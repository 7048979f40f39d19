"""The contact sheet: a few moments of each scene, video above, events below.

Drawn with Pillow, pixel by pixel: pictures in a fixed grid need no axes. The same pictures give
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path
from crossdraft.scenes.preview import Picture, Preview

TILE = (248, 186)
_MARGIN, _GAP = 20, 8
_TITLE, _TEXT, _LABEL = 17, 14, 13
_LINE = 18
_INK, _GREY, _RULE, _ALARM = (20, 20, 20), (95, 95, 95), (205, 205, 205), (170, 40, 0)
#: A sheet stays something that viewers open: this many pixels high at most.
MAX_HEIGHT = 16_000


def write_contact_sheet(views: Sequence[Preview], title: str, path: Path) -> tuple[int, int]:
    """Draw the sheet and write it as PNG, atomically.

    Args:
        views: one per scene, from top to bottom.
        title: above all of them.

    Returns:
        Width and height in pixels.

    Raises:
        InputError: nothing to show, more scenes than fit, or a path that cannot be written.
    """
    if not views:
        raise InputError("no scene to show", where=path)
    columns = max([len(row) for view in views for row in (view.video, view.events)] + [1])
    # Never so narrow that a title is cut.
    width = 2 * _MARGIN + max(columns, 4) * (TILE[0] + _GAP) - _GAP
    blocks = [_height(view, width) for view in views]
    height = _MARGIN + _TITLE + 14 + sum(blocks) + _MARGIN
    if height > MAX_HEIGHT:
        raise InputError(
            f"a sheet of {len(views)} scenes would be {height:,} pixels high",
            where=path,
            expected=f"at most {MAX_HEIGHT:,}",
            hint="show fewer scenes with --scenes N",
        )
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 4), _fit(title, width, _TITLE), _INK, font=_font(_TITLE))
    top = _MARGIN + _TITLE + 14
    for view, block in zip(views, blocks, strict=True):
        _draw_view(sheet, draw, view, top)
        top += block
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", compress_level=6)
    return width, height


def _height(view: Preview, width: int) -> int:
    rows = sum(_row_height(row) for row in (view.video, view.events) if row)
    return 12 + _LINE + 4 + len(_notes(view, width)) * _LINE + rows + 10


def _row_height(row: Sequence[Picture | None]) -> int:
    return max(_size(picture)[1] for picture in row if picture) + _LINE + 4


def _size(picture: Picture) -> tuple[int, int]:
    """A picture's size on the sheet: its shape kept, as large as a tile allows."""
    height, width = picture.pixels.shape[:2]
    scale = min(TILE[0] / width, TILE[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _draw_view(sheet: Image.Image, draw: ImageDraw.ImageDraw, view: Preview, top: int) -> None:
    right = sheet.width - _MARGIN
    draw.line((_MARGIN, top, right, top), _RULE)
    top += 12
    name = _fit(view.id, sheet.width // 2, _TITLE)
    draw.text((_MARGIN, top), name, _INK, font=_font(_TITLE))
    after = _MARGIN + _font(_TITLE).getlength(name) + 16
    facts = _fit(" · ".join(view.facts), sheet.width - int(after) + _MARGIN, _TEXT)
    draw.text((after, top + 2), facts, _GREY, font=_font(_TEXT))
    top += _LINE + 4
    for note in _notes(view, sheet.width):
        draw.text((_MARGIN, top), note, _ALARM, font=_font(_TEXT))
        top += _LINE
    for row, shrink in ((view.video, _shrink_image), (view.events, _shrink_events)):
        if row:
            _draw_row(sheet, draw, row, top, shrink)
            top += _row_height(row)


def _draw_row(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    row: Sequence[Picture | None],
    top: int,
    shrink: Callable[[Image.Image, tuple[int, int]], Image.Image],
) -> None:
    height = max(_size(picture)[1] for picture in row if picture)
    for place, picture in enumerate(row):
        if picture is None:
            continue
        left = _MARGIN + place * (TILE[0] + _GAP)
        size = _size(picture)
        tile = Image.fromarray(picture.pixels)
        # Plain pixels when a picture grows.
        grows = size[0] > tile.width
        sheet.paste(
            tile.resize(size, Image.Resampling.NEAREST) if grows else shrink(tile, size),
            (left, top),
        )
        box = (left - 1, top - 1, left + size[0], top + size[1])
        draw.rectangle(box, outline=_RULE)  # event frames are white like the sheet
        label = _fit(picture.label, TILE[0] + 2 * _MARGIN, _LABEL)
        draw.text((left, top + height + 2), label, _GREY, font=_font(_LABEL))


def _shrink_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.BOX)


def _shrink_events(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Averaged with the white around it a single event fades away. Colours are strengthened, up to
    that of the events themselves; one event alone keeps at least 0.3 of it."""
    pixels = np.asarray(image)
    touched = Image.fromarray((pixels != 255).any(axis=2).astype(np.float32))
    share = np.asarray(touched.resize(size, Image.Resampling.BOX))
    gain = max(1.0, 0.3 * image.width * image.height / (size[0] * size[1]))
    factor = np.minimum(gain, 1.0 / np.maximum(share, 1e-6))[..., None]
    ink = 255.0 - np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)
    return Image.fromarray((255.0 - np.minimum(factor * ink, 255.0)).round().astype(np.uint8))


def _notes(view: Preview, width: int) -> list[str]:
    notes = view.notes
    if not view.video and not view.events and not notes:
        notes = ["nothing to show: no video, no events"]
    return [_fit(note, width, _TEXT) for note in notes]


def _fit(text: str, width: int, points: int) -> str:
    """The text, cut with an ellipsis where it is wider than the sheet without its margins."""
    font, room = _font(points), width - 2 * _MARGIN
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def _font(points: int) -> ImageFont.FreeTypeFont:
    """A font that comes with the plotting library, so that every machine draws the same."""
    import matplotlib

    name = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(name, points)
