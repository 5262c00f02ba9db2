"""Squeeze-and-excitation taken out of a run, as a result that shows itself and that can be written as a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from convwright.display.figure_result import FigureResult
from convwright.display.figures import Figure, with_note
from convwright.display.progress import counting
from convwright.display.result import Block, Paragraph, Table
from convwright.errors import ArgumentError, argument
from convwright.explain.change_cells import change_cells, change_columns, change_dict, change_note, measure_key
from convwright.explain.dropped_run import write_run
from convwright.explain.dropping import By, DropStep, count_steps, drop_steps
from convwright.explain.excitation import MeasuredExcitations, run_excitations
from convwright.explain.excitation_figures import dropping_costs
from convwright.explain.excitation_gates import gates
from convwright.explain.opened import OpenNetwork
from convwright.explain.variants import SPLITS, counted, variants_of
from convwright.options import checks_arguments
from convwright.places import check_folder
from convwright.training.run import Run, ensure_free
from convwright.units import human

SAMPLE = 4096
"""Most training images over which the means that are folded into the weights are computed."""


@dataclass(frozen=True, eq=False, repr=False)
class DropResult(FigureResult):
    """Accuracy and cost of a network while squeeze-and-excitation is taken out of it step by step."""

    source: OpenNetwork
    split: str
    steps: tuple[DropStep, ...]
    """Step 0 is the network as it was."""

    @property
    def network(self) -> str:
        """Name of the network as it was."""
        return self.steps[0].network.name

    @property
    def measure(self) -> str:
        """What each step is judged by: accuracy, or mean average precision."""
        return self.source.predictor.measure

    @property
    def title(self) -> str:
        """Heading of a page that shows the steps."""
        return f"Squeeze-and-excitation taken out of {self.network}"

    @property
    def summary(self) -> str:
        """Accuracy and parameters before and after all steps."""
        first, last = self.steps[0], self.steps[-1]
        return (
            f"{self.measure.capitalize()} on {SPLITS[self.split]} images from {first.accuracy:.2%} to "
            f"{last.accuracy:.2%}, parameters from {first.params:,} to {last.params:,}, in {len(self.steps) - 1} steps."
        )

    def figures(self) -> list[Figure]:
        """Return accuracy against parameters."""
        figures = [dropping_costs(self.network, self.split, self.steps, self.measure)]
        return with_note(figures, self.source.overlap(self.split))

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"network": self.network, "split": self.split, "steps": self.steps}

    def to_dict(self) -> dict[str, object]:
        """Return accuracy and cost of each step."""
        steps = [
            {
                "step": step.step,
                "without": step.without,
                "blocks": step.blocks,
                "inexact": step.inexact,
                "network": step.network.name,
                "split": self.split,
                measure_key(self.measure): step.accuracy,
                "interval": step.interval,
                **change_dict(step.change),
                "params": step.params,
                "macs": step.macs,
                "over_none": step.over_none,
            }
            for step in self.steps
        ]
        return {"run": self.source.name, "network": self.network, "drop": steps}

    def blocks(self) -> Iterable[Block]:
        """Yield a row for each step."""
        measured = change_columns(self.measure)
        titles = ("step", "SE dropped from", *measured, "parameters", "over no SE", "MACs", "exact", "")
        yield Table(titles, list(map(_row, self.steps)), left=2)
        yield Paragraph(
            f"{self.measure.capitalize()} on {SPLITS[self.split]} images, without training again; MACs are "
            f"multiply-adds. {change_note(self.measure, 'step 0')} In the place of each dropped gate its mean "
            "excitation over training images is folded into the weights around it. This is exact unless a "
            "layer that cannot take the factors stands in the way, such as an identity shortcut; then the last "
            "normalisation of the body takes them, and the shortcut stays as it is."
        )
        if overlap := self.source.overlap(self.split):
            yield Paragraph(overlap)

    @checks_arguments
    def save(self, folder: str | Path, step: int) -> Run:
        """Write the network after a step as a run that can be evaluated, exported and trained on.

        Args:
            folder: The new run directory.
            step: Number of the step, from 1.

        Returns:
            The run.

        Raises:
            ArgumentError: There is no such step, it was measured on test images, or the folder is in use.
        """
        check_step(self.source, step, len(self.steps) - 1, self.split)
        check_run_folder("folder", Path(folder))
        assert self.source.run is not None
        return write_run(self.source.run, self.steps[step], Path(folder)).as_public()


def drop_of(source: OpenNetwork, by: By = "stages", split: str = "val") -> DropResult:
    """Take squeeze-and-excitation out of an opened network step by step; see `convwright.explain.drop`."""
    predictor = source.predictor
    gates(predictor.module)
    steps = count_steps(predictor.network, by)
    means = _training_means(source)
    with variants_of(predictor, source.data, split, steps + 1) as measure:
        return DropResult(source, split, tuple(drop_steps(predictor.network, predictor.module, means, measure, by)))


def check_save(source: OpenNetwork, by: By, split: str, step: int, folder: Path) -> None:
    """Check that a step can be written as a run, before any step is measured.

    Args:
        source: The network.
        by: Order of the steps.
        split: Images that the steps are measured on.
        step: Number of the step.
        folder: The new run directory.

    Raises:
        NetworkError: The network has no squeeze-and-excitation that can be taken out.
        ArgumentError: There is no such step, it is measured on test images, or the folder is in use.
    """
    check_step(source, step, count_steps(source.predictor.network, by), split)
    check_run_folder("folder", folder)


def check_step(source: OpenNetwork, step: int, steps: int, split: str) -> None:
    """Check that a step can be written as a run.

    Args:
        source: The network.
        step: Number of the step.
        steps: How many steps there are.
        split: Images that the steps are measured on.

    Raises:
        ArgumentError: There is no such step, it is measured on test images, or the network comes from no run.
    """
    if source.run is None:
        raise ArgumentError("step", f"{source.title} comes from no run, so no step of it can be written as a run")
    if split != "val":
        raise ArgumentError("step", "must be a step that is measured on validation images, as the accuracy of a run is")
    if not 0 < step <= steps:
        raise ArgumentError("step", f"must be a step from 1 to {steps}, not {step}")


def check_run_folder(name: str, path: Path) -> None:
    """Check that a new run can be written.

    Args:
        name: Name of the parameter that holds the folder, for the message.
        path: The run directory.

    Raises:
        ArgumentError: The folder is in use, or cannot be made.
    """
    check_folder(name, path)
    with argument(name):
        ensure_free(path)


def _training_means(source: OpenNetwork) -> MeasuredExcitations:
    """Measure excitations on training images, evenly spaced where there are many."""
    images = source.data.train
    if len(images) > SAMPLE:
        images = images.choose(torch.linspace(0, len(images) - 1, SAMPLE).long())
    with counting() as progress:
        add = counted(progress, len(images), "measuring excitations on train images")
        return run_excitations(source.predictor, source.data, images, "train", add)


def _row(step: DropStep) -> tuple[str, ...]:
    return (
        str(step.step),
        step.without,
        f"{step.accuracy:.2%}",
        f"{step.interval[0]:.2%} to {step.interval[1]:.2%}",
        *change_cells(step.change),
        f"{step.params:,}",
        f"+{step.over_none:.1%}",
        human(step.macs),
        "yes" if not step.inexact else f"not {len(step.inexact)} of {len(step.blocks)}",
        "",
    )
