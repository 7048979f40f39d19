"""What a checkpoint folder holds, by its headers alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crossdraft.base.errors import InputError
from crossdraft.vlm.checkpoint import inspect
from tests.vlm.checkpoint_folder import change_json, write_checkpoint


@pytest.mark.parametrize("shards", [1, 3])
def test_counts_without_loading(shards: int, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, shards=shards, dtype=torch.bfloat16)
    found = inspect(folder)
    files = tuple(sorted(folder.glob("*.safetensors")))
    stored = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert found.folder == folder and found.files == files
    assert found.architectures == ("LlamaForCausalLM",) and found.model_type == "llama"
    assert found.config["hidden_size"] == 32 and not found.quantised
    assert found.tensors == len(stored)
    assert found.parameters == sum(tensor.numel() for tensor in stored.values())
    assert found.bytes_by_dtype == {"BF16": 2 * found.parameters}
    assert found.largest_bytes == max(tensor.nbytes for tensor in stored.values())


def test_packed_weights_are_known_by_their_configuration(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    change_json(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    assert inspect(folder).quantised


def test_more_layers_than_tensors(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    change_json(folder / "config.json", num_hidden_layers=10**9)
    with pytest.raises(InputError, match=r"num_hidden_layers is 1,000,000,000, and the weight"):
        inspect(folder)
