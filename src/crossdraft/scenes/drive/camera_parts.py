"""Parts of the camera voice: who is there and what they do, the road, the light and the weather.

Which wording is taken follows from what the clip shows and from nothing else, so that it can be
learned from pictures.
"""

from __future__ import annotations

from crossdraft.scenes.drive.phrases import Phrase, listed, said
from crossdraft.scenes.drive.sights import (
    Someone,
    bend,
    busier_side,
    facing,
    lane,
    mountains,
    road,
    thing,
    things,
)
from crossdraft.scenes.drive.words import word, words_of
from crossdraft.scenes.drive.world import Clip

#: The verb of one who drives ahead, by pace; two wheels are ridden.
_FOUR_WHEELS = {"standing": "waiting", "slow": "rolling", "fast": "speeding"}
_TWO_WHEELS = {"standing": "waiting", "slow": "riding", "fast": "racing"}
#: When and in what weather, by time and weather.
_SETTING = {
    ("day", "clear"): "on a {clear} {day}",
    ("day", "rain"): "on a {rainy} {day}",
    ("day", "snow"): "on a {snowy} {day}",
    ("dusk", "clear"): "at {dusk} under a {clear} sky",
    ("dusk", "rain"): "in the {evening} {rain}",
    ("dusk", "snow"): "in the {snow} at {dusk}",
    ("night", "clear"): "on a {clear} {night}",
    ("night", "rain"): "on a {rainy} {night}",
    ("night", "snow"): "in the {snow} at {night}",
}
#: The same as a clause.
_AIR = {
    ("day", "clear"): "the {daylight} is {clear}",
    ("day", "rain"): "{rain} falls in {daylight}",
    ("day", "snow"): "{snow} brightens the {day}",
    ("dusk", "clear"): "a {clear} {sunset} glows",
    ("dusk", "rain"): "{evening} {rain} falls",
    ("dusk", "snow"): "{snow} glitters at {sunset}",
    ("night", "clear"): "the {night} is {clear}",
    ("night", "rain"): "{rain} glistens in the {dark}",
    ("night", "snow"): "{snow} falls at {night}",
}
_SURFACE = {"clear": "dry", "rain": "wet", "snow": "snowy"}
#: What a traffic light does, by its state.
_LIGHT = {
    "red": "a {state} {light} stops traffic",
    "yellow": "a {state} {light} calls for caution",
    "green": "the {light} is {state}",
}


def who(one: Someone) -> Phrase:
    """`red car`, `person in a red jacket`, without an article."""
    paint = one.word("colour", one.agent.colour)
    if one.is_person:
        return said("{kind} in {paint} jacket", kind=one.kind, paint=paint.a)
    return said("{paint} {kind}", paint=paint, kind=one.kind)


def again(one: Someone) -> Phrase:
    """The same once more: `the red car`, `the person`."""
    return one.kind.the if one.is_person else who(one).the


def doing(one: Someone) -> Phrase:
    """`speeding just ahead`, `parked on the right by the trees`."""
    told = {"ahead": _ahead, "oncoming": _oncoming, "crossing": _crossing, "parked": _parked}
    return told[one.agent.motion](one)


def _ahead(one: Someone) -> Phrase:
    wheels = _TWO_WHEELS if one.agent.kind in ("motorcycle", "bicycle") else _FOUR_WHEELS
    verb = wheels[one.clip.pace]
    return said(
        "{verb} {near} {ahead}",
        verb=word("pace", "standing", verb) if one.clip.pace == "standing" else verb,
        near=one.near("just", "far"),
        ahead=one.motion("ahead"),
    )


def _oncoming(one: Someone) -> Phrase:
    if one.agent.near:
        verb = "rushing" if one.clip.pace == "fast" else "coming"
        return said(f"{verb} {{towards}} the camera", towards=one.motion("towards"))
    return said(
        "{approaching} from {afar}",
        approaching=one.motion("approaching"),
        afar=one.near("close", "afar"),
    )


def _crossing(one: Someone) -> Phrase:
    walking = said("walking {across}", across=one.motion("across"))
    return said(
        "{verb} the {lane} from the {side}" if one.agent.near else "{verb} from the {side}",
        verb=walking if one.is_person else one.motion("crossing"),
        lane=lane(one.clip),
        side=one.side,
    )


def _parked(one: Someone) -> Phrase:
    return said(
        "{verb} {near} to {beside}" if one.agent.near else "{verb} on the {side} by {beside}",
        verb=one.motion("standing" if one.is_person else "parked"),
        near=one.near("close", "far"),
        beside=one.beside,
        side=one.side,
    )


def place(one: Someone) -> Phrase:
    """Where in the picture: `close on the right`, `coming from far off on the left`."""
    near = one.near("close", "far")
    if one.agent.motion == "crossing":
        how_far = "{near} by" if one.agent.near else "{near} off"
        return said(f"coming from {how_far} on the {{side}}", near=near, side=one.side)
    how_far = "{near}" if one.agent.near else "{near} off"
    at = "in" if one.agent.side == "middle" else "on"
    return said(f"{how_far} {at} the {{side}}", near=near, side=one.side)


