"""A clip or a batch, tried several times: what its failure is, and what is no failure of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from crossdraft.base.errors import InputError, gist
from crossdraft.pairs.extract.claims import Claim, SpoiledError
from crossdraft.pairs.store.manifest import Missing
from crossdraft.scenes.workers import Failure, attempt

T = TypeVar("T")


def full_disk(reason: str, where: Path | None = None) -> InputError:
    """The refusal to go on where nothing can be written any more."""
    return InputError(
        reason,
        where=where,
        expected="room for what is still to be written",
        hint="make room, then call again: what is done is kept",
    )


def tried(make: Callable[[], T], claim: Claim, number: int, clip: str, retries: int) -> T | Missing:
    """What `make` gives, or why the clip has failed.

    Args:
        number, clip: of the clip, and the id of its scene.
        retries: how often it is tried again, also after a process that it took along.

    Raises:
        InputError: the disk is full, or the GPU takes no more work.
    """
    if (deaths := claim.deaths(str(number))) > retries:
        return Missing(clip, f"its process died {deaths} times in the middle of it", deaths)
    reason = ""
    for _ in range(retries + 1):
        with claim.on(str(number)):
            outcome = _attempt(make, clip)
        if not isinstance(outcome, Failure):
            return outcome
        reason = outcome.reason
        _give_back_memory()
    return Missing(clip, reason, retries + 1)


def together(make: Callable[[], T], claim: Claim, name: str, retries: int) -> T | Failure:
    """What `make` gives for several clips at once, or why it has failed at last.

    Args:
        name: of the batch.
        retries: how often it is tried again.

    Raises:
        InputError: as `tried`.
    """
    outcome: T | Failure = Failure("")
    for _ in range(retries + 1):
        with claim.on(name):
            outcome = _attempt(make, name)
        if not isinstance(outcome, Failure):
            break
        _give_back_memory()
    return outcome


def _attempt(make: Callable[[], T], clips: str) -> T | Failure:
    """What `make` gives, or why it failed.

    Raises:
        InputError: the disk is full, or the GPU takes no more work.
    """
    outcome = attempt(lambda _: _guarded(make, clips), None)
    if isinstance(outcome, Failure):
        if outcome.disk_full:
            raise full_disk(outcome.reason)
        if _SPOILED in outcome.reason:
            raise SpoiledError(outcome.reason, where=clips, hint="call again: it goes on there")
    return outcome


_SPOILED = "the GPU takes no more work"


def _guarded(make: Callable[[], T], clip: str) -> T:
    try:
        return make()
    except torch.cuda.OutOfMemoryError as error:
        raise InputError(f"not enough GPU memory ({gist(error)})", where=clip) from error
    except RuntimeError as error:
        # Behind an assertion on the device every further call fails, of any clip.
        if "CUDA error" in str(error):
            raise InputError(f"{_SPOILED} ({gist(error)})", where=clip) from error
        raise


def _give_back_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
