"""Every known format is recognised by structure; every fault names its item."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.pairs.formats import read_pairs, write_extraction, write_pairs
from crossdraft.pairs.record import Pair, PairSet
from tests.make import recorded_pairs

EXTRACTION: dict[str, Any] = {
    "timestamp": "2026-01-01 00:00:00",
    "dataset_dir": "data/seq_1s",
    "total_samples": 1,
    "num_questions": 2,
    "questions": ["What?", "Where?"],
    "eventgpt_success": 2,
    "videollava_success": 2,
    "results": [
        {"sample_idx": 0, "question_idx": q, "sample_id": "a-b", "query": text,
         "egpt_tokens": [512, 2], "egpt_text": "In", "vl_tokens": [450, 7, 2], "vl_text": "The",
         "mode": "parallel"}
        for q, text in enumerate(["What?", "Where?"])
    ],
}  # fmt: skip

STAGES = {f"stage{n}_time": n / 1000 for n in range(1, 6)}
BENCHMARK: dict[str, Any] = {
    "dataset_name": "seq_2s",
    "results": [
        {"sample_idx": 3,
         "eventgpt": {**STAGES, "output_tokens": [512, 9, 2], "output_text": "In"},
         "videollava": {**STAGES, "output_tokens": [450], "output_text": "The"}}
    ],
    "errors": [{"sample_idx": 4, "egpt_error": None, "vl_error": "cannot read: './x/000.mp4'"}],
}  # fmt: skip


def inference(target: str, text_key: str) -> list[dict[str, Any]]:
    return [
        {"id": "u", "split": "train_1s", "query": "What?", "event_data": "drive_a/000012.npy",
         "egpt": "In", "egpt_token_ids": [512, 2], text_key: "The", f"{target}_token_ids": [450]}
    ]  # fmt: skip


def cached(folder: Path) -> Path:
    folder.mkdir()
    torch.save(torch.tensor([[5, 2, 0, 0], [6, 7, 2, 0]]), folder / "draft_tokens.pt")
    torch.save(torch.tensor([[8, 0, 9, 2], [0, 0, 0, 0]]), folder / "target_tokens.pt")
    (folder / "sample_ids.json").write_text('["a", "b"]')
    (folder / "metadata.json").write_text('{"source": "seq_1s", "num_samples": 2}')
    return folder


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_every_foreign_format_is_recognised_by_structure(tmp_path: Path) -> None:
    # The names mislead on purpose: the seed study's loader believed them.
    extraction = read_pairs(write(tmp_path / "benchmark_inference_S1_train.json", EXTRACTION))
    assert extraction.format == "extraction"
    assert [pair.question for pair in extraction.pairs] == ["What?", "Where?"]
    assert extraction.pairs[0].target_tokens == (450, 7, 2)

    benchmark = read_pairs(write(tmp_path / "train_tokens.json", BENCHMARK))
    assert benchmark.format == "benchmark"
    assert benchmark.pairs[0].clip == "seq_2s/3"
    assert benchmark.pairs[0].draft_stages_ms == pytest.approx((1, 2, 3, 4, 5))
    assert benchmark.skipped == {"target failed when recorded (cannot read)": 1}

    for target, text in [
        ("llava", "llava-1.5-7b-hf"),
        ("videollava", "videollava"),
        ("llava", "llava"),
    ]:
        found = read_pairs(write(tmp_path / "extraction.json", inference(target, text)))
        assert found.format == "inference"
        (pair,) = found.pairs
        assert (pair.drive, pair.index, pair.target_text) == ("drive_a", 12, "The")

    folder = read_pairs(cached(tmp_path / "extraction_dir"))
    assert folder.format == "cached directory"
    assert [pair.draft_tokens for pair in folder.pairs] == [(5, 2), (6, 7, 2)]
    # Zeros inside an answer stay: only the padding goes.
    assert [pair.target_tokens for pair in folder.pairs] == [(8, 0, 9, 2), ()]


def test_list_of_extraction_items_and_listed_questions(tmp_path: Path) -> None:
    items = [{k: v for k, v in EXTRACTION["results"][0].items() if k not in ("query", "sample_id")}]
    (pair,) = read_pairs(write(tmp_path / "a.json", items)).pairs
    assert (pair.question, pair.clip) == ("", "a.json/0")
    wrapped = {**EXTRACTION, "results": items}
    (pair,) = read_pairs(write(tmp_path / "a.json", wrapped)).pairs
    assert (pair.question, pair.clip) == ("What?", "data/seq_1s/0")


def test_items_without_a_pair_are_counted_with_reasons(tmp_path: Path) -> None:
    whole = EXTRACTION["results"][0]
    items = [
        whole,
        {**whole, "sample_id": "c", "egpt_tokens": None},
        {**whole, "sample_id": "d", "vl_tokens": None},
        {k: v for k, v in whole.items() if not k.endswith("tokens")},
    ]
    found = read_pairs(write(tmp_path / "a.json", {**EXTRACTION, "results": items}))
    assert len(found) == 1
    assert found.skipped == {
        "no drafter tokens": 1,
        "no target tokens": 1,
        "no tokens of either model": 1,
    }
    with pytest.raises(InputError, match="no usable pair"):
        read_pairs(write(tmp_path / "b.json", {**EXTRACTION, "results": items[1:]}))


def test_long_and_empty_lists_are_kept_whole(tmp_path: Path) -> None:
    long = {**EXTRACTION["results"][0], "vl_tokens": list(range(1000)), "egpt_tokens": []}
    (pair,) = read_pairs(write(tmp_path / "a.json", {"results": [long]})).pairs
    assert len(pair.target_tokens) == 1000
    assert pair.draft_tokens == ()


@pytest.mark.parametrize("token", [1.0, "5", True, None, -1, 2**31 - 1, [5]])
def test_token_that_is_no_id_is_named(tmp_path: Path, token: Any) -> None:
    item = {**EXTRACTION["results"][0], "vl_tokens": [450, token]}
    path = write(tmp_path / "a.json", {"results": [EXTRACTION["results"][1], item]})
    with pytest.raises(InputError, match=r"results\[1\]: vl_tokens\[1\] is"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"results": []}, "empty"),
        ([], "empty"),
        ({"something": 1}, "unknown structure"),
        ([{"some": "thing"}], "unknown structure"),
        ([1, 2], "unknown structure"),
        ("text", "unknown structure"),
        ({"results": [EXTRACTION["results"][0], 5]}, r"results\[1\]: is a number"),
        ({"results": [{"egpt_tokens": "5 6", "vl_tokens": [1]}]}, r"results\[0\].*is text"),
        ({"results": [EXTRACTION["results"][0]] * 2}, "pair 1 repeats pair 0: clip a-b"),
        ({"results": [{"eventgpt": {"output_tokens": [1]}, "videollava": 3}]}, "videollava"),
    ],
)
def test_wrong_structure_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(write(tmp_path / "a.json", value))


def test_cut_and_empty_files_are_refused(tmp_path: Path) -> None:
    text = json.dumps(EXTRACTION)
    (tmp_path / "cut.json").write_text(text[: len(text) // 2])
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(text.encode())[:-20])
    (tmp_path / "empty.json").write_text("")
    for name in ("cut.json", "cut.json.gz", "empty.json", "absent.json"):
        with pytest.raises(InputError, match=name):
            read_pairs(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("target_tokens.pt", torch.tensor([[1, 2]])),
        ("target_tokens.pt", torch.tensor([1, 2])),
        ("target_tokens.pt", torch.tensor([[0.5], [1.0]])),
        ("target_tokens.pt", torch.tensor([[-1], [1]])),
        ("draft_tokens.pt", {"a": torch.tensor([[1]])}),
    ],
)
def test_broken_cached_directory(tmp_path: Path, file: str, content: Any) -> None:
    folder = cached(tmp_path / "cache")
    torch.save(content, folder / file)
    with pytest.raises(InputError):
        read_pairs(folder)
    (folder / "sample_ids.json").write_text('["a"]')
    with pytest.raises(InputError):
        read_pairs(folder)
    with pytest.raises(InputError, match="no such file"):
        read_pairs(tmp_path)


tokens = st.lists(st.integers(0, 2**31 - 2), max_size=5).map(tuple)
texts = st.none() | st.text(max_size=8)
stages = st.none() | st.tuples(*[st.floats(0, 1e6) for _ in range(5)])


@st.composite
def pair_sets(draw: st.DrawFn) -> PairSet:
    clips = draw(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4, unique=True))
    return PairSet(
        tuple(
            Pair(clip, i, draw(st.text(max_size=6)), draw(st.integers(0, 3)), draw(tokens),
                 draw(tokens), draw(texts), draw(texts), draw(texts), "data", draw(stages),
                 draw(stages), {"note": draw(texts)}, draw(st.booleans()))
            for i, clip in enumerate(clips)
        ),
        "extraction",
        {"timestamp": "now"},
    )  # fmt: skip


@given(pair_sets(), st.sampled_from(["a.jsonl", "a.jsonl.gz"]))
def test_own_format_keeps_everything(
    tmp_path_factory: pytest.TempPathFactory, found: PairSet, name: str
) -> None:
    path = tmp_path_factory.mktemp("own") / name
    write_pairs(found, path)
    again = read_pairs(path)
    assert replace(again, path=None) == found


@given(pair_sets())
def test_extraction_keeps_answers(tmp_path_factory: pytest.TempPathFactory, found: PairSet) -> None:
    path = tmp_path_factory.mktemp("extraction") / "a.json"
    write_extraction(found, path)
    assert [answers(p) for p in read_pairs(path).pairs] == [answers(p) for p in found.pairs]


def test_what_else_is_said_of_a_pair_never_stands_in_for_it(tmp_path: Path) -> None:
    extra = {
        "sample_idx": 99, "question_idx": 99, "sample_id": "other", "query": "Other?",
        "egpt_tokens": [1], "vl_text": "other", "simulated": True, "mode": "parallel",
    }  # fmt: skip
    pairs = tuple(replace(pair, extra=extra) for pair in recorded_pairs(3))
    write_extraction(PairSet(pairs, "extraction"), tmp_path / "a.json")
    found = [answers(pair) for pair in read_pairs(tmp_path / "a.json").pairs]
    assert found == [answers(replace(pair, extra={"mode": "parallel"})) for pair in pairs]


def answers(pair: Pair) -> Pair:
    """What the extraction format can hold of a pair."""
    return replace(pair, dataset="", drive=None, draft_stages_ms=None, target_stages_ms=None)


def test_cut_own_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_pairs(PairSet(recorded_pairs(3), "extraction"), path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match="2 pairs but the header announces 3"):
        read_pairs(path)
    path.write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    with pytest.raises(InputError, match="line 4"):
        read_pairs(path)


def test_newer_version_and_broken_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_pairs(PairSet(recorded_pairs(1), "extraction"), path)
    text = path.read_text()
    path.write_text(text.replace('"version": 1', '"version": 9'))
    with pytest.raises(InputError, match="version 9"):
        read_pairs(path)
    path.write_text(text.replace('"clip": "clip-0000", ', ""))
    with pytest.raises(InputError, match="line 2: lacks"):
        read_pairs(path)
    path.write_text(text.replace('"draft_stages_ms": null', '"draft_stages_ms": [1, 2]'))
    with pytest.raises(InputError, match="five times"):
        read_pairs(path)
