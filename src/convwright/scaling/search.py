"""The search for alpha, beta and gamma: every grid point near the target is a candidate of a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.arch.resolution import Resolution, format_resolution
from convwright.data.opened import Data
from convwright.display.figure_result import FigureResult
from convwright.display.result import Block, Heading, Lines, Paragraph, Table
from convwright.display.wording import counted
from convwright.errors import ArgumentError, UsageError, argument, warn
from convwright.scaling.experiment import Experiment, StudyCandidate
from convwright.scaling.findings import Findings
from convwright.scaling.grid import Grid
from convwright.scaling.halving import KEPT, Schedule
from convwright.scaling.preparation import StudyOptions, TrainingOptions, check_trainable, fit_to_data
from convwright.scaling.rules import Compound
from convwright.scaling.search_file import RESULT
from convwright.scaling.study_result import SearchResult
from convwright.units import human

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from convwright.display.figures import Figure


@dataclass(frozen=True)
class CandidateList(SearchResult):
    """The candidates of a search that was not run, and how long they would train."""

    experiment: Experiment

    @classmethod
    def of(cls, experiment: Experiment, folder: Path) -> "CandidateList":
        """Return the candidates of an experiment.

        Args:
            experiment: The experiment of a search.
            folder: Folder that the study would have.
        """
        return cls(Findings.of(experiment, {}), folder / RESULT, experiment)

    @property
    def title(self) -> str:
        """Heading of a page that shows the candidates."""
        return f"Candidates of a search for alpha, beta and gamma: {self.experiment.base.name}"

    @property
    def best(self) -> Compound:
        """No coefficients, since nothing was trained.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a dry run trains nothing, so no candidate is best")

    def figures(self) -> "Sequence[Figure]":
        """Return no figures, since nothing was trained."""
        return []

    def figure(self) -> "go.Figure":
        """Return no figure, since nothing was trained.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a dry run trains nothing, so there is no figure")

    def table(self, most: int | None = None) -> Table:
        """Return a table of the candidates with their costs.

        Args:
            most: Most candidates to list; all by default.
        """
        titles = ("candidate", "MACs", "times the base", "params", "px", "")
        base_macs = cost(self.experiment.base).macs
        return Table(titles, [_row(candidate, base_macs) for candidate in self.experiment.candidates[:most]])

    def to_dict(self) -> dict[str, object]:
        """Return the experiment: base, candidates, schedule, data and recipe."""
        return self.experiment.to_dict()

    def blocks(self) -> Iterable[Block]:
        """Yield the base, the candidates and the schedule."""
        base, candidates = self.experiment.base, self.experiment.candidates
        count = cost(base)
        yield Heading(base.name)
        yield Lines(f"{human(count.macs)} multiply-adds, {human(count.params)} parameters")
        yield self.table()
        schedule = self.experiment.schedule
        rungs = "; ".join(
            f"{counted(schedule.size(rung), 'candidate')} for {counted(float(f'{schedule.length(rung):.3g}'), 'epoch')}"
            for rung in range(schedule.rungs)
        )
        mean = sum(candidate.macs for candidate in candidates) / len(candidates)
        yield Paragraph(
            f"{rungs}; each with {counted(schedule.seeds, 'seed')}: {schedule.total_epochs:.3g} epochs in all, of "
            f"networks of {human(mean)} multiply-adds"
        )
        if alone := self.experiment.alone:
            yield Paragraph(alone)

    def save_html(self, path: str | Path) -> None:
        """Write the candidates as a page.

        Args:
            path: The file; it is replaced if it exists.
        """
        FigureResult.save_html(self, path)


@dataclass(frozen=True)
class Halving:
    """How candidates are trained: the schedule of a search without the number of candidates."""

    epochs: float
    rungs: int
    keep: float | None
    """Factor between rungs; None: 3."""
    seeds: int

    def __post_init__(self) -> None:
        if self.keep is not None and self.rungs == 1:
            raise ArgumentError("keep", "needs 2 rungs or more; with one, every candidate is trained fully")

    def schedule(self, candidates: int) -> Schedule:
        """Return the schedule for a number of candidates."""
        return Schedule(candidates, self.epochs, self.rungs, self.keep or KEPT, self.seeds)


def prepare_search(
    base: Network,
    data: Data,
    grid: Grid,
    halving: Halving,
    training: TrainingOptions,
    resolution: Resolution | None = None,
) -> Experiment:
    """Return the experiment of a search.

    Args:
        base: The network to scale; it is fitted to the data.
        data: The images.
        grid: The grid over alpha, beta and gamma.
        halving: How long and how often candidates are trained.
        training: How they are trained.
        resolution: Height and width of the base's images in pixels; the data's own by default.

    Raises:
        ArgumentError: The data cannot be opened, or an option has a wrong value.
        UsageError: No point of the grid meets the target.
    """
    with argument("data"):
        dataset = data.dataset(resolution, largest=base.resolution)
    base = fit_to_data(base, dataset)
    candidates = tuple(
        StudyCandidate(
            point.name,
            point.network,
            {"alpha": point.alpha, "beta": point.beta, "gamma": point.gamma},
            point.macs,
        )
        for point in grid.candidates(base)
    )
    schedule = halving.schedule(len(candidates))
    experiment = Experiment(
        base,
        candidates,
        schedule,
        data.spec,
        dataset.fingerprint,
        training.recipe,
        training.recipe_fields(base),
        training.config_fields(data),
    )
    check_trainable(experiment, dataset)
    return experiment


def list_or_run(
    base: Network,
    data: Data,
    grid: Grid,
    halving: Halving,
    training: TrainingOptions,
    resolution: Resolution | None,
    options: StudyOptions,
    *,
    dry_run: bool,
) -> SearchResult:
    """Run a search or, with `dry_run`, list its candidates; see `prepare_search` and `run_search`."""
    options.check()
    experiment = prepare_search(base, data, grid, halving, training, resolution)
    return CandidateList.of(experiment, options.out) if dry_run else run_search(experiment, options)


def run_search(experiment: Experiment, options: StudyOptions) -> SearchResult:
    """Train the candidates of a search, and write the result into the study's folder; see `run_study`."""
    from convwright.scaling.study import run_study, write_findings

    if alone := experiment.alone:
        warn(alone)
    results = run_study(experiment, options)
    path = options.out / RESULT
    return SearchResult(write_findings(experiment, results, path), path)


def _row(candidate: StudyCandidate, base_macs: int) -> tuple[str, ...]:
    network = candidate.network
    times, params = f"{candidate.macs / base_macs:.2f}", human(cost(network).params)
    return candidate.name, human(candidate.macs), times, params, format_resolution(network.resolution), ""
