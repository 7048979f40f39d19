"""The report of a training: curves by epoch, and RESULTS.md with every table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import write_text
from crossdraft.report import style
from crossdraft.report.markdown import cell, markdown_table, provenance_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = ("training_curves.png", "loss_curve.png", "accuracy_curve.png")
_STAGES = ("data loading", "preprocessing", "vision", "prefill", "decoding")
_ALONE = "drafter-text"


def write_training_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the three figures and write RESULTS.md.

    Args:
        result: the content of result.json.
        folder: where to write.

    Returns:
        The files written.
    """
    both, loss, accuracy = (folder / name for name in FIGURES)
    with style.panels(both, 2) as (_, (left, right)):
        draw_loss(result, left)
        draw_accuracy(result, right)
    for path, draw in ((loss, draw_loss), (accuracy, draw_accuracy)):
        _alone(result, path, draw)
    summary = folder / "RESULTS.md"
    write_text(summary, training_markdown(result))
    return [summary, both, loss, accuracy]


def _alone(
    result: Mapping[str, Any], path: Path, draw: Callable[[Mapping[str, Any], Axes], None]
) -> None:
    with style.figure(path) as (_, axes):
        draw(result, axes)


def draw_loss(result: Mapping[str, Any], axes: Axes) -> None:
    """Training and validation loss by epoch."""
    _curve(axes, result, "train_loss", 1, "training", 0)
    _curve(axes, result, "val_loss", 1, "validation", 1)
    _best_epoch(result, axes)
    axes.set(title="Loss (label smoothing keeps it above 0)", xlabel="epoch",
             ylabel="cross-entropy (nats per token)")  # fmt: skip
    _below(axes, 2)


def draw_accuracy(result: Mapping[str, Any], axes: Axes) -> None:
    """Top-1 and top-5 by epoch, with what needs no training as lines."""
    _curve(axes, result, "train_top1", 100, "training top-1", 0)
    _curve(axes, result, "val_top1", 100, "validation top-1", 1)
    _curve(axes, result, "val_top5", 100, "validation top-5", 2)
    lines = (
        ("position", "position_match", "position table top-1", 4, ":"),
        ("position", "position_match_top5", "position table top-5", 4, "-."),
        (_ALONE, "position_match", "baseline: drafter's own words", 6, "--"),
        (result["drafter"] + "@shuffled", "alpha", "shuffled drafter words", 3, "--"),
    )
    for name, metric, label, colour, dash in lines:
        value = result["validation"].get(name, {}).get(metric, {}).get("value")
        if value is not None:
            axes.axhline(100 * value, color=style.COLOURS[colour], linestyle=dash, linewidth=2,
                         label=label)  # fmt: skip
    _best_epoch(result, axes)
    axes.set(title=f"Target tokens guessed by {result['drafter']}", xlabel="epoch",
             ylabel="target tokens (%)")  # fmt: skip
    axes.set_ylim(bottom=0)
    _below(axes, 2)


