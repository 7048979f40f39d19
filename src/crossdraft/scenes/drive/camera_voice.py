"""The camera voice: answers about a clip as a video-language model words them.

Paint, time of day, weather and lights beside shape, place and motion. Every question has its own
way of answering.
"""

from __future__ import annotations

from collections.abc import Callable

from crossdraft.scenes.answers import Answer
from crossdraft.scenes.drive.camera_parts import (
    again,
    air,
    behind,
    beside,
    between,
    closing,
    doing,
    goes,
    goes_between,
    lies,
    on_road,
    place,
    setting,
    somewhere,
    who,
    whole_road,
)
from crossdraft.scenes.drive.phrases import Phrase, answer, listed, said
from crossdraft.scenes.drive.sights import Someone, busier_side, everyone, road, sides
from crossdraft.scenes.drive.world import Clip


def _key_elements(clip: Clip) -> Answer:
    """Who is near comes before the road."""
    them = everyone(clip)
    items = [whole_road(clip).a]
    if them:
        one = said("{who} {doing}", who=who(them[0]).a, doing=doing(them[0]))
        items = [one, *items] if them[0].agent.near else [*items, one]
    items += [who(two).a for two in them[1:]]
    items += _surroundings(clip, 1 if len(them) > 1 else 2)
    verb = "are" if them and them[0].agent.motion == "parked" else "include"
    return answer(
        said(f"the key elements in this scene {verb} {{items}}", items=listed(items)),
        _one_and_air(them[1], again(them[1])) if len(them) > 1 else closing(clip),
    )


def _surroundings(clip: Clip, most: int) -> list[Phrase]:
    """What is beside and behind the road, outdoors; what stands out comes first."""
    if not clip.outdoors:
        return []
    more = behind(clip)
    return [*([more] if more else []), beside(clip)][:most]


def _one_and_air(one: Someone, name: Phrase) -> Phrase:
    """What one of them does, and the air."""
    return said("{name} is {doing}, and {air}", name=name, doing=doing(one), air=air(one.clip))


def _acts(clip: Clip) -> Phrase:
    """What everyone does, in one clause."""
    them = everyone(clip)
    if not them:
        return Phrase("nobody is there")
    acts = [said("{who} is {doing}", who=who(one).a, doing=doing(one)) for one in them]
    if len(acts) == 1:
        return acts[0]
    joint = "while" if them[1].agent.near else "and"
    return said(f"{{one}}, {joint} {{two}}", one=acts[0], two=acts[1])


def _elaborated(clip: Clip) -> Answer:
    """Where and when first."""
    alone = len(clip.agents) < 2
    verb = "is set" if clip.pace == "fast" else "takes place"
    where = said(f"the scene {verb} {{somewhere}}", somewhere=somewhere(clip, walls=not alone))
    return answer(where, _acts(clip), *([closing(clip)] if alone else []))


def _about(clip: Clip) -> Answer:
    """The most prominent one and the road, then the rest."""
    them = everyone(clip)
    plain = on_road(clip, road(clip))
    if not them:
        first = said("this scene is about an empty {road}", road=road(clip))
        if clip.outdoors:
            first = said("{first} {between}", first=first, between=between(clip))
        return answer(first, closing(clip))
    first = said(
        "this scene is about {who} {doing} {on}", who=who(them[0]).a, doing=doing(them[0]), on=plain
    )
    if len(them) > 1:
        return answer(first, _one_and_air(them[1], who(them[1]).a))
    return answer(first, said("{lies}, and {air}", lies=lies(clip), air=air(clip)))


def _layout(clip: Clip) -> Answer:
    """The road and its sides, then who takes which place."""
    them = everyone(clip)
    first = said("the scene has {road}", road=whole_road(clip).a)
    if clip.outdoors:
        first = said("{first} with {sides}", first=first, sides=sides(clip, busier_side(clip)))
    placed = [said("{who} is {place}", who=who(one).a, place=place(one)) for one in them]
    taken = listed(placed) if them else Phrase("nobody is there")
    return answer(first, taken, closing(clip) if len(them) < 2 else goes(clip))


