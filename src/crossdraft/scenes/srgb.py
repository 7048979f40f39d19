"""What 8-bit colours mean as light: the curve of sRGB, and how bright a colour is."""

from __future__ import annotations

#: Shares of red, green and blue in the luminance: Y of Rec. 709, whose primaries sRGB shares.
RED, GREEN, BLUE = 0.2126, 0.7152, 0.0722


def light_of_code(code: float) -> float:
    """Linear light, 0 to 1, of an sRGB code from 0 to 255 (IEC 61966-2-1)."""
    part = code / 255
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
