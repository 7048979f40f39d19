"""`crossdraft convert` from the outside."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.store import PairStore
from crossdraft.vlm.lm_head import lm_head_of, read_lm_head, write_lm_head
from tests.cli.run import crossdraft, crossdraft_here
from tests.pairs.seed_files import WIDTH, change, head_file, write_file, write_folder
from tests.vlm.checkpoint_folder import write_checkpoint


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
        assert crossdraft_here("convert", source, target, cwd=tmp_path).returncode == 0
    original = json.loads(gzip.decompress(real_answers.read_bytes()))
    assert json.loads((tmp_path / "back.json").read_text()) == original


def test_every_real_format_converts(real_answers: Path, tmp_path: Path) -> None:
    sizes = {"benchmark_5s": 112, "inference_1s": 120}
    for name, size in sizes.items():
        source = real_answers.with_name(f"{name}.json.gz")
        done = crossdraft_here("convert", source, tmp_path / "a.jsonl", "--force", cwd=tmp_path)
        assert f"{size} pairs" in done.stdout
    source = real_answers.with_name("benchmark_5s.json.gz")
    done = crossdraft_here("convert", source, "a.json", cwd=tmp_path)
    assert "stage times have no place" in done.stdout
    assert "skipped 12: target failed when recorded" in done.stdout


def test_wrong_input_writes_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"results": [{"egpt_tokens": [1], "vl_tokens": ["x"]}]}')
    done = crossdraft_here("convert", bad, "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "results[0]: vl_tokens[0] is 'x'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


def test_existing_file_is_kept(extraction_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("mine")
    assert crossdraft_here("convert", extraction_file, target, cwd=tmp_path).returncode == 2
    assert target.read_text() == "mine"
    assert (
        crossdraft_here("convert", extraction_file, target, "--force", cwd=tmp_path).returncode == 0
    )


def test_format_must_be_clear(extraction_file: Path, tmp_path: Path) -> None:
    done = crossdraft_here("convert", extraction_file, tmp_path / "out.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert "--to" in done.stderr
    done = crossdraft_here("convert", extraction_file, "out.txt", "--to", "pairs", cwd=tmp_path)
    assert done.returncode == 0


LOTS = ((5, 9, 7), (6,))


def test_states_through_a_store_and_back(tmp_path: Path) -> None:
    index = write_folder(tmp_path / "seed", LOTS)
    done = crossdraft_here("convert", "seed", "store", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "store: 4 pairs, states own bf16, target fp16, " in done.stdout
    assert "no target ids: --lm-head FILE recovers them" in done.stdout
    done = crossdraft_here("convert", "store", "back", cwd=tmp_path)
    assert done.stdout == "back: 4 pairs in 2 chunks\n"
    assert json.loads((tmp_path / "back" / "index.json").read_text()) == index
    for file in ("chunk_000000.pt", "chunk_000003.pt"):
        found, wanted = (
            torch.load(tmp_path / name / "chunks" / file, weights_only=True)
            for name in ("back", "seed")
        )
        assert all(torch.equal(found[k], wanted[k]) for k in ("egpt_hidden", "vl_hidden"))
    done = crossdraft_here("convert", "store", "all.pt", "--min-length", "7", cwd=tmp_path)
    assert done.stdout == "all.pt: 2 pairs\nleft out 2: an answer of fewer than 7 states\n"
    done = crossdraft_here("convert", "all.pt", "of_one_file", "--dtype", "int8", cwd=tmp_path)
    assert "2 pairs, states own int8, target int8" in done.stdout
    sized = crossdraft_here("convert", "store", "c", "--chunk-size", "2", cwd=tmp_path)
    assert sized.stdout == "c: 4 pairs in 2 chunks\n"


def test_ids_come_with_a_head(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    for name in ("vl.pt", "egpt.pt"):
        head_file(tmp_path / name, 40)
    done = crossdraft_here(
        "convert", "seed", "store", "--lm-head", "vl.pt", "--drafter-lm-head", "egpt.pt",
        cwd=tmp_path,
    )  # fmt: skip
    assert "target ids: argmax of vl.pt over the states" in done.stdout
    assert "own ids: argmax of egpt.pt over the states" in done.stdout
    done = crossdraft_here("convert", "store", "answers.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pairs = read_pairs(tmp_path / "answers.jsonl").pairs
    store = PairStore.open(tmp_path / "store")
    assert [pair.target_tokens for pair in pairs] == [p.target_tokens for p in store.pairs()]
    done = crossdraft_here("convert", "store", "back", cwd=tmp_path)
    assert "no place in this format for: token ids" in done.stdout


def test_a_head_gives_the_ids_that_its_float32_copy_gives(tmp_path: Path) -> None:
    """Whatever a head is stored in, states are not rounded to it."""
    write_folder(tmp_path / "seed", ((50,) * 10,))
    weight = torch.randn(600, WIDTH, generator=torch.Generator().manual_seed(1)).bfloat16()
    torch.save({"weight": weight}, tmp_path / "bf16.pt")
    torch.save({"weight": weight.float()}, tmp_path / "fp32.pt")
    found = []
    for name in ("bf16", "fp32"):
        done = crossdraft_here("convert", "seed", name, "--lm-head", f"{name}.pt", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found.append([pair.target_tokens for pair in PairStore.open(tmp_path / name).pairs()])
    assert found[0] == found[1]


def test_suffixes_in_capitals(extraction_file: Path, tmp_path: Path) -> None:
    head_file(tmp_path / "h.pt", 40)
    for source, target in (("h.pt", "H.SAFETENSORS"), ("H.SAFETENSORS", "BACK.PT")):
        done = crossdraft_here("convert", source, target, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    found, wanted = (torch.load(tmp_path / n, weights_only=True) for n in ("BACK.PT", "h.pt"))
    assert torch.equal(found["lm_head_weight"], wanted["lm_head_weight"])
    done = crossdraft_here("convert", extraction_file, "A.JSONL.GZ", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert gzip.decompress((tmp_path / "A.JSONL.GZ").read_bytes()).startswith(b"{")


def test_what_the_way_in_leaves_out_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    change(tmp_path / "seed" / "chunks" / "chunk_000003.pt", attention=torch.ones(1), note="x")
    done = crossdraft_here("convert", "seed", "store", cwd=tmp_path)
    assert "not a field of the study, left out: attention, note\n" in done.stdout
    write_folder(tmp_path / "plain", LOTS)
    done = crossdraft_here("convert", "plain", "store2", cwd=tmp_path)
    assert "left out" not in done.stdout


def test_short_answers_of_the_study_come_back(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", ((5, 2), (0, 1)))
    crossdraft_here("convert", "seed", "store", cwd=tmp_path)
    for target in ("back", "all.pt"):
        done = crossdraft_here("convert", "store", target, cwd=tmp_path)
        assert done.stdout.startswith(f"{target}: 4 pairs") and "left out" not in done.stdout


def test_a_store_without_ids_is_no_answers(tmp_path: Path) -> None:
    write_folder(tmp_path / "seed", LOTS)
    crossdraft_here("convert", "seed", "store", cwd=tmp_path)
    done = crossdraft_here("convert", "store", "answers.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "answers.jsonl").exists()


@pytest.mark.parametrize("key", ["lm_head_weight", "weight"])
@pytest.mark.parametrize("rows", [32000, 32003, 32064])
def test_heads_both_ways(tmp_path: Path, key: str, rows: int) -> None:
    weight = head_file(tmp_path / "vl_lm_head.pt", rows, key, vocab_size=rows, hidden_dim=WIDTH)
    done = crossdraft_here("convert", "vl_lm_head.pt", "head.safetensors", cwd=tmp_path)
    said = f"head.safetensors: {rows:,} x {WIDTH}; ids below 32,000 may be drafted\n"
    assert done.stdout == said
    assert torch.equal(read_lm_head(tmp_path / "head.safetensors").weight, weight)
    done = crossdraft_here("convert", "head.safetensors", "back.pt", cwd=tmp_path)
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert torch.equal(back.pop("lm_head_weight"), weight)
    assert back == {"vocab_size": rows, "hidden_dim": WIDTH, "model_id": ""}


def test_a_head_of_a_checkpoint_says_what_it_loses(tmp_path: Path) -> None:
    write_lm_head(lm_head_of(write_checkpoint(tmp_path / "model")), tmp_path / "a.safetensors")
    done = crossdraft_here("convert", "a.safetensors", "a.pt", cwd=tmp_path)
    assert "no place in this format for: final norm, input embedding" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("seed", "out.jsonl"), "states of the seed study cannot be written as pairs"),
        (("seed", "out.pt"), "try: convert it to a store first"),
        (("seed", "out.x"), "cannot tell the format"),
        (("seed", "out", "--chunk-size", "3"), "--chunk-size: has no meaning for states"),
        (("seed", "out", "--min-length", "0"), "--min-length: has no meaning"),
        (("seed", "seed/store"), "lies in the folder that is converted"),
        (("seed", "store", "--force"), "store: this folder holds something"),
        (("seed", "head.pt", "--to", "store", "--force"), "head.pt: this is no folder"),
        (("seed", "out", "--lm-head", "no.pt"), "no.pt: no such file"),
        (("seed", "out", "--lm-head", "all.pt"), "all.pt: holds no head"),
        (("store", "back", "--dtype", "int8"), "--dtype: has no meaning for a pair store to chu"),
        (("store", "out", "--to", "store"), "a pair store cannot be written as store"),
        (("store", "all.pt"), "all.pt: this file exists"),
        (("head.pt", "out.jsonl"), "SRC is a model's head"),
        (("head.pt", "out.safetensors", "--to", "pairs"), "SRC is a model's head"),
        (("all.pt", "out.safetensors"), "cannot tell the format"),
        (("nothing.pt", "out"), "nothing.pt: no such file"),
        (("nothing", "out"), "nothing: no such file"),
        (("nothing.pt", "out.jsonl"), "nothing.pt: no such file"),
        (("head.pt", "h.pt.gz"), "the head of a model is not written compressed"),
        (("head.pt", "h.safetensors.GZ"), "expected: a name without .gz"),
        (("seed", "st.gz"), "states of the seed study is not written compressed"),
        (("seed", "st.gz", "--to", "store"), "states of the seed study is not written compressed"),
        (("store", "back.gz"), "a pair store is not written compressed"),
        (("store", "out.pt.gz"), "a pair store is not written compressed"),
        (("hollow.pt", "h.safetensors"), "holds a tensor of 1000000 x 1000000 numbers"),
        (("evil.pt", "out"), "refused to load"),
        (("other.pt", "out"), "holds neither hidden states nor a head"),
        (("open", "out"), "this store is not finished"),
        (("halved", "out"), "halved: no index.json, only chunks"),
    ],
)
def test_wrong_calls_write_nothing(many_files: Path, arguments: tuple[str, ...], said: str) -> None:
    before = sorted(many_files.rglob("*"))
    done = crossdraft_here("convert", *arguments, cwd=many_files)
    assert done.returncode == 2
    assert said in done.stderr
    assert sorted(many_files.rglob("*")) == before


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    write_folder(folder / "seed", LOTS)
    write_folder(folder / "halved", LOTS)
    (folder / "halved" / "index.json").unlink()
    write_file(folder / "all.pt", (5, 6))
    head_file(folder / "head.pt", 40)
    torch.save({"a": torch.ones(2)}, folder / "other.pt")
    torch.save({"weight": torch.zeros(1).expand(10**6, 10**6)}, folder / "hollow.pt")
    torch.save({"weight": Evil()}, folder / "evil.pt")
    (folder / "open" / "open").mkdir(parents=True)
    crossdraft_here("convert", "seed", "store", cwd=folder)
    return folder


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)
