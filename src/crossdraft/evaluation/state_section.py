"""What an evaluation says of its networks: their sizes, the state metrics of those that predict
states, and which two drafters each two-phase row is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from crossdraft.drafters.base import FORCED_STATES, CostCurve, Drafter
from crossdraft.drafters.states import StateDrafter
from crossdraft.drafters.trainable import Trainable
from crossdraft.evaluation.bootstrap import BlockBootstrap
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.controls import SHUFFLED, Entrant, Shuffle, single_entrants
from crossdraft.evaluation.prepare import Workshop
from crossdraft.evaluation.state_run import Measured, measure_states
from crossdraft.evaluation.state_summary import summarise_states
from crossdraft.evaluation.two_phase import estimated
from crossdraft.pairs.split import Fold


def notes_on_states(running: Sequence[Entrant], config: EvaluateConfig) -> list[str]:
    """What a reader must know of drafters that read states over the target's words."""
    following = [e.label for e in single_entrants(running) if FORCED_STATES in e.sample().needs]
    if not following or config.shuffled_pairs is not None:
        return []
    return [
        f"{', '.join(following)}: the twin {SHUFFLED} reads another scene's words and states of "
        "the event model's own answer; its states over the target's words, which are read behind "
        "the first token, stay those of the scene (--shuffled-pairs brings another scene's)"
    ]


def states_section(
    running: Sequence[Entrant],
    workshop: Workshop,
    splits: Sequence[Fold],
    config: EvaluateConfig,
    bootstrap: BlockBootstrap,
    curve: CostCurve,
    shuffle: Shuffle,
) -> tuple[dict[str, Any], list[str]]:
    """What is known of the networks, and the state metrics of those that predict states.

    Args:
        shuffle: what shuffled twins read.

    Returns:
        Keys of the payload: `networks`, `two_phase`, and `states` where there are any; warnings.

    Raises:
        InputError: damaged states.
    """
    singles = {one.label: one for one in single_entrants(running)}
    predicting = [label for label in singles if isinstance(singles[label].sample(), StateDrafter)]

    def ready(number: int) -> dict[str, StateDrafter]:
        made = {name: workshop.ready(singles[name], number, splits[number]) for name in predicting}
        return {name: one for name, one in made.items() if isinstance(one, StateDrafter)}

    networks = {
        label: {"parameters": drafter.parameters, "level": getattr(drafter, "level", None)}
        for label, one in singles.items()
        if isinstance(drafter := one.sample(), Trainable)
        and isinstance(drafter := workshop.ready(one, 0, splits[0]), Trainable)
    }
    phases = _phases(running, singles)
    by_label = {entrant.label: entrant for entrant in running}

    def made(number: int, label: str) -> Drafter:
        return workshop.ready(by_label[label], number, splits[number])

    for one in phases:
        one["estimate"] = estimated(
            partial(made, label=one["label"]),
            splits, config.budget, curve, bootstrap,
        )  # fmt: skip
    found: dict[str, Any] = {"networks": networks, "two_phase": phases}
    followed, measured, notes = config.shuffled_pairs is not None, list[Measured](), list[str]()
    if predicting:
        measured, notes = measure_states(ready, splits, shuffle, followed=followed)
    if measured:
        cost = config.cost
        found["states"] = {
            "hidden": measured[0].hidden,
            "rows": summarise_states(
                measured, bootstrap, windows=sorted({cost.first_drafts, cost.gamma_decode})
            ),
            "seed_cost": cost.to_json(),
        }
    return found, notes


def _phases(running: Sequence[Entrant], singles: Mapping[str, Entrant]) -> list[dict[str, Any]]:
    """The drafters of each two-phase entrant by their labels, None for nobody."""
    label_of = {one.where: label for label, one in singles.items()}
    return [
        {
            "label": entrant.label,
            "prefill": label_of[entrant.phases[0].where],
            "decode": label_of[entrant.phases[1].where],
        }
        for entrant in running
        if entrant.phases is not None and not entrant.twin
    ]