def setting(clip: Clip) -> Phrase:
    """`on a snowy day`; of a clip outdoors."""
    return _of_sky(_SETTING[clip.time, clip.weather], clip)


def air(clip: Clip) -> Phrase:
    """`rain falls in the daylight`; in a tunnel `bare walls stand on both sides`."""
    if not clip.outdoors:
        return Phrase("bare walls stand on both sides")
    return _of_sky(_AIR[clip.time, clip.weather], clip)


def _of_sky(template: str, clip: Clip) -> Phrase:
    """A template in which words of the clip's time and weather stand in braces."""
    return said(template, **words_of("time", clip.time), **words_of("weather", clip.weather))


def whole_road(clip: Clip) -> Phrase:
    """`snowy winding road`, `tunnel`, without an article; at a high pace it looks curvy."""
    if not clip.outdoors:
        return road(clip)
    curvy = clip.road == "winding road" and clip.pace == "fast"
    surface = word("weather", clip.weather, _SURFACE[clip.weather])
    return said("{surface} {road}", surface=surface, road=road(clip, 1 if curvy else 0))


def on_road(clip: Clip, named: Phrase | None = None) -> Phrase:
    """`on a snowy highway`, `in a tunnel`, `at a wet crossroads`.

    Args:
        named: the road as it is to be called; as `whole_road` calls it if not given.
    """
    where = {"tunnel": "in", "crossroads": "at"}.get(clip.road, "on")
    return said(f"{where} {{road}}", road=(named or whole_road(clip)).a)


def light(clip: Clip, template: str, called: str = "traffic light") -> Phrase:
    """A template whose `{light}` and `{state}` are those of the traffic light there is."""
    assert clip.light is not None
    state = word("light state", clip.light.state)
    return said(template, state=state, light=word("traffic light", "yes", called))


def beside(clip: Clip) -> Phrase:
    """What lies beside the road, the busier side first: `trees opposite a stone wall`."""
    if clip.left == clip.right:
        return said("{them} on both sides", them=things(clip))
    one, two = facing(clip, busier_side(clip))
    return said("{one} opposite {two}", one=one, two=two)


def between(clip: Clip) -> Phrase:
    """The same in short: `between trees and a stone wall`; in a tunnel `between bare walls`."""
    if not clip.outdoors:
        return Phrase("between bare walls")
    return said("between {them}", them=listed(facing(clip, busier_side(clip))))


def somewhere(clip: Clip, named: Phrase | None = None, walls: bool = False) -> Phrase:
    """`on a wet highway between trees and a field`, `in a tunnel`.

    Args:
        named: as in `on_road`.
        walls: whether of a tunnel the walls are told too: where no other sentence does.
    """
    on = on_road(clip, named)
    if not clip.outdoors and not walls:
        return on
    return said("{on} {between}", on=on, between=between(clip))


def behind(clip: Clip) -> Phrase | None:
    """What else there is: a traffic light or mountains."""
    if clip.light is not None:
        return light(clip, "a {state} {light}")
    return said("{m} in the background", m=mountains(clip)) if clip.mountains else None


def goes(clip: Clip) -> Phrase:
    """What stands out of the road, in one clause: a light, a bend, mountains, else the pace."""
    if clip.light is not None:
        return light(clip, _LIGHT[clip.light.state], "light")
    if clip.road == "crossroads":
        return said("two roads meet at the {lane}", lane=lane(clip))
    if clip.mountains:
        at = busier_side(clip)
        return said("{m} rise behind {it}", m=mountains(clip), it=thing(clip, at, told=False).the)
    if clip.bend != "straight":
        return said("the road bends {side}", side=bend(clip))
    pace = word("pace", clip.pace, {"slow": "slowly", "fast": "quickly"}.get(clip.pace, 0))
    return said("the {lane} passes {pace}", pace=pace, lane=lane(clip))


def goes_between(clip: Clip) -> Phrase:
    """The same, and what the road lies between; of a clip outdoors."""
    if clip.light is not None or (clip.mountains and clip.road != "crossroads"):
        return said("{goes}, and {lies}", goes=goes(clip), lies=lies(clip))
    return said("{goes} {between}", goes=goes(clip), between=between(clip))


def lies(clip: Clip) -> Phrase:
    """What the road lies between; in a tunnel how it passes, which says more."""
    if not clip.outdoors:
        return goes(clip)
    return said("the {lane} lies {between}", lane=lane(clip), between=between(clip))


def closing(clip: Clip) -> Phrase:
    """The last sentence: the road and the air, at night the air first."""
    first, second = goes(clip), air(clip)
    if clip.outdoors and clip.time == "night":
        first, second = second, first
    return said("{first}, and {second}", first=first, second=second)
