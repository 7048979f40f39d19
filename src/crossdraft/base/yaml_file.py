"""YAML as people write it: safe, 1e-4 is a number, and no key stands twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from crossdraft.base.errors import InputError
from crossdraft.base.files import read_text

#: Numbers with an exponent and no point, which YAML 1.1 takes for text.
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+\Z")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number, as in YAML 1.2, and no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name, count in Counter(key.value for key in keys).items():
            if count > 1:
                last = [key for key in keys if key.value == name][-1]
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {name!r} stands twice", problem_mark=last.start_mark
                )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader above would take for a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def read_yaml(path: Path, *, expected: str = "keys and their values") -> Mapping[str, Any]:
    """The keys of a YAML file.

    Args:
        expected: what the file should have held, for errors.

    Raises:
        InputError: no such file, not YAML (the line is named), or no keys at the top level.
    """
    value = parse_yaml(read_text(path), path, expected=f"{expected}, in YAML")
    if not isinstance(value, Mapping):
        raise InputError("no keys at the top level", where=path, expected=expected)
    return value


def parse_yaml(text: str, where: Path | str, *, expected: str) -> Any:
    """The value of a YAML text.

    Raises:
        InputError: not YAML; the line is named.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}" if mark is not None else ""
        raise InputError(
            f"not valid YAML{place} ({error.problem})", where=where, expected=expected
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"not valid YAML ({reason})", where=where, expected=expected) from error


def yaml_text(value: Any) -> str:
    """A value in one line of YAML, which `parse_yaml` reads back."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=10**9
    )
    return str(text).removesuffix("\n").removesuffix("\n...")
