"""The curve of sRGB at values that its standard and every table of it agree on."""

from __future__ import annotations

import itertools

import pytest

from crossdraft.scenes.srgb import BLUE, GREEN, RED, light_of_code


@pytest.mark.parametrize(
    ("code", "light"), [(0, 0.0), (1, 1 / 3294.6), (10, 0.00303527), (128, 0.21586), (255, 1.0)]
)
def test_known_codes(code: int, light: float) -> None:
    assert light_of_code(code) == pytest.approx(light, rel=1e-4)


def test_the_two_pieces_meet_and_the_curve_rises() -> None:
    lights = [light_of_code(code / 16) for code in range(16 * 255 + 1)]
    steps = [after - before for before, after in itertools.pairwise(lights)]
    assert 0 < min(steps) < max(steps) < 1e-3


def test_white_is_one() -> None:
    assert pytest.approx(1.0) == RED + GREEN + BLUE
