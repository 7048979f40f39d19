"""The log of a training while it runs: JSON Lines, and TensorBoard beside it.

The state file is the truth: a resumed run writes the log anew up to where the state stands, so
that no epoch appears twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG, TENSORBOARD = "log.jsonl", "tensorboard"


class RunLog:
    """Writes epoch records below a folder; without a folder it writes nothing."""

    def __init__(self, folder: Path | None, history: Sequence[dict[str, float]]) -> None:
        """
        Args:
            history: records of the epochs that a resumed run has behind it.
        """
        self._folder = folder
        self._lines = [json.dumps(record) + "\n" for record in history]
        self._board: SummaryWriter | None = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / TENSORBOARD), purge_step=len(history) + 1)
            self._flush()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def write(self, record: dict[str, float]) -> None:
        """Add one epoch."""
        self._lines.append(json.dumps(record) + "\n")
        self._flush()
        if self._board is not None:
            for name, value in record.items():
                if name != "epoch":
                    group, _, rest = name.partition("_")
                    tag = f"{group}/{rest}" if group in ("train", "val") else name
                    self._board.add_scalar(tag, value, int(record["epoch"]))
            self._board.flush()

    def _flush(self) -> None:
        if self._folder is not None:
            write_text(self._folder / LOG, "".join(self._lines))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Records of a run's log, oldest first."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
