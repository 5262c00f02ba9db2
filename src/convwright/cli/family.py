"""`convwright scale family`: the networks of phi = 0, 1, 2, ... beside those that grow in one dimension alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright import json_text
from convwright.arch.cost import cost
from convwright.arch.units import human
from convwright.cli import studies
from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file, check_folder
from convwright.cli.search import RESULT as SEARCH
from convwright.cli.search import finish
from convwright.display.table import paragraph, table
from convwright.errors import UsageError
from convwright.scaling.rules import Compound
from convwright.zoo.reading import read_network

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.scaling.family import Member

RESULT = "family.json"
NAMES, PUBLISHED = ("alpha", "beta", "gamma"), (1.2, 1.1, 1.15)
"""The coefficients of compound scaling, and those of EfficientNet's paper."""


def family(
    network: Annotated[
        str | None, typer.Argument(metavar="[BASE]", help="The network to scale; --search knows its own.")
    ] = None,
    phi: Annotated[int, typer.Option(help="The largest compound coefficient.")] = 3,
    alpha: Annotated[float | None, typer.Option(help="Depth is multiplied by alpha^phi; 1.2 by default.")] = None,
    beta: Annotated[float | None, typer.Option(help="Width is multiplied by beta^phi; 1.1 by default.")] = None,
    gamma: Annotated[float | None, typer.Option(help="Resolution is multiplied by gamma^phi; 1.15.")] = None,
    search: Annotated[
        Path | None, typer.Option(help="Take alpha, beta, gamma, base and data from this search's folder.")
    ] = None,
    singles: Annotated[
        bool, typer.Option(help="Beside it, networks of the same multiply-adds by depth, width and resolution alone.")
    ] = True,
    train: Annotated[bool, typer.Option("--train", help="Train them all.")] = False,
    data: Annotated[str | None, typer.Option(help="The data to train on.")] = None,
    resolution: studies.Resolution = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; studies/family-BASE-DATA by default.")] = None,
    epochs: Annotated[float, typer.Option(help="Epochs of each training.")] = 10.0,
    seeds: studies.Seeds = 3,
    recipe: studies.Recipe = "fast",
    fields: studies.Fields = None,
    batch_size: studies.BatchSize = None,
    precision: studies.Precision = None,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep each trained network as a run.")] = False,
    workers: studies.Workers = 1,
    cluster: studies.Cluster = None,
    cores_per_trial: studies.CoresPerTrial = 1,
    storage: studies.Storage = None,
    study: studies.StudyName = None,
    html: Annotated[Path | None, typer.Option(help="Write the accuracy-MACs curves as a page.")] = None,
    as_json: studies.AsJson = False,
) -> None:
    """Scale a network by phi = 0, 1, 2, ...; with --train, train the family and draw accuracy against multiply-adds.

    Trained networks are measured on the test split, where there is one: nothing is chosen by it.
    """
    from convwright.scaling.family import compound_family, distinct, single_families

    if html is not None and not train:
        raise UsageError("--html draws trained networks; give --train too")
    check_file("--html", html)
    found = _Search.read(search) if search is not None else None
    name = network or (found.base if found else None)
    data = data or (found.data if found else None)
    if name is None:
        raise UsageError("name the BASE to scale, or give --search FOLDER")
    base = read_network(name)
    if train:
        if data is None:
            raise UsageError("--train needs --data")
        out = out or studies.default_folder("family", name, data)
        check_folder("--out", out)
    opened = studies.open_data(data, resolution or (found.resolution if found else None), base) if data else None
    base = studies.fitted(base, opened) if opened else base
    rule = Compound(*_coefficients(found, alpha, beta, gamma))
    members, dropped = distinct(compound_family(base, rule, phi))
    others, missing = single_families(base, members) if singles else ([], [])
    missing = dropped + missing
    if not train or opened is None or data is None or out is None:
        if as_json:
            print_json(_object(rule, members + others), indent=1)
        else:
            echo(_listed(members + others))
        _tell(missing)
        return
    studies.positive("epochs", epochs)
    _tell(missing)
    from convwright.scaling.experiment import Experiment
    from convwright.scaling.halving import Schedule

    candidates = tuple(member.candidate for member in members + others)
    schedule = Schedule(len(candidates), epochs, rungs=1, seeds=seeds)
    options, tested = studies.options_of(batch_size, precision), opened.test is not None
    experiment = Experiment(
        base, candidates, schedule, data, opened.fingerprint, recipe, studies.fields_of(fields, base), options, tested
    )
    studies.check_trainable(experiment, opened)
    how = studies.How(out, workers, cluster, cores_per_trial, storage, study, keep_runs)
    results = studies.conduct(experiment, how)
    finish(experiment, results, out / RESULT, html, as_json, "network, phi")


