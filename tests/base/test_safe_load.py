"""Pickles cannot run code here, and refusals are named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from crossdraft.base.errors import InputError
from crossdraft.base.safe_load import load_pickled_npy, load_plain, load_tensors


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.path),))


def test_event_dict_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.npy"
    clip = {"x": np.arange(3, dtype=np.uint16), "t": np.arange(3), "note": "text", "n": np.int64(4)}
    np.save(path, np.array(clip, dtype=object))
    loaded = load_pickled_npy(path)
    assert loaded.keys() == clip.keys()
    np.testing.assert_array_equal(loaded["x"], clip["x"])
    assert loaded["n"] == 4


def test_plain_array_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(2))
    np.testing.assert_array_equal(load_pickled_npy(tmp_path / "a.npy"), np.eye(2))


def test_code_in_npy_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    path, trap = tmp_path / "evil.npy", tmp_path / "trap"
    np.save(path, np.array({"x": Evil(trap)}, dtype=object))
    with pytest.raises(InputError, match=r"refused to load posix\.mkdir"):
        load_pickled_npy(path)
    assert not trap.exists()


def test_damaged_npy(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array({"x": np.arange(100)}, dtype=object))
    for cut in (0, 5, 90, path.stat().st_size - 9):
        (tmp_path / "cut.npy").write_bytes(path.read_bytes()[:cut])
        with pytest.raises(InputError, match=r"not a readable \.npy file"):
            load_pickled_npy(tmp_path / "cut.npy")
    with pytest.raises(InputError, match="no such file"):
        load_pickled_npy(tmp_path / "absent.npy")


def test_tensors_from_both_kinds_of_file(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        loaded = load_tensors(tmp_path / name)
        assert isinstance(loaded, dict) and torch.equal(loaded["w"], torch.ones(2))


def test_code_in_pt_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({"w": Evil(trap)}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"posix\.mkdir"):
        load_tensors(tmp_path / "evil.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Evil(trap)))
    with pytest.raises(InputError):
        load_tensors(tmp_path / "old.pt")
    assert not trap.exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_damaged_tensor_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a tensor file")
    with pytest.raises(InputError):
        load_tensors(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        load_tensors(tmp_path / ("no_" + name))


def test_what_is_wrong_with_a_torch_file_is_said_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(1000)}, path)
    whole = path.read_bytes()
    hurt = bytearray(whole)
    place = whole.index(b"data.pkl") + 60
    hurt[place : place + 20] = b"\xff" * 20
    found = {
        b"": "it is empty",
        b"A fine day": "neither safetensors nor what torch.save writes, or damaged",
        pickle.dumps({"a": 1}, protocol=4): "neither safetensors",
        whole[:50]: "an archive that is cut or damaged",
        whole[:-5]: "an archive that is cut or damaged",
        bytes(hurt): "an archive of torch that holds more than tensors, or damaged ones",
    }
    for content, fault in found.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"not a readable tensor file \({fault}") as caught:
            load_tensors(path)
        assert caught.value.expected == "a .safetensors file, or tensors that torch.save wrote"
        assert "\n" not in caught.value.found


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ["a.pt", "a", "a.safetensors"])
@pytest.mark.parametrize("archive", [False, True])
def test_plain_values_beside_tensors(
    tmp_path: Path, name: str, mapped: bool, archive: bool
) -> None:
    value = {"w": torch.ones(2), "list": [{"a": "b", "c": None}, (1, 2.5, True)], 3: torch.ones(1)}
    torch.save(value, tmp_path / name, _use_new_zipfile_serialization=archive)
    loaded = load_plain(tmp_path / name, mapped=mapped)
    assert loaded["list"] == value["list"] and torch.equal(loaded["w"], torch.ones(2))


@pytest.mark.parametrize("named", [True, False])
def test_tensors_that_claim_more_than_their_bytes(tmp_path: Path, named: bool) -> None:
    hollow = torch.zeros(1, dtype=torch.int64).expand(10**6, 10**6)
    torch.save({"w": hollow} if named else hollow, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"holds a tensor of 1000000 x 1000000 .* in 8 bytes"):
        load_tensors(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_tensors_are_refused(tmp_path: Path) -> None:
    packed = torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)
    torch.save({"w": packed}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="holds a tensor that is not dense"):
        load_plain(tmp_path / "a.pt")


def test_only_plain_values_beside_tensors(tmp_path: Path) -> None:
    itself: list[object] = []
    itself.append(itself)
    sparse = torch.ones(2, 2).to_sparse()
    for value, found in (
        ({1, 2}, "a set"), (torch.Size([2]), None), (torch.float32, "a dtype"),
        (sparse, "a tensor that is not dense"),
        (torch.ones(2, device="meta"), "a tensor that is not dense"),
        (torch.zeros(1).expand(10**6, 10**6), "a tensor of 1000000 x 1000000 numbers"),
        (torch.ones(4)[:3], None), (torch.ones(0, 5), None), (torch.ones(2, 3).T, None),
        (torch.nn.Parameter(torch.ones(2)), "a Parameter"),
        (itself, None),
    ):  # fmt: skip
        torch.save({"a": [value]}, tmp_path / "a.pt")
        if found is None:
            load_plain(tmp_path / "a.pt")
            continue
        with pytest.raises(InputError, match=f"holds {found}"):
            load_plain(tmp_path / "a.pt")
    torch.save({"w": Evil(tmp_path / "trap")}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"posix\.mkdir"):
        load_plain(tmp_path / "evil.pt", mapped=True)
    assert not (tmp_path / "trap").exists()
