"""The seed study's files become levels key for key; what is none of its files is refused."""

from __future__ import annotations

import sys
from dataclasses import make_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import Budget
from crossdraft.drafters.checkpoint import load_drafter, save_drafter
from crossdraft.drafters.ladder.drafting import LadderDrafter
from tests.drafters.ladder.made import made_pairs
from tests.drafters.ladder.test_drafting import begin_at, level

PAIRS = made_pairs(4)
#: Folder, what the file calls itself, our name, options that differ from ours.
FILES: list[tuple[str, str | None, str, dict[str, Any]]] = [
    ("L1", None, "bottleneck", {}),
    ("L2", "L2_MultiLayerBottleneck", "multi-bottleneck", {"num_blocks": 3}),
    ("L3", "L3_WideBottleneck", "wide-bottleneck", {"num_blocks": 2}),
    ("L4", "L4_Attention", "attention", {"num_layers": 2}),
    ("L5", "L5_EAGLE", "eagle", {}),
    ("B1", "L5_EAGLE", "target-eagle", {}),
    ("L5F", "L5F_FusedEAGLE", "fused-eagle", {}),
]


def written(
    path: Path, state: dict[str, Tensor], kind: str | None, config: object, **more: object
) -> Path:
    """A file as the seed study's trainer writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"model_state_dict": state, "config": config, "epoch": 7, **more}
    content["optimizer_state_dict"] = {"state": {0: {"exp_avg": torch.zeros(2)}}}
    if kind is not None:
        content["adapter_type"] = kind
    torch.save(content, path)
    return path


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A config of a class that is there when it is pickled, and nowhere later."""
    module = ModuleType("somebodys_adapters")
    kind = make_dataclass("BottleneckConfig", [("hidden_dim", int), ("bottleneck_dim", int)])
    kind.__module__ = module.__name__
    module.BottleneckConfig = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return kind(16, 8)


@pytest.mark.parametrize(("folder", "kind", "name", "options"), FILES)
def test_a_file_of_the_seed_study_drafts_as_its_network(
    folder: str, kind: str | None, name: str, options: dict[str, Any], tmp_path: Path, foreign: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    drafter = level(name, PAIRS, loss="seed", **options)
    config = foreign if kind is None else {"hidden_dim": 16, "num_heads": 2}
    path = written(
        tmp_path / folder / f"{folder}_20260206_192256" / "best_model.pt",
        drafter.network.state_dict(), kind, config,
    )  # fmt: skip
    monkeypatch.delitem(sys.modules, "somebodys_adapters")
    loaded = load_drafter(path.parent)
    again = loaded.drafter
    assert isinstance(again, LadderDrafter)
    assert (again.name, loaded.trained_on, loaded.extra) == (name, None, {"epoch": 7})
    assert again.options() == drafter.options()
    for mine, theirs in zip((drafter, again), (again, drafter), strict=True):
        assert mine.tensors().keys() == theirs.tensors().keys()
    for position in (0, 1):
        trees = []
        for one in (drafter, again):
            begin_at(one, PAIRS[1], position)
            trees.append(one.propose(PAIRS[1].target_tokens[:position], Budget.tree(6, 3)))
        assert trees[0].tokens.tolist() == trees[1].tokens.tolist()
        assert trees[0].logq.tolist() == trees[1].logq.tolist()
    save_drafter(again, tmp_path / "ours.safetensors")
    assert load_drafter(tmp_path / "ours.safetensors").drafter.options() == drafter.options()


def test_what_the_folder_does_not_say_of_b1_the_caller_or_the_config_does(tmp_path: Path) -> None:
    state = level("eagle", PAIRS).network.state_dict()
    path = written(tmp_path / "run" / "best_model.pt", state, "L5_EAGLE", {"num_heads": 2})
    assert load_drafter(path).drafter.name == "eagle"
    assert load_drafter(path, vlm_only=True).drafter.name == "target-eagle"
    (path.parent / "config.json").write_text('{"vlm_only": true}')
    assert load_drafter(path).drafter.name == "target-eagle"
    assert load_drafter(path, vlm_only=False).drafter.name == "eagle"


def test_other_files_are_refused(tmp_path: Path, foreign: Any) -> None:
    state = level("eagle", PAIRS).network.state_dict()
    for kind, tensors, config, said in [
        ("L9_Unheard", state, {}, "L9_Unheard"),
        ("L4_Attention", state, {"num_heads": 2}, "do not fit"),
        ("L5_EAGLE", {**state, "token_embedding.weight": torch.zeros(2)}, {"num_heads": 2},
         "do not fit"),
        ("L5_EAGLE", state, {"num_heads": "two"}, "num_heads"),
        ("L5_EAGLE", state, {"num_heads": 3}, "heads"),
        ("L5_EAGLE", {}, {}, "not the tensors"),
        ("L5_EAGLE", state, {"nested": foreign}, "refused to load"),
    ]:  # fmt: skip
        path = written(tmp_path / "best_model.pt", tensors, kind, config)
        with pytest.raises(InputError, match=said):
            load_drafter(path)


class _Calls:
    """Asks for a function to be called when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (Path("ran"),))


def test_a_config_that_would_run_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = level("bottleneck", PAIRS).network.state_dict()
    path = written(tmp_path / "best_model.pt", state, None, _Calls())
    with pytest.raises(InputError, match="refused to load"):
        load_drafter(path)
    assert not (tmp_path / "ran").exists()
