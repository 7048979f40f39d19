"""The report of a training: curves by epoch, and RESULTS.md with every table.

Numbers come from the result alone. Shares by epoch are teacher-forced; everything beside a control
is what the replay counts, and is drawn and tabled apart from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import write_text
from crossdraft.report import style
from crossdraft.report.markdown import cell, markdown_table, provenance_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = ("training_curves.png", "loss_curve.png", "accuracy_curve.png")
_STAGES = ("data loading", "preprocessing", "vision encoding", "prefill", "decoding")
#: The event model's raw words, position by position: what the seed study called the baseline.
_BASELINE = "drafter-text"
_SHUFFLED = "@shuffled"


def write_training_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the three figures and write RESULTS.md.

    Args:
        result: the content of result.json.
        folder: where to write.

    Returns:
        The files written.
    """
    both, loss, accuracy = (folder / name for name in FIGURES)
    drawn = [draw_loss, draw_accuracy]
    if predicts_states(result):
        drawn += [draw_states, draw_tau]
    columns = len(drawn) // 2
    with style.panels(both, 2, columns) as (_, panels):
        for draw, axes in zip(drawn, panels, strict=True):
            draw(result, axes)
    with style.figure(loss) as (_, axes):
        draw_loss(result, axes)
    with style.figure(accuracy) as (_, axes):
        draw_accuracy(result, axes)
    summary = folder / "RESULTS.md"
    write_text(summary, training_markdown(result))
    return [summary, both, loss, accuracy]


def predicts_states(result: Mapping[str, Any]) -> bool:
    """Whether what was trained predicts states of the target."""
    return "val_cos_sim" in result["history"][0]


def draw_states(result: Mapping[str, Any], axes: Axes) -> None:
    """How near predicted states come to the true ones, by epoch."""
    ends = [
        _curve(axes, result, "train_cos_sim", 1, "training cosine", 0, "--"),
        _curve(axes, result, "val_cos_sim", 1, "validation cosine", 1, "-"),
        _curve(axes, result, "val_accept_90", 1, "validation, share above 0.90", 2, "-"),
    ]
    axes.set(title="Predicted states against the target's", ylabel="cosine; share of positions")
    _by_epoch(result, axes)
    axes.set_ylim(top=1.02)
    style.label_ends(axes, [end for end in ends if end is not None])


def draw_tau(result: Mapping[str, Any], axes: Axes) -> None:
    """Tokens per forward of the validation's chains, by epoch."""
    end = _curve(axes, result, "val_tau", 1, "validation tau", 1, "-")
    gamma = result["config"]["settings"]["gamma"]
    axes.set(title=f"Chains of {gamma}, everything arrived", ylabel="tokens per target forward")
    _by_epoch(result, axes)
    style.label_ends(axes, [] if end is None else [end])


def draw_loss(result: Mapping[str, Any], axes: Axes) -> None:
    """Training and validation loss by epoch, in nats per token."""
    ends = [
        _curve(axes, result, "train_loss", 1, "training", 0, "--"),
        _curve(axes, result, "val_loss", 1, "validation", 1, "-"),
    ]
    smoothing = result["config"]["options"].get("label_smoothing")
    floor = f" (label smoothing {smoothing:g}: never 0)" if smoothing else ""
    if result["config"]["options"].get("loss") == "seed":
        unit = "squared error and cosine"
    elif predicts_states(result):
        unit = "nats per token, and what is added"
    else:
        unit = "cross-entropy (nats per token)"
    axes.set(title=f"Loss{floor}", ylabel=unit)
    _by_epoch(result, axes)
    style.label_ends(axes, [end for end in ends if end is not None])


