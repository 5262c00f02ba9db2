"""A network described: its stages, cost, papers and drawing."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.arch.cost import Cost
from convwright.arch.cost_table import FLOAT32, NOTE, stage_table, totals
from convwright.arch.resolution import format_sides
from convwright.display.result import Block, Heading, Html, Lines, Paragraph, Result, Table
from convwright.printable import printable
from convwright.units import human, human_bytes, human_shape

if TYPE_CHECKING:
    from convwright.arch.network import Network


@dataclass(frozen=True)
class NetworkDescription(Result):
    """A network with its cost, stage by stage.

    Args:
        network: The network.
        cost: Its cost at its native resolution.
        layers: Whether every layer is shown.
        diagram: The file that its drawing was written to.
    """

    network: "Network"
    cost: Cost
    layers: bool = False
    diagram: Path | None = None

    def to_dict(self) -> dict[str, object]:
        """Return exact numbers in total and by stage, papers, published results and the network as JSON."""
        network, cost = self.network, self.cost
        costs = cost.to_dict()
        described: dict[str, object] = {
            "name": network.name,
            "resolution": costs.pop("resolution"),
            "channels": network.channels,
            "classes": network.classes,
            **costs,
            **provenance(network),
            "network": network.to_json(),
        }
        if self.layers:
            described["layers"] = [layer._asdict() | {"layer": repr(layer.layer)} for layer in cost.layers]
        return described

    def blocks(self) -> Iterable[Block]:
        """Yield name and papers, the table of stages, totals and the drawing."""
        yield _Title(_title(self.network))
        yield stage_table(self.cost)
        if self.layers:
            yield _layer_table(self.cost)
        yield Lines(totals(self.cost))
        yield Paragraph(NOTE)
        if self.diagram is not None:
            yield Lines(f"drawn in {printable(self.diagram)}")
        yield Html(self._drawing)

    def _drawing(self) -> str:
        from convwright.arch.diagram import diagram

        return diagram(self.network)


class _Title(Lines):
    """The name of a network, emphasised, and lines about it."""

    def __str__(self) -> str:
        name, *lines = self.text.split("\n")
        return "\n".join([str(Heading(name)), *(str(Paragraph(line)) for line in lines)])


def _title(network: "Network") -> str:
    lines = [network.name, *map(str, network.papers)]
    if network.results:
        lines.append(f"Published, in percent: {published(network)}")
    size = f"{network.channels} × {format_sides(network.resolution, '×')}"
    lines.append(f"Images of {size} pixels, {network.classes} classes")
    return "\n".join(map(printable, lines))


def _layer_table(cost: Cost) -> Table:
    from convwright.arch.flowchart import label

    rows = [
        (
            layer.path,
            human_shape(layer.output),
            human(layer.params),
            human(layer.macs),
            human_bytes(layer.live * FLOAT32),
            label(layer.layer, layer),
        )
        for layer in cost.layers
    ]
    return Table(("layer", "output", "params", "MACs", "memory", "what"), rows, left=2)


def published(network: "Network", *, implied: str = "") -> str:
    """Return the results that papers print, in percent: `ImageNet top-1 error 24.8, top-5 7.48`.

    Args:
        network: The network.
        implied: Name of a data set that is left out of the text.
    """
    if not network.results:
        return ""
    datasets = {result.dataset for result in network.results}
    metrics = {result.metric for result in network.results}
    first, *others = network.results
    if len(metrics) == 1 < len(datasets):
        return f"{first.metric}: " + ", ".join(f"{r.dataset} {r.value}" for r in network.results)
    if len(datasets) > 1:
        return ", ".join(f"{r.dataset} {r.metric} {r.value}" for r in network.results)
    shown = [f"{first.metric} {first.value}"]
    word = " " + first.metric.split()[-1]  # "error" stands only once
    shown += [f"{r.metric.removesuffix(word)} {r.value}" for r in others]
    return ("" if first.dataset == implied else f"{first.dataset} ") + ", ".join(shown)


def provenance(network: "Network") -> dict[str, list[dict[str, object]]]:
    """Return the papers and results of a network as data."""
    return {
        "papers": [{"title": p.title, "authors": p.authors, "year": p.year, "arxiv": p.arxiv} for p in network.papers],
        "results": [{"dataset": r.dataset, "metric": r.metric, "value": r.value} for r in network.results],
    }
