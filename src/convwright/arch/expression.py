"""Networks named by expressions: ``NAME|operator|operator``, e.g. ``resnet50|se:16|scale:d=1.2,w=1.1``."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from convwright.arch import operators, registry
from convwright.arch.cost import cost
from convwright.arch.network import Network
from convwright.arch.node import brief
from convwright.checksums import verify
from convwright.errors import NetworkError

P = ParamSpec("P")
T = TypeVar("T")


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


def network(expression: str | Network) -> Network:
    """Return the network that an expression names.

    Args:
        expression: Such as ``resnet50|se:16``; a `Network` is returned as it is.

    Returns:
        The network.

    Raises:
        NetworkError: The expression is malformed, or names an unknown network or operator; the message has the
            nearest known ones.

    Example:
        >>> network = cw.network("resnet50|se:16|scale:d=1.2,w=1.1")
        >>> network.resolution, len(network.stages)
        (224, 4)
    """
    return as_network(expression)


def as_network(value: object) -> Network:
    """Return a network that is given as itself or as an expression; NetworkError for anything else."""
    if isinstance(value, Network):
        return value
    if not isinstance(value, str):
        raise NetworkError(f"a network is an expression such as 'resnet50|se:16' or a Network, not {brief(value)}")
    name, *operations = value.split("|")
    if not name.strip():
        raise NetworkError(f"{brief(value)} names no network; write NAME|operator|..., e.g. resnet50|se:16")
    result = registry.find(name)
    for operation in operations:
        result = apply(result, operation)
    return result


def accepts_expressions(function: Callable[Concatenate[Network, P], T]) -> Callable[Concatenate[Network | str, P], T]:
    """Return a function of a network that also takes an expression in its place."""

    @wraps(function)
    def accepting(network: Network | str, *arguments: P.args, **options: P.kwargs) -> T:
        return function(as_network(network), *arguments, **options)

    return cast(Callable[Concatenate[Network | str, P], T], accepting)


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
        operators.recalibrate,
    ),
    "fit": Operator(
        "fit:32 or fit:32,least=4", "resolution", {"resolution": int, "least": int}, operators.fit_resolution
    ),
    "resolution": Operator("resolution:160", "resolution", {"resolution": int}, operators.at),
    "classes": Operator("classes:10", "classes", {"classes": int}, operators.at),
    "channels": Operator("channels:1", "channels", {"channels": int}, operators.at),
    "dropout": Operator("dropout:0.2", "dropout", {"dropout": float}, operators.regularise),
    "stochastic_depth": Operator(
        "stochastic_depth:0.2", "stochastic_depth", {"stochastic_depth": float}, operators.regularise
    ),
}  # fmt: skip
