"""Faithfulness of class activation maps: deletion and insertion scores with their curves."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np
import torch

from convwright.display.figure_result import FigureResult
from convwright.display.figures import Figure, Panel, axis, colour, empty_plot
from convwright.display.result import Block, Paragraph
from convwright.display.wording import counted, listed
from convwright.evaluation.overlap import Overlap, overlap_notes
from convwright.explain.cam_result import ClassActivation, NetworkMaps
from convwright.explain.deletion import Estimate
from convwright.explain.map_tables import compared, differences, estimates_dict, score_tables


@dataclass(frozen=True, eq=False, repr=False)
class Faithfulness(FigureResult):
    """Deletion and insertion scores of maps, beside those of random maps on the same images."""

    maps: ClassActivation
    """The maps of the networks that were scored, with their scores."""
    overlaps: tuple[Overlap, ...]
    """Which of the images each network was trained on."""

    @property
    def networks(self) -> tuple[NetworkMaps, ...]:
        """The networks with their maps and scores."""
        return self.maps.networks

    @property
    def title(self) -> str:
        """Heading of a page that shows the scores."""
        return f"Faithfulness of the maps of {listed(one.title for one in self.networks)}"

    @property
    def summary(self) -> str:
        """How much more the maps achieve than random maps."""
        gains = [f"{title} {one['deletion_gain'].mean:+.3f}" for title, one in self.estimates.items()]
        more = [f"{title} {one['insertion_gain'].mean:+.3f}" for title, one in self.estimates.items()]
        return (
            f"Improvement over random maps ({counted(len(self.maps.images), 'image')}): deletion {', '.join(gains)}; "
            f"insertion {', '.join(more)}."
        )

    @property
    def estimates(self) -> dict[str, dict[str, Estimate]]:
        """Mean scores with 95 % intervals, by the network's title and the score's name."""
        return {one.title: one.scores.estimates() for one in self.networks if one.scores}

    @property
    def differences(self) -> dict[str, dict[str, Estimate]]:
        """Mean differences from the first network, image by image, by title and score."""
        return dict(compared([(one.title, one.scores) for one in self.networks]))

    @property
    def notes(self) -> list[str]:
        """A line for each network that was trained on some of the images, with the mean scores on the others."""
        found: list[str] = []
        for one, overlap in zip(self.networks, self.overlaps, strict=True):
            found += overlap_notes(overlap, partial(_means_on, one), one.title)
        return found

    def to_dict(self) -> dict[str, object]:
        """Return the scores of each image, their means, the differences between networks, and training images."""
        networks = [
            {
                "name": one.title,
                "network": one.network.predictor.network.name,
                "method": one.maps.method,
                "layer": one.maps.layer,
                "scores": estimates_dict(self.estimates[one.title]),
                "training_images": overlap.images,
                "images": one.rows(self.maps.images),
            }
            for one, overlap in zip(self.networks, self.overlaps, strict=True)
        ]
        found = differences([(one.title, one.scores) for one in self.networks])
        return {"images": self.maps.images.source, "networks": networks, "differences": found}

    def blocks(self) -> Iterable[Block]:
        """Yield the tables of scores, and what networks were trained on."""
        yield from score_tables([(one.title, one.scores) for one in self.networks])
        yield from map(Paragraph, self.notes)

    def figures(self) -> list[Figure]:
        """Return the mean curves of deletion and insertion."""
        panels = (self._curves("deletion"), self._curves("insertion"))
        keys = tuple((colour(place), one.title) for place, one in enumerate(self.networks))
        caption = (
            f"Mean probability of the class over {len(self.maps.images)} images while the most relevant pixels are "
            "removed (deletion), or put into the blurred image (insertion). Dotted: random maps."
        )
        caption = " ".join([caption, *(f"{note}." for note in self.notes)])
        return [Figure("faithfulness", "Deletion and insertion", caption, panels, keys=keys)]

    def _curves(self, kind: str) -> Panel:
        x = axis(title="share of pixels", tickformat=".0%", range=[0, 1])
        plot = empty_plot(height=280, x=x, y=axis(tickformat=".1~%", rangemode="tozero", nticks=6))
        ends = []
        for place, one in enumerate(self.networks):
            assert one.scores is not None
            for curves, dash in ((one.scores.maps, "solid"), (one.scores.random, "dot")):
                means = np.mean(getattr(curves, kind), axis=0).tolist()
                plot.add_scatter(
                    x=np.linspace(0, 1, len(means)).tolist(),
                    y=means,
                    mode="lines",
                    line={"color": colour(place), "dash": dash, "width": 2},
                    hovertemplate=f"{escape(one.title)}: %{{y:.1%}}<extra></extra>",
                )
            ends.append(f"{one.title} {self.estimates[one.title][kind].mean:.3f}")
        return Panel(kind, plot, f"Line chart of {kind}; mean area under the curve: {', '.join(ends)}.")


def _means_on(one: NetworkMaps, chosen: torch.Tensor) -> str:
    """Return the mean scores of some images in words.

    Args:
        one: The network with its scores.
        chosen: N, bool.
    """
    assert one.scores is not None
    means = {name: float(values[chosen.numpy()].mean()) for name, values in one.scores.values().items()}
    return f"deletion {means['deletion']:.3f}, insertion {means['insertion']:.3f}"
