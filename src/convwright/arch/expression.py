"""Networks named by expressions: ``NAME|operator|operator``, e.g. ``resnet50|se:16|scale:d=1.2,w=1.1``.

A file of a network or a run directory may take the place of the name: ``runs/a/network.json|scale:d=1.2``.
"""

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from convwright.arch import operators, recalibration, registry
from convwright.arch.cost import cost
from convwright.arch.network import Network
from convwright.arch.node import brief
from convwright.arch.resolution import Resolution, resolution_of
from convwright.checksums import verify
from convwright.errors import NetworkError

P = ParamSpec("P")
T = TypeVar("T")

NETWORK_FILE = "network.json"
"""Name of the network's file in a run directory."""


RESIZING = frozenset({"resolution", "fit", "phi"})
"""Operators that set the native resolution; `scale` does with `r`."""


class HasNetwork(Protocol):
    """An object with a network, such as a run."""

    @property
    def network(self) -> Network:
        """The network."""


NetworkLike = Network | HasNetwork | str | os.PathLike[str]
"""What can be given where a network is needed."""


@dataclass(frozen=True, slots=True)
class Operator:
    """How an operator is written in an expression.

    Args:
        form: Examples for error messages.
        first: Option that may stand without its name.
        readers: Functions that read the value of each option.
        apply: The operator.
        needs_first: Whether the first option is required.
    """

    form: str
    first: str
    readers: Mapping[str, Callable[[str], object]]
    apply: Callable[..., Network]
    needs_first: bool = True


def network(expression: NetworkLike) -> Network:
    """Return the network that an expression names, or that a file or a run contains.

    Args:
        expression: Such as ``resnet50|se:16``. A file of a network (``network.json``) or a run directory may take the
            place of the name. A `Network` is returned as it is, and of a run its network.

    Returns:
        The network.

    Raises:
        NetworkError: The expression is malformed, or names an unknown network or operator; the message has the
            nearest known ones. Or the file holds no network.

    Example:
        >>> network = cw.network("resnet50|se:16|scale:d=1.2,w=1.1")
        >>> network.resolution, len(network.stages)
        (224, 4)
    """
    return as_network(expression)


def as_network(value: object) -> Network:
    """Return a network that is given as itself, or as an expression, a file, a run directory or a run.

    Raises:
        NetworkError: The value is something else, or names or holds no network.
    """
    if isinstance(value, Network):
        return value
    if isinstance(value, str | os.PathLike):
        return _read(os.fsdecode(value))
    contained = getattr(value, "network", None)
    if isinstance(contained, Network):
        return contained
    raise NetworkError(
        f"a network is an expression such as 'resnet50|se:16', a Network, a run or a file, not {brief(value)}"
    )


def named_network(expression: str) -> Network:
    """Return the network of an expression, whose name is that of a registered network and never that of a file.

    Raises:
        NetworkError: The expression is malformed, or names an unknown network or operator.
    """
    name, *operations = expression.split("|")
    if not name.strip():
        raise NetworkError(f"{brief(expression)} names no network; write NAME|operator|..., e.g. resnet50|se:16")
    return _applied(registry.find(name), operations)


