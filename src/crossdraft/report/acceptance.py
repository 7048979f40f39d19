"""The figures of an evaluation, its RESULTS.md, and what it writes about drafters that predict
states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import write_text
from crossdraft.report import style
from crossdraft.report.markdown import cell, markdown_table, provenance_lines
from crossdraft.report.state_metrics import states_section, write_state_report
from crossdraft.report.two_phase import seed_cost_section, two_phase_section, write_two_phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = ("acceptance_by_position.png", "tokens_per_forward.png")
#: Lines of one panel; so many colours there are.
_LINES = len(style.COLOURS)
_ROW_INCHES = 0.36


def write_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the figures and write RESULTS.md and the seed study's files.

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
    others = [*write_state_report(result, folder), *write_two_phase(result, folder)]
    return [summary, by_position, per_forward, *others]


def draw_by_position(result: Mapping[str, Any], path: Path) -> None:
    """Share of answers whose token at each position the drafter guesses, given a correct prefix.

    Where there are many drafters they stand in several panels, their twins in the table alone."""
    names = [name for name in result["drafters"] if name != "none"]
    if len(names) > _LINES:
        names = [name for name in names if "@" not in name]
    shares = [names[first : first + _LINES] for first in range(0, len(names), _LINES)] or [[]]
    with style.panels(path, len(shares)) as (figure, all_axes):
        for axes, share in zip(all_axes, shares, strict=True):
            for place, name in enumerate(share):
                alone = len(shares) == 1
                look = style.look(name, names) if alone else style.line(place)
                _draw_curve(axes, result["drafters"][name]["by_position"], name, look)
            axes.set(
                title="Next token guessed, given a correct prefix",
                xlabel="position in the target's answer (tokens)",
                ylabel="answers (%), 95 % band",
                ylim=(0, 102),
            )
            axes.set_xlim(left=0)
            if len(shares) > 1:
                axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        if len(shares) == 1:
            figure.legend(loc="outside lower center", ncols=2, frameon=False)


def _draw_curve(
    axes: Axes, curve: Sequence[Mapping[str, Any]], name: str, look: Mapping[str, Any]
) -> None:
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


def draw_tokens_per_forward(result: Mapping[str, Any], path: Path) -> None:
    """tau of every drafter with its interval; plain decoding is the line at 1. Twins are grey."""
    drafters = result["drafters"]
    ranked = sorted(
        (name for name in drafters if drafters[name]["tau"]["value"] is not None),
        key=lambda name: drafters[name]["tau"]["value"],
    )
    with style.figure(path) as (figure, axes):
        width, height = style.SIZE_INCHES
        figure.set_size_inches(width, max(height, 2.0 + _ROW_INCHES * len(ranked)))
        for row, name in enumerate(ranked):
            value, low, high = (drafters[name]["tau"][key] for key in ("value", "low", "high"))
            reach = None if low is None else [[max(0.0, value - low)], [max(0.0, high - value)]]
            many, twin = len(ranked) > _LINES, "@" in name
            colour = style.look(name, list(drafters))["color"]
            if many:  # colours would come again
                colour = "#BBBBBB" if twin else style.COLOURS[0]
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
            ylim=(-0.6, len(ranked) - 0.4),
        )
        axes.grid(axis="y", visible=False)


_COLUMNS = (
    ("tau", "tau", 1, 2),
    ("alpha", "alpha %", 100, 1),
    ("top5", "top-5 %", 100, 1),
    ("first_window", "first window", 1, 2),
    ("window_tau", "window tau", 1, 2),
    ("following", "following tau", 1, 2),
    ("nothing_accepted", "nothing accepted %", 100, 1),
    ("forwards_per_answer", "forwards/answer", 1, 2),
    ("tau_per_cost", "tau/cost", 1, 2),
    ("position_match", "position match %", 100, 1),
    ("position_match_top5", "position top-5 %", 100, 1),
    ("seed_match", "seed match %", 100, 1),
    ("seed_match_top5", "seed top-5 %", 100, 1),
)


def results_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table that RESULTS.md and the terminal show."""
    drafters = result["drafters"]
    columns = [c for c in _COLUMNS if any(c[0] in metrics for metrics in drafters.values())]
    head = ["drafter", *(title for _, title, _, _ in columns)]
    rows = [
        [name, *(cell(metrics[key], scale, digits) for key, _, scale, digits in columns)]
        for name, metrics in drafters.items()
    ]
    return head, rows


def results_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md: table, figures, what to know, provenance."""
    head, rows = results_table(result)
    data = result["data"]
    lines = [
        "# Acceptance on recorded answers",
        "",
        f"{data['pairs']} answers about {data['clips']} clips, {data['questions']} question(s); "
        f"{data['split']}; {data['proposal']}; "
        f"{'online' if result['config']['online'] else 'static'} drafters.",
        f"Drafter clock: {data['clock']}.",
        "",
        *markdown_table(head, rows),
        "",
        f"Brackets are 95 % intervals, bootstrapped over {data['bootstrap_blocks']} blocks. "
        "`none` is plain decoding; names with `@shuffled` read "
        f"{_shuffled_reads(result)}. "
        "Offline acceptance bounds a speed-up, it is not one: verification and drafting cost time.",
        "",
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in FIGURES),
        "",
        *_differences(result),
        *states_section(result),
        *two_phase_section(result),
        *seed_cost_section(result),
        "## Before using a number",
        "",
        *(f"- {warning}" for warning in result["warnings"] or ["nothing to add"]),
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"


#: Metrics of a difference: key, title, scale, digits.
_COMPARED = (
    ("tau", "tau", 1, 2),
    ("tau_times", "tau, times", 1, 2),
    ("tau_per_cost", "tau/cost", 1, 2),
    ("first_window", "first window", 1, 2),
    ("window_tau", "window tau", 1, 2),
    ("following", "following tau", 1, 2),
    ("alpha", "alpha (points)", 100, 1),
    ("position_match", "position match (points)", 100, 1),
    ("seed_match", "seed match (points)", 100, 1),
)


def differences_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what each drafter that was asked for has over its rivals."""
    compared = result.get("differences", {})
    shown = [c for c in _COMPARED if any(c[0] in m for r in compared.values() for m in r.values())]
    rows = [
        [label, rival, *(cell(metrics[key], scale, digits) for key, _, scale, digits in shown)]
        for label, rivals in compared.items()
        for rival, metrics in rivals.items()
    ]
    return ["drafter", "minus", *(title for _, title, _, _ in shown)], rows


def _differences(result: Mapping[str, Any]) -> list[str]:
    head, rows = differences_table(result)
    if not rows:
        return []
    return [
        "## Differences",
        "",
        *markdown_table(head, rows),
        "",
        "Both sides are drawn together in the bootstrap: an interval without 0 is a difference. "
        "*tau, times* is one tau over the other: an interval without 1. "
        f"`@shuffled` reads {_shuffled_reads(result)}, `@blind` is the same network trained and "
        "run without any.",
        "",
    ]


def _shuffled_reads(result: Mapping[str, Any]) -> str:
    """What shuffled twins were shown."""
    if result["config"].get("shuffled_pairs"):
        return "what the event model says and thinks at another drive's events"
    return "another clip's drafter answer"
