"""The configuration of a checkpoint with its family's defaults, which config.json may leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError, gist
from crossdraft.vlm.quiet import quiet


def model_config(folder: Path) -> Any:
    """The configuration, as transformers has it.

    Raises:
        InputError: of a family that is not known, or with values that it does not take.
    """
    from transformers import AutoConfig

    from crossdraft.vlm.eventgpt import configuration  # noqa: F401 - makes its family known

    try:
        with quiet():
            return AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # a configuration can be wrong in any way
        raise InputError(
            f"cannot be used ({type(error).__name__}: {gist(error)})",
            where=folder / "config.json",
            expected="a configuration that transformers knows",
        ) from error
