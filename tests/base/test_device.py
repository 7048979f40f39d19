"""Devices are found before work begins, or named in an error."""

from __future__ import annotations

import pytest
import torch

from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta:0:1", "meta", ""])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"--device: device {name!r} cannot be used") as caught:
        find_device(name)
    assert "\n    " not in str(caught.value)


def test_device_is_chosen_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match="device 'cuda' cannot be used"):
        find_device("auto")
