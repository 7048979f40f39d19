"""Stage times from files: means against the raw numbers, and what has none."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest

from crossdraft.base.errors import InputError
from crossdraft.evaluation.stage_file import read_stage_file
from crossdraft.pairs.formats import write_extraction, write_pairs
from crossdraft.pairs.record import Pair, PairSet
from tests.make import recorded_pairs


def save(path: Path, pairs: tuple[Pair, ...]) -> Path:
    write_pairs(PairSet(pairs, "benchmark"), path)
    return path


def test_means_and_deviations_of_five_stages(tmp_path: Path) -> None:
    pairs = recorded_pairs(12, timed=True)
    found = read_stage_file(save(tmp_path / "a.jsonl", pairs), eos=2)
    drafter = found.stages["eventgpt"]
    decode = [p.draft_stages_ms[4] for p in pairs if p.draft_stages_ms is not None]
    totals = [sum(p.draft_stages_ms) for p in pairs if p.draft_stages_ms is not None]
    assert drafter["stage4_ms"] == {"mean": 14.0, "std": 0.0}
    assert drafter["stage5_ms"]["mean"] == pytest.approx(mean(decode))
    assert drafter["stage5_ms"]["std"] == pytest.approx(stdev(decode))
    assert drafter["total_ms"]["mean"] == pytest.approx(mean(totals))
    assert drafter["ms_per_decoded_token"] == pytest.approx(10.0)
    assert found.stages["videollava"]["ms_per_decoded_token"] == pytest.approx(15.0)
    assert found.stages["videollava"]["clips"] == 12


def test_clock_from_the_prefills_alone(tmp_path: Path) -> None:
    pairs = recorded_pairs(2, timed=True)
    found = read_stage_file(save(tmp_path / "a.jsonl", pairs), eos=2)
    whole, alone = found.clocks[pairs[0].key], found.clocks_from_prefill[pairs[0].key]
    assert (whole.draft_first_ms, whole.target_prefill_start_ms) == (20.0, 15.0)
    assert (alone.draft_first_ms, alone.target_prefill_start_ms) == (17.0, 0.0)
    assert (whole.target_prefill_end_ms, alone.target_prefill_end_ms) == (45.0, 30.0)


def test_answers_without_times_are_kept_but_not_timed(tmp_path: Path) -> None:
    timed, plain = recorded_pairs(6, timed=True), recorded_pairs(6)
    found = read_stage_file(save(tmp_path / "a.jsonl", (*timed[:4], *plain[4:])), eos=2)
    assert (len(found.pairs), len(found.clocks)) == (6, 4)
    assert any("2 answers have no stage times" in note for note in found.notes)


def test_decode_time_belongs_to_all_decoded_tokens(tmp_path: Path) -> None:
    """Tokens after EOS are left out of the answer, not out of the time per token."""
    (pair,) = recorded_pairs(1, timed=True)
    longer = replace(pair, target_tokens=(*pair.target_tokens, 7, 7))
    found = read_stage_file(save(tmp_path / "a.jsonl", (longer,)), eos=2)
    assert found.pairs.pairs[0].target_tokens == pair.target_tokens
    assert pair.target_stages_ms is not None
    per_token = pair.target_stages_ms[4] / (len(longer.target_tokens) - 1)
    assert found.clocks[pair.key].target_token_ms == pytest.approx(per_token)
    assert any("go on after EOS" in note for note in found.notes)
    assert found.stages["videollava"]["stage5_ms"]["std"] is None, "one answer does not vary"


def test_files_without_stages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "extraction.json"
    write_extraction(PairSet(recorded_pairs(3), "extraction"), path)
    with pytest.raises(InputError, match="no stage times in these 3 answers"):
        read_stage_file(path, eos=2)


def inference(path: Path, **fields: float) -> Path:
    items = [
        {"id": str(i), "egpt_token_ids": [5, 2], "videollava_token_ids": [6, 2],
         "event_data": f"drive/{i:06d}.npy", **{k: v * (i + 1) for k, v in fields.items()}}
        for i in range(3)
    ]  # fmt: skip
    path.write_text(json.dumps(items))
    return path


@pytest.mark.parametrize("target", ["videollava", "llava"])
def test_three_stages_give_means_and_no_clock(tmp_path: Path, target: str) -> None:
    times = {f"{m}_stage{n}_time": 0.1 * n for m in ("egpt", target) for n in (1, 2, 3)}
    found = read_stage_file(inference(tmp_path / "a.json", **times), eos=2)
    assert set(found.stages) == {"eventgpt", target}
    assert found.stages["eventgpt"]["stage3_ms"]["mean"] == pytest.approx(600.0)
    assert found.stages["eventgpt"]["total_ms"]["std"] == pytest.approx(600.0)
    assert not found.clocks
    assert any("three stages" in note for note in found.notes)


def test_inference_file_without_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stage times in these 3 answers"):
        read_stage_file(inference(tmp_path / "a.json"), eos=2)


@pytest.mark.parametrize("duration", ["2s", "10s"])
def test_means_of_the_recorded_file(real_answers: Path, duration: str) -> None:
    path = real_answers.with_name(f"benchmark_{duration}.json.gz")
    raw = json.loads(gzip.decompress(path.read_bytes()))["results"]
    found = read_stage_file(path, eos=2)
    for model in ("eventgpt", "videollava"):
        for number in range(1, 6):
            values = [1000 * item[model][f"stage{number}_time"] for item in raw]
            cell = found.stages[model][f"stage{number}_ms"]
            assert cell["mean"] == pytest.approx(mean(values))
            assert cell["std"] == pytest.approx(stdev(values))
        totals = [1000 * item[model]["total_time"] for item in raw]
        assert found.stages[model]["total_ms"]["mean"] == pytest.approx(mean(totals), rel=1e-3)


def test_three_stages_of_the_recorded_inference_file(real_answers: Path) -> None:
    path = real_answers.with_name("inference_1s.json.gz")
    raw = json.loads(gzip.decompress(path.read_bytes()))
    found = read_stage_file(path, eos=2)
    assert set(found.stages) == {"eventgpt", "llava"}, "that target is another model"
    generated = mean(1000 * item["llava_stage3_time"] for item in raw)
    assert found.stages["llava"]["stage3_ms"]["mean"] == pytest.approx(generated)
