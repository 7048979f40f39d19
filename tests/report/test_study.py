"""The summary of a study: complete, linked, and honest about what is missing."""

from __future__ import annotations

from typing import Any

from crossdraft.base.result import Result
from crossdraft.report.study import (
    evaluation_table,
    study_markdown,
    training_table,
    whole_table,
)


def value(number: float | None, low: float | None = None) -> dict[str, float | None]:
    high = None if low is None or number is None else 2 * number - low
    return {"value": number, "low": low, "high": high}


def metrics(tau: float | None) -> dict[str, Any]:
    return {
        "tau": value(tau, 1.0), "alpha": value(0.5, 0.4), "top5": value(0.7, 0.6),
        "first_window": value(2.0, 1.0), "nothing_accepted": value(0.1, 0.0),
        "forwards_per_answer": value(9.0, 8.0), "position_match": value(0.25),
        "position_match_top5": value(0.3),
    }  # fmt: skip


def result(**changes: Any) -> dict[str, Any]:
    evaluation = {
        "setting": "chain", "folder": "1s/evaluate-chain", "proposal": "chain of 5",
        "split": "trained on a.json", "online": False, "warnings": ["few blocks"],
        "drafters": {"none": metrics(1.0), "translator": metrics(2.0)},
        "differences": {"translator": {"none": {"tau": value(1.0, 0.5)}}},
    }  # fmt: skip
    training = {
        "drafter": "translator", "folder": "1s/train-translator", "parameters": 1234,
        "best_epoch": 7, "epochs": 9, "stopped_early": True, "validation": metrics(2.5),
    }  # fmt: skip
    dataset = {
        "name": "1s", "train": "a.json", "test": "b.json", "trainings": [training],
        "evaluations": [{**evaluation, **changes.pop("evaluation", {})}], **changes,
    }  # fmt: skip
    payload = {"study": "tokens", "datasets": [dataset]}
    return Result("study", payload, {}, warnings=["1s: neighbours"]).to_json()


def test_summary_has_tables_links_and_warnings() -> None:
    text = study_markdown(result())
    for line in (
        "# Study tokens",
        "Learned from a.json, tested on b.json.",
        "| translator | 7 of 9 | 2.50 [1.00, 4.00] | 50.0 [40.0, 60.0] | 25.0 |",
        "- [translator: model, curves, tables](1s/train-translator/)",
        "### chain: chain of 5, static; trained on a.json",
        "| translator | 2.00 [1.00, 3.00] | 50.0 [40.0, 60.0] | 70.0 [60.0, 80.0] | 25.0 |",
        "| translator | none | 1.00 [0.50, 1.50] |",
        "- few blocks",
        "- [every column and the figures](1s/evaluate-chain/)",
        "- 1s: neighbours",
        "## Provenance",
    ):
        assert line in text.splitlines(), line


def test_without_trainings_and_differences() -> None:
    lean = result(
        trainings=[], test=None, evaluation={"differences": {}, "setting": None, "online": True}
    )
    text = study_markdown(lean)
    assert "split into folds" in text
    assert "best epoch" not in text and "minus" not in text
    assert "### chain of 5, online; trained on a.json" in text.splitlines()


def test_tables_line_up() -> None:
    dataset = result(evaluation={"drafters": {"none": metrics(None)}})["datasets"][0]
    for head, rows in (training_table(dataset), evaluation_table(dataset["evaluations"][0])):
        assert rows and all(len(row) == len(head) for row in rows)
    assert evaluation_table(dataset["evaluations"][0])[1][0][1] == "–"


def test_a_shuffled_twin_stands_under_the_alignment_of_its_drafter() -> None:
    def row(source: str, alignment: str, cosine: float) -> dict[str, Any]:
        control = source != "translator"
        return {"source": source, "alignment": alignment, "control": control,
                "cosine": value(cosine), "accept_90": value(0.0)}  # fmt: skip

    twin = "translator@shuffled"
    made = result(
        evaluation={
            "drafters": {"translator": metrics(2.0), twin: metrics(1.5)},
            "states": [
                row("translator", "own", 0.1), row("translator", "forced", 0.2),
                row(twin, "own", 0.3), row(twin, "forced", 0.4), row("mean-state", "own", 0.5),
            ],
        }
    )  # fmt: skip
    dataset = made["datasets"][0]
    dataset["trainings"][0]["alignment"] = "forced"

    def cosines() -> dict[str, str]:
        head, rows = whole_table(made, dataset)
        return {cells[0]: cells[head.index("cosine")] for cells in rows}

    assert cosines() == {"translator": "0.200", twin: "0.400", "mean-state, own": "0.500"}
    del dataset["evaluations"][0]["states"][3]
    assert cosines()[twin] == "–", "nothing else may stand beside the drafter's own"


def test_a_measured_speed_up_stands_beside_its_own_drafter() -> None:
    timed = {
        "suffix+translator": 1.3, "translator+typical": 1.9, "translator+unasked": 1.8,
        "translator+sequential": 1.1,
        "translator+shuffled": 0.9, "suffix": 1.2, "seed-procedure=translator": 0.8,
    }  # fmt: skip
    names = ("suffix", "translator", "suffix+translator", "translator@shuffled")
    made = result(evaluation={"drafters": {name: metrics(2.0) for name in names}})
    made["wallclock"] = {
        "configurations": [{"name": name, "speedup": value(n)} for name, n in timed.items()]
    }
    head, rows = whole_table(made, made["datasets"][0])
    shown = {row[0]: row[head.index("speed-up") :] for row in rows}
    assert shown == {
        "suffix": ["1.20", "–"], "translator": ["1.10", "0.80"],
        "suffix+translator": ["1.30", "–"], "translator@shuffled": ["0.90", "–"],
    }  # fmt: skip
