"""The five stages of both models as tables, RESULTS.md and a figure.

The terminal shows the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import write_text
from crossdraft.report import style
from crossdraft.report.estimate import Table
from crossdraft.report.markdown import markdown_table, provenance_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE = "stages.png"
_FIVE = ("load", "preprocess", "vision", "prefill", "decode")
_MODELS = {"eventgpt": "event model", "videollava": "target"}
_UNTIL = {
    "until_last_pass_starts": "its last prefill pass starts",
    "until_prefill_ends": "its prefill ends",
}
#: Neighbouring stages stay apart in a grey print.
_HATCHES = ("", "//", "", "..", "")


def write_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the figure and write RESULTS.md from the content of result.json; the files written."""
    drawn, summary = folder / FIGURE, folder / "RESULTS.md"
    draw_stages(result, drawn)
    write_text(summary, results_markdown(result))
    return [summary, drawn]


def describe(result: Mapping[str, Any]) -> list[str]:
    """What was measured, on what, in lines."""
    lines = []
    for role, name in (("drafter", "event model"), ("target", "target")):
        model = result["models"][role]
        lines.append(
            f"{name}: {model['architecture']}, {model['parameters']:,} parameters, "
            f"{model['dtype']} on {model['device']}"
        )
    threads = result["threads"]
    return [
        *lines,
        f"{threads} thread{'s' if threads > 1 else ''}; {result['date']}",
        f"asked: {result['question']}",
    ]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Two tables for each length of clips that was measured: stages, and the free window."""
    measured = [group for group in result["durations"] if group["clips"]]
    return [table for group in measured for table in (_stages(group), _window(group))]


def _stages(group: Mapping[str, Any]) -> Table:
    stages = group["stages"]

    def row(name: str, values: Mapping[str, Any], digits: int = 1) -> tuple[str, ...]:
        return (name, *(_spread(values[model], digits) for model in _MODELS))

    def of(key: str) -> dict[str, Any]:
        return {model: stages[model][key] for model in _MODELS}

    rows = [row(f"{n} {name}", of(f"stage{n}_ms")) for n, name in enumerate(_FIVE, start=1)]
    drawing = (_spread(group["render_ms"]["eventgpt"], 1), "–")
    rows.insert(2, ("  of it drawing events", *drawing))
    rows += [row("prefill complete", group["prefill_complete_ms"]), row("total", of("total_ms"))]
    rows += [row("tokens", of("tokens")), row("prompt tokens", group["prompt_tokens"], 0)]
    each = (f"{stages[model]['ms_per_decoded_token']:.2f}" for model in _MODELS)
    rows.insert(-2, ("per decoded token", *each))
    if any(group["peak_memory_bytes"].values()):
        memory = (_gigabytes(group["peak_memory_bytes"][model]) for model in _MODELS)
        rows.append(("peak GPU memory, GB", *memory))
    return Table(
        f"Clips of {group['duration']}: stages, ms",
        ("stage", *_MODELS.values()),
        tuple(rows),
        f"mean ± sample standard deviation over {group['clips']} clips; from raw sensor files, "
        "each model alone. Two models give two answers: no ratio of these times is a speed-up",
    )


def _window(group: Mapping[str, Any]) -> Table:
    found = group["window"]["from_sensor_data"]
    rows = tuple(
        (name, _spread(found[key]["ms"], 1), _spread(found[key]["tokens"], 1))
        for key, name in _UNTIL.items()
    )
    return Table(
        f"Clips of {group['duration']}: the event model's free window",
        ("until, at the target,", "open, ms", "its tokens by then"),
        rows,
        "if both started with the sensor's data and neither slowed the other; open from the event "
        "model's first token on, negative where the target is there first",
    )


def results_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md: tables, figure, what to know, provenance."""
    lines = ["# Five stages of both models", "", *(f"- {said}" for said in describe(result))]
    lines += ["", f"![{FIGURE.removesuffix('.png')}]({FIGURE})", ""]
    for table in tables(result):
        lines += [f"## {table.title}", "", *markdown_table(table.head, table.rows), ""]
        lines += [f"{table.note}.", ""]
    failed = [f"{one['scene']} ({one['role']}): {one['error']}" for one in result["errors"]]
    if failed:
        lines += ["## Clips that failed", "", *(f"- {text}" for text in failed), ""]
    said = result["warnings"] or ["nothing to add"]
    lines += ["## Before using a number", "", *(f"- {text}" for text in said), ""]
    return "\n".join([*lines, *provenance_lines(result)]) + "\n"


def draw_stages(result: Mapping[str, Any], path: Path) -> None:
    """A bar of stages for each model and length of clips: until the first token above, where
    decoding would dwarf the others, and the whole answer below."""
    measured = [group for group in result["durations"] if group["clips"]]
    with style.panels(path, 2) as (canvas, (above, below)):
        _draw_bars(above, measured, _FIVE[:4])
        _draw_bars(below, measured, _FIVE)
        above.set_title("From the sensor's file to the first token, each model alone")
        below.set_title("To the last token")
        canvas.legend(*below.get_legend_handles_labels(), ncols=5, loc="outside lower center")


def _draw_bars(axes: Axes, groups: list[Mapping[str, Any]], stages: tuple[str, ...]) -> None:
    names: list[str] = []
    for group in groups:
        for model, name in _MODELS.items():
            start_ms, level = 0.0, len(names)
            names.append(f"{name}, {group['duration']}")
            for number, stage in enumerate(stages):
                mean_ms = group["stages"][model][f"stage{number + 1}_ms"]["mean"]
                axes.barh(
                    level, mean_ms, left=start_ms, color=style.COLOURS[number], height=0.7,
                    edgecolor="white", linewidth=0.8, hatch=_HATCHES[number],
                    label=None if level else stage,
                )  # fmt: skip
                start_ms += mean_ms
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("time, ms (means)")


def _spread(value: Mapping[str, float | None], digits: int) -> str:
    """`1.2 ± 0.3`; of a single value no deviation."""
    mean, std = value["mean"], value["std"]
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _gigabytes(value: Mapping[str, float | None] | None) -> str:
    return "–" if value is None or value["mean"] is None else f"{value['mean'] / 1e9:.2f}"
