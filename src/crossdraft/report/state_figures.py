"""The three pictures of a state drafter: four panels of its states, the seed study's timeline, and
its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.evaluation.seed_cost import LABEL
from crossdraft.evaluation.state_metrics import ACCEPT, CALIBRATED, TOP
from crossdraft.evaluation.state_summary import meant
from crossdraft.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_READS = {"own": "own answer", "forced": "target's answer"}
_TITLE = f"{LABEL[0].upper()}{LABEL[1:]} a: projected, not measured"
#: Share of the answers that must reach a position for it to be drawn.
_DRAWN = 0.02


def draw_summary(
    rows: Sequence[Mapping[str, Any]], source: str, metrics: Mapping[str, Any], path: Path
) -> None:
    """How near the states are: in all, by position, before the first failure; and the study's
    projections.

    Args:
        rows: of all sources.
        source: the drafter.
        metrics: its `acceptance_metrics.json`.
    """
    shown = _shown(rows, source)
    with style.panels(path, 2, 2) as (canvas, axes):
        _histogram(axes[0], shown)
        _positions(axes[1], shown)
        _runs(axes[2], shown)
        _projections(axes[3], metrics)
        handles, labels = axes[1].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        canvas.suptitle(f"States predicted by {source}", fontsize=18)


def _shown(rows: Sequence[Mapping[str, Any]], source: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The drafter under each alignment, and the controls that say the same token, by label."""
    own = [row for row in rows if row["source"] == source]
    last = own[-1]
    beside = [
        row
        for row in rows
        if row["control"]
        and "@" not in row["source"]
        and row["alignment"] == last["alignment"]
        and (row["shift"] == last["shift"] or row["source"] == "mean-state")
    ]
    return [
        *((f"{source}, {_READS[row['alignment']]}", row) for row in own),
        *((row["source"], row) for row in beside),
    ]


def _look(place: int) -> dict[str, Any]:
    dashes = ("-", "--", "-.", ":")
    return {"color": style.COLOURS[place % 8], "linestyle": dashes[place % 4], "linewidth": 2}


