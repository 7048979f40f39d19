"""The event voice: answers about a clip as an event-camera model words them.

Shape, motion and place alone; no paint, no time of day, no weather, no state of a light. Every
question has its own way of answering.
"""

from __future__ import annotations

from collections.abc import Callable

from crossdraft.scenes.answers import Answer
from crossdraft.scenes.drive.phrases import Phrase, answer, listed, said
from crossdraft.scenes.drive.sights import (
    Someone,
    bend,
    busier_side,
    everyone,
    lane,
    mountains,
    road,
    sides,
)
from crossdraft.scenes.drive.words import word
from crossdraft.scenes.drive.world import Clip


def doing(one: Someone, placed: bool = False) -> Phrase:
    """`driving ahead of the viewer`, `parked on the right side of the road`.

    Args:
        placed: whether the viewer has been spoken of just before.
    """
    two_wheels = one.agent.kind in ("motorcycle", "bicycle")
    if one.agent.motion == "ahead":
        verb = "riding" if two_wheels else "driving"
        of = "" if placed else " of the viewer"
        return said(f"{verb} {{ahead}}{of}", ahead=one.motion("ahead"))
    if one.agent.motion == "oncoming":
        verb = "riding" if two_wheels else "moving"
        whom = "it" if placed else "the viewer"
        return said(f"{verb} {{towards}} {whom}", towards=one.motion("towards"))
    if one.agent.motion == "crossing":
        crossing = one.motion("crossing")
        return said("{crossing} from the {side} side", crossing=crossing, side=one.side)
    still = one.motion("standing" if one.is_person else "parked")
    return said("{still} on the {side} side of the road", still=still, side=one.side)


def _place(one: Someone) -> Phrase:
    """`positioned close to the viewer`."""
    near = one.near("close", "far")
    return said(
        "positioned {near} to the viewer"
        if one.agent.near
        else "positioned {near} from the viewer",
        near=near,
    )


def _there_is(clip: Clip) -> list[Phrase]:
    """One sentence for each who is there."""
    them = everyone(clip)
    if not them:
        return [said("there are no vehicles or people {on}", on=_on_road(clip))]
    starts = ("there is", "there is also")
    return [
        said(f"{start} {{who}} {{doing}}", who=one.kind.a, doing=doing(one))
        for start, one in zip(starts, them, strict=False)
    ]


def _on_road(clip: Clip) -> Phrase:
    where = {"tunnel": "in", "crossroads": "at"}.get(clip.road, "on")
    return said(f"{where} {{road}}", road=road(clip).a)


def _lies(clip: Clip) -> Phrase:
    """What the road does, and what lies beside it."""
    if not clip.outdoors:
        return Phrase("the road is enclosed by walls on both sides")
    them = sides(clip, busier_side(clip))
    if clip.bend == "straight":
        return said("the {lane} has {sides}", lane=lane(clip), sides=them)
    return said("the road turns to the {bend} and has {sides}", bend=bend(clip), sides=them)


def _behind(clip: Clip) -> list[Phrase]:
    if clip.light is not None:
        light = word("traffic light", "yes")
        return [said("there is {light} beside the {lane}", light=light.a, lane=lane(clip))]
    if clip.mountains:
        return [said("there are {m} in the background", m=mountains(clip))]
    return []


def _moves(clip: Clip) -> Phrase:
    """What the viewer does."""
    if clip.pace == "standing":
        stopped = word("pace", "standing", "stopped")
        return said("the viewer has {stopped} on the {lane}", stopped=stopped, lane=lane(clip))
    pace = word("pace", clip.pace, "quickly" if clip.pace == "fast" else "slowly")
    along = {"tunnel": "through", "crossroads": "over"}.get(clip.road, "along")
    return said(f"the viewer is moving {{pace}} {along} the {{lane}}", pace=pace, lane=lane(clip))


