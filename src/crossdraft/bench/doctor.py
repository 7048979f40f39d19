"""`crossdraft doctor`: is a pair wired right? Each check is one line with numbers.

Checks of one model need that model alone, so a pair whose models do not fit side by side is
examined in turn: all of the target, all of the drafter, then what compares what both left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from crossdraft.base.errors import InputError, gist
from crossdraft.bench.checks.adaptor import check_adaptor
from crossdraft.bench.checks.answers import check_answers
from crossdraft.bench.checks.case import Case, Seen
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.cost import check_cost
from crossdraft.bench.checks.frames import check_frames, check_overlap
from crossdraft.bench.checks.noise import check_noise
from crossdraft.bench.checks.prompts import check_prompts, prompts_from_files
from crossdraft.bench.checks.rollback import check_rollback
from crossdraft.bench.checks.scenes import check_scenes
from crossdraft.bench.checks.states import check_states
from crossdraft.bench.checks.vocabulary import Words, check_vocabulary
from crossdraft.bench.checks.wanted import reads_events
from crossdraft.bench.made_scene import MadeScene
from crossdraft.vlm.config_file import read_config
from crossdraft.vlm.model_spec import ROLES, ModelSpec, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.target import Target

#: Checks of one model, in the order in which they are made.
_OF_ONE: dict[str, Callable[[Case], Check]] = {
    "frames": check_frames,
    "scenes": check_scenes,
    "prompts": check_prompts,
    "adaptor": check_adaptor,
    "answers": check_answers,
    "states": check_states,
    "rollback": check_rollback,
    "noise": check_noise,
    "cost": check_cost,
}
#: Every check by name.
NAMES = (*_OF_ONE, "vocabulary")
#: Fewer tokens would leave no room for what is drafted, rejected and taken back.
LEAST_TOKENS = 16
#: What a model of each role reads. A drafter of text alone reads neither, and is not examined.
_SENSOR: dict[Role, str] = {"target": "video", "drafter": "events"}


class Models(Protocol):
    """The two models of a pair, each loaded when it is first asked for."""

    @property
    def pair(self) -> ModelPair:
        """Which they are."""
        ...

    @property
    def target(self) -> Target:
        """The model that verifies."""
        ...

    @property
    def drafter(self) -> Target:
        """The model that drafts."""
        ...


class _NotExaminedError(InputError):
    """A scene of one sensor alone or a drafter of text, which are no fault of the pair."""


@dataclass
class _Left:
    """What a model leaves for the checks of both; nothing that holds its memory."""

    words: Words | None = None
    seen: Seen | None = None


def diagnose(
    models: Models,
    scene: Any | None,
    question: str,
    *,
    max_new_tokens: int = 32,
    only: Collection[str] = NAMES,
) -> Iterator[Check]:
    """Examine a pair; each check is yielded as soon as it is made.

    A proof that raises has failed. Where one model cannot be loaded or the scene lacks its sensor,
    its checks are named as not made; what was wrong is raised when everything else is done.

    Args:
        scene: a `Scene`; None for one that is made up.
        only: names of the checks to make.

    Raises:
        InputError: no such check, too few tokens or too many, the scene cannot be read, the
            question is refused, a model cannot be loaded or reads the other's sensor, or the scene
            has no sensor of either model.
    """
    _refuse(only, max_new_tokens)
    yield _scene_line(scene)
    shown = MadeScene() if scene is None else scene
    left: list[_Left] = []
    lost: list[InputError] = []
    for role in ROLES:
        target = _tried(models, role, shown)
        if isinstance(target, InputError):
            lost.append(target)
            left.append(_Left())
            yield from _skipped(role, only, gist(target))
            continue
        yield _model_line(role, target, models.pair.spec(role))
        case = Case(role, target, shown, question, max_new_tokens, models.pair)
        yield from _of_one(case, only)
        left.append(_Left(Words.of(target), case.seen))
        del target, case  # else the next model is loaded beside this one
    if len(lost) == len(ROLES):
        raise InputError("\n".join(dict.fromkeys(map(str, lost))))
    if "frames" in only:
        yield _proved("frames", "pair", lambda: check_overlap(shown, *(one.seen for one in left)))
    if "vocabulary" in only:
        yield _proved("vocabulary", "pair", lambda: check_vocabulary(*(one.words for one in left)))
    if lost and not isinstance(lost[0], _NotExaminedError):
        raise lost[0]


def summary(checks: Sequence[Check]) -> str:
    """How many proofs passed and failed, and how many checks were not made."""
    passed, failed = (sum(check.ok is ok for check in checks) for ok in (True, False))
    skipped = sum(not check.checked for check in checks)
    return f"{passed} proofs passed, {failed} failed, {skipped} not checked"


def _refuse(only: Collection[str], max_new_tokens: int) -> None:
    if not only:
        raise InputError("no check", where="--only", expected=f"some of {', '.join(NAMES)}")
    for name in only:
        if name not in NAMES:
            raise InputError(
                f"no check {name!r}", where="--only", expected=f"of {', '.join(NAMES)}"
            )
    if max_new_tokens < LEAST_TOKENS:
        raise InputError(
            f"{max_new_tokens} tokens", where="--max-new-tokens", expected=f"{LEAST_TOKENS} or more"
        )


def _tried(models: Models, role: Role, scene: Any) -> Target | InputError:
    """`_ready`, or its error without the frames that it went through: they hold the model."""
    try:
        return _ready(models, role, scene)
    except InputError as error:
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error


def _ready(models: Models, role: Role, scene: Any) -> Target:
    """A model that can be shown the scene; loaded when that is known.

    Raises:
        InputError: it cannot be loaded, reads the other's sensor, or (`_NotExaminedError`) the
            scene lacks its sensor, or it drafts of text alone.
    """
    prompts = prompts_from_files(models.pair, role)
    if prompts is None:
        kind = _NotExaminedError if role == "drafter" else InputError
        raise kind("sessions know no prompts of this model", where=f"{role}.model")
    sensor = "events" if reads_events(prompts) else "video"
    if sensor != _SENSOR[role]:
        raise InputError(
            f"a model that reads {sensor}",
            where=f"{role}.model",
            expected=f"a model that reads {_SENSOR[role]}",
            hint="are target and drafter exchanged, or one model named twice?",
        )
    if not isinstance(scene, MadeScene):
        path = scene.events_path if sensor == "events" else scene.video_path
        if path is None:
            raise _NotExaminedError(f"the scene has no {sensor}", where=scene.id)
    target: Target = getattr(models, role)
    return target


def _of_one(case: Case, only: Collection[str]) -> Iterator[Check]:
    """Every check of one model."""
    for name, check in _OF_ONE.items():
        if name in only:
            yield _proved(name, case.role, partial(check, case))


def _proved(name: str, model: str, prove: Callable[[], Check]) -> Check:
    """A check's outcome; one that cannot be carried out has failed."""
    try:
        return prove()
    except Exception as error:  # whatever is broken, the other checks are made
        return Check(name, model, False, f"{type(error).__name__}: {gist(error)}")


