"""Networks by name. The zoo and installed packages register their families when a name is first looked up.

A package adds its families through an entry point of the group `convwright.networks`, which names a function without
arguments that calls `register`, or a mapping of names to functions that make a network.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from convwright.arch.network import Network
from convwright.arch.node import brief, load_types_with
from convwright.errors import ConvwrightError, NetworkError
from convwright.plugins import load_plugins

ENTRY_POINTS = "convwright.networks"
"""Group of entry points through which packages register families."""
LONGEST_NAME = 100
_ZOO = "convwright.zoo"
"""The module whose import registers the families of the papers."""
_NAMED: dict[str, tuple[str, Callable[[], Network]]] = {}
_PATTERNS: list["Pattern"] = []
_LOADED: list[str] = []
"""The groups of entry points that have been loaded."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A family with more members than a table can list, named by a regular expression."""

    family: str
    form: str
    expression: re.Pattern[str]
    make: Callable[[re.Match[str]], Network]


def register(family: str, name: str, make: Callable[[], Network]) -> None:
    """Add a network to those that expressions, `convwright models` and the other commands know by name.

    A notebook's cell that registers a network can be run again, and a module can be reloaded: the newest function
    counts.

    Args:
        family: Family under which the network is listed.
        name: Name of the network, in lower case with underscores, such as `my_network`.
        make: Function without arguments that makes the network. It is called each time the network is looked up.

    Raises:
        NetworkError: The name is not of this form, another network has it, or it belongs to a family of Convwright
            that is named by pattern, such as `cifar_resnet<6n+2>`.

    Example:
        >>> from convwright.arch import Act, Conv, Network, Norm, Seq, Stage
        >>> from convwright.zoo.common import Classifier, Stem
        >>> from convwright.zoo.resnet import BasicBlock
        >>> def make_network():
        ...     return Network("my_network", Stem(16), (Stage("stage1", BasicBlock(32, 2), 3),), Classifier())
        >>> cw.register("my_family", "my_network", make_network)
        >>> cw.network("my_network|se:16").name
        'my_network|se:16'
    """
    _load_zoo()  # so that its names are taken already
    if not isinstance(name, str) or name != canonical(name) or not re.fullmatch(r"[^|:,=+\s/]+", name):
        raise NetworkError(f"a network's name is in lower case with underscores, as in 'my_network', not {brief(name)}")
    if len(name) > LONGEST_NAME:
        raise NetworkError(f"a network's name has at most {LONGEST_NAME} characters, not {len(name)}")
    if not isinstance(family, str) or not family.strip() or not family.isprintable():
        raise NetworkError(f"the family of {name} must be a text of printable characters, not {brief(family)}")
    if not callable(make):
        raise NetworkError(f"{name} needs a function that makes the network, not {brief(make)}")
    if name in _NAMED and not _is_redefinition(_NAMED[name][1], make):
        raise NetworkError(f"two networks are named {name}")
    if not _is_own(make) and (of := _pattern_of(name, own=True)):
        raise NetworkError(f"{name} is a network of {of.family}, whose names are {of.form}; choose another name")
    _NAMED[name] = (family, make)


def register_pattern(family: str, form: str, expression: str, make: Callable[[re.Match[str]], Network]) -> None:
    """Add a family by pattern. `form` is how listings show the pattern, e.g. `cifar_resnet<6n+2>`."""
    _load_zoo()  # so that its patterns come first
    _PATTERNS.append(Pattern(family, form, re.compile(expression), make))


def canonical(name: str) -> str:
    """Return a name as the registry spells it: lower case, underscores."""
    return re.sub(r"[\s\-]+", "_", name.strip()).lower()


def find(name: str) -> Network:
    """Return the network of a name.

    Raises:
        NetworkError: There is none; the message has the nearest names.
    """
    if len(name) > LONGEST_NAME:
        raise NetworkError(f"unknown network {name[:20]}...; no name has more than {LONGEST_NAME} characters")
    key = canonical(name)
    for load in (_load_zoo, _load_plugins):
        load()
        if (found := _made(key)) is not None:
            return found
    near = difflib.get_close_matches(key, _NAMED, n=3, cutoff=0.5)
    forms = [p.form for p in _PATTERNS if difflib.SequenceMatcher(None, key, p.form).ratio() > 0.6]
    hint = f"the nearest are {', '.join(near + forms)}" if near or forms else "see 'convwright models'"
    raise NetworkError(f"unknown network {name!r}; {hint}")


def names() -> Iterator[tuple[str, str]]:
    """Yield (family, name) of every network that has a name of its own, in order of registration."""
    _load_all()
    for name, (family, _) in list(_NAMED.items()):
        yield family, name


def patterns() -> tuple[Pattern, ...]:
    """Return the families that are named by pattern."""
    _load_all()
    return tuple(_PATTERNS)


def _made(key: str) -> Network | None:
    """Return the network of a canonical name; None if nothing that is loaded has the name."""
    if key in _NAMED:
        try:
            made = _NAMED[key][1]()
        except ConvwrightError:
            raise
        except Exception as error:  # of another package's function
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise NetworkError(f"the function registered as {key} failed: {reason:.200}") from error
        if not isinstance(made, Network):
            raise NetworkError(f"the function registered as {key} returns {brief(made)}, not a Network")
        return made
    pattern = _pattern_of(key)
    match = pattern and pattern.expression.fullmatch(key)
    return pattern.make(match) if pattern and match else None


def _pattern_of(key: str, *, own: bool = False) -> Pattern | None:
    """Return the first pattern, or the first of Convwright's own, that a canonical name matches."""
    return next((p for p in _PATTERNS if p.expression.fullmatch(key) and (not own or _is_own(p.make))), None)


def _is_own(make: Callable[..., Network]) -> bool:
    """Whether a function is part of Convwright."""
    return str(getattr(make, "__module__", "")).startswith(f"{_ZOO}.")


def _is_redefinition(before: Callable[[], Network], make: Callable[[], Network]) -> bool:
    """Whether a notebook, a script or a reloaded module has defined a function again."""
    places = [(getattr(each, "__module__", None), getattr(each, "__qualname__", None)) for each in (before, make)]
    return places[0] == places[1] and None not in places[0] and not _is_own(make)


def _load_all() -> None:
    _load_zoo()
    _load_plugins()


def _load_zoo() -> None:
    import_module(_ZOO)


def _load_plugins() -> None:
    """Register the families of installed packages, once in a process."""
    if not _LOADED:
        _LOADED.append(ENTRY_POINTS)  # before loading, since plug-ins may look up networks too
        load_plugins(ENTRY_POINTS, _register_plugin)


def _register_plugin(name: str, provided: object) -> None:
    if isinstance(provided, Mapping):
        for network_name, make in provided.items():
            register(name, network_name, make)
    elif callable(provided):
        provided()
    else:
        raise TypeError(f"{brief(provided)} is neither a function nor a mapping of names to functions")


load_types_with(_load_zoo)
load_types_with(_load_plugins)
