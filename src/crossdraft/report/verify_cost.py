"""What verification costs, as tables, RESULTS.md and a figure.

The terminal shows the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossdraft.base.acceptance import expected_tokens
from crossdraft.base.files import write_text
from crossdraft.report import style
from crossdraft.report.estimate import Table
from crossdraft.report.markdown import markdown_table, provenance_lines
from crossdraft.vlm.cost_curve import Cost, CostCurves, cost_curves_from

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE = "verify_cost.png"
#: Acceptance that the figure shows.
_SHOWN = (0.3, 0.5, 0.7, 0.9)


def write_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the figure and write RESULTS.md from the content of result.json; the files written."""
    drawn, summary = folder / FIGURE, folder / "RESULTS.md"
    draw_verify_cost(result, drawn)
    write_text(summary, results_markdown(result))
    return [summary, drawn]


def describe(result: Mapping[str, Any]) -> list[str]:
    """What was measured, on what, in lines."""
    setup = result["setup"]
    count = setup["threads"]  # 0 where the device is no CPU
    threads = f", {count} thread{'s' if count > 1 else ''}" if count else ""
    steps = "compiled steps, " if setup["compiled"] else ""
    return [
        f"{result['model']}: {setup['parameters']:,} parameters, {setup['layers']} layers",
        f"{setup['dtype']} on {setup['device']}{threads}; {setup['attention']} attention, "
        f"{steps}{setup['cache']} cache",
        f"torch {setup['torch']}, transformers {setup['transformers']}",
        f"{setup['context']:,} tokens in the cache, {result['repeats']} rounds, {result['date']}",
    ]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Every table, in reading order.

    Args:
        result: the content of result.json.
    """
    curves = _curves(result)
    made = [_passes(curves)]
    if curves.tail:
        made.append(_tails(curves))
    return [*made, _advice(result["advice"])]


def _passes(curves: CostCurves) -> Table:
    rows = [
        (str(chain.tokens), f"{chain.ms:.2f}", _ratio(chain), f"{tree.ms:.2f}", _ratio(tree))
        for chain, tree in zip(curves.chain, curves.tree, strict=True)
    ]
    return Table(
        "A pass over k tokens",
        ("k", "chain ms", "chain T(k)/T(1)", "tree ms", "tree T(k)/T(1)"),
        tuple(rows),
        "k counts the root; times are medians, ratios medians of those within one round, with "
        "their quartiles",
    )


def _tails(curves: CostCurves) -> Table:
    rows = []
    for tail in curves.tail:
        own = curves.cost(tail.tokens + 1, "chain") if tail.tokens < curves.widest else None
        rows.append(
            (
                str(tail.tokens),
                f"{tail.ms:.2f}",
                _ratio(tail),
                "–" if own is None else f"{own:.2f}",
                "–" if own is None else f"{own - tail.ratio:.2f}",
            )
        )
    return Table(
        "A chain of drafts on the prefill's tail",
        ("drafts", "adds ms", "adds T(1)", "own pass, T(1)", "saved, T(1)"),
        tuple(rows),
        f"added to the prefill of a question of {curves.setup.question} tokens, which takes "
        f"{curves.prefill_ms:.2f} ms; beside it a pass of its own over the same drafts, in plain "
        f"steps of {curves.step_ms:.2f} ms",
    )


def _advice(advice: Mapping[str, Any]) -> Table:
    rows = [
        (
            f"{chain['alpha']:.1f}",
            str(chain["gamma"]),
            f"{chain['tokens_per_pass']:.2f}",
            f"{chain['speedup']:.2f}",
            str(tree["gamma"]),
            f"{tree['tokens_per_pass']:.2f}",
            f"{tree['speedup']:.2f}",
        )
        for chain, tree in zip(advice["chain"], advice["tree"], strict=True)
    ]
    return Table(
        "Advised width by acceptance",
        ("alpha", "chain gamma", "chain tokens", "chain speed-up", "tree nodes", "tree tokens",
         "tree speed-up"),
        tuple(rows),
        "tokens per pass and per T(1) if drafting is free and every pass has that many drafts; "
        "0: do not draft. Trees take the r-th guess to be right with probability alpha/r where "
        "those before it are wrong",
    )  # fmt: skip


def results_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md: tables, figure, what to know, provenance."""
    lines = ["# What a verification pass costs", "", *(f"- {said}" for said in describe(result))]
    lines += ["", f"![{FIGURE.removesuffix('.png').replace('_', ' ')}]({FIGURE})", ""]
    for table in tables(result):
        lines += [f"## {table.title}", "", *markdown_table(table.head, table.rows), ""]
        lines += [f"{table.note}.", ""]
    said = [*result["warnings"], *result["notes"]]
    lines += [
        "## Before using a number",
        "",
        *(f"- {sentence}" for sentence in said or ["nothing to add"]),
        "",
        "`result.json` is a file for `--cost-curve`: its curve is that of trees, levelled so that "
        "it never falls.",
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"


def draw_verify_cost(result: Mapping[str, Any], path: Path) -> None:
    """Cost by width above, what it leaves of the drafts below."""
    curves = _curves(result)
    with style.panels(path, 2) as (_, (above, below)):
        _draw_costs(above, curves)
        _draw_gains(below, curves)


def _draw_costs(axes: Axes, curves: CostCurves) -> None:
    """T(k)/T(1) of chains and trees with their quartiles, and what a tail adds."""
    ends = []
    lines: list[tuple[str, list[int], tuple[Cost, ...]]] = [
        ("tree", [c.tokens for c in curves.tree], curves.tree),
        ("chain", [c.tokens for c in curves.chain], curves.chain),
        # Over the same drafts a pass of its own has one token more, the root.
        ("on a prefill's tail", [c.tokens + 1 for c in curves.tail], curves.tail),
    ]
    for place, (name, tokens, costs) in enumerate(lines):
        if not costs:
            continue
        colour = style.COLOURS[place]
        ratio = [cost.ratio for cost in costs]
        axes.plot(
            tokens, ratio, color=colour, linestyle=("-", "--", "-.")[place],
            marker=style.MARKERS[place], linewidth=2, markersize=6,
        )  # fmt: skip
        axes.fill_between(
            tokens,
            [cost.low for cost in costs],
            [cost.high for cost in costs],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
        ends.append(style.LineEnd(tokens[-1], ratio[-1], name, colour))
    axes.axhline(1.0, color="black", linestyle="--", linewidth=1.2)
    axes.set(
        title="What verifying k - 1 drafts costs\n"
        f"{curves.setup.dtype}, {curves.setup.context:,} tokens in the cache; dashed: a plain step",
        xlabel="k, tokens of the pass: the root and k - 1 drafts",
        ylabel="time / T(1), quartile band",
        xlim=(0, curves.widest * 1.02),
    )
    axes.set_ylim(bottom=min(0.0, *(cost.low for cost in (*curves.tree, *curves.tail))))
    style.label_ends(axes, ends)


def _draw_gains(axes: Axes, curves: CostCurves) -> None:
    """Tokens per T(1) by the length of a chain; the advised one is marked."""
    gammas = np.arange(curves.widest)
    costs = np.array([curves.cost(1 + gamma, "chain") for gamma in gammas.tolist()])
    ends = []
    for place, alpha in enumerate(_SHOWN):
        colour = style.COLOURS[place]
        gains = np.array([expected_tokens(alpha, gamma) for gamma in gammas.tolist()]) / costs
        advice = curves.advise(alpha, "chain")
        axes.plot(gammas, gains, color=colour, linewidth=2)
        axes.plot(
            advice.gamma, advice.speedup, color=colour, marker=style.MARKERS[place], markersize=11
        )
        axes.annotate(
            str(advice.gamma), (advice.gamma, advice.speedup), (0, 10), ha="center",
            textcoords="offset points", fontsize=13,
        )  # fmt: skip
        ends.append(style.LineEnd(float(gammas[-1]), float(gains[-1]), f"alpha {alpha:g}", colour))
    axes.axhline(1.0, color="black", linestyle="--", linewidth=1.2)
    axes.set(
        title="What is left of a chain of drafts\nmarked: the advised length; dashed: plain "
        "decoding",
        xlabel="gamma, drafts of a pass",
        ylabel="tokens per T(1)",
        xlim=(-0.02 * curves.widest, curves.widest),
    )
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.08)
    style.label_ends(axes, ends)


def _curves(result: Mapping[str, Any]) -> CostCurves:
    return cost_curves_from(dict(result), Path("result.json"))


def _ratio(cost: Cost) -> str:
    """`1.23 [1.10, 1.40]`; the plain step is 1 by definition."""
    if cost.low == cost.high:
        return f"{cost.ratio:.2f}"
    return f"{cost.ratio:.2f} [{cost.low:.2f}, {cost.high:.2f}]"
