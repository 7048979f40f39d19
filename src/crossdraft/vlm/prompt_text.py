"""Text of prompts: the tokenizer it goes through, and questions that say nothing but words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError, gist
from crossdraft.vlm.config_file import read_json
from crossdraft.vlm.hub_cache import fetch_again
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.safetensors_header import refuse_pointer

#: Files of a tokenizer beside `tokenizer.model`, of which a folder holds some.
_TOKENIZER_JSON = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip


def plain_question(question: Any, controls: Iterable[str]) -> str:
    """A question without the space around it.

    Args:
        controls: texts that the model reads as signs of its own.

    Raises:
        InputError: no text, or it holds one of the controls.
    """
    if not isinstance(question, str):
        raise InputError(f"a question of type {type(question).__name__}", expected="text")
    for control in controls:
        if control in question:
            raise InputError(
                f"the question holds {control}, which the model reads as a sign of its own",
                expected="plain text; the place of the scene is added here",
            )
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise InputError("the question is not Unicode text", expected="text") from error
    return question.strip()


def has_tokenizer(folder: Path) -> bool:
    """Whether the files of a tokenizer lie in a folder."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, by transformers.

    Raises:
        InputError: its files are missing or damaged, or need a package that is not there.
    """
    if not has_tokenizer(folder):
        raise InputError(
            "no tokenizer.json",
            where=folder,
            expected="the files of a tokenizer",
            hint=fetch_again(folder / "tokenizer.json"),
        )
    _refuse_damaged(folder)
    if not (folder / "tokenizer.json").is_file():
        _need_sentencepiece(folder)
    from transformers import AutoTokenizer

    with quiet(), small_files(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def tokenised(tokenizer: Any, text: str, where: Path | None) -> tuple[int, ...]:
    """Ids of a text, with what the tokenizer puts around it.

    Raises:
        InputError: the tokenizer's files do not work.
    """
    # `verbose` complains about lengths, which the model knows better than the tokenizer.
    with small_files(where):
        encoded = tokenizer(text, padding=False, truncation=False, verbose=False)
    return tuple(encoded["input_ids"])


@contextmanager
def small_files(folder: Path | None) -> Iterator[None]:
    """Report whatever transformers raises at a wrong configuration or tokenizer.

    The tokenizers library panics at some files, which is no `Exception`.
    """
    try:
        yield
    except BaseException as error:
        kind = type(error).__name__
        if not isinstance(error, Exception) and kind != "PanicException":
            raise
        raise InputError(
            f"configuration or tokenizer cannot be used ({kind}: {gist(error)})",
            where=folder,
            expected="config.json, tokenizer.json and tokenizer_config.json as published",
            hint="take these files from one place, as they were published",
        ) from error


def _refuse_damaged(folder: Path) -> None:
    """transformers would not say which file it cannot read."""
    for name in _TOKENIZER_JSON:
        if (folder / name).is_file():
            read_json(folder / name, "the tokenizer")
    if (folder / "tokenizer.model").is_file():
        refuse_pointer(folder / "tokenizer.model")


def _need_sentencepiece(folder: Path) -> None:
    """transformers would fall back to another format and name that in its error."""
    if find_spec("sentencepiece") is None:
        raise InputError(
            "the tokenizer is here as tokenizer.model alone, and sentencepiece is not installed",
            where=folder,
            expected="tokenizer.json, or the package that reads tokenizer.model",
            hint="run `pip install sentencepiece`, or name a folder with the same tokenizer as "
            "tokenizer.json",
        )
