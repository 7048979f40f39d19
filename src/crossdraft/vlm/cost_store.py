"""Keeps measured costs: one file per model, number format, device, cache and library version.

They lie in `$CROSSDRAFT_CACHE/cost`, or in `~/.cache/crossdraft/cost`. A file that cannot be read
is measured again and a folder that cannot be written keeps nothing: neither stops a caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from crossdraft.base.cache_folder import cache_root
from crossdraft.base.errors import InputError
from crossdraft.base.files import write_json
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.vlm.cost_curve import Cost, CostCurves, read_cost_curves
from crossdraft.vlm.cost_measure import QUESTION, TAILS, WIDTHS, measure, usual_context
from crossdraft.vlm.cost_setup import Setup
from crossdraft.vlm.target import Target

#: Takes one sentence for whoever called.
Note = Callable[[str], None]


def _no_notes(_: str) -> None:
    """The sink that ignores every note."""


def cost_folder() -> Path:
    """Where costs are kept; nothing is made."""
    return cache_root() / "cost"


def measured(
    target: Target,
    *,
    context: int | None = None,
    widths: Sequence[int] = WIDTHS,
    tail_widths: Sequence[int] = TAILS,
    repeats: int = 15,
    question: int = QUESTION,
    fresh: bool = False,
    note: Note = _no_notes,
    progress: ProgressSink = silent,
) -> CostCurves:
    """The costs of a target as kept from an earlier measurement, else measured now and kept.

    A kept measurement serves if it has all that is asked for: widths, tails, rounds, a context of
    the same bucket.

    Args:
        fresh: measure now in any case.
        note: is told where the costs come from if not from a measurement now, and what went wrong
            with the kept file.

    Raises:
        InputError: as `measure`.
    """
    context = usual_context(target, widths, tail_widths) if context is None else context
    path = cost_folder() / f"{Setup.of(target, context, question).fingerprint}.json"
    kept = _read(path, note) if path.exists() else None
    if kept is not None and not fresh:
        if _serves(kept, widths, tail_widths, repeats):
            note(
                f"measured on {kept.date} with {kept.setup.context:,} tokens of context and kept "
                f"in {path}"
            )
            return kept
        # With what the next caller would miss, where it fits behind this context too.
        if context <= kept.setup.context:
            widths = sorted({*widths, *_tokens(kept.tree)})
            tail_widths = sorted({*tail_widths, *_tokens(kept.tail)})
            repeats = max(repeats, kept.repeats)
    curves = measure(
        target,
        context=context,
        widths=widths,
        tail_widths=tail_widths,
        repeats=repeats,
        question=question,
        progress=progress,
    )
    if curves.noisy > len(curves.tree):
        note("not kept, the machine was busy: measured again the next time")
    elif kept is None or _serves(curves, _tokens(kept.tree), _tokens(kept.tail), kept.repeats):
        _write(curves, path, note)
    else:
        note(f"not kept, {path} has more widths or rounds ({kept.repeats})")
    return curves


def _read(path: Path, note: Note) -> CostCurves | None:
    """What the file holds, None where it holds nothing of use."""
    try:
        curves = read_cost_curves(path)
    except InputError as error:
        note(f"measured again, the kept file is damaged: {error.where}: {error.found}")
        return None
    if curves.setup.fingerprint != path.stem:
        note(f"measured again, the kept file is of another model or machine: {path}")
        return None
    return curves


def _serves(
    kept: CostCurves, widths: Iterable[int], tail_widths: Iterable[int], repeats: int
) -> bool:
    """Whether a kept measurement has all that is asked for."""
    wide, tails = _tokens(kept.tree) >= set(widths), _tokens(kept.tail) >= set(tail_widths)
    return wide and tails and kept.repeats >= repeats


def _tokens(costs: Sequence[Cost]) -> set[int]:
    return {cost.tokens for cost in costs}


def _write(curves: CostCurves, path: Path, note: Note) -> None:
    """Keep a measurement where that is possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, curves.to_json())
    except (OSError, InputError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.found
        note(f"not kept, {path.parent} cannot be written ({reason})")
