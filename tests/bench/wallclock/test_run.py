"""The whole benchmark over tiny models: what is in its result, and whose folder it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.progress import silent
from crossdraft.bench.wallclock.configuration import Configuration
from crossdraft.bench.wallclock.measure import LINES, Lines
from crossdraft.bench.wallclock.outcome import Outcome, _best
from crossdraft.bench.wallclock.plan import Plan
from crossdraft.bench.wallclock.run import PLAN, run
from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import Pair, PairSet
from tests.bench.wallclock.ground import TEXTS, Site, prepare, stay_here, with_costs

#: Takes whatever is drafted.
LOSSY = "drafter-text+sequential+nodes=4+top-k=9999"
CONFIGS = (
    "none", "hf-generate", "none+sequential", "none+overlap", "drafter-only",
    "drafter-text+sequential+shuffled", "suffix+nodes=4", "seed-procedure", LOSSY,
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def whole(site: Site) -> Outcome:
    """Everything there is, two rounds of it."""
    config = site.config(",".join(CONFIGS), rounds=2, warmup=1)
    with pytest.MonkeyPatch.context() as patch:
        stay_here(patch)
        return run(config, with_costs(site.folder / "whole"))


def by_name(found: Outcome) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found.payload["configurations"]}


def test_every_configuration_is_in_the_result(whole: Outcome, site: Site) -> None:
    json.dumps(whole.payload, allow_nan=False)
    rows = by_name(whole)
    assert tuple(rows) == CONFIGS
    for name, row in rows.items():
        if name == "drafter-only":
            assert row["equality"] is None and row["speedup"] is None
        elif name == LOSSY:
            assert row["lossy"] and row["speedup"]["value"] > 0, "named, so it may be compared"
            assert row["equality"] == {"answers": 4, "equal": 0, "rounding": 0, "differences": []}
        else:
            equality = row["equality"]
            assert (equality["answers"], equality["equal"]) == (4, 4)
            assert equality["differences"] == [] and row["speedup"]["value"] > 0
    assert rows["drafter-text+sequential+shuffled"]["shuffled"] is True
    assert [rows[name]["verify"] for name in ("none", "suffix+nodes=4", "seed-procedure")] == [
        None, "tail", "separate",
    ]  # fmt: skip
    runs = Lines(site.folder / "whole" / LINES).runs
    assert len(runs) == len(CONFIGS) * 2 * (4 + 2)


def test_predictions_come_from_validation_drives(whole: Outcome) -> None:
    for name, row in by_name(whole).items():
        if name == LOSSY:
            assert row["prediction"] is None, "nobody knows its answers beforehand"
        else:
            assert row["prediction"]["total_ms"] > 0 and not row["lossy"]
    assert whole.payload["calibration"] == {"questions": 2, "drives": ["train-0001"]}
    assert by_name(whole)["none"]["prediction"]["speedup"] == 1.0


def test_the_hidden_share_and_an_example_are_there(whole: Outcome, site: Site) -> None:
    found = whole.payload["overlap"]
    assert (found["answers"], found["left_out"]) == (4, 0)
    assert whole.payload["best"] == "suffix+nodes=4"
    shown = whole.payload["example"]
    assert shown["configuration"]["configuration"] == whole.payload["best"]
    assert whole.example is not None
    assert len(shown["configuration"]["tokens"]) == len(whole.example.plain.tokens) == 6
    assert whole.example.drafted.tokens == whole.example.plain.tokens
    assert any("simulated" in said for said in whole.warnings)


def test_the_best_is_lossless_and_no_control() -> None:
    speedups = {
        "seed-procedure": 9.5, "drafter-text+shuffled": 9.0, "suffix+top-k=3": 8.0, "suffix": 2.0,
        "suffix+nodes=4": 1.5, "hf-generate": 9.9,
    }  # fmt: skip
    plan = Plan(tuple(map(Configuration.parse, speedups)), (), (), ())
    rows = [{"name": name, "speedup": {"value": value}} for name, value in speedups.items()]
    best = _best(rows, plan)
    assert best is not None and best.name == "suffix"
    assert _best([{**row, "speedup": None} for row in rows], plan) is None


def test_what_is_there_is_not_measured_again(site: Site, tmp_path: Path) -> None:
    config = site.config("none+sequential", validation=0)
    folder = with_costs(tmp_path / "run")
    first = run(config, folder)
    before = (folder / LINES).read_bytes()
    again = run(config, folder)
    assert (folder / LINES).read_bytes() == before
    assert first.payload["configurations"] == again.payload["configurations"]
    for row in again.payload["configurations"]:
        assert row["prediction"] is None
    assert again.payload["overlap"] is None and again.payload["example"] is None
    assert again.payload["best"] is None


def test_answers_of_one_token(site: Site, tmp_path: Path) -> None:
    config = site.config("suffix,hf-generate", max_new_tokens=1, questions=1, texts=TEXTS[:1])
    found = run(config, with_costs(tmp_path / "run"))
    for row in found.payload["configurations"]:
        assert row["tokens"] == 1 and row["prediction"]["total_ms"] > 0


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"seed": 5}, "seed"),
        ({"rounds": 3, "configs": "none"}, "configs, rounds"),
        ({"texts": ("Else?",)}, "texts"),
    ],
)
def test_a_folder_of_another_benchmark_is_refused(
    site: Site, whole: Outcome, changes: dict[str, Any], keys: str
) -> None:
    config = replace(site.config(",".join(CONFIGS), rounds=2, warmup=1), **changes)
    folder = site.folder / "whole"
    before = (folder / PLAN).read_bytes()
    with pytest.raises(InputError, match=f"a benchmark with other {keys}\\n") as caught:
        run(config, folder)
    assert caught.value.where == folder
    assert (folder / PLAN).read_bytes() == before


def test_other_scenes_under_the_same_name_are_refused(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    config = site.config("none")
    plan = {**config.to_json(), "scenes_fingerprint": "0" * 16}
    (folder / PLAN).write_text(json.dumps(plan))
    with pytest.raises(InputError, match="other here, scenes_fingerprint"):
        run(config, folder)
    (folder / PLAN).write_text("[]")
    with pytest.raises(InputError, match=r"other configs, .*texts, threads"):
        run(config, folder)


def test_recorded_answers_are_known_to_drafters(site: Site, tmp_path: Path) -> None:
    """The target's own answers, as if other drives had been answered the same: all is accepted."""
    config = site.config("suffix+nodes=5", questions=2, validation=0)
    alone = run(config, with_costs(tmp_path / "alone"))
    said = [one for one in Lines(tmp_path / "alone" / LINES).runs if one.configuration == "none"]
    pairs = [
        Pair(f"clip {drive} {n}", n, one.question, n, (), one.tokens, drive=f"other {drive}")
        for drive in range(4)
        for n, one in enumerate(said)
    ]
    write_pairs(PairSet(tuple(pairs), "own"), tmp_path / "pairs.jsonl")
    knowing = replace(config, learn_from=tmp_path / "pairs.jsonl")
    found = run(knowing, with_costs(tmp_path / "knowing"))
    taus = [by_name(one)["suffix+nodes=5"]["tau"]["value"] for one in (alone, found)]
    assert taus[1] > max(1.5, taus[0])
    assert any("8 recorded answers of 4 other drives" in line for line in found.payload["setting"])
    of_the_test = replace(pairs[0], drive=said[0].drive)
    write_pairs(PairSet((*pairs[1:], of_the_test), "own"), tmp_path / "pairs.jsonl")
    with pytest.raises(InputError, match=f"answers of the test drive {said[0].drive}"):
        run(knowing, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_costs_are_measured_where_they_are_not_known(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossdraft.bench.wallclock import placing

    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(placing, "_REPEATS", 2)
    config = site.config("suffix", questions=1, validation=0, max_new_tokens=2)
    found = run(config, tmp_path / "run", silent)
    kept = json.loads((tmp_path / "run" / "cost_curves.json").read_text())
    assert kept == found.payload["cost_curves"]
    assert kept["step_ms"] > 0
