"""What the suffix drafter learns of finished answers, kept on disk between processes.

The file holds the newest answers themselves, not the index that is made of them: it is a twentieth
of the size and outlives every change of the index. Learning them again costs a second or two of a
start where the memory is full.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.cache_folder import cache_root
from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path, is_temporary, sha256_of
from crossdraft.base.lock import locked_file
from crossdraft.drafters.base import Drafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.vlm.hub_cache import find
from crossdraft.vlm.pair import ModelPair

#: Tokens that a memory holds at most, 10,000 answers of 50: a file of 2 MB, an index of 55 MB. The
#: oldest answers leave first.
MOST_TOKENS = 500_000
_FORMAT, _KEY = "crossdraft.memory/1", "crossdraft"
#: Files of a tokenizer that decide which text has which ids.
_VOCABULARY = ("tokenizer.json", "tokenizer.model", "added_tokens.json")
#: A question, and the [n] tokens of an answer to it.
_Answer = tuple[str, NDArray[np.int32]]


class Memory:
    """Answers of one target, oldest first.

    Several processes may have the same memory at a time: each adds its own answers to the file as
    it is then, and knows those of others from its next start on.

    Args:
        path: of the file; made with its folder when the first answer is saved.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # its lock and its leftovers lie beside it
        self._new: list[_Answer] = []

    def recall(self, drafter: Drafter) -> int:
        """Let every suffix drafter in `drafter` learn what is remembered.

        Returns:
            Number of answers.

        Raises:
            InputError: there is no suffix drafter in it, the file is damaged, or what is learned
                could not be written there.
        """
        learners = list(_suffix_drafters(drafter))
        if not learners:
            raise InputError(
                f"a memory for {drafter.name}, which remembers nothing",
                where=self.path,
                expected="suffix, or an ensemble with it such as suffix+position",
            )
        _refuse_unwritable(self.path)
        answers = _read(self.path)
        for learner in learners:
            for question, tokens in answers:
                learner.remember(question, tokens)
        return len(answers)

    def add(self, question: str, tokens: Sequence[int]) -> None:
        """Keep a finished answer for the next `save`."""
        self._new.append((question, np.array(tokens, np.int32)))

    def save(self) -> None:
        """Write what was added since the last time behind what the file holds by now.

        Whatever interrupts it, the file holds all it held before, or that and all that is new.

        Raises:
            InputError: the file is damaged or cannot be written; nothing that was added is lost.
        """
        if not self._new:
            return
        try:
            with locked_file(self.path):
                _sweep(self.path)
                _write(self.path, _newest([*_read(self.path), *self._new]))
        except OSError as error:
            raise InputError(
                f"the answers are not remembered ({error.strerror or error})",
                where=self.path,
                hint="make room, or name another folder with CROSSDRAFT_CACHE",
            ) from error
        self._new.clear()


def memory_path(pair: ModelPair) -> Path:
    """Where what is learned of a pair's target is kept: `$CROSSDRAFT_CACHE/suffix`, or
    `~/.cache/crossdraft/suffix`.

    Ids mean something to one model and one vocabulary, so the name is made of both: of the folder
    of the target or its name and revision on the hub, and of the files of its tokenizer.

    Raises:
        InputError: the target, or the other tokenizer that the pair gives it, is not there.
    """
    place = pair.target.place("target").resolve()
    stored = place.parent.parent.name
    of_hub = place.parent.name == "snapshots" and stored.startswith("models--")
    model = f"{stored}@{place.name}" if of_hub else str(place)
    words = place if pair.target.tokenizer is None else find(pair.target.tokenizer)
    files = {name: sha256_of(words / name) for name in _VOCABULARY if (words / name).is_file()}
    digest = hashlib.sha256(json.dumps([model, files]).encode()).hexdigest()
    return cache_root() / "suffix" / f"{digest[:16]}.safetensors"