#: Lines of the accuracy figure: drafter, metric, label, place in the palette, dashes. The first
#: is the trained drafter by the measure of its controls, which no curve is drawn by.
_LINES = (
    ("", "alpha", "this drafter, replayed", 5, (0, (8, 2))),
    (_SHUFFLED, "alpha", "shuffled, replayed", 3, (0, (4, 1.5, 1, 1.5, 1, 1.5))),
    ("position", "position_match", "position top-1", 4, (0, (1, 1.5))),
    ("position", "position_match_top5", "position top-5", 4, (0, (6, 2, 1, 2))),
    (_BASELINE, "position_match", "baseline (raw words)", 6, (0, (3, 3))),
)


def draw_accuracy(result: Mapping[str, Any], axes: Axes) -> None:
    """Top-1 and top-5 by epoch, with the best model and what needs no training as lines."""
    ends = [
        _curve(axes, result, "train_top1", 100, "training top-1", 0, "--"),
        _curve(axes, result, "val_top1", 100, "validation top-1", 1, "-"),
        _curve(axes, result, "val_top5", 100, "validation top-5", 2, "-"),
    ]
    for name, metric, label, place, dashes in _LINES:
        whole = result["drafter"] + name if name in ("", _SHUFFLED) else name
        value = result["validation"].get(whole, {}).get(metric, {}).get("value")
        if value is None:
            continue
        colour = style.COLOURS[place]
        axes.axhline(100 * value, color=colour, linestyle=dashes, linewidth=1.8, zorder=1.5)
        ends.append(style.LineEnd(None, 100 * value, f"{label}: {100 * value:.1f}", colour))
    axes.set(title=f"Target tokens guessed by {result['drafter']}", ylabel="target tokens (%)")
    _by_epoch(result, axes)
    validated = [100 * record["val_top5"] for record in result["history"]]
    highest = max([end.y for end in ends if end is not None] + validated)
    axes.set_ylim(0, max(1.0, min(102.0, 1.08 * highest)))
    style.label_ends(axes, [end for end in ends if end is not None])


def _curve(
    axes: Axes,
    result: Mapping[str, Any],
    key: str,
    scale: float,
    label: str,
    place: int,
    dash: str,
) -> style.LineEnd | None:
    """One value of every epoch; returns where the curve ends, None where nobody counted it."""
    history = result["history"]
    if any(key not in record for record in history):
        return None
    values = [scale * record[key] for record in history]
    epochs = [record["epoch"] for record in history]
    colour = style.COLOURS[place]
    axes.plot(
        epochs, values, color=colour, marker=style.MARKERS[place], linestyle=dash,
        linewidth=2, markersize=6, markevery=max(1, len(history) // 20),
    )  # fmt: skip
    return style.LineEnd(epochs[-1], values[-1], label, colour)


def _by_epoch(result: Mapping[str, Any], axes: Axes) -> None:
    """The horizontal axis, and a mark at the epoch that was kept."""
    best = result["best_epoch"]
    axes.axvline(best, color="grey", linewidth=1.2, zorder=1)
    axes.annotate(
        f"best: {best}", (best, 1.0), (0, 3), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="center", va="bottom", fontsize=13,
    )  # fmt: skip
    axes.set(xlabel="epoch", xlim=(0.5, len(result["history"]) + 0.5))
    axes.set_title(axes.get_title(), pad=24)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)


#: Columns of the table of drafters: metric, title, scale, digits.
_COLUMNS = (
    ("tau", "tau", 1, 2),
    ("alpha", "alpha %", 100, 1),
    ("top5", "top-5 %", 100, 1),
    ("position_match", "position match %", 100, 1),
    ("position_match_top5", "position top-5 %", 100, 1),
)


