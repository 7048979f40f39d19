"""The report of a tuning: the drafter's card (README.md) and its curves.

Numbers come from the tuning alone: teacher-forced, on the held-out drives that chose the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import write_text
from crossdraft.report import style
from crossdraft.report.markdown import markdown_table

if TYPE_CHECKING:
    from crossdraft.training.tuning.settings import TuneConfig
    from crossdraft.training.tuning.tune import Tuned

FIGURE, CARD = "training_curves.png", "README.md"


def write_tuning_report(tuned: Tuned, config: TuneConfig) -> list[Path]:
    """Draw the curves and write the card.

    Returns:
        The files written.
    """
    figure, card = tuned.folder / FIGURE, tuned.folder / "drafter" / CARD
    with style.panels(figure, 2) as (_, (above, below)):
        above.set(title="Loss", ylabel="cross-entropy (nats per token)")
        _draw(above, tuned, [("train_loss", "training", 1), ("val_loss", "validation", 1)])
        below.set(title="The target's tokens guessed, teacher-forced", ylabel="tokens (%)")
        _draw(below, tuned, [("train_top1", "training", 100), ("val_top1", "validation", 100)])
    write_text(card, "\n".join(_card(tuned, config)) + "\n")
    return [figure, card]


def _draw(axes: Any, tuned: Tuned, curves: Sequence[tuple[str, str, float]]) -> None:
    epochs = [record["epoch"] for record in tuned.history]
    ends = []
    for place, (key, label, scale) in enumerate(curves):
        values = [scale * record[key] for record in tuned.history]
        if key in tuned.before:
            # Before the first step: epoch 0.
            axes.plot([0, *epochs], [scale * tuned.before[key], *values], **_look(place))
        else:
            axes.plot(epochs, values, **_look(place))
        ends.append(style.LineEnd(epochs[-1], values[-1], label, style.COLOURS[place]))
    axes.axvline(tuned.best_epoch, color="grey", linewidth=1.2, zorder=1)
    axes.set(xlabel="epoch")
    style.label_ends(axes, ends)


def _look(place: int) -> dict[str, Any]:
    return {
        "color": style.COLOURS[place], "marker": style.MARKERS[place],
        "linestyle": ("--", "-")[place], "linewidth": 2, "markersize": 6,
    }  # fmt: skip


def figures_table(tuned: Tuned) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Held-out figures before the tuning and after it."""
    head = ("held-out answers", "loss", "top-1", "top-5", "tau")
    return head, [
        (name, f"{f['val_loss']:.3f}", f"{f['val_top1']:.3f}", f"{f['val_top5']:.3f}",
         f"{f['val_tau']:.3f}")
        for name, f in (("before", tuned.before), (f"epoch {tuned.best_epoch}", tuned.best))
    ]  # fmt: skip


def _card(tuned: Tuned, config: TuneConfig) -> list[str]:
    made = tuned.made
    drives = made["trained_on"]["drives"]
    head, rows = figures_table(tuned)
    return [
        f"# A drafter tuned by {config.method}",
        "",
        f"The drafter of the pair {made['pair']}, trained further to say what the pair's target "
        f"answers about the same scenes. Everything that sees is as it was.",
        "",
        *markdown_table(("", ""), _facts(made, config)),
        "",
        *markdown_table(head, rows),
        "",
        "Teacher-forced: each token given the prompt and the target's tokens before it; tau is of "
        f"chains of {config.settings.gamma} that start on the target's words. These answers chose "
        "the epoch, so they flatter; how many of the drafter's own words the target accepts, "
        "`crossdraft extract` and `crossdraft evaluate` say, on drives that are not among those "
        "below.",
        "",
        "## Drives",
        "",
        f"It was tuned on clips of {len(drives)} drives, those that chose the epoch included. A "
        "test on them shows nothing; `tuned.json` names their clips too.",
        "",
        ", ".join(drives) if drives else "The answers name no drives.",
        *(["", *(f"- note: {text}" for text in tuned.warnings)] if tuned.warnings else []),
    ]


def _facts(made: Mapping[str, Any], config: TuneConfig) -> list[tuple[str, str]]:
    settings = config.settings
    what = "the output layer"
    if config.method == "lora":
        what = (
            f"q, k, v and o of the language model, rank {config.rank}, alpha {config.alpha:g}, "
            f"dropout {config.dropout:g}"
        )
    source = made["drafter"]
    return [
        ("from", f"{source['model']}, fingerprint {source['fingerprint']}"),
        ("trained", f"{what}: {made['trained_parameters']:,} parameters"),
        ("answers", f"{made['train_answers']:,} about {made['train_clips']:,} clips; "
         f"{made['val_answers']:,} about {made['val_clips']:,} held out by {made['split']}"),
        ("optimizer", f"AdamW, learning rate {settings.learning_rate:g}, cosine to zero, weight "
         f"decay {settings.weight_decay:g}, batches of {settings.batch_size} answers, at most "
         f"{settings.num_epochs} epochs, seed {settings.seed}"),
        ("machine", f"{made['machine']['cpu']}, {made['threads']} threads, {made['date']}"),
        ("versions", ", ".join(f"{n} {made['packages'][n]}" for n in ("torch", "transformers"))),
    ]  # fmt: skip