def _skipped(role: Role, only: Collection[str], why: str) -> Iterator[Check]:
    for name in _OF_ONE:
        if name in only:
            yield Check.skipped(name, role, why)


def _scene_line(scene: Any | None) -> Check:
    if scene is None:
        line = "made up: a bright square crosses the view of both sensors (--scene for a real one)"
        return Check("scene", "pair", None, line, {"made_up": True})
    line = f"{scene.id}, its events SIMULATED" if scene.simulated else scene.id
    facts = {"made_up": False, "id": scene.id, "simulated": scene.simulated}
    return Check("scene", "pair", None, line, facts)


def _model_line(role: Role, target: Target, spec: ModelSpec) -> Check:
    """What was loaded; failed where it is held in another precision than the pair says."""
    name, count = type(target.model).__name__, int(target.model.num_parameters())
    dtype, held, wanted = (
        str(target.dtype).removeprefix("torch."),
        _held(target),
        _wanted(spec, role),
    )
    line = f"{name}, {count / 1e6:,.4g} million parameters, {held} on {target.device}"
    right = wanted in (None, held)
    if not right:
        line += f"; the pair says {wanted}"
    return Check(
        "model", role, None if right else False, line,
        {"class": name, "parameters": count, "dtype": dtype, "precision": held, "wanted": wanted,
         "device": str(target.device)},
    )  # fmt: skip


def _held(target: Target) -> str:
    """The precision of a loaded model, by its name in a pair's file."""
    if getattr(target.model, "is_loaded_in_8bit", False):
        return "int8"
    if getattr(target.model, "is_loaded_in_4bit", False):
        return "nf4"
    return str(target.dtype).removeprefix("torch.")


def _wanted(spec: ModelSpec, role: Role) -> str | None:
    """The precision that the pair says; for `auto` the one of config.json, where that names one."""
    if spec.dtype != "auto":
        return spec.dtype
    config = read_config(spec.place(role))[0]
    name = config.get("dtype", config.get("torch_dtype"))
    return name if isinstance(name, str) and "quantization_config" not in config else None
