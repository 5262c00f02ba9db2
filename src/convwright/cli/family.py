"""`convwright scale family`: the networks of phi = 0, 1, 2, ... beside those that grow in one dimension alone."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.arch.cost import cost
from convwright.arch.units import human
from convwright.cli import studies
from convwright.cli.inputs import check_place
from convwright.cli.networks import read_network
from convwright.cli.search import RESULT as SEARCH
from convwright.cli.search import finish
from convwright.cli.table import paragraph, table
from convwright.errors import UsageError
from convwright.scaling.rules import Compound

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.scaling.family import Member

RESULT = "family.json"


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
    check_place("--html", html)
    found = _searched(search) if search else {}
    name, data = network or found.get("base"), data or found.get("data")
    if name is None:
        raise UsageError("name the BASE to scale, or give --search FOLDER")
    base = read_network(name)
    opened = studies.open_data(data, resolution or found.get("resolution"), base) if data else None
    base = studies.fitted(base, opened) if opened else base
    rule = Compound(*_coefficients(found, alpha, beta, gamma))
    members, dropped = distinct(compound_family(base, rule, phi))
    others, missing = single_families(base, members) if singles else ([], [])
    missing = dropped + missing
    if not train:
        typer.echo(json.dumps(_object(rule, members + others), indent=1) if as_json else _listed(members + others))
        _tell(missing)
        return
    if opened is None or data is None:
        raise UsageError("--train needs --data")
    studies.positive("epochs", epochs)
    _tell(missing)
    from convwright.scaling.experiment import Experiment
    from convwright.scaling.halving import Schedule

    entrants = tuple(member.entrant for member in members + others)
    schedule = Schedule(len(entrants), epochs, rungs=1, seeds=seeds)
    options, tested = studies.options_of(batch_size, precision), opened.test is not None
    experiment = Experiment(
        base, entrants, schedule, data, opened.fingerprint, recipe, studies.fields_of(fields, base), options, tested
    )
    studies.check_trainable(experiment, opened)
    out = out or studies.default_folder("family", name, data)
    how = studies.How(out, workers, cluster, cores_per_trial, storage, study, keep_runs)
    results = studies.conduct(experiment, how)
    finish(experiment, results, out / RESULT, html, as_json, "network, phi")


def _searched(folder: Path) -> dict[str, Any]:
    """Read what a search found. UsageError if it has not ended."""
    path = folder / SEARCH
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        best = found["networks"][0]["place"]
        coefficients = {name: float(best[name]) for name in ("alpha", "beta", "gamma")}
        return coefficients | {"base": found["base"], "data": found["data"], "resolution": found["resolution"]}
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        raise UsageError(f"{path}: not the result of a search; 'convwright scale search' writes it") from None


def _coefficients(found: dict[str, Any], *given: float | None) -> tuple[float, float, float]:
    names, published = ("alpha", "beta", "gamma"), (1.2, 1.1, 1.15)
    values = [
        value if value is not None else found.get(name, default)
        for name, value, default in zip(names, given, published, strict=True)
    ]
    return values[0], values[1], values[2]


def _tell(missing: list[str]) -> None:
    from convwright.cli.progress import say

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
