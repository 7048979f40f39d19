"""What both voices say about a clip: its road, what lies beside it, who is there.

Shape, place and motion alone: nothing here tells paint, time, weather or the state of a light.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossdraft.scenes.drive.phrases import Phrase, named, said
from crossdraft.scenes.drive.words import WORDS, word
from crossdraft.scenes.drive.world import WHOSE, Agent, Beside, Clip


@dataclass(frozen=True)
class Someone:
    """One vehicle or person of a clip, and how their attributes are called.

    Attributes:
        prefix: of the attributes' names, empty for the most prominent one.
    """

    agent: Agent
    clip: Clip
    prefix: str

    def word(self, attribute: str, value: str, choice: str | int = 0) -> Phrase:
        """A word that names an attribute of theirs."""
        return word(f"{self.prefix}{attribute}", value, choice)

    @property
    def kind(self) -> Phrase:
        """`car`; a person who crosses is a `pedestrian`."""
        walks = self.agent.kind == "person" and self.agent.motion == "crossing"
        return self.word("vehicle", self.agent.kind, 1 if walks else 0)

    @property
    def side(self) -> Phrase:
        return self.word("side", self.agent.side)

    def motion(self, choice: str | int = 0) -> Phrase:
        return self.word("motion", self.agent.motion, choice)

    def near(self, close: str, away: str) -> Phrase:
        """One of two words, by distance."""
        return self.word("near", *(("yes", close) if self.agent.near else ("no", away)))

    @property
    def beside(self) -> Phrase:
        """What lies on their side of the road, `the` before it: `the trees`.

        One who is near stands close to it, of one who is far the side is told too.
        """
        at = "left" if self.agent.side == "left" else "right"
        return thing(self.clip, at, told=not self.agent.near).the

    @property
    def is_person(self) -> bool:
        return self.agent.kind == "person"


def everyone(clip: Clip) -> list[Someone]:
    """Who is there, the most prominent first."""
    return [Someone(agent, clip, prefix) for prefix, agent in zip(WHOSE, clip.agents, strict=False)]


def road(clip: Clip, choice: str | int = 0) -> Phrase:
    return word("road", clip.road, choice)


def lane(clip: Clip) -> Phrase:
    """The road once more, in short: `road`, `street` or what it is."""
    if clip.road == "winding road":
        return Phrase("road")
    return road(clip, {"city street": "street", "crossroads": "intersection"}.get(clip.road, 0))


def thing(clip: Clip, at: str, told: bool = True) -> Phrase:
    """What lies on one side of the road, without an article: `trees`, `stone wall`.

    Args:
        told: whether the words around it tell on which side.
    """
    return word(at if told else "beside", _beside(clip, at))


def _beside(clip: Clip, at: str) -> Beside:
    return clip.left if at == "left" else clip.right


def things(clip: Clip) -> Phrase:
    """What lies on both sides, the same on both: `trees`, `stone walls`."""
    return named(_plural(clip.left), ("left", clip.left), ("right", clip.right))


def _plural(value: Beside) -> str:
    plain = WORDS["beside"][value]
    return plain[0] if value in ("trees", "buildings") else plain[1]


def facing(clip: Clip, first: str) -> tuple[Phrase, ...]:
    """What lies on both sides, without saying which side: `trees`, `a stone wall`; or, the same
    on both, `stone walls`.

    Args:
        first: the side that is named first.
    """
    if clip.left == clip.right:
        return (named(_plural(clip.left), ("beside", clip.left)),)
    other = "right" if first == "left" else "left"
    return some(clip, first, told=False), some(clip, other, told=False)


def some(clip: Clip, at: str, told: bool = True) -> Phrase:
    """What lies on one side, with its article: `trees`, `a stone wall`, `an open field`.

    Args:
        told: as in `thing`.
    """
    found, value = thing(clip, at, told), _beside(clip, at)
    if value in ("trees", "buildings"):
        return found
    return said("an open {it}", it=found) if value == "field" else found.a


def sides(clip: Clip, first: str = "left") -> Phrase:
    """`trees on both sides`, or `trees on the left and a stone wall on the right`.

    Args:
        first: the side that is named first.
    """
    if clip.left == clip.right:
        return said("{them} on both sides", them=things(clip))
    other = "right" if first == "left" else "left"
    return said(
        f"{{one}} on the {first} and {{two}} on the {other}",
        one=some(clip, first),
        two=some(clip, other),
    )


def bend(clip: Clip) -> Phrase:
    return word("bend", clip.bend)


def mountains(clip: Clip) -> Phrase:
    return word("mountains", "yes")


def busier_side(clip: Clip) -> str:
    """The side that an answer begins with: where the most prominent one is, else the bend's."""
    told = clip.agents[0].side if clip.agents else clip.bend
    return told if told in ("left", "right") else "left"
