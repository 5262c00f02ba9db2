"""Networks by name. Families register their variants when `convwright.zoo` is imported."""

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from convwright.arch.network import Network
from convwright.errors import NetworkError

_NAMED: dict[str, tuple[str, Callable[[], Network]]] = {}
_PATTERNS: list["Pattern"] = []
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Pattern:
    """A family with more members than a table can list, named by a regular expression."""

    family: str
    form: str
    expression: re.Pattern[str]
    make: Callable[[re.Match[str]], Network]


def register(family: str, name: str, make: Callable[[], Network]) -> None:
    """Add a network to the zoo under a canonical (lower-case) name."""
    if name in _NAMED:
        raise NetworkError(f"two networks are named {name}")
    _NAMED[name] = (family, make)


def register_pattern(family: str, form: str, expression: str, make: Callable[[re.Match[str]], Network]) -> None:
    """Add a family by pattern. `form` is how users are told of it, e.g. ``cifar_resnet<6n+2>``."""
    _PATTERNS.append(Pattern(family, form, re.compile(expression), make))


def canonical(name: str) -> str:
    """Return a name as the registry spells it: lower case, underscores."""
    return re.sub(r"[\s\-]+", "_", name.strip()).lower()


def find(name: str) -> Network:
    """Return the network of this name. NetworkError names the nearest ones if there is none."""
    if len(name) > LONGEST_NAME:
        raise NetworkError(f"unknown network {name[:20]}...; no name has more than {LONGEST_NAME} characters")
    key = canonical(name)
    if key in _NAMED:
        return _NAMED[key][1]()
    for pattern in _PATTERNS:
        if match := pattern.expression.fullmatch(key):
            return pattern.make(match)
    near = difflib.get_close_matches(key, _NAMED, n=3, cutoff=0.5)
    forms = [p.form for p in _PATTERNS if difflib.SequenceMatcher(None, key, p.form).ratio() > 0.6]
    hint = f"the nearest are {', '.join(near + forms)}" if near or forms else "see 'convwright models'"
    raise NetworkError(f"unknown network {name!r}; {hint}")


def names() -> Iterator[tuple[str, str]]:
    """Yield (family, name) of every network that has a name of its own, in order of registration."""
    for name, (family, _) in _NAMED.items():
        yield family, name


def patterns() -> tuple[Pattern, ...]:
    """Return the families that are named by pattern."""
    return tuple(_PATTERNS)
