"""The card of an embedded model: what it is, what it learned from, how far it came, what it cannot.

Every number on it was measured by the training itself or by `crossdraft pair score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_text
from crossdraft.report.markdown import markdown_table
from crossdraft.report.score import attribute_table, lines, probe_table
from crossdraft.training.embedded.course import WATCHED
from crossdraft.training.embedded.plan import EmbeddedPlan
from crossdraft.training.embedded.train import HISTORY, TrainedSide
from crossdraft.vlm.model_spec import Role

CARD = "README.md"
_TITLES: Mapping[Role, str] = {
    "target": "crossdraft embedded target: a tiny Video-LLaVA",
    "drafter": "crossdraft embedded drafter: a tiny EventGPT",
}
_ABOUT: Mapping[Role, str] = {
    "target": "A Video-LLaVA (Lin et al., 2023) of {parameters:,} parameters, without the image "
    "tower: 8 video frames of 112x112 pixels, a CLIP tower of 3 layers, a Llama of 8.",
    "drafter": "An EventGPT (Liu et al., 2024) of {parameters:,} parameters: 5 event frames of "
    "112x112 pixels, each of 50 ms, a CLIP tower of 3 layers, a Llama of 2.",
}
_LIMITS = (
    "It knows one thing: answers to {questions} questions about one-second clips of crossdraft's "
    "procedural drive. It is there so that speculative decoding of such a pair can be tried, "
    "tested and measured anywhere; it is no model of real roads.",
    "Its events were simulated; no sensor saw them.",
)

#: What else is to be said of how one of them learned.
_LEARNED: Mapping[Role, tuple[str, ...]] = {
    "target": (
        "Training drives leave a paint out of each kind of road user. So that no paint tells the "
        "kind, everyone in its training clips was given any paint "
        "(`training/embedded/repaint.py`); of a combination that the drives leave out it was "
        "told the kind or the paint, never both at once.",
        "",
    ),
    "drafter": (),
}


def write_card(
    role: Role,
    trained: TrainedSide,
    plan: EmbeddedPlan,
    scored: Mapping[str, Any],
    warnings: Sequence[str] = (),
    scenes: str | None = None,
) -> Path:
    """Write the card into the model's folder.

    Args:
        scored: what `bench.score` says of both models on the test drives.
        warnings: what a reader must know of that.
        scenes: the dataset that was given; None where the training made its own.
    """
    questions = len(scored["data"]["questions"])
    text = [
        "---", "license: apache-2.0", "library_name: crossdraft", "language: en", "---", "",
        f"# {_TITLES[role]}", "",
        _ABOUT[role].format(parameters=trained.made["parameters"]), "",
        *(line for limit in _LIMITS for line in (limit.format(questions=questions), "")),
        "## Training", "",
        *markdown_table(("", ""), _facts(role, trained, plan, scenes)), "",
        *_LEARNED[role],
        "First the tower alone learned to tell, of single frames, who is in each patch and what "
        "the whole shows, as the drive's ground truth says it; the heads for that were thrown "
        "away. Then the whole model learned to answer, by the loss of the answers' tokens. Under "
        "the attributes: how often the word that names one is the first candidate, everything "
        "before it being right. On held-out drives:", "",
        *markdown_table(*_curves(trained)), "",
        f"Every epoch: `{HISTORY}`.", "",
        "## Scores", "",
        *_scores(scored[role], scored["data"], warnings), "",
    ]  # fmt: skip
    path = trained.folder / CARD
    write_text(path, "\n".join(text))
    return path


def _scores(
    scored: Mapping[str, Any], data: Mapping[str, Any], warnings: Sequence[str]
) -> list[str]:
    return [
        f"Greedy answers about {data['clips']:,} clips of {data['drives']} test drives "
        "(`crossdraft pair score`); intervals of 95 % over drives. Swapped: shown another "
        "drive's data. Chance: another drive's true answer.", "",
        *markdown_table(*attribute_table(scored)), "",
        *markdown_table(*probe_table(scored)), "",
        *(f"- {line}" for line in lines(scored)),
        *(f"- warning: {warning}" for warning in warnings),
    ]  # fmt: skip


def _facts(
    role: Role, trained: TrainedSide, plan: EmbeddedPlan, scenes: str | None
) -> list[tuple[str, str]]:
    settings, pace, made = plan.settings[role], plan.pace[role], trained.made
    epochs, passes = len(trained.history), len(trained.sight)
    steps = epochs * (pace.clips_per_epoch // settings.batch_size)
    call = f"crossdraft pair train-embedded --seed {plan.seed}"
    call += " --smoke" if plan.smoke else ""
    call += f" --scenes {scenes}" if scenes else ""
    return [
        ("made by", f"`{call}`"),
        ("data", f"{made['drives']} drives, fingerprint {made['fingerprint'][:16]}"
         + ("" if scenes else f" (`crossdraft scenes synth --seed {plan.seed}`)")),
        ("clips", f"{made['train_clips']:,} to learn from, {made['val_clips']:,} of other drives "
         "to validate on"),
        ("tower", f"{passes} passes, a frame of each clip, batches of "
         f"{plan.sight[role].batch_size}; {_minutes(trained.sight)} min"),
        ("whole model", f"{steps:,} steps in {epochs} epochs, each step {settings.batch_size} "
         f"clips with {pace.questions} of their questions, the tower frozen; "
         f"{_minutes(trained.history)} min"),
        ("optimizer", f"AdamW, learning rate {settings.learning_rate:g} after a warm-up of "
         f"{settings.warmup:.0%}, cosine to zero, weight decay {settings.weight_decay:g}, "
         f"products in {pace.precision}"),
        ("kept", f"epoch {trained.best_epoch}, the lowest validation loss"),
        ("machine", f"{made['machine']['cpu']}, {made['threads']} threads, {made['date']}"),
        ("versions", ", ".join(f"{n} {made['packages'][n]}" for n in ("torch", "transformers"))),
    ]  # fmt: skip


def _minutes(history: Sequence[Mapping[str, float]]) -> int:
    return round(sum(r["train_ms"] + r["validation_ms"] for r in history) / 60_000)


def _curves(trained: TrainedSide) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """At most a dozen epochs, the last one among them."""
    history = trained.history
    watched = [name for name in WATCHED if f"val_{name}" in history[-1]]
    every = -(-len(history) // 12)
    shown = [r for r in history if (len(history) - r["epoch"]) % every == 0]
    rows = [
        (
            f"{record['epoch']:.0f}", f"{record['train_loss']:.3f}", f"{record['val_loss']:.3f}",
            f"{record['val_top1']:.3f}", *(f"{record[f'val_{name}']:.2f}" for name in watched),
        )
        for record in shown
    ]  # fmt: skip
    return ("epoch", "training loss", "validation loss", "tokens", *watched), rows