def _curve(
    axes: Axes, result: Mapping[str, Any], key: str, scale: float, label: str, place: int
) -> None:
    history = result["history"]
    axes.plot(
        [record["epoch"] for record in history],
        [scale * record[key] for record in history],
        color=style.COLOURS[place],
        marker=style.MARKERS[place],
        linewidth=2,
        markersize=6,
        markevery=max(1, len(history) // 10),
        label=label,
    )


def _best_epoch(result: Mapping[str, Any], axes: Axes) -> None:
    best = result["best_epoch"]
    axes.axvline(best, color="grey", linewidth=1.2, label=f"best epoch ({best})")
    axes.set_xlim(0.5, len(result["history"]) + 0.5)
    axes.locator_params(axis="x", integer=True)


def _below(axes: Axes, columns: int) -> None:
    """Legend below the axes, where no curve can run through it."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns, frameon=False)


#: Columns of the table of drafters: metric, title, scale, digits.
_COLUMNS = (
    ("tau", "tau", 1, 2),
    ("alpha", "alpha %", 100, 1),
    ("top5", "top-5 %", 100, 1),
    ("position_match", "position match %", 100, 1),
    ("position_match_top5", "position top-5 %", 100, 1),
)


def training_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the trained drafter and the controls on the held-out answers."""
    rows = [
        [name, *(cell(metrics[key], scale, digits) for key, _, scale, digits in _COLUMNS)]
        for name, metrics in result["validation"].items()
    ]
    return ["drafter", *(title for _, title, _, _ in _COLUMNS)], rows


def training_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md of a training."""
    head, rows = training_table(result)
    data = result["data"]
    lines = [
        f"# Training of {result['drafter']} on {result['task']}",
        "",
        *_summary(result),
        "",
        f"{data['split']}. Validation chose the epoch, so its numbers flatter a little: test with "
        "`crossdraft evaluate` on other drives.",
        "",
        "## Beside the controls",
        "",
        f"On the {data['val_pairs']} held-out answers, chains of "
        f"{result['config']['settings']['gamma']} drafts; brackets are 95 % block-bootstrap "
        "intervals.",
        "",
        *markdown_table(head, rows),
        "",
        *_timing(result),
        *_training(result),
        *_model(result),
        *_projection(result),
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in FIGURES),
        "",
        "## Before using a number",
        "",
        *(f"- {warning}" for warning in result["warnings"] or ["nothing to add"]),
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"


def _summary(result: Mapping[str, Any]) -> list[str]:
    """Baseline, drafter and what it adds, on both parts."""
    data, held_out = result["data"], result["validation"]
    own = result["train"]
    sides = (
        ("training", data["train_pairs"], result["baseline_train"], own["top1"], own["top5"]),
        (
            "validation", data["val_pairs"], held_out[_ALONE],
            held_out[result["drafter"]]["alpha"]["value"],
            held_out[result["drafter"]]["top5"]["value"],
        ),
    )  # fmt: skip
    rows = []
    for name, count, baseline, top1, top5 in sides:
        base = baseline["position_match"]["value"]
        gained = None if top1 is None or base is None else top1 - base
        rows.append([name, str(count), *map(_percent, (base, top1, top5)), _points(gained)])
    head = ["part", "answers", "drafter's own words", result["drafter"], "top-5", "gained"]
    return markdown_table(head, rows)


def _timing(result: Mapping[str, Any]) -> list[str]:
    stages = result["stages"]
    lines = ["## Stages of the recorded answers", ""]
    if stages is None:
        return [*lines, "These answers carry no stage times.", ""]
    keys = [*(f"stage{n}_ms" for n in range(1, 6)), "total_ms"]
    rows = [
        [title, *(_mean(stages[model][key]) for model in ("eventgpt", "videollava"))]
        for title, key in zip((*_STAGES, "total"), keys, strict=True)
    ]
    return [*lines, *markdown_table(["stage (ms)", "event model", "target"], rows), ""]


def _training(result: Mapping[str, Any]) -> list[str]:
    history, best = result["history"], result["best_epoch"]
    shown = sorted({1, best, len(history), *range(5, len(history), 5)})
    rows = []
    for epoch in shown:
        record = history[epoch - 1]
        cells = [
            str(epoch), f"{record['train_loss']:.4f}", f"{100 * record['train_top1']:.1f}",
            f"{record['val_loss']:.4f}", f"{100 * record['val_top1']:.2f}",
            f"{100 * record['val_top5']:.2f}", f"{record['val_tau']:.3f}",
            f"{record['learning_rate']:.2e}",
        ]  # fmt: skip
        rows.append([f"**{text}**" for text in cells] if epoch == best else cells)
    head = ["epoch", "train loss", "train top-1 %", "val loss", "val top-1 %", "val top-5 %",
            "val tau", "learning rate"]  # fmt: skip
    ended = "stopped early" if result["stopped_early"] else "ran to the end"
    return [
        "## Epochs",
        "",
        *markdown_table(head, rows),
        "",
        f"Best epoch {best} of {len(history)} ({ended}), by validation tau. Training top-1 is "
        "that of the epoch itself, dropout on.",
        "",
    ]


def _model(result: Mapping[str, Any]) -> list[str]:
    model, speed = result["model"], result["speed"]
    rows = [
        ["parameters as saved", f"{model['parameters']:,}"],
        ["parameters trained", f"{model['trained_parameters']:,}"],
        ["checkpoint", f"{model['megabytes']:.1f} MB"],
        ["peak memory of the process", f"{model['peak_memory_mb']:.0f} MB on {model['device']}"],
        ["training", f"{speed['train_samples_per_s']:.1f} answers/s"],
        ["reading answers, batched", f"{speed['inference_samples_per_s']:.1f} answers/s"],
        ["epoch, median", f"{speed['epoch_ms'] / 1000:.1f} s"],
        ["validation's share of an epoch", f"{100 * speed['validation_share']:.1f} %"],
        ["whole run", f"{speed['total_s']:.0f} s"],
    ]
    return ["## Model and speed", "", *markdown_table(["what", "measured"], rows), ""]


def _projection(result: Mapping[str, Any]) -> list[str]:
    projection = result["projection"]
    rows = [
        [row["name"], f"{row['alpha']:.3f}", *(f"{value:.3f}" for value in values)]
        for row, values in zip(projection["alphas"], projection["expected_tokens"], strict=True)
    ]
    head = ["drafter", "alpha", *(f"gamma {gamma}" for gamma in projection["gammas"])]
    return [
        "## Tokens per forward by the formula",
        "",
        *markdown_table(head, rows),
        "",
        "E(alpha, gamma) = (1 - alpha^(gamma + 1)) / (1 - alpha) takes acceptance as equally "
        "likely everywhere; tau above is what the replay counts. Neither is a speed-up unless "
        "drafting is free and verifying costs one step.",
        "",
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.2f} points"


def _mean(value: Mapping[str, float | None]) -> str:
    mean, deviation = value["mean"], value["std"]
    text = f"{mean:.1f}"
    return text if deviation is None else f"{text} ± {deviation:.1f}"