def _histogram(axes: Axes, shown: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    lowest = 1.0
    for place, (_, row) in enumerate(shown):
        counts = meant(row)["histogram"]
        total, bars = max(1, sum(counts)), len(counts)
        edges = [2 * i / bars - 1 for i in range(bars + 1)]
        axes.stairs([100 * n / total for n in counts], edges, **_look(place))
        lowest = min([lowest, *(edges[i] for i, n in enumerate(counts) if n > 0.002 * total)])
    axes.set(
        title="Cosine with the target's state",
        xlabel="cosine",
        ylabel="positions (%)",
        xlim=(lowest - 0.02, 1.0),
    )


def _positions(axes: Axes, shown: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for place, (label, row) in enumerate(shown):
        compared = meant(row)
        least = max(1, _DRAWN * compared["answers"])
        curve = [p for p in compared["by_position"] if p["answers"] >= least]
        axes.plot(
            [p["position"] for p in curve], [p["mean"] for p in curve], label=label,
            marker=style.MARKERS[place % 8], markersize=6, markevery=4, **_look(place),
        )  # fmt: skip
    axes.set(
        title="Mean cosine by position",
        xlabel="position in the target's answer (tokens)",
        ylabel="cosine",
    )
    axes.set_xlim(left=0)


def _runs(axes: Axes, shown: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Positions before the first failure: by cosine, and by token."""
    keys = [f"consecutive_{100 * t:.0f}" for t in ACCEPT]
    titles = [f"> {t:.2f}" for t in ACCEPT]
    if any(meant(row)["calibration"] is not None for _, row in shown):
        keys.append("token_consecutive")
        titles.append("token right")
    _bars(axes, shown, keys, 1)
    axes.set_xticks(range(len(keys)), titles)
    axes.set(
        title="In a row from the start of an answer",
        xlabel="while the cosine is, or the token is",
        ylabel="positions, 95 % interval",
    )
    axes.grid(axis="x", visible=False)


def _bars(
    axes: Axes, shown: Sequence[tuple[str, Mapping[str, Any]]], keys: Sequence[str], scale: float
) -> None:
    """Bars with intervals: a group for each key, a bar for each source."""
    width = 0.8 / len(shown)
    for place, (label, row) in enumerate(shown):
        metrics = meant(row)["metrics"]
        found = [(i, metrics[key]) for i, key in enumerate(keys) if key in metrics]
        left = [i - 0.4 + width * (place + 0.5) for i, _ in found]
        values = [scale * (one["value"] or 0.0) for _, one in found]
        reach = [
            [
                0.0 if one[end] is None else max(0.0, sign * (scale * one[end] - value))
                for (_, one), value in zip(found, values, strict=True)
            ]
            for end, sign in (("low", -1), ("high", 1))
        ]
        axes.bar(
            left, values, width, label=label, color=style.COLOURS[place % 8], yerr=reach, capsize=3,
            hatch=("", "//", "..", "xx")[place % 4], edgecolor="white", linewidth=0,
        )  # fmt: skip


def _projections(axes: Axes, metrics: Mapping[str, Any]) -> None:
    """The study's speed-ups; the line at 1 is the target alone."""
    named = [
        ("prefill", "speedup_prefill"),
        ("decode, γ = " + str(metrics["sd_gamma_decode"]), "speedup_decode_gamma5"),
        ("end to end", "speedup_e2e"),
        ("end to end, by token", "token_sd_e2e_speedup"),
    ]
    found = [(title, metrics[key]) for title, key in named if key in metrics]
    places = range(len(found))
    axes.barh(places, [value for _, value in found], height=0.6, color="#999999")
    for place, (_, value) in enumerate(found):
        axes.annotate(
            f"{value:.2f}", (value, place), (6, 0), textcoords="offset points", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(1.0, color="black", linestyle="--", linewidth=1.2)
    axes.set_yticks(places, [title for title, _ in found])
    axes.invert_yaxis()
    axes.set(
        title=_TITLE + _mistaken(metrics),
        xlabel="speed-up over the target alone (dashed)",
        xlim=(0, 1.15 * max([1.0, *(value for _, value in found)])),
    )
    axes.grid(axis="y", visible=False)


def _mistaken(metrics: Mapping[str, Any]) -> str:
    """A line for the title where the study's comparison is not what the drafter is for."""
    if "copies" in metrics["about"]:
        return "\nfrom state t, which it is given: of copying"
    if "beside" in metrics["about"]:
        return "\nfrom state t, where it says the next one"
    return ""


def timeline_title(metrics: Mapping[str, Any]) -> str:
    """What the timeline shows, and what of."""
    decoded = "no cosine > .90 at the start: nothing drafted"
    if metrics["sd_consecutive_gamma5"]:
        decoded = (
            f"{metrics['sd_iterations']:.1f} verifications of {metrics['sd_gamma_decode'] + 1}, "
            "accepted by cosine > .90"
        )
    return f"{_TITLE}{_mistaken(metrics)}\n{metrics['e2e_num_output_tokens']} tokens, {decoded}"


def draw_timeline(metrics: Mapping[str, Any], source: str, path: Path) -> None:
    """The target alone and with drafts, as the study's cost model a projects them."""
    bars = (
        ("target alone", (("prefill", metrics["baseline_vl_prefill_ms"]),
                          ("decode", metrics["baseline_vl_decode_ms"]))),
        (f"with {source}", (("prefill", metrics["sd_parallel_prefill_ms"]),
                            ("decode", metrics["sd_decode_ms"]))),
    )  # fmt: skip
    looks = {"prefill": (style.COLOURS[0], ""), "decode": (style.COLOURS[4], "//")}
    drawn: set[str] = set()
    with style.figure(path) as (canvas, axes):
        for place, (_, parts) in enumerate(bars):
            start = 0.0
            for name, length in parts:
                colour, hatch = looks[name]
                axes.barh(
                    place, length, left=start, height=0.5, color=colour, hatch=hatch,
                    edgecolor="white", label=None if name in drawn else name,
                )  # fmt: skip
                drawn.add(name)
                start += length
            axes.annotate(
                f"{start:.0f} ms", (start, place), (6, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(range(len(bars)), [title for title, _ in bars])
        axes.invert_yaxis()
        ends = (metrics["baseline_total_ms"], metrics["sd_total_ms"])
        axes.set(
            title=timeline_title(metrics),
            xlabel="time (ms)",
            xlim=(0, 1.15 * max(ends)),
        )
        axes.grid(axis="y", visible=False)
        canvas.legend(loc="outside lower center", ncols=2, frameon=False)


def draw_tokens(rows: Sequence[Mapping[str, Any]], source: str, path: Path) -> None:
    """Which tokens the states give, and how far the cosine foretells that."""
    shown = _shown(rows, source)
    with style.panels(path, 2) as (canvas, (above, below)):
        _bars(above, shown, [f"token_top{k}" for k in TOP], 100)
        above.set_xticks(range(len(TOP)), [f"top-{k}" for k in TOP])
        above.set(
            title=f"Target tokens read off the states of {source}",
            ylabel="positions (%), 95 % interval",
        )
        above.grid(axis="x", visible=False)
        for place, (_, row) in enumerate(shown):
            points = [p for p in meant(row)["calibration"]["above"] if p["count"]]
            below.plot(
                [p["cosine"] for p in points], [100 * p["token_match"] for p in points],
                marker=style.MARKERS[place % 8], markersize=7, **_look(place),
            )  # fmt: skip
        below.set(
            title="Does a high cosine mean the right token?",
            xlabel="where the cosine is above",
            ylabel="first token right (%)",
            xlim=(CALIBRATED[0] - 0.01, CALIBRATED[-1] + 0.01),
            ylim=(0, 102),
        )
        handles, labels = above.get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
