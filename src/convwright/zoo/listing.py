"""Networks of the zoo in a table, with their cost and the results that their papers report."""

import difflib
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby

from convwright.arch import Cost, Network, registry
from convwright.arch.cost import cost
from convwright.arch.description import provenance, published
from convwright.arch.expression import named_network
from convwright.arch.resolution import format_resolution
from convwright.brief import Brief
from convwright.display.result import Block, Heading, Lines, Paragraph, Result, Table
from convwright.display.table import Row
from convwright.errors import NetworkError, UsageError, warn
from convwright.units import human
from convwright.zoo.published_weights import packages_with_weights

NOTE = (
    "MACs are multiply-adds of one image; the papers call them FLOPs. Published figures are those that the papers "
    "print, in percent, on ImageNet where no other data is named. Weights are those that a package supplies: see the "
    "option --weights."
)


@dataclass(frozen=True)
class ListedNetwork(Brief):
    """A network of the zoo with its family and cost."""

    family: str
    network: Network
    cost: Cost

    @property
    def weights(self) -> tuple[str, ...]:
        """Packages that supply published weights of the network, as pip knows them; empty where there are none."""
        return packages_with_weights(self.network.name) if "|" not in self.network.name else ()

    def to_dict(self) -> dict[str, object]:
        """Return name, family, resolution, parameters, MACs, packages with weights, papers and published results."""
        return {
            "name": self.network.name,
            "family": self.family,
            "resolution": self.network.resolution,
            "params": self.cost.params,
            "macs": self.cost.macs,
            "weights": list(self.weights),
            **provenance(self.network),
        }


@dataclass(frozen=True)
class NetworkList(Result):
    """Networks of the zoo, and the patterns of names that describe further ones."""

    networks: tuple[ListedNetwork, ...]
    patterns: tuple[registry.Pattern, ...] = ()

    def __iter__(self) -> Iterator[ListedNetwork]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    def to_dict(self) -> dict[str, object]:
        """Return the networks under `networks`, in the same list as `--json` prints."""
        return {"networks": self.json_value()}

    def json_value(self) -> object:
        """Return a list of the networks."""
        return [each.to_dict() for each in self.networks]

    def blocks(self) -> Iterable[Block]:
        """Yield a table by family, and the patterns."""
        if self.networks:
            yield Table(("name", "pixels", "params", "MACs", "published results and weights"), _rows(self.networks))
            yield Paragraph(NOTE)
        if self.patterns:
            forms = [f"  {each.form}  ({each.family})" for each in self.patterns]
            yield Heading("Any other of a family, by pattern:")
            yield Lines("\n".join(forms))


def list_networks(pattern: str = "") -> NetworkList:
    """Return the networks whose name or family matches a pattern.

    Args:
        pattern: Part of a name or family, a pattern such as `*resnet50*`, or an expression; empty for all networks.

    Raises:
        UsageError: No network matches.
    """
    named = [(family, name) for family, name in registry.names() if matches(pattern, name, family)]
    listed = [each for family, name in named if (each := _listed(family, name)) is not None]
    listed += _of_exact_name(pattern, {each.network.name for each in listed})
    patterns = [each for each in registry.patterns() if matches(pattern, each.form, each.family)]
    if not listed and not patterns:
        raise UsageError(_nothing_found(pattern))
    return NetworkList(tuple(listed), tuple(patterns))


def _listed(family: str, name: str) -> ListedNetwork | None:
    """Return a network with its cost; None, with a warning, if a package registered one that cannot be made."""
    try:
        found = named_network(name)
        return ListedNetwork(family, found, cost(found))
    except NetworkError as error:
        warn(f"{name} is left out: {error}")
        return None


def matches(pattern: str, *names: str) -> bool:
    """Return whether a glob matches, or a plain text occurs in, one of the names, in upper or lower case."""
    pattern = pattern.strip().lower()
    if any(sign in pattern for sign in "*?["):
        return any(fnmatchcase(name.lower(), pattern) for name in names)
    return any(pattern in name.lower() for name in names)


def _of_exact_name(text: str, listed: Set[str]) -> list[ListedNetwork]:
    """Return the network that this name or expression describes; an empty list if it is listed already."""
    try:
        found = named_network(text)
    except NetworkError:
        return []
    key = registry.canonical(text.partition("|")[0])
    if {found.name, registry.canonical(text)} & listed:
        return []
    families = [family for family, name in registry.names() if name == key]
    families += [each.family for each in registry.patterns() if each.expression.fullmatch(key)]
    return [ListedNetwork(families[0], found, cost(found))]


def _nothing_found(pattern: str) -> str:
    names = [name for _, name in registry.names()]
    near = difflib.get_close_matches(registry.canonical(pattern), names, n=3, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}" if near else "see 'convwright models' for all"
    return f"no network is named like {pattern!r}; {hint}"


def _rows(networks: Sequence[ListedNetwork]) -> list[Row]:
    rows: list[Row] = []
    first = {each.family: index for index, each in reversed(list(enumerate(networks)))}
    together = sorted(networks, key=lambda each: first[each.family])
    for family, members in groupby(together, key=lambda each: each.family):
        rows += ["", family] if rows else [family]
        rows += [_cells(each) for each in members]
    return rows


def _cells(listed: ListedNetwork) -> tuple[str, ...]:
    weights = f"weights: {', '.join(listed.weights)}" if listed.weights else ""
    return (
        listed.network.name,
        format_resolution(listed.network.resolution),
        human(listed.cost.params),
        human(listed.cost.macs),
        "; ".join(filter(None, (published(listed.network, implied="ImageNet"), weights))),
    )