def training_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the trained drafter and the controls on the held-out answers.

    `alpha` is the share of next tokens guessed (top-1), in percent, as in an evaluation.
    """
    rows = [
        [name, *(cell(metrics[key], scale, digits) for key, _, scale, digits in _COLUMNS)]
        for name, metrics in result["validation"].items()
    ]
    return ["drafter", *(title for _, title, _, _ in _COLUMNS)], rows


def training_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md of a training."""
    lines = [
        f"# Training of {result['drafter']}{_on_task(result)}",
        "",
        *_summary(result),
        *_controls(result),
        *_timing(result),
        *_training(result),
        *_model(result),
        *_projection(result),
        "## Figures",
        "",
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in FIGURES),
        "",
        "In the accuracy figure curves are teacher-forced, and lines are what the replay counts: "
        "hold a control against `this drafter, replayed`, not against a curve. `baseline` is "
        "position match of the event model's raw words, `position` the most frequent token at each "
        "position.",
        "",
        "## Before using a number",
        "",
        *(f"- {warning}" for warning in (*result["warnings"], *_notes(result))),
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"


def _on_task(result: Mapping[str, Any]) -> str:
    """What it was trained on, where the data has a name."""
    return "" if result["task"] == result["drafter"] else f" on {result['task']}"


def _summary(result: Mapping[str, Any]) -> list[str]:
    """Baseline, drafter and what it adds, on both parts by the same measure."""
    data = result["data"]
    best = result["history"][result["best_epoch"] - 1]
    sides = (
        ("training", "train", result["baseline_train"], result["train"]["top1"],
         result["train"]["top5"]),
        ("validation", "val", result["validation"][_BASELINE], best["val_top1"],
         best["val_top5"]),
    )  # fmt: skip
    rows = []
    for name, key, baseline, top1, top5 in sides:
        base = baseline["position_match"]["value"]
        gained = "–" if base is None else f"{100 * (top1 - base):+.2f}"
        counts = [f"{data[f'{key}_{kind}']:,}" for kind in ("pairs", "clips", "tokens")]
        rows.append([name, *counts, *map(_percent, (base, top1, top5)), gained])
    head = ["part", "answers", "clips", "tokens", "baseline %", f"{result['drafter']} %",
            "top-5 %", "improvement (points)"]  # fmt: skip
    return [
        "## Summary",
        "",
        *markdown_table(head, rows),
        "",
        f"{data['split'][:1].upper()}{data['split'][1:]}. The baseline is the event model's raw "
        "words, compared token by token at the same position. The drafter's shares are "
        "teacher-forced: it reads all of the event model's answer, dropout off, and only tokens "
        "that the network is asked for count. "
        "The table of controls holds like against like.",
        "",
    ]


def _controls(result: Mapping[str, Any]) -> list[str]:
    drafter, measured = result["drafter"], result["validation"]
    head, rows = training_table(result)
    lines = [
        "## Controls",
        "",
        *markdown_table(head, rows),
        "",
        f"Replayed on the {result['data']['val_pairs']:,} held-out answers with chains of "
        f"{result['config']['settings']['gamma']} drafts; every token counts, and words of the "
        "event model only once they have arrived (for position match, all of them). Brackets are "
        "95 % block-bootstrap intervals. `none` is plain decoding; `@shuffled` reads another "
        "clip's words.",
        "",
    ]
    taus = {name: m["tau"]["value"] for name, m in measured.items() if m["tau"]["value"]}
    rivals = [name for name in taus if name != drafter]
    if drafter in taus and rivals:
        first = max(rivals, key=lambda name: float(taus[name]))
        lines += [f"Strongest control by tau: `{first}` with {taus[first]:.2f}; {drafter} has "
                  f"{taus[drafter]:.2f}.", ""]  # fmt: skip
    return lines


def _timing(result: Mapping[str, Any]) -> list[str]:
    stages = result["stages"]
    lines = ["## Timing", ""]
    if stages is None:
        return [*lines, "These answers carry no stage times.", ""]
    keys = [*(f"stage{number}_ms" for number in range(1, 6)), "total_ms"]
    rows = [
        [title, *(_spread(stages[model][key]) for model in ("eventgpt", "videollava"))]
        for title, key in zip((*_STAGES, "total"), keys, strict=True)
    ]
    return [
        *lines,
        *markdown_table(["stage (ms)", "event model", "target"], rows),
        "",
        "Mean ± sample standard deviation, as recorded with the answers. The two models answer "
        "in different words, so a ratio of their times is no speed-up.",
        "",
    ]