def _read(text: str) -> Network:
    name, *operations = text.split("|")
    path = Path(name.strip())
    if not is_place(text):
        return named_network(text)
    try:
        file = path / NETWORK_FILE if path.is_dir() else path
        file.stat()
    except OSError as error:
        raise NetworkError(f"{brief(str(path))[1:-1]} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise NetworkError(f"{brief(name)} is no path") from None
    return _applied(load_network(file), operations)


def is_place(expression: str) -> bool:
    """Return whether an expression begins with a file or folder in place of a name.

    A folder `resnet50` hides the network of that name only if it is a run.
    """
    name = expression.partition("|")[0].strip()
    path = Path(name)
    written_as_path = "/" in name or os.sep in name
    is_run = bool(name) and os.path.isfile(path / NETWORK_FILE)  # noqa: PTH113 - False for a text that is no path
    return written_as_path or path.suffix == ".json" or is_run


def chooses_resolution(expression: str) -> bool:
    """Return whether an operator of an expression sets or scales the native resolution."""
    _, *operations = expression.split("|")
    for operation in operations:
        name, _, rest = operation.strip().partition(":")
        scaled = any(item.partition("=")[0].strip() == "r" for item in rest.split(","))
        if name.strip() in RESIZING or (name.strip() == "scale" and scaled):
            return True
    return False


def _applied(network: Network, operations: Sequence[str]) -> Network:
    for operation in operations:
        network = apply(network, operation)
    return network


def accepts_expressions(function: Callable[Concatenate[Network, P], T]) -> Callable[Concatenate[NetworkLike, P], T]:
    """Return a function of a network that also takes an expression, a file or a run in its place."""

    @wraps(function)
    def accepting(network: NetworkLike, *arguments: P.args, **options: P.kwargs) -> T:
        return function(as_network(network), *arguments, **options)

    return cast(Callable[Concatenate[NetworkLike, P], T], accepting)


def apply(network: Network, operation: str) -> Network:
    """Apply one written operation, e.g. ``se:16,stages=1-3``, to a network."""
    name, _, rest = operation.strip().partition(":")
    operator = OPERATORS.get(name.strip())
    if operator is None:
        near = difflib.get_close_matches(name, OPERATORS, n=1, cutoff=0.5) or list(OPERATORS)
        forms = "; ".join(OPERATORS[key].form for key in near)
        raise NetworkError(f"unknown operator {brief(name.strip())} in {brief(operation)}; known: {forms}")
    return operator.apply(network, **_options(operator, operation, rest))


def load_network(path: Path) -> Network:
    """Read a network's JSON from a file, as a run directory holds it.

    Raises:
        NetworkError: The file cannot be read, or does not hold a network that can be built.
        RunError: The file belongs to a run, and is not as it was written.
    """
    verify(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise NetworkError(f"{path} cannot be read: {error.strerror or error}") from None
    loaded = Network.from_json_text(text, path)
    try:
        cost(loaded)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None
    return loaded


def _options(operator: Operator, operation: str, text: str) -> dict[str, object]:
    wrong = f"malformed operator {brief(operation.strip())}; write {operator.form}"
    options: dict[str, object] = {}
    for index, item in enumerate(filter(None, map(str.strip, text.split(",")))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            key, value = operator.first, key
            if index or not operator.first:
                raise NetworkError(wrong)
        if key not in operator.readers:
            raise NetworkError(f"{wrong} ({brief(key)} is not an option of it)")
        if key in options:
            raise NetworkError(f"{wrong} ({key!r} is given twice)")
        try:
            options[key] = operator.readers[key](value)
        except ValueError:
            raise NetworkError(f"{wrong} ({brief(value)} is not a valid value of {key!r})") from None
    if not options or (operator.needs_first and operator.first not in options):
        raise NetworkError(wrong)
    return options


def _reduction(text: str) -> float | None:
    return None if text in ("none", "off") else float(text)


def _size(text: str) -> Resolution:
    """Read ``160`` or ``160x320``."""
    height, times, width = text.partition("x")
    return resolution_of(int(height), int(width)) if times else int(height)


def _stages(text: str) -> list[int | str]:
    """Read ``1-3``, ``1+4`` or ``stage1+stage4``."""
    stages: list[int | str] = []
    for part in text.split("+"):
        first, dash, last = part.partition("-")
        if dash:
            stages.extend(range(int(first), min(int(last), int(first) + 1000) + 1))
        else:
            stages.append(int(part) if part.isdigit() else part)
    if not stages:
        raise ValueError(text)
    return stages


def _first_to(text: str) -> int | str:
    """Read ``1-5`` or ``1-transition2``: the last of the stages from the first one on."""
    first, _, last = text.partition("-")
    if first.strip() != "1" or not last.strip():
        raise ValueError(text)
    return int(last) if last.strip().isdecimal() else last.strip()


def _blocks(text: str) -> list[str]:
    """Read ``stage2.block3+stage3``."""
    return [part.strip() for part in text.split("+")]


def _scale(network: Network, d: float = 1, w: float = 1, r: float = 1) -> Network:
    return operators.scale(network, d, w, r)


OPERATORS: dict[str, Operator] = {
    "scale": Operator(
        "scale:d=1.2,w=1.1,r=1.15", "", {"d": float, "w": float, "r": float}, _scale, needs_first=False
    ),
    "phi": Operator(
        "phi:1 or phi:1,alpha=1.2,beta=1.1,gamma=1.15",
        "phi",
        dict.fromkeys(("phi", "alpha", "beta", "gamma"), float),
        operators.compound,
    ),
    "se": Operator(
        "se:16 or se:16,placement=pre,stages=1-3 or se:none,blocks=stage2.block3+stage3",
        "reduction",
        {
            "reduction": _reduction, "stages": _stages, "blocks": _blocks, "placement": str, "least": int, "act": str,
            "gate": str, "of": str,
        },
        recalibration.recalibrate,
    ),
    "stages": Operator("stages:1-5 or stages:1-transition2", "last", {"last": _first_to}, operators.truncate),
    "fit": Operator(
        "fit:32 or fit:160x320,least=4", "resolution", {"resolution": _size, "least": int}, operators.fit_resolution
    ),
    "resolution": Operator("resolution:160 or resolution:160x320", "resolution", {"resolution": _size}, operators.at),
    "classes": Operator("classes:10", "classes", {"classes": int}, operators.at),
    "channels": Operator("channels:1", "channels", {"channels": int}, operators.at),
    "dropout": Operator("dropout:0.2", "dropout", {"dropout": float}, operators.regularise),
    "stochastic_depth": Operator(
        "stochastic_depth:0.2", "stochastic_depth", {"stochastic_depth": float}, operators.regularise
    ),
}  # fmt: skip