def _near(clip: Clip) -> list[Phrase]:
    """How far away each one is."""
    if not clip.agents:
        return [Phrase("no vehicles or people are visible")]
    return [said("the {who} is {place}", who=one.kind, place=_place(one)) for one in everyone(clip)]


def _first_on_road(clip: Clip, opening: str) -> Phrase:
    """The most prominent one on the road, or the road alone."""
    them = everyone(clip)
    if not them:
        return said(f"{opening} an empty {{road}}", road=road(clip))
    who = said("{who} {on}", who=them[0].kind.a, on=_on_road(clip))
    return said(f"{opening} {{who}}, {{doing}}", who=who, doing=doing(them[0]))


def _items(clip: Clip) -> Phrase:
    """Everything by name."""
    them = sides(clip, busier_side(clip)) if clip.outdoors else Phrase("walls on both sides")
    where = road(clip).a
    if not clip.agents:
        return said("{road} with {sides}", road=where, sides=them)
    items = [one.kind.a for one in everyone(clip)]
    items = [*items, where] if clip.agents[0].near else [where, *items]
    return listed([*items, them])


def _key_elements(clip: Clip) -> Answer:
    rest = _there_is(clip)[1:] or _behind(clip)
    if not clip.agents and not rest:
        rest = [_moves(clip)]
    return answer(_first_on_road(clip, "in the scene, there is"), *rest, _lies(clip))


def _elaborated(clip: Clip) -> Answer:
    there = said("the scene includes {items}", items=_items(clip))
    return answer(there, *_near(clip), *([] if len(clip.agents) > 1 else [_moves(clip)]))


def _about(clip: Clip) -> Answer:
    rest = _there_is(clip)[1:] if len(clip.agents) > 1 else [_lies(clip)]
    return answer(_first_on_road(clip, "the scene is about"), *rest, _moves(clip))


def _layout(clip: Clip) -> Answer:
    return answer(
        said("the scene shows {road}", road=road(clip).a),
        _lies(clip),
        *(_behind(clip) or [_moves(clip)]),
    )


def _vehicles(clip: Clip) -> Answer:
    first, *rest = _there_is(clip)
    more = (
        _near(clip)[:1]
        if rest
        else [_lies(clip), *(_near(clip) if clip.agents else [_moves(clip)])]
    )
    return answer(said("in the scene, {first}", first=first), *rest, *more)


def _going_on(clip: Clip) -> Answer:
    first, *rest = _there_is(clip)
    return answer(
        said("it appears that {first}", first=first),
        *rest,
        _moves(clip),
        *([] if rest else [_lies(clip)]),
    )


def _present(clip: Clip) -> Answer:
    return answer(
        said("in the scene, there is {items}", items=_items(clip)),
        *(_behind(clip) or [_moves(clip)]),
    )


def _happening(clip: Clip) -> Answer:
    rest = _there_is(clip)[1:] if len(clip.agents) > 1 else [_lies(clip)]
    return answer(_moves(clip), _first_on_road(clip, "there is"), *rest)


def _described(clip: Clip) -> Answer:
    where = said("the scene depicts {road}", road=road(clip).a)
    return answer(where, _lies(clip), *_there_is(clip))


def _positions(clip: Clip) -> Answer:
    if not clip.agents:
        return answer(_there_is(clip)[0], _lies(clip), _moves(clip))
    places = [
        said(
            "{who} is {place}, {doing}",
            who=one.kind.a,
            place=_place(one),
            doing=doing(one, placed=True),
        )
        for one in everyone(clip)
    ]
    return answer(
        said("in the scene, {first}", first=places[0]),
        *places[1:],
        *([] if len(places) > 1 else [_moves(clip)]),
    )


#: How each of the default questions is answered, in their order.
BUILDERS: tuple[Callable[[Clip], Answer], ...] = (
    _key_elements, _elaborated, _about, _layout, _vehicles, _going_on, _present, _happening,
    _described, _positions,
)  # fmt: skip
