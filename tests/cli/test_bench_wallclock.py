"""`crossdraft bench wallclock` from the outside."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from crossdraft.bench.wallclock import measure
from crossdraft.bench.wallclock.measure import LINES
from crossdraft.report.wallclock import FIGURES, TIMELINE
from crossdraft.scenes.scene import SIMULATED
from tests.bench.wallclock.ground import Site, prepare, stay_here, with_costs
from tests.cli.run import crossdraft_here

QUICK = (
    *("--pair", "tiny.yaml", "--scenes", "world", "--questions", "3", "--validation", "2"),
    *("--alternations", "1", "--warmup", "0", "--max-new-tokens", "5", "--kth", "3"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(tmp_path_factory.mktemp("wallclock"))


def called(site: Site, *arguments: str | Path) -> CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as patch:
        stay_here(patch)
        return crossdraft_here("bench", "wallclock", *QUICK, *arguments, cwd=site.folder)


def test_tables_and_a_run_folder(site: Site) -> None:
    folder = with_costs(site.folder / "out")
    configs = "suffix+nodes=4,hf-generate,none+sequential,drafter-text+overlap"
    done = called(site, "--configs", configs, "--out", folder)
    assert done.returncode == 0, done.stderr
    for said in ("none", "suffix+nodes=4", "hf-generate", SIMULATED[:40], str(folder)):
        assert said in done.stdout, said
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "result.json", "RESULTS.md", "trace.json.gz", "plan.json", "runs.jsonl",
        "cost_curves.json", *FIGURES, TIMELINE,
    }  # fmt: skip
    result = json.loads((folder / "result.json").read_text())
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "bench wallclock")
    names = [row["name"] for row in result["configurations"]]
    assert names == ["none", *configs.split(",")]
    report = (folder / "RESULTS.md").read_text()
    assert all(name in report for name in names)
    trace = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    assert result["example"]["scene"] in json.dumps(trace)
    again = called(site, "--configs", configs, "--out", folder)
    assert (again.returncode, "already holds a result" in again.stderr) == (2, True)


def test_json_and_nothing_else(site: Site) -> None:
    """Its folder is made below the current one; nobody names one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSDRAFT_CACHE", str(site.folder / "cache"))
        patch.setattr("crossdraft.bench.wallclock.placing._REPEATS", 2)
        done = called(site, "--configs", "none", "--json")
    assert done.returncode == 0, done.stderr
    (folder,) = (site.folder / "runs").iterdir()
    assert folder.name.startswith("wallclock_")
    assert json.loads(done.stdout) == json.loads((folder / "result.json").read_text())


def test_questions_of_a_file(site: Site) -> None:
    asked = site.folder / "questions.json"
    asked.write_text(json.dumps(["Where is the road?", {"question": "Who is there?", "count": 3}]))
    folder = with_costs(site.folder / "asked")
    done = called(site, "--configs", "none", "--questions-file", asked, "--out", folder)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / LINES).read_text().splitlines()]
    assert {line["question"] for line in lines} == {"Where is the road?", "Who is there?"}
    asked.write_text("[]")
    done = called(site, "--configs", "none", "--questions-file", asked)
    assert (done.returncode, "no list of questions" in done.stderr) == (2, True)


def test_interrupted_it_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_costs(site.folder / "again")
    add, given = measure.Lines.add, list[Any]()

    def stopped(lines: measure.Lines, runs: Any) -> None:
        if len(given) == 2:
            raise KeyboardInterrupt
        given.append(runs)
        add(lines, runs)

    call = ("--configs", "suffix+nodes=4", "--out", folder)
    with monkeypatch.context() as patch:
        patch.setattr(measure.Lines, "add", stopped)
        done = called(site, *call)
    assert (done.returncode, done.stdout) == (130, "")
    assert "interrupted; what is done is kept, go on with: crossdraft" in done.stderr
    assert not (folder / "result.json").exists()
    kept = (folder / LINES).read_text()
    assert len(kept.splitlines()) == 4
    other = called(site, *call, "--kth", "2")
    assert (other.returncode, "a benchmark with other kth" in other.stderr) == (2, True)
    done = called(site, *call)
    assert done.returncode == 0, done.stderr
    lines = (folder / LINES).read_text()
    assert lines.startswith(kept) and len(lines.splitlines()) == (3 + 2) * 2
    result = json.loads((folder / "result.json").read_text())
    assert [row["answers"] for row in result["configurations"]] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--configs"),
        (("--configs", ","), "no configuration"),
        (("--configs", "falcon"), "no drafter is called 'falcon'"),
        (("--configs", "suffix,suffix"), "suffix stands twice"),
        (("--configs", "hf-generate+overlap"), "overlap behind hf-generate"),
        (("--configs", "none", "--questions", "9999"), "9999 test questions"),
        (("--configs", "none", "--validation", "9999"), "9999 validation questions"),
        (("--configs", "none", "--alternations", "0"), "--alternations"),
        (("--configs", "none", "--picture", "warm"), "--picture"),
        (("--configs", "none", "--scenes", "nowhere"), "no such folder"),
        (("--configs", "none", "--learn-from", "nowhere.json"), "nowhere.json"),
        (("--configs", "none", "--set", "drafter.nothing=1"), "drafter.nothing"),
    ],
)
def test_wrong_calls(site: Site, arguments: tuple[str, ...], said: str) -> None:
    done = called(site, *arguments, "--out", site.folder / "wrong")
    assert done.returncode == 2
    assert said in done.stderr + done.stdout
    assert not (site.folder / "wrong").exists()


def test_no_test_drives(site: Site, tmp_path: Path) -> None:
    entries = json.loads((site.world / "scenes.json").read_text())
    entries["scenes"] = [one for one in entries["scenes"] if one["split"] == "train"]
    (tmp_path / "scenes.json").write_text(json.dumps(entries))
    done = called(site, "--scenes", tmp_path, "--configs", "none")
    assert (done.returncode, "no scene of the split 'test'" in done.stderr) == (2, True)
