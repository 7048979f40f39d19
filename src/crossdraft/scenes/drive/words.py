"""The words by which the voices name each attribute of a clip, value by value.

The only place: phrases take their naming words from here, and so can whoever looks for them in free
text. A word that has other uses too stands with a note on what is around it in the voices' answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossdraft.scenes.drive.phrases import Phrase, named

_PAINTS = ("red", "blue", "green", "orange", "purple", "gray")
_KINDS: Mapping[str, tuple[str, ...]] = {
    "car": ("car", "cars"),
    "truck": ("truck", "trucks"),
    "bus": ("bus", "buses"),
    "motorcycle": ("motorcycle", "motorcycles"),
    "bicycle": ("bicycle", "bicycles"),
    "person": ("person", "pedestrian"),
}
_MOTIONS: Mapping[str, tuple[str, ...]] = {
    "ahead": ("ahead",),
    "oncoming": ("towards", "approaching", "oncoming"),
    "crossing": ("crossing", "across"),
    "parked": ("parked", "standing"),
}
_SIDES: Mapping[str, tuple[str, ...]] = {
    "left": ("left",),
    "middle": ("middle", "center"),
    "right": ("right",),
}
_NEAR: Mapping[str, tuple[str, ...]] = {
    "yes": ("close", "just"),
    "no": ("far", "afar", "distance"),
}
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "trees": ("trees", "tree"),
    "buildings": ("buildings", "building"),
    "stone wall": ("stone wall", "stone walls"),
    "guard rail": ("guard rail", "guard rails"),
    "field": ("field", "fields"),
}

#: Attribute -> value -> words that name it, the plainest first. `yes` alone is named of attributes
#: that are yes or no, but for `near`. A paint stands before a kind or before `jacket`, the state of
#: a light before `light` or `traffic light`.
WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "road": {
        "winding road": ("winding road", "curvy road"),
        "highway": ("highway",),
        "tunnel": ("tunnel",),
        "city street": ("city street", "street"),
        "crossroads": ("crossroads", "intersection"),
    },
    "bend": {"left": ("left",), "right": ("right",), "straight": ("straight",)},
    "pace": {
        "standing": ("stopped", "waiting", "waits"),
        "slow": ("slowly", "slow"),
        "fast": ("quickly", "fast"),
    },
    "left": _BESIDE,
    "right": _BESIDE,
    "mountains": {"yes": ("mountains", "mountain")},
    "traffic light": {"yes": ("traffic light", "light")},
    "vehicle": _KINDS,
    "motion": _MOTIONS,
    "side": _SIDES,
    "near": _NEAR,
    "second vehicle": _KINDS,
    "second motion": _MOTIONS,
    "second side": _SIDES,
    "second near": _NEAR,
    "time": {
        "day": ("day", "daylight", "daytime"),
        "dusk": ("dusk", "sunset", "evening"),
        "night": ("night", "dark", "darkness"),
    },
    "weather": {
        "clear": ("clear", "dry"),
        "rain": ("rain", "rainy", "wet"),
        "snow": ("snow", "snowy"),
    },
    "light state": {"red": ("red",), "yellow": ("yellow",), "green": ("green",)},
    "colour": {paint: (paint,) for paint in _PAINTS},
    "second colour": {paint: (paint,) for paint in _PAINTS},
}


def word(attribute: str, value: str, choice: str | int = 0) -> Phrase:
    """A word that names the value, with its mark.

    Args:
        choice: which of its words: the word itself, or its place in the table.
    """
    known = WORDS[attribute][value]
    text = known[choice] if isinstance(choice, int) else known[known.index(choice)]
    return named(text, (attribute, value))


def words_of(attribute: str, value: str) -> dict[str, Phrase]:
    """Every word that names the value, each with its mark, by itself."""
    return {text: word(attribute, value, text) for text in WORDS[attribute][value]}