def _suffix_drafters(drafter: Drafter) -> Iterator[SuffixDrafter]:
    """The drafter itself, or those among the parts of an ensemble and of ensembles in it."""
    if isinstance(drafter, SuffixDrafter):
        yield drafter
    elif isinstance(drafter, EnsembleDrafter):
        for part in drafter.parts:
            yield from _suffix_drafters(part)


def _newest(answers: list[_Answer]) -> list[_Answer]:
    """The last answers that have at most `MOST_TOKENS` together."""
    behind = np.cumsum([tokens.size for _, tokens in reversed(answers)])
    return answers[len(answers) - int(np.searchsorted(behind, MOST_TOKENS, side="right")) :]


def _refuse_unwritable(path: Path) -> None:
    """Before the first answer, not behind the last: whether the file could be written."""
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not (above.is_dir() and os.access(above, os.W_OK)):
        raise InputError(
            "this is a folder" if path.is_dir() else f"cannot write in {above}",
            where=path,
            expected="a file to remember answers in, its folder writable",
        )


def _sweep(path: Path) -> None:
    """Remove what killed writes of this file have left; under its lock nobody else writes it."""
    for left in path.parent.iterdir():
        if left.name.startswith(f".{path.name}.") and is_temporary(left):
            left.unlink(missing_ok=True)


def _write(path: Path, answers: Sequence[_Answer]) -> None:
    from safetensors.numpy import save_file

    numbers: dict[str, int] = {}
    asked = [numbers.setdefault(question, len(numbers)) for question, _ in answers]
    arrays = {
        "tokens": np.concatenate([np.zeros(0, np.int32), *(tokens for _, tokens in answers)]),
        "lengths": np.array([tokens.size for _, tokens in answers], np.int64),
        "asked": np.array(asked, np.int64),
    }
    about = {"format": _FORMAT, "questions": list(numbers)}
    with atomic_path(path) as temporary:
        # One entry, as in checkpoints: several are written in any order.
        save_file(arrays, temporary, metadata={_KEY: json.dumps(about)})


def _read(path: Path) -> list[_Answer]:
    """What a file holds; nothing where there is none.

    Raises:
        InputError: damaged, or another file than a memory.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            about = json.loads((stored.metadata() or {}).get(_KEY, "{}"))
            arrays = {name: stored.get_tensor(name) for name in ("tokens", "lengths", "asked")}
        return _answers(about, **arrays)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=path) from error
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"not a readable memory of answers ({error})",
            where=path,
            expected="a file that crossdraft has written to remember answers",
            hint="delete it or move it away: answers are then learned anew",
        ) from error


def _answers(
    about: Any, tokens: NDArray[Any], lengths: NDArray[Any], asked: NDArray[Any]
) -> list[_Answer]:
    """The answers of a file.

    Args:
        tokens: [all tokens] of one answer after the other.
        lengths, asked: [answers] tokens of each, and the number of its question.

    Raises:
        ValueError: the parts do not fit together.
        LookupError, TypeError: they are not what a memory holds.
    """
    if about["format"] != _FORMAT:
        raise ValueError(f"its format is {about['format']!r}")
    questions = about["questions"]
    if not all(isinstance(text, str) for text in questions):
        raise ValueError("a question that is no text")
    kinds = [(str(row.dtype), row.ndim) for row in (tokens, lengths, asked)]
    if kinds != [("int32", 1), ("int64", 1), ("int64", 1)]:
        raise ValueError("arrays of other types")
    sound = lengths.size == asked.size and not np.any(lengths < 0) and tokens.size == lengths.sum()
    if not sound or np.any(asked < 0) or np.any(asked >= len(questions)):
        raise ValueError("its arrays contradict each other")
    parts = np.split(tokens, np.cumsum(lengths)[:-1]) if lengths.size else []
    return [(questions[number], part) for number, part in zip(asked.tolist(), parts, strict=True)]
