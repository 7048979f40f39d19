"""Curves and RESULTS.md of a training come from the result alone."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.report import style
from crossdraft.report.training import (
    FIGURES,
    draw_accuracy,
    draw_loss,
    training_markdown,
    training_table,
    write_training_report,
)


def epoch_record(epoch: int, epochs: int = 22) -> dict[str, float]:
    """One epoch of a training that learns quickly, then overfits a little."""
    learned = 1 - math.exp(-epoch / 3)
    over = max(0, epoch - 12) * 0.002
    return {
        "epoch": epoch,
        "train_loss": 9.2 - 3.9 * learned - 0.02 * epoch,
        "train_top1": 0.05 + 0.3 * learned + 0.004 * epoch,
        "train_top5": 0.2 + 0.3 * learned,
        "val_loss": 8.4 - 2.8 * learned + 5 * over,
        "val_top1": 0.04 + 0.24 * learned - over + 0.002 * math.sin(3 * epoch),
        "val_top5": 0.3 + 0.15 * learned - over,
        "val_tau": 1.1 + 0.3 * learned - over,
        "learning_rate": 1e-4 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs)),
        "train_ms": 8123.4,
        "validation_ms": 512.3,
        "samples_per_s": 52.17,
    }


def metrics(
    tau: float, alpha: float, top5: float, match: float, match5: float
) -> dict[str, dict[str, float | None]]:
    """A drafter's metrics, each with an interval."""
    values = {
        "tau": tau, "alpha": alpha, "top5": top5,
        "position_match": match, "position_match_top5": match5,
    }  # fmt: skip
    return {
        name: {"value": value, "low": 0.9 * value, "high": 1.1 * value}
        for name, value in values.items()
    }


def stage(mean: float, std: float | None) -> dict[str, float | None]:
    return {"mean": mean, "std": std}


def made_up() -> dict[str, Any]:
    """The result of a training of 22 epochs, like a recorded one."""
    names = {
        "token-adapter": metrics(1.374, 0.2612, 0.4317, 0.2633, 0.4339),
        "token-adapter@shuffled": metrics(1.351, 0.2489, 0.4241, 0.2501, 0.4256),
        "none": metrics(1.0, 0.0, 0.0, 0.0, 0.0),
        "position": metrics(1.489, 0.2711, 0.4599, 0.2765, 0.4631),
        "suffix": metrics(1.873, 0.3414, 0.4972, 0.2904, 0.4113),
        "drafter-text": metrics(1.011, 0.0192, 0.0192, 0.0158, 0.0158),
    }
    stages = {f"stage{n}_ms": stage(10.1 * n, 0.31 * n) for n in range(1, 6)}
    return {
        "command": "train",
        "drafter": "token-adapter",
        "task": "1s",
        "data": {
            "train_pairs": 424, "train_clips": 421, "train_tokens": 20787, "val_pairs": 51,
            "val_clips": 47, "val_tokens": 2533, "split": "validation: blocks, gap 4 clips",
            "format": "extraction", "skipped": {},
        },
        "model": {
            "parameters": 45476096, "trained_parameters": 13012345, "megabytes": 181.9,
            "peak_memory_mb": 1234.5, "device": "cpu",
        },
        "history": [epoch_record(epoch) for epoch in range(1, 23)],
        "best_epoch": 12,
        "stopped_early": True,
        "train": {"top1": 0.3687, "top5": 0.5713, "tau": 1.62, "loss": 5.02},
        "validation": names,
        "baseline_train": metrics(1.02, 0.0402, 0.0402, 0.0371, 0.0371),
        "stages": {
            "eventgpt": {**stages, "total_ms": stage(569.63, 43.8)},
            "videollava": {**stages, "total_ms": stage(1181.14, 16.4)},
        },
        "speed": {
            "train_samples_per_s": 52.17, "epoch_ms": 8635.7, "validation_share": 0.0593,
            "inference_samples_per_s": 417.3, "total_s": 203.4,
        },
        "projection": {
            "alphas": [{"name": "token-adapter", "alpha": 0.2612},
                       {"name": "position", "alpha": 0.2765}],
            "gammas": [3, 5, 7, 10],
            "expected_tokens": [[1.347, 1.3531, 1.3535, 1.3536], [1.374, 1.3816, 1.382, 1.3822]],
        },
        "warnings": ["not used: 3 × no text"],
        "config": {"settings": {"gamma": 5}, "options": {"label_smoothing": 0.1}},
        "provenance": {
            "created": "2026-01-02T03:04:05+00:00",
            "command_line": ["crossdraft", "train", "token-adapter"],
            "git_revision": None,
            "packages": {"torch": "2.5.0"},
            "machine": {"cores": 2, "cpu": "made up", "python": "3.11.7"},
            "inputs": [{"path": "answers.json.gz", "sha256": "ab12"}],
        },
    }  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    return made_up()


