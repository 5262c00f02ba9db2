"""``convwright models``: the zoo, with what each network costs and what its paper reports."""

import difflib
from collections.abc import Iterable, Sequence, Set
from fnmatch import fnmatchcase
from itertools import groupby
from typing import NamedTuple

import typer

from convwright.arch import Cost, Network, registry
from convwright.arch.cost import cost
from convwright.arch.expression import network
from convwright.arch.units import human
from convwright.cli.networks import provenance, published
from convwright.cli.output import echo, print_json
from convwright.cli.table import Row, emphasised, paragraph, table
from convwright.errors import NetworkError, UsageError

_NOTE = (
    "MACs are multiply-adds of one image; the papers call them FLOPs. Published figures are those that the papers "
    "print, in percent, on ImageNet where no other data is named."
)


class Entry(NamedTuple):
    """One line of the zoo."""

    family: str
    network: Network
    cost: Cost


def models(
    pattern: str = typer.Argument(
        "", metavar="[FILTER]", help="Part of a name or family, or a pattern such as '*resnet50*'."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print a list of objects with exact numbers."),
) -> None:
    """List the networks of the zoo by family, with their cost and published results."""
    entries = [
        Entry(family, found, cost(found))
        for family, name in registry.names()
        if matches(pattern, name, family)
        for found in [network(name)]
    ]
    entries += _of_exact_name(pattern, {entry.network.name for entry in entries})
    patterns = [known for known in registry.patterns() if matches(pattern, known.form, known.family)]
    if not entries and not patterns:
        raise UsageError(_nothing_found(pattern))
    if as_json:
        print_json([_object(entry) for entry in entries], indent=1)
        return
    if entries:
        echo(_listing(entries))
        echo()
        echo(paragraph(_NOTE))
    if patterns:
        echo(("\n" if entries else "") + _forms(patterns))


def matches(pattern: str, *names: str) -> bool:
    """Does a glob match, or a plain text occur in, one of the names? Upper and lower case are alike."""
    pattern = pattern.strip().lower()
    if any(sign in pattern for sign in "*?["):
        return any(fnmatchcase(name.lower(), pattern) for name in names)
    return any(pattern in name.lower() for name in names)


def _of_exact_name(text: str, listed: Set[str]) -> list[Entry]:
    """Return the network that exactly this name or expression means; none if it is listed already."""
    try:
        found = network(text)
    except NetworkError:
        return []
    key = registry.canonical(text.partition("|")[0])
    if {found.name, registry.canonical(text)} & listed:
        return []
    families = [family for family, name in registry.names() if name == key]
    families += [known.family for known in registry.patterns() if known.expression.fullmatch(key)]
    return [Entry(families[0], found, cost(found))]


def _nothing_found(pattern: str) -> str:
    names = [name for _, name in registry.names()]
    near = difflib.get_close_matches(registry.canonical(pattern), names, n=3, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}" if near else "see 'convwright models' for all"
    return f"no network is named like {pattern!r}; {hint}"


def _listing(entries: Sequence[Entry]) -> str:
    rows: list[Row] = []
    first = {entry.family: index for index, entry in reversed(list(enumerate(entries)))}
    together = sorted(entries, key=lambda entry: first[entry.family])
    for family, members in groupby(together, key=lambda entry: entry.family):
        rows += ["", family] if rows else [family]
        rows += [_cells(entry) for entry in members]
    return table(("name", "pixels", "params", "MACs", "published"), rows)


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        entry.network.name,
        str(entry.network.resolution),
        human(entry.cost.params),
        human(entry.cost.macs),
        published(entry.network, untold="ImageNet"),
    )


def _forms(patterns: Iterable[registry.Pattern]) -> str:
    lines = [f"  {known.form}  ({known.family})" for known in patterns]
    return "\n".join([emphasised("Any other of a family, by pattern:"), *lines])


def _object(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.network.name,
        "family": entry.family,
        "resolution": entry.network.resolution,
        "params": entry.cost.params,
        "macs": entry.cost.macs,
        **provenance(entry.network),
    }
