"""The seed study's file of a head: what it holds, what it must not, and both ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.vlm.lm_head import LMHead, lm_head_of, read_lm_head, write_lm_head
from crossdraft.vlm.lm_head_pt import is_torch_file, read_head, read_lm_head_pt, write_lm_head_pt
from tests.vlm.checkpoint_folder import write_checkpoint

WIDTH = 4


def matrix(rows: int) -> Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("key", ["lm_head_weight", "weight"])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("rows", "draftable"),
    [(32_000, 32_000), (32_001, 32_000), (32_003, 32_000), (32_064, 32_000), (32_065, 32_065),
     (64, 64)],
)  # fmt: skip
def test_every_head_is_read(
    tmp_path: Path, key: str, whole: bool, rows: int, draftable: int
) -> None:
    path, weight = tmp_path / "anything.bin", matrix(rows)
    about: dict[str, Any] = (
        {"vocab_size": rows, "hidden_dim": WIDTH, "model_id": "LanguageBind/Video-LLaVA-7B-hf"}
        if whole else {}
    )  # fmt: skip
    torch.save({key: weight, **about}, path)
    head = read_head(path)
    facts = head.facts
    assert torch.equal(head.weight, weight)
    assert head.norm is None and head.embedding is None and head.bias is None
    assert (facts.vocab, facts.hidden, facts.draftable) == (rows, WIDTH, draftable)
    assert facts.model == about.get("model_id", "")
    states = torch.ones(2, WIDTH)
    assert torch.equal(head.logits(states), states @ weight.T)


def test_other_models_draft_their_whole_vocabulary(tmp_path: Path) -> None:
    torch.save({"weight": matrix(32_003), "model_id": "other/model"}, tmp_path / "head.pt")
    assert read_lm_head_pt(tmp_path / "head.pt").facts.draftable == 32_003


def test_both_ways_keep_every_bit(tmp_path: Path) -> None:
    original = {
        "lm_head_weight": matrix(40), "vocab_size": 40, "hidden_dim": WIDTH, "model_id": "a/b",
    }  # fmt: skip
    torch.save(original, tmp_path / "head.pt")
    head = read_head(tmp_path / "head.pt")
    write_lm_head(head, tmp_path / "head.safetensors")
    kept = read_head(tmp_path / "head.safetensors")
    assert kept.facts == head.facts and kept.tensors().keys() == {"lm_head.weight"}
    assert torch.equal(read_lm_head(tmp_path / "head.safetensors").weight, head.weight)
    write_lm_head_pt(kept, tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert list(back) == list(original)
    assert torch.equal(back.pop("lm_head_weight"), original.pop("lm_head_weight"))  # type: ignore[arg-type]
    assert back == original


def test_heads_of_checkpoints_are_written_in_float32(tmp_path: Path) -> None:
    head = lm_head_of(write_checkpoint(tmp_path / "model")).to(torch.bfloat16)
    write_lm_head_pt(head, tmp_path / "head.pt")
    back = read_lm_head_pt(tmp_path / "head.pt")
    assert back.weight.dtype == torch.float32
    assert torch.equal(back.weight, head.weight.float())
    before = (tmp_path / "head.pt").read_bytes()
    write_lm_head_pt(head, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bias": torch.ones(64)}, "need a bias"),
        ({"finish": {"final_logit_softcapping": 0.5}}, "need final_logit_softcapping = 0.5"),
    ],
)
def test_more_than_a_matrix_is_not_written(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    head = lm_head_of(write_checkpoint(tmp_path / "model"))
    if "finish" in changes:
        changes = {"facts": replace(head.facts, **changes)}
    with pytest.raises(InputError, match=said):
        write_lm_head_pt(replace(head, **changes), tmp_path / "head.pt")
    assert not (tmp_path / "head.pt").exists()


class Evil:
    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.trap,)


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        (matrix(3), "holds no head of a model"),
        ({"weights": matrix(3)}, "holds no head of a model"),
        ({"weight": matrix(3), "bias": torch.ones(3)}, "holds more than a head: 'bias'"),
        ({"weight": matrix(3), "lm_head_weight": matrix(3)}, "holds more than a head: 'weight'"),
        ({"weight": matrix(3), 5: 1}, "holds more than a head: 5"),
        ({"weight": [1.0]}, "weight is no tensor"),
        ({"weight": torch.ones(3)}, r"weight is 3, torch\.float32"),
        ({"weight": torch.tensor(1.0)}, "weight is a single number"),
        ({"weight": torch.ones(3, 0)}, "weight is 3 x 0"),
        ({"weight": torch.ones(3, 2).long()}, r"weight is 3 x 2, torch\.int64"),
        ({"weight": torch.full((3, 2), float("nan"))}, "numbers that are not finite"),
        ({"weight": matrix(3), "vocab_size": 4}, "vocab_size is 4, the matrix is 3 x 4"),
        ({"weight": matrix(3), "vocab_size": 3.0}, r"vocab_size is 3\.0"),
        ({"weight": matrix(3), "hidden_dim": 5}, "hidden_dim is 5, the matrix is 3 x 4"),
        ({"weight": matrix(3), "model_id": 7}, "model_id is 7"),
        ({"weight": matrix(3), "model_id": {"a"}}, "holds a set"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, loaded: Any, said: str) -> None:
    path = tmp_path / "head.pt"
    torch.save(loaded, path)
    with pytest.raises(InputError, match=said) as caught:
        read_head(path)
    assert str(path) in str(caught.value)


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Evil(tmp_path / "trap")}, tmp_path / "head.pt")
    with pytest.raises(InputError, match="refused to load"):
        read_head(tmp_path / "head.pt")
    assert not (tmp_path / "trap").exists()


def test_files_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    torch.save({"weight": matrix(3)}, tmp_path / "a.safetensors")
    torch.save({"weight": matrix(3)}, tmp_path / "old", _use_new_zipfile_serialization=False)
    write_lm_head(read_head(tmp_path / "a.safetensors"), tmp_path / "b.pt")
    assert [is_torch_file(tmp_path / name) for name in ("a.safetensors", "old", "b.pt", "no")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [read_head(tmp_path / name).facts.vocab for name in ("old", "b.pt")] == [3, 3]
    with pytest.raises(InputError, match="no such file"):
        read_head(tmp_path / "no")


def test_what_a_head_lacks_is_said(tmp_path: Path) -> None:
    whole: LMHead = lm_head_of(write_checkpoint(tmp_path / "model"))
    ids = torch.tensor([3, 0, 3])
    assert whole.embedding is not None
    assert torch.equal(whole.embed(ids), whole.embedding[ids])
    torch.save({"weight": matrix(3), "model_id": "a/b"}, tmp_path / "head.pt")
    with pytest.raises(InputError, match="a/b: this head has no input embedding"):
        read_head(tmp_path / "head.pt").embed(ids)