@dataclass(frozen=True)
class _Search:
    """What the result of a search says about the family to make of it."""

    base: str
    data: str
    resolution: int
    coefficients: tuple[float, float, float]
    """Best alpha, beta and gamma."""

    @classmethod
    def read(cls, folder: Path) -> "_Search":
        """Read the result in a study's folder. UsageError names the file and what is wrong with it."""
        path = folder / SEARCH
        if not path.is_file():
            raise UsageError(f"--search {folder}: no {SEARCH} in it; 'convwright scale search' writes it at its end")
        found = json_text.read(path)
        try:
            best = found["networks"][0]
            place, diverged = best["place"], best["diverged"] == len(best["accuracies"])
            alpha, beta, gamma = (_number(place[name]) for name in NAMES)
            base, data, resolution = found["base"], found["data"], found["resolution"]
            if not (isinstance(base, str) and isinstance(data, str) and type(resolution) is int):
                raise TypeError
        except (KeyError, IndexError, TypeError):
            raise UsageError(
                f"{path}: not the result of a search: it must have base, data, resolution and networks, and "
                "networks[0] the numbers place.alpha, place.beta and place.gamma, accuracies and diverged"
            ) from None
        if diverged:
            raise UsageError(f"{path}: all trainings of its best network diverged; search at a lower learning rate")
        return cls(base, data, resolution, (alpha, beta, gamma))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _coefficients(found: _Search | None, *given: float | None) -> tuple[float, float, float]:
    defaults = found.coefficients if found else PUBLISHED
    alpha, beta, gamma = (default if value is None else value for value, default in zip(given, defaults, strict=True))
    return alpha, beta, gamma


def _tell(missing: list[str]) -> None:
    from convwright.display.progress import say

    for line in missing:
        say(line)


def _listed(members: "list[Member]") -> str:
    rows = [_row(member, members[0].network) for member in members]
    titles = ["by", "phi", "depth", "width", "px", "params", "MACs", "times the base", "activations", ""]
    note = (
        "Factors are those asked for, before rounding. A single dimension's networks are those nearest to the "
        "multiply-adds of the compound one of the same phi."
    )
    return f"{table(titles, rows)}\n\n{paragraph(note)}"


def _row(member: "Member", base: "Network") -> tuple[str, ...]:
    count = cost(member.network)
    return (
        member.rule,
        str(member.step),
        f"{member.factors.depth:.2f}",
        f"{member.factors.width:.2f}",
        str(member.network.resolution),
        human(count.params),
        human(count.macs),
        f"{count.macs / cost(base).macs:.2f}",
        human(count.activations),
        "",
    )


def _object(rule: Compound, members: "list[Member]") -> dict[str, Any]:
    return {
        "alpha": rule.alpha,
        "beta": rule.beta,
        "gamma": rule.gamma,
        "networks": [
            {"rule": member.rule, "phi": member.step, "network": member.network.name, "macs": member.macs}
            | {"params": cost(member.network).params, "factors": member.factors._asdict()}
            | {"resolution": member.network.resolution}
            for member in members
        ],
    }
