"""`crossdraft convert` from the outside."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.cli.run import crossdraft


def test_extraction_round_trip(extraction_file: Path, tmp_path: Path) -> None:
    own, back = tmp_path / "own.jsonl.gz", tmp_path / "back.json"
    for source, target in ((extraction_file, own), (own, back)):
        done = crossdraft("convert", source, target, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "60 pairs" in done.stdout
    original = json.loads(gzip.decompress(extraction_file.read_bytes()))
    assert json.loads(back.read_text()) == original


def test_real_extraction_round_trip(real_answers: Path, tmp_path: Path) -> None:
    for source, target in ((real_answers, "own.jsonl"), ("own.jsonl", "back.json")):
        assert crossdraft("convert", source, target, cwd=tmp_path).returncode == 0
    original = json.loads(gzip.decompress(real_answers.read_bytes()))
    assert json.loads((tmp_path / "back.json").read_text()) == original


def test_every_real_format_converts(real_answers: Path, tmp_path: Path) -> None:
    sizes = {"benchmark_5s": 112, "inference_1s": 120}
    for name, size in sizes.items():
        source = real_answers.with_name(f"{name}.json.gz")
        done = crossdraft("convert", source, tmp_path / "a.jsonl", "--force", cwd=tmp_path)
        assert f"{size} pairs" in done.stdout
    source = real_answers.with_name("benchmark_5s.json.gz")
    done = crossdraft("convert", source, "a.json", cwd=tmp_path)
    assert "stage times have no place" in done.stdout
    assert "skipped 12: target failed when recorded" in done.stdout


def test_wrong_input_writes_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"results": [{"egpt_tokens": [1], "vl_tokens": ["x"]}]}')
    done = crossdraft("convert", bad, "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "results[0]: vl_tokens[0] is 'x'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


def test_existing_file_is_kept(extraction_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("mine")
    assert crossdraft("convert", extraction_file, target, cwd=tmp_path).returncode == 2
    assert target.read_text() == "mine"
    assert crossdraft("convert", extraction_file, target, "--force", cwd=tmp_path).returncode == 0


def test_format_must_be_clear(extraction_file: Path, tmp_path: Path) -> None:
    done = crossdraft("convert", extraction_file, tmp_path / "out.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert "--to" in done.stderr
    done = crossdraft("convert", extraction_file, "out.txt", "--to", "pairs", cwd=tmp_path)
    assert done.returncode == 0