def _vehicles(clip: Clip) -> Answer:
    """Who is there, then what each does."""
    them = everyone(clip)
    if not them:
        return _no_vehicles(clip)
    first = said("there is {all} in the scene", all=listed([who(one).a for one in them]))
    acts = [said("{who} is {doing}", who=again(one), doing=doing(one)) for one in them]
    return answer(first, listed(acts), closing(clip) if len(them) < 2 else air(clip))


def _no_vehicles(clip: Clip) -> Answer:
    return answer(said("there are no vehicles {at}", at=somewhere(clip)), closing(clip))


def _positions(clip: Clip) -> Answer:
    """Who is where."""
    them = everyone(clip)
    if not them:
        return _no_vehicles(clip)
    placed = [said("{who} {place}", who=who(one).a, place=place(one)) for one in them]
    they = "both are" if len(them) > 1 else said("the {who} is", who=them[0].kind)
    where = said("{they} {somewhere}", they=they, somewhere=somewhere(clip, walls=True))
    first = said("the scene shows {all}", all=listed(placed))
    return answer(first, where, goes(clip))


def _going_on(clip: Clip) -> Answer:
    """What seems to happen, where and when, in one sentence."""
    unsure = "it looks like" if clip.outdoors and clip.time != "day" else "it seems that"
    alone = len(clip.agents) < 2
    where = somewhere(clip, walls=not alone)
    if clip.outdoors:
        where = said("{on} {setting}", on=on_road(clip, road(clip)), setting=setting(clip))
    acts = _acts(clip) if clip.agents else "there is nobody"
    first = said(f"{unsure} {{acts}} {{where}}", acts=acts, where=where)
    if not alone:
        return answer(first)
    return answer(first, goes_between(clip) if clip.outdoors else closing(clip))


def _present(clip: Clip) -> Answer:
    """A list, the road first where it passes slowly; then the most prominent one."""
    them = everyone(clip)
    items = [who(one).a for one in them]
    where = whole_road(clip).a
    if not clip.outdoors and not them:
        where = said("an empty {road}", road=road(clip))
    items = [*items, where] if clip.pace == "fast" else [where, *items]
    items += _surroundings(clip, 2)
    several = clip.pace == "fast" and len(items) > 1
    opening = "the elements present are" if several else "the scene contains"
    first = said(f"{opening} {{items}}", items=listed(items))
    if not them:
        return answer(first, closing(clip))
    return answer(first, _one_and_air(them[0], again(them[0])))


def _happening(clip: Clip) -> Answer:
    """What everyone does; of one alone also where."""
    if not clip.agents:
        empty = said("there is nobody {on}", on=on_road(clip))
        if clip.outdoors:
            them = sides(clip, busier_side(clip))
            empty = said("{empty} with {sides}", empty=empty, sides=them)
        return answer(empty, closing(clip))
    acts = _acts(clip)
    if len(clip.agents) == 1:
        acts = said("{acts} {on}", acts=acts, on=on_road(clip, road(clip)))
    return answer(acts, closing(clip))


def _described(clip: Clip) -> Answer:
    """When and where first, or in a tunnel where alone."""
    where = on_road(clip, road(clip))
    if clip.outdoors:
        where = said("{setting} {where}", setting=setting(clip), where=where)
    first = said("{where}, {acts}", where=where, acts=_acts(clip))
    if len(clip.agents) > 1:
        return answer(first, goes(clip))
    return answer(first, *([lies(clip), goes(clip)] if clip.outdoors else [closing(clip)]))


#: How each of the default questions is answered, in their order.
BUILDERS: tuple[Callable[[Clip], Answer], ...] = (
    _key_elements, _elaborated, _about, _layout, _vehicles, _going_on, _present, _happening,
    _described, _positions,
)  # fmt: skip
