"""Two drafters in turn: configurations from a file, and what our cost model says of them.

The file names drafters; where their checkpoints lie is said beside it, so that one file serves
every folder of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.base.yaml_file import read_yaml
from crossdraft.decoding.arrival import PUBLISHED_1S, stage_times
from crossdraft.drafters.base import Budget, CostCurve, Drafter
from crossdraft.drafters.checkpoint import is_trainable, trainable_class
from crossdraft.drafters.two_phase import BETWEEN
from crossdraft.evaluation.bootstrap import BlockBootstrap
from crossdraft.evaluation.estimate_timeline import Setting, alone, replayed
from crossdraft.pairs.split import Fold

_EXPECTED = "configurations: {NAME: {prefill: DRAFTER, decode: DRAFTER}}"
_NOBODY = "none"
#: A run's checkpoint, ours before the seed study's.
_BEST = ("best_model.safetensors", "best_model.pt")


def read_two_phase(file: Path, checkpoints: Path | None = None) -> dict[str, str]:
    """Drafters by the name of their configuration, as `find_drafter` reads them.

    Args:
        checkpoints: a folder of runs; None: the names are registered drafters.

    Raises:
        InputError: no such file, another content, or a drafter without a checkpoint in the folder.
    """
    known = read_yaml(file, expected=_EXPECTED).get("configurations")
    if not isinstance(known, Mapping) or not known:
        raise InputError("no configurations", where=file, expected=_EXPECTED)
    return {str(name): _text(str(name), sides, file, checkpoints) for name, sides in known.items()}


def _text(name: str, sides: object, file: Path, checkpoints: Path | None) -> str:
    if not isinstance(sides, Mapping) or not sides or sides.keys() - {"prefill", "decode"}:
        raise InputError(f"{name}: {sides!r}", where=file, expected=_EXPECTED)
    named = [str(sides.get(side) or _NOBODY) for side in ("prefill", "decode")]
    if checkpoints is None:
        return BETWEEN.join(named)
    return BETWEEN.join(
        one if one == _NOBODY else str(_checkpoint(checkpoints, one)) for one in named
    )


def _checkpoint(folder: Path, name: str) -> Path:
    """The run of one drafter: a folder of its name or of its level, or the only run inside."""
    level = getattr(trainable_class(name), "level", "") if is_trainable(name) else ""
    names = dict.fromkeys((name, level.lower(), level))
    for run in (folder / one for one in names if one):
        if any((run / best).is_file() for best in _BEST):
            return run
        inside = sorted({path.parent for best in _BEST for path in run.glob(f"*/{best}")})
        if len(inside) > 1:
            raise InputError(
                f"{len(inside)} runs of {name}, {inside[0].name} and {inside[1].name} among them",
                where=run,
                expected="one: which is meant is not guessed",
            )
        if inside:
            return inside[0]
    raise InputError(
        f"no run of {name}",
        where=folder,
        expected=f"{name}/{_BEST[0]}, or the seed study's {level or name}/RUN/{_BEST[1]}",
    )


def estimated(
    ready: Callable[[int], Drafter],
    splits: Sequence[Fold],
    budget: Budget,
    curve: CostCurve,
    bootstrap: BlockBootstrap,
) -> dict[str, Any]:
    """What our own cost model says of a drafter: the timeline of `crossdraft estimate`, on the
    pairs' own stage times or the published averages, drafts on the prefill's tail.

    Args:
        ready: the drafter of a fold.
        curve: T(n)/T(1); flat where none was measured, and the result then is a bound.

    Returns:
        `speedup` over the target alone, with its interval, and mean times.
    """
    setting = Setting(curve, in_prefill=True, adapter_ms=0.0, k=1)
    with_drafts, without = [], []
    for number, fold in enumerate(splits):
        drafter = ready(number)
        for pair in fold.test:
            times = stage_times(pair) or PUBLISHED_1S
            tokens = len(pair.target_tokens)
            if tokens:
                with_drafts.append(replayed(times, pair, drafter, budget, setting).total_ms)
                without.append(alone(times, tokens, 1).total_ms)
            else:  # nothing to say takes no time; the row keeps its place in the bootstrap
                with_drafts.append(0.0)
                without.append(0.0)
    (speedup,) = bootstrap.ratio(np.array(without)[:, None], np.array(with_drafts)[:, None])
    return {
        "speedup": speedup.to_json(),
        "total_ms": float(np.mean(with_drafts)),
        "target_alone_ms": float(np.mean(without)),
    }
