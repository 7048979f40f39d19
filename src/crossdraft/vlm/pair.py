"""A pair: the event model that drafts and the video model that verifies, as a small YAML file.

It is checked when it is read; whether the models are there shows when they are looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item, shown
from crossdraft.base.yaml_file import parse_yaml, read_yaml, yaml_text
from crossdraft.vlm import shipped
from crossdraft.vlm.model_spec import (
    ABOUT,
    FOLDER_KEYS,
    ROLES,
    ModelSpec,
    Role,
    keys_of,
    meant,
    refuse_unknown,
)

Load = Literal["together", "in_turn"]
#: The pair's file in a folder that holds a pair, such as one that was tuned.
PAIR_FILE = "pair.yaml"
_ABOUT_LOAD = "together: both models are in memory. in_turn: one after the other, to fit one GPU."
_ABOUT_DRAFTING = (
    "What drafts where nobody says otherwise: names and checkpoints joined by +; ./ is beside this "
    "file."
)
#: Drafts where a pair does not say what does: it needs no event model and no training.
DRAFTING = "suffix"
_TOP = ("name", "load", "drafting", *ROLES)
#: Every key that a single value stands under.
_KEYS = ("name", "load", "drafting", *(f"{role}.{key}" for role in ROLES for key in keys_of(role)))


@dataclass(frozen=True)
class ModelPair:
    """Two models, and how they are loaded.

    Attributes:
        name: of the pair, for people.
        target: the model that verifies, and whose answer it is.
        drafter: the model that drafts.
        load: `together`, or `in_turn`: asking for one model frees the other.
        where: the file it was read from.
        drafting: the drafter that is taken where none is named, as `find_drafter` takes it.
    """

    name: str
    target: ModelSpec
    drafter: ModelSpec
    load: Load
    where: Path
    drafting: str = DRAFTING

    @classmethod
    def find(cls, text: str, overrides: Iterable[str] = ()) -> ModelPair:
        """A pair by the path of its file or of the folder of its pair.yaml, or by its name where
        it is shipped.

        Args:
            overrides: values in place of the file's, such as `drafter.frames=3`.

        Raises:
            InputError: no such file or name, or a key that is unknown, missing or wrong.
        """
        pair = cls.read(_file_of(text))
        for override in overrides:
            pair = pair.with_value(override)
        return pair

    @classmethod
    def read(cls, path: Path) -> ModelPair:
        """A pair from its file. Folders that lie beside the file are found from anywhere; those
        that come with a shipped pair lie nowhere else.

        Raises:
            InputError: no YAML, or a key that is unknown, missing or wrong.
        """
        keys = read_yaml(path, expected="a pair: name, target, drafter")
        pair = _checked({"name": path.stem, **keys}, path)
        own = path.parent.resolve() == shipped.FOLDER.resolve()
        folder = shipped.FOLDER if own else path.parent
        target, drafter = (_beside(pair.spec(role), folder) for role in ROLES)
        drafting = "+".join(
            str(folder / piece) if piece.startswith(shipped.BESIDE) else piece
            for piece in pair.drafting.split("+")
        )
        return replace(pair, target=target, drafter=drafter, drafting=drafting)

    def spec(self, role: Role) -> ModelSpec:
        """One of the two models."""
        return self.target if role == "target" else self.drafter

    def with_value(self, text: str) -> ModelPair:
        """The same pair with another value under one key, as in `drafter.frames=3`.

        Raises:
            InputError: no key and value, or the key is unknown or the value wrong.
        """
        where = f"--set {text}"
        name, equals, value = text.partition("=")
        if name not in _KEYS:
            raise InputError(
                f"no key {name!r} in a pair",
                where=where,
                expected=f"KEY=VALUE, the key one of {', '.join(_KEYS)}",
                hint=meant(name, _KEYS),
            )
        if not equals:
            raise InputError("no value", where=where, expected=f"{name}=VALUE")
        keys = self.to_json()
        part, _, key = name.rpartition(".")
        (keys[part] if part else keys)[key] = _value(key, value, where)
        try:
            return _checked(keys, self.where)
        except InputError as error:
            raise InputError(
                error.found, where=where, expected=error.expected, hint=error.hint
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Every key and its value."""
        specs: dict[str, Any] = {role: self.spec(role).to_json(role) for role in ROLES}
        return {"name": self.name, "load": self.load, "drafting": self.drafting, **specs}

    def to_yaml(self) -> str:
        """A file that reads back as this pair, with what every key means."""
        keys = self.to_json()
        lines = [f"name: {yaml_text(self.name)}", "", f"# {_ABOUT_LOAD}", f"load: {self.load}"]
        lines += ["", f"# {_ABOUT_DRAFTING}", f"drafting: {yaml_text(self.drafting)}"]
        for role in ROLES:
            lines += ["", f"{role}:"]
            for key, value in keys[role].items():
                lines += [f"  # {ABOUT[key]}", f"  {key}: {yaml_text(value)}"]
        return "\n".join(lines) + "\n"


def _file_of(text: str) -> Path:
    path, names = Path(text), shipped.shipped_pairs()
    if path.is_file():
        return path
    if text and (path / PAIR_FILE).is_file():
        return path / PAIR_FILE
    if text in names:
        return shipped.FOLDER / f"{text}.yaml"
    raise InputError(
        "this is a folder" if path.is_dir() else "no such file, and no shipped pair of this name",
        where=text or "--pair",
        expected=f"the path of a pair's YAML file, or one of {', '.join(names)}",
        hint=meant(text, names),
    )


def _checked(keys: Mapping[str, Any], where: Path) -> ModelPair:
    whole = Item(keys, where, "the pair")
    refuse_unknown(whole, _TOP)
    name, load = whole.text("name"), keys.get("load", "together")
    if not name:
        raise whole.error(f"name is {shown(name)}", "a name, for people")
    if load not in get_args(Load):
        raise whole.error(f"load is {shown(load)}", _ABOUT_LOAD)
    drafting = keys.get("drafting", DRAFTING)
    if not isinstance(drafting, str) or not drafting:
        raise whole.error(f"drafting is {shown(drafting)}", _ABOUT_DRAFTING)
    target, drafter = (
        ModelSpec.from_item(Item(keys.get(role), where, role), role) for role in ROLES
    )
    return ModelPair(name, target, drafter, load, where, drafting)


def _beside(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The spec with the paths of those folders that lie beside the pair's file, or should."""
    names = {key: name for key in FOLDER_KEYS if (name := getattr(spec, key)) is not None}
    paths: dict[str, Any] = {
        key: str(folder / name)
        for key, name in names.items()
        if (folder / name).is_dir()
        or (folder is shipped.FOLDER and name.startswith(shipped.BESIDE))
    }
    return replace(spec, **paths)


def _value(key: str, text: str, where: str) -> Any:
    """The value of an override; text that looks like a number needs no quotes."""
    if key == "model":
        return text
    value = parse_yaml(text, where, expected="a value as the pair's file would have it")
    number = type(value) in (int, float)
    return text if number and key != "frames" else value
