"""`convwright scale search`: alpha, beta and gamma found on one's own data (EfficientNet, section 3.3, step 1)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright import json_text
from convwright.arch.cost import cost
from convwright.arch.units import human
from convwright.cli import studies
from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file, check_folder
from convwright.display.table import emphasised, paragraph, table
from convwright.errors import ConvwrightError
from convwright.printable import printable
from convwright.zoo.reading import read_network

if TYPE_CHECKING:
    from convwright.scaling.experiment import Experiment
    from convwright.scaling.ranking import Row
    from convwright.stats.means import Mean

RESULT = "search.json"
SHOWN = 12


def search(
    network: Annotated[str, typer.Argument(metavar="BASE", help="The small network to scale.")],
    data: Annotated[str, typer.Option(help="A folder with a sub-folder per class, or fashion-mnist, digits, ...")],
    out: Annotated[Path | None, typer.Option(help="The study's folder; studies/search-BASE-DATA by default.")] = None,
    resolution: studies.Resolution = None,
    step: Annotated[float, typer.Option(help="Step of the grid over alpha, beta and gamma.")] = 0.1,
    target: Annotated[float, typer.Option(help="Multiply-adds of a candidate over the base's.")] = 2.0,
    tolerance: Annotated[
        float, typer.Option(help="Share by which formula and network may miss the target; the rest is dropped.")
    ] = 0.1,
    epochs: Annotated[float, typer.Option(help="Epochs of the longest trainings, those of the last rung.")] = 3.0,
    rungs: Annotated[int, typer.Option(help="Rounds of successive halving; 1: train every candidate fully.")] = 3,
    keep: Annotated[float, typer.Option(help="One candidate in so many goes on, and trains so many times longer.")] = 3,
    seeds: studies.Seeds = 2,
    recipe: studies.Recipe = "fast",
    fields: studies.Fields = None,
    batch_size: studies.BatchSize = None,
    precision: studies.Precision = None,
    workers: studies.Workers = 1,
    cluster: studies.Cluster = None,
    cores_per_trial: studies.CoresPerTrial = 1,
    storage: studies.Storage = None,
    study: studies.StudyName = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the candidates, and train nothing.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write what was found as a page.")] = None,
    as_json: studies.AsJson = False,
) -> None:
    """Find alpha, beta and gamma for a network on your data: every grid point near the target, trained and ranked.

    Stopped or killed at any moment, the same command goes on. The same command with --storage postgresql://... on
    other machines works on the same study.
    """
    check_file("--html", html)
    from convwright.scaling.experiment import Candidate, Experiment
    from convwright.scaling.grid import Grid
    from convwright.scaling.halving import Schedule

    out = out or studies.default_folder("search", network, data)
    check_folder("--out", out)
    grid = Grid(step, target, tolerance)
    studies.positive("epochs", epochs)
    base = read_network(network)
    opened = studies.open_data(data, resolution, base)
    base = studies.fitted(base, opened)
    points = grid.candidates(base)
    schedule = Schedule(len(points), epochs, rungs, keep, seeds)
    candidates = tuple(
        Candidate(one.told, one.network, {"alpha": one.alpha, "beta": one.beta, "gamma": one.gamma}, one.macs)
        for one in points
    )
    options = studies.options_of(batch_size, precision)
    experiment = Experiment(
        base, candidates, schedule, data, opened.fingerprint, recipe, studies.fields_of(fields, base), options
    )
    studies.check_trainable(experiment, opened)
    if dry_run:
        if as_json:
            print_json(experiment.to_json(), indent=1)
        else:
            echo(_candidates(experiment))
        return
    results = studies.conduct(experiment, studies.How(out, workers, cluster, cores_per_trial, storage, study))
    finish(experiment, results, out / RESULT, html, as_json, "alpha, beta, gamma")


def finish(
    experiment: "Experiment", results: dict[Any, Any], path: Path, html: Path | None, as_json: bool, what: str
) -> None:
    """Write down and show what a study found."""
    from convwright.files import write_text
    from convwright.scaling.ranking import all_diverged, overall, rows_of, to_json, verdict

    found = to_json(experiment, results)
    write_text(path, json_text.dump(found, indent=1) + "\n")
    if all_diverged(results):
        raise ConvwrightError(f"{path}: every training diverged, so no network is best; try a lower learning rate")
    if html is not None:
        from convwright.reporting.scaling_page import write_scaling_page

        write_scaling_page(html, found)
    if as_json:
        print_json(found, indent=1)
        return
    rows = rows_of(experiment, results)
    blocks = [ranking(rows[:SHOWN], what, experiment), paragraph(verdict(rows))]
    if leads := overall(rows):
        blocks.append(_leads(leads))
    blocks.append(f"results: {printable(path)}")
    if html is not None:
        blocks.append(f"page: {printable(html)}")
    echo("\n\n".join(blocks))


def ranking(rows: "list[Row]", what: str, experiment: "Experiment") -> str:
    """Return a table of networks and what they reached, those trained longest first."""
    split = "test" if experiment.tested else "validation"
    titles = [what, "MACs", "params", "px", "epochs", "seeds", f"{split} accuracy", "95 %", ""]
    return table(titles, [_row(row) for row in rows])


def _row(row: "Row") -> tuple[str, ...]:
    mean = row.mean
    return (
        row.candidate.name,
        human(row.candidate.macs),
        human(row.params),
        str(row.candidate.network.resolution),
        f"{row.epochs:.3g}",
        str(mean.count),
        f"{mean.value:.2%}",
        "-" if mean.half is None else f"± {100 * mean.half:.2f}",
        f"{row.diverged} diverged" if row.diverged else "",
    )


def _leads(leads: "dict[str, Mean]") -> str:
    rows = [
        (
            rule,
            f"{100 * lead.value:+.2f}",
            "-" if lead.half is None else f"± {100 * lead.half:.2f}",
            str(lead.count),
            "",
        )
        for rule, lead in leads.items()
    ]
    titles = ["compound scaling's lead over", "points", "95 %", "seeds", "in the mean over all sizes, seeds paired"]
    return table(titles, rows)


def _candidates(experiment: "Experiment") -> str:
    base, schedule = cost(experiment.base), experiment.schedule
    rows = [
        (
            *(one.name, human(one.macs), f"{one.macs / base.macs:.2f}"),
            *(human(cost(one.network).params), str(one.network.resolution), ""),
        )
        for one in experiment.candidates
    ]
    rungs = "; ".join(
        f"{schedule.size(rung)} candidates for {schedule.length(rung):.3g} epochs" for rung in range(schedule.rungs)
    )
    return "\n\n".join(
        (
            f"{emphasised(experiment.base.name)}: {human(base.macs)} multiply-adds, {human(base.params)} parameters",
            table(["candidate", "MACs", "times the base", "params", "px", ""], rows),
            paragraph(
                f"{rungs}; each with {schedule.seeds} seeds: {schedule.total_epochs:.3g} epochs in all, of networks of "
                f"{human(sum(one.macs for one in experiment.candidates) / len(experiment.candidates))} multiply-adds"
            ),
        )
    )