@pytest.fixture
def axes(tmp_path: Path) -> Iterator[Any]:
    """Axes as the report's own, with its type sizes."""
    with style.figure(tmp_path / "figure.png") as (_, drawn):
        yield drawn


def row_of(text: str, section: str, first: str) -> list[str]:
    """Cells of the row that begins with `first` in a section's table."""
    body = text.split(f"## {section}\n")[1].split("\n## ")[0]
    (row,) = [line for line in body.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_report_is_written_and_is_the_same_twice(result: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written = write_training_report(copy.deepcopy(result), tmp_path / name)
        assert {path.name for path in written} == {*FIGURES, "RESULTS.md"}
        assert set(written) == set((tmp_path / name).iterdir())
    for file in (*FIGURES, "RESULTS.md"):
        one, two = (tmp_path / name / file for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    for file in FIGURES:
        assert (tmp_path / "one" / file).read_bytes()[:4] == b"\x89PNG"


def test_every_section_says_what_was_measured(result: dict[str, Any]) -> None:
    text = training_markdown(result)
    titles = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert titles == [
        "Summary", "Controls", "Timing", "Training", "Model and speed", "Projections", "Figures",
        "Before using a number", "Provenance",
    ]  # fmt: skip
    best = result["history"][11]
    assert row_of(text, "Summary", "training")[4:] == ["3.71", "36.87", "57.13", "+33.16"]
    assert row_of(text, "Summary", "validation")[4:] == [
        "1.58", f"{100 * best['val_top1']:.2f}", f"{100 * best['val_top5']:.2f}",
        f"{100 * (best['val_top1'] - 0.0158):+.2f}",
    ]  # fmt: skip
    assert "\nValidation: blocks, gap 4 clips. " in text
    assert "`suffix` with 1.87; token-adapter has 1.37" in text
    assert row_of(text, "Timing", "total") == ["total", "569.6 ± 43.8", "1181.1 ± 16.4"]
    assert row_of(text, "Model and speed", "parameters as saved")[1] == "45,476,096"
    assert row_of(text, "Projections", "position")[1:4] == ["0.277", "1.374", "1.382"]
    assert "- not used: 3 × no text" in text
    assert "`crossdraft evaluate` on other drives" in text
    assert all(f"({name})" in text for name in FIGURES)
    assert "sha256 ab12" in text


def test_tables_have_as_many_cells_as_heads(result: dict[str, Any]) -> None:
    text = training_markdown(result)
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


#: Kept in result.json, shown in no table: what the figures or the totals already say.
_NOT_SHOWN = {"epoch", "train_ms", "validation_ms", "samples_per_s", "best_epoch"}


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all numbers of a result that RESULTS.md must show."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _NOT_SHOWN:
                yield from numbers(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, (*path, place))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def change(result: dict[str, Any], path: tuple[Any, ...]) -> None:
    """Move one number far enough to be seen at the digits shown."""
    *parents, last = path
    inner: Any = result
    for key in parents:
        inner = inner[key]
    inner[last] += 1 if isinstance(inner[last], int) else 0.13 * inner[last] + 0.0131


def is_shown(path: tuple[Any, ...]) -> bool:
    if path[0] == "history":
        return path[1] + 1 in (1, 5, 10, 12, 15, 20, 22)
    if path[0] == "baseline_train":
        return path[1:] == ("position_match", "value")
    return path[:2] != ("config", "options")


def test_every_number_of_the_result_is_in_the_text(result: dict[str, Any]) -> None:
    before = training_markdown(result)
    paths = [path for path in numbers(result) if is_shown(path)]
    assert len(paths) > 150
    unseen = []
    for path in paths:
        changed = copy.deepcopy(result)
        change(changed, path)
        if training_markdown(changed) == before:
            unseen.append(path)
    assert unseen == []


def test_no_number_of_a_table_is_made_up(result: dict[str, Any]) -> None:
    """With every number of the result changed, no number in a table stays what it was."""
    changed = copy.deepcopy(result)
    for path in numbers(changed):
        change(changed, path)

    def cells(text: str) -> list[str]:
        rows = [line for line in text.splitlines() if line.startswith("|")]
        # The first column names the row.
        return [cell for row in rows for cell in row.strip("|").split("|")[1:]]

    pairs = zip(cells(training_markdown(result)), cells(training_markdown(changed)), strict=True)
    heads = {"top-5 %", "train top-1 %", "train top-5 %", "val top-1 %", "val top-5 %",
             "position top-5 %"}  # fmt: skip
    same = {one.strip() for one, two in pairs if one == two and re.search(r"\d", one)}
    assert same == heads


def test_selected_epochs(result: dict[str, Any]) -> None:
    def epochs(text: str) -> list[str]:
        body = text.split("## Training\n")[1].split("\n## ")[0]
        return re.findall(r"^\| (\**\d+\**) \|", body, flags=re.MULTILINE)

    text = training_markdown(result)
    assert epochs(text) == ["1", "5", "10", "**12**", "15", "20", "22"]
    assert "Best epoch 12 of 22 (stopped early)" in text
    result["history"] = [epoch_record(epoch, 500) for epoch in range(1, 501)]
    result["stopped_early"] = False
    text = training_markdown(result)
    assert len(epochs(text)) < 16, "a long training has a short table all the same"
    assert {"1", "**12**", "500"} <= set(epochs(text))
    assert "Best epoch 12 of 500 (ran to the end)" in text


def test_a_single_epoch(result: dict[str, Any], tmp_path: Path, axes: Any) -> None:
    result["history"], result["best_epoch"] = result["history"][:1], 1
    write_training_report(result, tmp_path)
    assert "Best epoch 1 of 1" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    draw_loss(result, axes)
    axes.figure.draw_without_rendering()
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_answers_without_times(result: dict[str, Any]) -> None:
    result["stages"]["eventgpt"]["total_ms"] = stage(570.0, None)
    assert row_of(training_markdown(result), "Timing", "total")[1] == "570.0"
    result["stages"] = None
    text = training_markdown(result)
    assert "These answers carry no stage times." in text
    assert "published average times" in text


def test_missing_values_are_dashes(result: dict[str, Any], tmp_path: Path) -> None:
    for measured in (*result["validation"].values(), result["baseline_train"]):
        for name in measured:
            measured[name] = {"value": 0.25, "low": None, "high": None}
    assert training_table(result)[1][0] == ["token-adapter", "0.25", "25.0", "25.0", "25.0", "25.0"]
    assert "no intervals: the held-out answers are a single block" in training_markdown(result)
    nothing = {"value": None, "low": None, "high": None}
    for measured in (*result["validation"].values(), result["baseline_train"]):
        measured.update(dict.fromkeys(measured, nothing))
    write_training_report(result, tmp_path)
    assert training_table(result)[1][0][1:] == ["–"] * 5
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert row_of(text, "Summary", "training")[4] == "–"
    assert row_of(text, "Summary", "training")[-1] == "–"
    assert "Strongest control" not in text


def test_table_shows_intervals(result: dict[str, Any]) -> None:
    head, rows = training_table(result)
    assert head[:4] == ["drafter", "tau", "alpha %", "top-5 %"]
    assert [row[0] for row in rows] == list(result["validation"])
    assert rows[0][1:4] == ["1.37 [1.24, 1.51]", "26.1 [23.5, 28.7]", "43.2 [38.9, 47.5]"]


def test_memory_names_the_device(result: dict[str, Any]) -> None:
    assert "| peak memory of the process | 1,234.5 MB |" in training_markdown(result)
    result["model"]["device"] = "cuda:0"
    assert "| peak memory on cuda:0 | 1,234.5 MB |" in training_markdown(result)


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_accuracy_curves_and_lines_are_those_of_the_result(
    result: dict[str, Any], axes: Any
) -> None:
    draw_accuracy(result, axes)
    curves = [line for line in axes.lines if len(line.get_xdata()) == 22]
    for line, key in zip(curves, ("train_top1", "val_top1", "val_top5"), strict=True):
        expected = [100 * record[key] for record in result["history"]]
        assert list(line.get_ydata()) == pytest.approx(expected)
    assert labels(axes) == [
        "best: 12", "training top-1", "validation top-1", "validation top-5",
        "this drafter, replayed: 26.1", "shuffled, replayed: 24.9", "position top-1: 27.7",
        "position top-5: 46.3", "baseline (raw words): 1.6",
    ]  # fmt: skip
    levels = {round(float(line.get_ydata()[0]), 2) for line in axes.lines}
    assert {26.12, 24.89, 27.65, 46.31, 1.58} <= levels
    dashes = [line.get_linestyle() for line in curves]
    assert len({line.get_marker() for line in curves}) == 3
    assert "--" in dashes and "-" in dashes


def test_loss_curves_are_those_of_the_result(result: dict[str, Any], axes: Any) -> None:
    draw_loss(result, axes)
    curves = [line for line in axes.lines if len(line.get_xdata()) == 22]
    for line, key in zip(curves, ("train_loss", "val_loss"), strict=True):
        assert list(line.get_xdata()) == list(range(1, 23))
        assert list(line.get_ydata()) == [record[key] for record in result["history"]]
    assert labels(axes) == ["best: 12", "training", "validation"]


def test_loss_says_why_it_stays_above_zero(result: dict[str, Any], axes: Any) -> None:
    draw_loss(result, axes)
    assert "label smoothing 0.1" in axes.get_title()
    result["config"]["options"] = {}
    axes.clear()
    draw_loss(result, axes)
    assert axes.get_title() == "Loss"


def test_a_drafter_that_reads_no_words_has_no_shuffled_line(
    result: dict[str, Any], axes: Any
) -> None:
    del result["validation"]["token-adapter@shuffled"]
    draw_accuracy(result, axes)
    assert not any("shuffled" in text for text in labels(axes))
    assert not any(row[0].endswith("@shuffled") for row in training_table(result)[1])


@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
def test_labels_do_not_overlap(result: dict[str, Any], axes: Any, share: float | None) -> None:
    """Also where all lines lie on one another, at either end or amid the axes."""
    if share is not None:
        for measured in result["validation"].values():
            for estimate in measured.values():
                estimate["value"] = share
        for record in result["history"]:
            record.update(train_top1=share, val_top1=share, val_top5=share)
    draw_accuracy(result, axes)
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in (*axes.texts, axes.title)]
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert axes.figure.bbox.x0 <= box.x0 and box.x1 <= axes.figure.bbox.x1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.08))
def test_spread_keeps_order_and_distance(places: list[float], gap: float) -> None:
    moved = style.spread(places, gap)
    order = sorted(range(len(places)), key=lambda item: places[item])
    ranked = [moved[item] for item in order]
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(ranked))
    assert min(moved) >= 0 and max(moved) <= 1 + 1e-9
    if all(places[b] - places[a] >= gap for a, b in itertools.pairwise(order)):
        assert moved == pytest.approx(places, abs=1e-9), "what is apart stays where it is"


def test_spread_moves_neighbours_evenly() -> None:
    assert style.spread([0.5, 0.9, 0.5], 0.1) == pytest.approx([0.45, 0.9, 0.55])
