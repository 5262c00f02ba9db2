"""Excitations of a run as a result that shows itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from convwright.display.figure_result import FigureResult
from convwright.display.figures import Figure, with_note
from convwright.display.progress import counting
from convwright.display.result import Block, Lines, Paragraph, Table
from convwright.explain.drop_result import DropResult, drop_of
from convwright.explain.dropping import By
from convwright.explain.excitation import (
    NEAR_ONE,
    BlockExcitation,
    MeasuredExcitations,
    chosen_classes,
    run_excitations,
)
from convwright.explain.excitation_figures import BANDS, by_class, by_depth, within_class
from convwright.explain.excitation_gates import gates
from convwright.explain.opened import OpenNetwork
from convwright.explain.variants import counted, images_of
from convwright.options import checks_arguments


@dataclass(frozen=True, eq=False, repr=False)
class Excitations(FigureResult):
    """The factors by which each squeeze-and-excitation gate of a network multiplies its channels, by class."""

    source: OpenNetwork
    found: MeasuredExcitations
    shown: tuple[int, ...]
    """Indices of the classes that are drawn."""
    threshold: float = NEAR_ONE
    """A channel whose mean factor is at least this is saturated."""

    @property
    def network(self) -> str:
        """Name of the network."""
        return self.found.network

    @property
    def gates(self) -> tuple[BlockExcitation, ...]:
        """The gates, in the order in which the network runs them."""
        return self.found.blocks

    @property
    def title(self) -> str:
        """Heading of a page that shows the excitations."""
        return f"Excitations of {self.network}"

    @property
    def summary(self) -> str:
        """How saturation and class-specificity change from the first gate to the last."""
        first, last = self.gates[0], self.gates[-1]
        text = (
            f"{len(self.gates)} gates, measured on {self.found.images:,} {self.found.split} images. From the first to "
            f"the last, the share of channels gated at {self.threshold:g} or more goes from "
            f"{first.saturation(self.threshold):.0%} to {last.saturation(self.threshold):.0%}"
        )
        if first.specificity is None or last.specificity is None:
            return f"{text}; each class has too few images to measure class-specificity."
        return (
            f"{text}, and the share of variance that lies between classes from {first.specificity:.2f} to "
            f"{last.specificity:.2f}."
        )

    def figures(self) -> list[Figure]:
        """Return SENet's Figures 6 and 7, and all gates by depth; Figure 7 needs a class of five images."""
        spread = [within_class(self.found, self.shown[:BANDS])] if self.shown else []
        figures = [by_class(self.found, self.shown), *spread, by_depth(self.found, self.threshold)]
        return with_note(figures, self.source.overlap(self.found.split))

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"network": self.network, "gates": self.gates, "threshold": self.threshold}

    def to_dict(self) -> dict[str, object]:
        """Return means and deviations by class and channel, and the measures of each gate."""
        return {
            "run": self.source.name,
            "network": self.network,
            "definition": self.found.definition,
            "split": self.found.split,
            "images": self.found.images,
            "threshold": self.threshold,
            "classes": self.found.classes,
            "blocks": [self._gate_dict(gate) for gate in self.gates],
            "drop": [],
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a row for each gate."""
        names = map(self.found.counted, self.shown)
        titles = ("gate", "channels", "mean", *names, "spread", "saturated", "class-specific", "")
        yield Lines(f"{self.network}: {self.summary}")
        yield Table(titles, list(map(self._row, self.gates)))
        for note in filter(None, (self.found.too_few(), self.source.overlap(self.found.split))):
            yield Paragraph(note)
        yield Paragraph(
            f"{self.found.definition} Near one: {self.threshold:g} or more. Means by class are over channels."
        )

    @checks_arguments
    def drop(self, by: By = "stages") -> DropResult:
        """Take squeeze-and-excitation out and measure on the same images; see `convwright.explain.drop`."""
        return drop_of(self.source, by, self.found.split)

    def _row(self, gate: BlockExcitation) -> tuple[str, ...]:
        return (
            gate.name,
            f"{gate.channels:,}",
            f"{float(gate.overall.mean()):.3f}",
            *(f"{float(gate.mean[index].mean()):.3f}" for index in self.shown),
            f"{gate.spread:.4f}",
            f"{gate.saturation(self.threshold):.0%}",
            "-" if gate.specificity is None else f"{gate.specificity:.2f}",
            "",
        )

    def _gate_dict(self, gate: BlockExcitation) -> dict[str, object]:
        return {
            "name": gate.name,
            "channels": gate.channels,
            "images": gate.counts.tolist(),
            "mean": _rows(gate.mean, gate.present),
            "std": _rows(gate.std, gate.present),
            "overall": gate.overall.tolist(),
            "spread": gate.spread,
            "variation": gate.variation,
            "saturation": gate.saturation(self.threshold),
            "specificity": gate.specificity,
        }


def excitations_of(
    source: OpenNetwork, classes: str | Sequence[str] | None = None, *, threshold: float = NEAR_ONE, split: str = "val"
) -> Excitations:
    """Measure the excitations of an opened network; see `convwright.explain.excitations`."""
    predictor = source.predictor
    gates(predictor.module)  # a network without squeeze-and-excitation is refused before images are read
    chosen_classes(predictor.classes, classes)  # and so are unknown names
    images = images_of(source.data, split)
    with counting() as progress:
        add = counted(progress, len(images), f"measuring excitations on {split} images")
        found = run_excitations(predictor, source.data, images, split, add)
    return Excitations(source, found, chosen_classes(found.classes, classes, found.counts), threshold)


def _rows(values: torch.Tensor, present: torch.Tensor) -> list[list[float] | None]:
    """Return a list of channels for each class; None for a class without images."""
    return [row if there else None for row, there in zip(values.tolist(), present.tolist(), strict=True)]