def _training(result: Mapping[str, Any]) -> list[str]:
    history, best = result["history"], result["best_epoch"]
    step = 5 * math.ceil(len(history) / 60)
    rows = []
    for epoch in sorted({1, best, len(history), *range(step, len(history), step)}):
        record = history[epoch - 1]
        cells = [
            str(epoch), f"{record['train_loss']:.4f}", _share(record, "train_top1"),
            _share(record, "train_top5"), f"{record['val_loss']:.4f}",
            f"{100 * record['val_top1']:.2f}", f"{100 * record['val_top5']:.2f}",
            f"{record['val_tau']:.3f}", f"{record['learning_rate']:.2e}",
        ]  # fmt: skip
        rows.append([f"**{text}**" for text in cells] if epoch == best else cells)
    head = ["epoch", "train loss", "train top-1 %", "train top-5 %", "val loss", "val top-1 %",
            "val top-5 %", "val tau", "learning rate"]  # fmt: skip
    ended = "stopped early" if result["stopped_early"] else "ran to the end"
    return [
        "## Training",
        "",
        *markdown_table(head, rows),
        "",
        f"Best epoch {best} of {len(history)} ({ended}), by validation tau (all words there). "
        "Training columns are those of the epoch itself, dropout on; the best model reaches loss "
        f"{result['train']['loss']:.4f} and tau {result['train']['tau']:.3f} on the training "
        "answers, dropout off.",
        "",
    ]


def _model(result: Mapping[str, Any]) -> list[str]:
    model, speed = result["model"], result["speed"]
    # Where it trained on a GPU, the memory is the GPU's.
    whose = "of the process" if model["device"] == "cpu" else f"on {model['device']}"
    rows = [
        ["device", model["device"]],
        ["parameters as saved", f"{model['parameters']:,}"],
        ["parameters trained", f"{model['trained_parameters']:,}"],
        ["checkpoint", f"{model['megabytes']:.1f} MB"],
        [f"peak memory {whose}", f"{model['peak_memory_mb']:,.1f} MB"],
        ["training", f"{speed['train_samples_per_s']:,.1f} answers/s"],
        ["inference, batched", f"{speed['inference_samples_per_s']:,.1f} answers/s"],
        ["epoch, median", f"{speed['epoch_ms'] / 1000:.2f} s"],
        ["validation's share of the epochs", f"{100 * speed['validation_share']:.1f} %"],
        ["whole run", f"{speed['total_s']:,.1f} s"],
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
        "## Projections",
        "",
        *markdown_table(head, rows),
        "",
        "Tokens per target forward if every draft is accepted with probability alpha, "
        "independently: E(alpha, gamma) = (1 - alpha^(gamma + 1)) / (1 - alpha) (Leviathan et "
        "al., 2023). A speed-up only where drafting is free and a forward over gamma + 1 tokens "
        "costs one step; tau above is what the replay counts.",
        "",
    ]


def _notes(result: Mapping[str, Any]) -> list[str]:
    """What holds for every training, and what this one's numbers lack."""
    notes = [
        "validation chose the epoch, so its numbers flatter: for a test, run `crossdraft "
        "evaluate` on other drives",
        "training answers were learned from: their row says how well, not how the drafter does "
        "on new ones",
    ]
    if result["validation"][result["drafter"]]["tau"]["low"] is None:
        notes.append("no intervals: the held-out answers are a single block")
    if result["stages"] is None:
        notes.append("arrival of words follows published average times, not this file's")
    return notes


def _share(record: Mapping[str, float], key: str) -> str:
    """A share of an epoch in percent; of a loss over states none are counted in training."""
    return f"{100 * record[key]:.1f}" if key in record else "–"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _spread(value: Mapping[str, float | None]) -> str:
    mean, deviation = value["mean"], value["std"]
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"
