"""YAML of configurations: no aliases, no deep nesting, no key twice, and numbers as YAML 1.2 reads them."""

import re
from pathlib import Path
from typing import Any

import yaml

from convwright.errors import UsageError
from convwright.files import as_utf8
from convwright.printable import printable

MAX_NESTING = 20
"""Levels of nesting in a YAML file; a configuration has three."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        UsageError: The file cannot be read, is not YAML, holds no mapping, or has aliases or deep nesting, which no
            configuration needs and which can take any amount of time and memory.
    """
    try:
        text = as_utf8(path.read_bytes()).decode("utf-8")
        _check_structure(text)
        values = yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: encoding, dates, numbers of many digits
        reason = printable(" ".join(str(error).split()))
        raise UsageError(f"{path}: not a readable YAML file: {reason:.300}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"{path}: must hold 'field: value' lines, as a run's config.yaml does")
    return values


def read_value(text: str) -> Any:
    """Return the value of a field that is written as in `config.yaml`: 1e-3 is a number.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        _check_structure(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


class _Loader(yaml.SafeLoader):
    """Reads numbers and booleans as YAML 1.2 does (`032` is decimal, `yes` is text), and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the field {str(twice[0])!r:.60} occurs twice")
        return super().construct_mapping(node, deep)


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """Return a whole number; YAML's own constructor reads 032 as 26."""
    return int(loader.construct_scalar(node))


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), [*_first])
_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


def _check_structure(text: str) -> None:
    """Raise ValueError for aliases and deep nesting, before anything is built from a YAML text."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases ('*name') are not supported; write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_NESTING:
            raise ValueError(f"nested more than {MAX_NESTING} levels deep")
