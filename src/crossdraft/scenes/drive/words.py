"""The words by which the voices name each attribute of a clip, and how to find them in a text.

The only place: phrases take their naming words from here, and `named_in` finds them again, a word
that has other uses too in its own surroundings alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from crossdraft.scenes.drive.phrases import Phrase, named

_PAINTS = ("red", "blue", "green", "orange", "purple", "gray")
_KINDS: Mapping[str, tuple[str, ...]] = {
    "car": ("car",),
    "truck": ("truck",),
    "bus": ("bus",),
    "motorcycle": ("motorcycle",),
    "bicycle": ("bicycle",),
    "person": ("person", "pedestrian"),
}
_MOTIONS: Mapping[str, tuple[str, ...]] = {
    "ahead": ("ahead",),
    "oncoming": ("towards", "approaching"),
    "crossing": ("crossing", "across"),
    "parked": ("parked", "standing"),
}
_SIDES: Mapping[str, tuple[str, ...]] = {
    "left": ("left",),
    "middle": ("middle",),
    "right": ("right",),
}
_NEAR: Mapping[str, tuple[str, ...]] = {
    "yes": ("close", "just"),
    "no": ("far", "afar"),
}
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "trees": ("trees",),
    "buildings": ("buildings",),
    "stone wall": ("stone wall", "stone walls"),
    "guard rail": ("guard rail", "guard rails"),
    "field": ("field", "fields"),
}

#: Attribute -> value -> words that name it, the plainest first. `yes` alone is named of attributes
#: that are yes or no, but for `near`; a straight road is not named so. `beside` is what lies on one
#: side of the road where the words do not tell on which.
WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "road": {
        "winding road": ("winding road", "curvy road"),
        "highway": ("highway",),
        "tunnel": ("tunnel",),
        "city street": ("city street", "street"),
        "crossroads": ("crossroads", "intersection"),
    },
    "bend": {"left": ("left",), "right": ("right",)},
    "pace": {
        "standing": ("stopped", "waiting"),
        "slow": ("slowly",),
        "fast": ("quickly",),
    },
    "left": _BESIDE,
    "right": _BESIDE,
    "beside": _BESIDE,
    "mountains": {"yes": ("mountains",)},
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
        "day": ("day", "daylight"),
        "dusk": ("dusk", "sunset", "evening"),
        "night": ("night", "dark"),
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

_WITH_KIND = "|".join(sorted({text for texts in _KINDS.values() for text in texts} | {"jacket"}))
#: Where a word of an attribute counts, `{}` being the word; of attributes not listed, anywhere.
#: `left` and `right` as a side, as a bend and as where trees stand are told apart here.
_AROUND: Mapping[str, tuple[str, ...]] = {
    "bend": ("(?:bends|turns to the) {}",),
    "left": ("{} on both sides", "{} on the left", "on the left by the {}"),
    "right": ("{} on both sides", "{} on the right", "on the right by the {}"),
    "side": ("(?:from|in) the {}", "(?:close|close by|off|parked|standing) on the {}"),
    "light state": ("{} (?:traffic )?light", "light is {}"),
    "colour": (f"{{}} (?:{_WITH_KIND})",),
}


def named_in(text: str) -> dict[str, set[str]]:
    """Which values of which attributes a text names, in the wording of the voices.

    Free text does not tell of which of two road users a word speaks: their attributes stand under
    `vehicle`, `motion`, `side`, `near` and `colour`, for each all that are named, and `second ...`
    never. Under `beside` stands whatever is named beside the road, on either side. What no words
    say is not found: a straight road, that there are no mountains, a pace that only a verb
    (`speeding`) hints at.

    Returns:
        Attribute -> values, attributes of which nothing is named left out.
    """
    found = {
        attribute: {value for value, pattern in patterns.items() if pattern.search(text)}
        for attribute, patterns in _patterns().items()
    }
    return {attribute: values for attribute, values in found.items() if values}


@cache
def _patterns() -> dict[str, dict[str, re.Pattern[str]]]:
    """By attribute and value what finds the value named."""
    return {
        attribute: {value: _pattern(attribute, texts) for value, texts in values.items()}
        for attribute, values in WORDS.items()
        if not attribute.startswith("second ")
    }


def _pattern(attribute: str, texts: tuple[str, ...]) -> re.Pattern[str]:
    either = f"(?:{'|'.join(map(re.escape, texts))})"
    around = (place.format(either) for place in _AROUND.get(attribute, ("{}",)))
    return re.compile("|".join(rf"\b{place}\b" for place in around), re.IGNORECASE)


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
