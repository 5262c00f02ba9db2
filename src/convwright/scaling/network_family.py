"""Families of scaled networks, which can be listed and trained."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.arch.resolution import SIZE, Resolution, format_resolution
from convwright.display.result import Block, Lines, Paragraph, Result, Table
from convwright.errors import ArgumentError, argument
from convwright.options import Bounds, checks_arguments
from convwright.scaling.experiment import Experiment
from convwright.scaling.family import Member, compound_family, distinct, single_families
from convwright.scaling.halving import MOST_EPOCHS, MOST_SEEDS, Schedule
from convwright.scaling.rules import Compound
from convwright.scaling.study_options import (
    BatchSize,
    Cluster,
    CoresPerTask,
    Fields,
    Precision,
    Recipe,
    Storage,
    StudyName,
    Workers,
)
from convwright.scaling.study_result import FamilyResult
from convwright.units import human

if TYPE_CHECKING:
    from convwright.data import Dataset
    from convwright.data.opened import Data
    from convwright.scaling.preparation import StudyOptions, TrainingOptions

RESULT = "family.json"
TITLES = ("by", "phi", "depth", "width", "px", "params", "MACs", "times the base", "activations", "")
NOTE = (
    "Factors are those requested, before rounding. The networks of a single dimension are those nearest to the "
    "multiply-adds of the compound one of the same phi."
)


@dataclass(frozen=True)
class Family(Result):
    """A base network scaled by some compound coefficients, beside networks scaled in one dimension alone."""

    base: Network
    """Network of phi = 0: the one that was given, fitted to the data if there is any."""
    rule: Compound
    """Compound scaling with its coefficients alpha, beta and gamma."""
    phi: tuple[int, ...]
    """Compound coefficients."""
    singles: bool
    """Whether networks scaled in one dimension alone are included."""
    members: tuple[Member, ...]
    """The compound networks, then those of each single dimension."""
    missing: tuple[str, ...] = ()
    """A line for each network that rounding puts out of reach, or makes equal to another one."""
    data: "Data | None" = None
    """The images that `train` uses by default."""
    resolution: Resolution | None = None
    """Height and width of the base's images in pixels; None: the data's own."""
    unfitted: Network | None = None
    """The base as it was given."""

    @classmethod
    def of(
        cls,
        base: Network,
        rule: Compound,
        phi: int | Iterable[int],
        *,
        singles: bool = True,
        data: "Data | None" = None,
        resolution: Resolution | None = None,
    ) -> "Family":
        """Return the family of a base network.

        Args:
            base: The network to scale; it is fitted to the data, if there is any.
            rule: Compound scaling with its coefficients.
            phi: Largest compound coefficient, or all of them.
            singles: Whether to include networks scaled in one dimension alone.
            data: The images.
            resolution: Height and width of the base's images in pixels; the data's own by default.
        """
        fitted = _fitted(base, _open(data, resolution, base)) if data is not None else base
        members, dropped = distinct(compound_family(fitted, rule, phi))
        others, missing = single_families(fitted, members) if singles else ([], [])
        coefficients = tuple(range(phi + 1)) if isinstance(phi, int) else tuple(phi)
        everything = (*members, *others)
        lines = (*dropped, *missing)
        return cls(fitted, rule, coefficients, singles, everything, lines, data, resolution, base)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def to_dict(self) -> dict[str, object]:
        """Return the coefficients and the networks."""
        return {
            "alpha": self.rule.alpha,
            "beta": self.rule.beta,
            "gamma": self.rule.gamma,
            "networks": [member.to_dict() for member in self.members],
            "missing": list(self.missing),
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a table of the networks, and what is missing."""
        base_macs = cost(self.base).macs
        yield Table(TITLES, [_row(member, base_macs) for member in self.members])
        yield Paragraph(NOTE)
        if self.missing:
            yield Lines("\n".join(self.missing))

    @checks_arguments
    def train(  # noqa: D417 - the options of every study are described in `study_options`
        self,
        data: "Data | str | Path | None" = None,
        *,
        resolution: Annotated[Resolution | None, SIZE] = None,
        epochs: Annotated[float, Bounds(gt=0, le=MOST_EPOCHS)] = 10.0,
        seeds: Annotated[int, Bounds(ge=1, le=MOST_SEEDS)] = 3,
        recipe: Recipe = "fast",
        fields: Fields = (),
        batch_size: BatchSize = None,
        precision: Precision = None,
        keep_runs: bool = False,
        workers: Workers = 1,
        cluster: Cluster = None,
        cores_per_task: CoresPerTask = 1,
        storage: Storage = None,
        study: StudyName = None,
        out: Path | str | None = None,
    ) -> FamilyResult:
        """Train the family, and measure every network on the test images where there are any.

        Nothing is chosen by the test images. Interrupted or killed at any moment, the same call or command resumes
        the study.

        Args:
            data: A folder with a sub-folder per class, or fashion-mnist, cifar10, cifar100 or digits; by default the
                family's own data.
            resolution: Height and width of the base's images in pixels; the data's own by default.
            epochs: Epochs of each training run.
            seeds: Training runs of each network, with the same seeds for all.
            keep_runs: Keep each trained network as a run, in the folder `trials` of the study.
            out: Folder of the study; studies/family-BASE-DATA by default.

        Returns:
            Accuracies by network with their intervals; `figure` draws them against multiply-adds.

        Raises:
            ArgumentError: A value cannot be used.
            StudyError: The folder or database has another study of this name.
            Interrupted: The study was stopped.

        Example:
            >>> family = cw.family("cifar_resnet8", phi=1)
            >>> family.train("photos", epochs=1).figure()  # doctest: +SKIP
        """
        from convwright.data.opened import Data
        from convwright.scaling.preparation import StudyOptions, TrainingOptions, folder_of

        images = Data.of(data) if data is not None else self.data
        if images is None:
            raise ArgumentError("data", "training needs images: name a folder or a source")
        folder = folder_of("family", self.unfitted or self.base, images, out)
        cache_gb = images.cache_gb
        options = StudyOptions(folder, workers, cluster, cores_per_task, storage, study, keep_runs, cache_gb)
        options.check()
        family = self._of(images, resolution or self.resolution)
        training = TrainingOptions(recipe, fields, batch_size, precision)
        return family._run(family._experiment(images, training, epochs, seeds), options)

    def _of(self, data: "Data", resolution: Resolution | None) -> "Family":
        """Return the same family of other images."""
        if data == self.data and resolution == self.resolution:
            return self
        base = self.unfitted or self.base
        return Family.of(base, self.rule, self.phi, singles=self.singles, data=data, resolution=resolution)

    def _run(self, experiment: Experiment, options: "StudyOptions") -> FamilyResult:
        from convwright.display.progress import print_progress
        from convwright.scaling.study import run_study, write_findings

        for line in self.missing:
            print_progress(line)
        path = options.out / RESULT
        return FamilyResult(write_findings(experiment, run_study(experiment, options), path), path)

    def _experiment(self, data: "Data", training: "TrainingOptions", epochs: float, seeds: int) -> Experiment:
        from convwright.scaling.preparation import check_trainable

        dataset = _open(data, self.resolution, self.unfitted or self.base)
        candidates = tuple(member.candidate for member in self.members)
        experiment = Experiment(
            self.base,
            candidates,
            Schedule(len(candidates), epochs, rungs=1, seeds=seeds),
            data.spec,
            dataset.fingerprint,
            training.recipe,
            training.recipe_fields(self.base),
            training.config_fields(data),
            dataset.test is not None,
        )
        check_trainable(experiment, dataset)
        return experiment


def _open(data: "Data", resolution: Resolution | None, base: Network) -> "Dataset":
    with argument("data"):
        return data.dataset(resolution, largest=base.resolution)


def _fitted(base: Network, data: "Dataset") -> Network:
    from convwright.scaling.preparation import fit_to_data

    return fit_to_data(base, data)


def _row(member: Member, base_macs: int) -> tuple[str, ...]:
    count = cost(member.network)
    return (
        member.rule,
        str(member.phi),
        f"{member.factors.depth:.2f}",
        f"{member.factors.width:.2f}",
        format_resolution(member.network.resolution),
        human(count.params),
        human(count.macs),
        f"{count.macs / base_macs:.2f}",
        human(count.activations),
        "",
    )
