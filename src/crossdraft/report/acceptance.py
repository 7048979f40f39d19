"""The two figures of an evaluation, and its RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_text
from crossdraft.report import style

FIGURES = ("acceptance_by_position.png", "tokens_per_forward.png")


def write_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw both figures and write RESULTS.md.

    Args:
        result: the content of result.json.
        folder: where to write.

    Returns:
        The files written.
    """
    by_position, per_forward = (folder / name for name in FIGURES)
    draw_by_position(result, by_position)
    draw_tokens_per_forward(result, per_forward)
    summary = folder / "RESULTS.md"
    write_text(summary, results_markdown(result))
    return [summary, by_position, per_forward]


def draw_by_position(result: Mapping[str, Any], path: Path) -> None:
    """Share of answers whose token at each position the drafter guesses, given a correct prefix."""
    drafters = {name: d for name, d in result["drafters"].items() if name != "none"}
    with style.figure(path) as (figure, axes):
        for name, metrics in drafters.items():
            curve = metrics["by_position"]
            look = style.look(name, list(drafters))
            seen = [p for p, e in enumerate(curve) if e["value"] is not None]
            values = [100 * curve[p]["value"] for p in seen]
            axes.plot(seen, values, label=name, linewidth=2, markersize=6, markevery=4, **look)
            banded = [p for p in seen if curve[p]["low"] is not None]
            axes.fill_between(
                banded,
                [100 * curve[p]["low"] for p in banded],
                [100 * curve[p]["high"] for p in banded],
                color=look["color"],
                alpha=0.15,
                linewidth=0,
            )
        axes.set(
            title="Next token guessed, given a correct prefix",
            xlabel="position in the target's answer (tokens)",
            ylabel="answers (%), 95 % band",
            ylim=(0, 102),
        )
        axes.set_xlim(left=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)


def draw_tokens_per_forward(result: Mapping[str, Any], path: Path) -> None:
    """tau of every drafter with its interval; plain decoding is the line at 1."""
    drafters = result["drafters"]
    ranked = sorted(
        (name for name in drafters if drafters[name]["tau"]["value"] is not None),
        key=lambda name: drafters[name]["tau"]["value"],
    )
    with style.figure(path) as (_, axes):
        for row, name in enumerate(ranked):
            value, low, high = (drafters[name]["tau"][key] for key in ("value", "low", "high"))
            reach = None if low is None else [[max(0.0, value - low)], [max(0.0, high - value)]]
            colour = style.look(name, list(drafters))["color"]
            axes.barh(row, value, height=0.62, color=colour, xerr=reach, capsize=5)
            axes.annotate(
                f"{value:.2f}",
                (value if high is None else max(value, high), row),
                (8, 0),
                textcoords="offset points",
                va="center",
            )
        axes.axvline(1.0, color="black", linestyle="--", linewidth=1.2)
        longest = max((drafters[name]["tau"]["high"] or 1.0 for name in ranked), default=1.0)
        axes.set(
            title=f"Tokens per target forward\n{result['data']['proposal']}; "
            "dashed: plain decoding",
            xlabel="tau (tokens per forward), 95 % interval",
            yticks=range(len(ranked)),
            yticklabels=ranked,
            xlim=(0, longest * 1.12 + 0.2),
        )
        axes.grid(axis="y", visible=False)


_COLUMNS = (
    ("tau", "tau", 1, 2),
    ("alpha", "alpha %", 100, 1),
    ("top5", "top-5 %", 100, 1),
    ("first_window", "first window", 1, 2),
    ("nothing_accepted", "nothing accepted %", 100, 1),
    ("forwards_per_answer", "forwards/answer", 1, 2),
    ("tau_per_cost", "tau/cost", 1, 2),
    ("position_match", "position match %", 100, 1),
    ("position_match_top5", "position top-5 %", 100, 1),
)


def results_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table that RESULTS.md and the terminal show."""
    drafters = result["drafters"]
    columns = [c for c in _COLUMNS if any(c[0] in metrics for metrics in drafters.values())]
    head = ["drafter", *(title for _, title, _, _ in columns)]
    rows = [
        [name, *(_cell(metrics[key], scale, digits) for key, _, scale, digits in columns)]
        for name, metrics in drafters.items()
    ]
    return head, rows


def results_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md: table, figures, what to know, provenance."""
    head, rows = results_table(result)
    data, origin = result["data"], result["provenance"]
    lines = [
        "# Acceptance on recorded answers",
        "",
        f"{data['pairs']} answers about {data['clips']} clips, {data['questions']} question(s); "
        f"{data['split']}; {data['proposal']}; "
        f"{'online' if result['config']['online'] else 'static'} drafters.",
        f"Drafter clock: {data['clock']}.",
        "",
        *_markdown_table(head, rows),
        "",
        f"Brackets are 95 % intervals, bootstrapped over {data['bootstrap_blocks']} blocks. "
        "`none` is plain decoding; names with `@shuffled` read another clip's drafter answer. "
        "Offline acceptance bounds a speed-up, it is not one: verification and drafting cost time.",
        "",
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in FIGURES),
        "",
        "## Before using a number",
        "",
        *(f"- {warning}" for warning in result["warnings"] or ["nothing to add"]),
        "",
        "## Provenance",
        "",
        f"- made {origin['created']} by `{' '.join(origin['command_line'])}`",
        f"- on {origin['machine']['cores']} cores of {origin['machine']['cpu']}, "
        f"python {origin['machine']['python']}",
        f"- source revision {origin['git_revision'] or 'unknown'}, "
        + ", ".join(f"{name} {number}" for name, number in origin["packages"].items()),
        *(f"- input {item['path']}, sha256 {item['sha256']}" for item in origin["inputs"]),
    ]
    return "\n".join(lines) + "\n"


def _cell(estimate: Mapping[str, float | None], scale: float, digits: int) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    text = f"{scale * value:.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
