"""The sequences of DSEC and the split that each of them belongs to.

Source: DSEC (Gehrig, Aarents, Gehrig, Scaramuzza, RA-L 2021): 41 training sequences and 12 test
sequences. DSEC-Detection (Gehrig and Scaramuzza, Nature 2024) recorded a few more; they are known
here so that they are not taken for the wrong split, and never missed when they are not there.
"""

from __future__ import annotations

SPLITS = ("train", "test")


def _family(prefix: str, letters: str) -> list[str]:
    return [f"{prefix}_{letter}" for letter in letters]


TRAIN = tuple(
    _family("interlaken_00", "cdefg")
    + _family("thun_00", "a")
    + _family("zurich_city_00", "ab")
    + _family("zurich_city_01", "abcdef")
    + _family("zurich_city_02", "abcde")
    + _family("zurich_city_03", "a")
    + _family("zurich_city_04", "abcdef")
    + _family("zurich_city_05", "ab")
    + _family("zurich_city_06", "a")
    + _family("zurich_city_07", "a")
    + _family("zurich_city_08", "a")
    + _family("zurich_city_09", "abcde")
    + _family("zurich_city_10", "ab")
    + _family("zurich_city_11", "abc")
)

TEST = tuple(
    _family("interlaken_00", "ab")
    + _family("interlaken_01", "a")
    + _family("thun_01", "ab")
    + _family("zurich_city_12", "a")
    + _family("zurich_city_13", "ab")
    + _family("zurich_city_14", "abc")
    + _family("zurich_city_15", "a")
)

OFFICIAL = {"train": TRAIN, "test": TEST}

#: Beginnings of the names that DSEC-Detection added.
_DETECTION = {
    "test": ("thun_02",),
    "train": tuple(f"zurich_city_{number}" for number in range(16, 22)),
}


def split_of_sequence(name: str) -> str | None:
    """`train` or `test` of a published sequence, None of any other."""
    for split in SPLITS:
        if name in OFFICIAL[split] or name.startswith(_DETECTION[split]):
            return split
    return None
