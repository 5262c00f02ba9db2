"""Feature reuse: DenseNet's Figure 5 (section 5) for any network with dense blocks.

The weights that connect two layers measure how strongly the later relies on the maps of the earlier. `DEFINITION`
specifies what is computed; the captions of figures contain it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean

import torch
from torch import nn

from convwright.arch.network import Network
from convwright.brief import Brief
from convwright.errors import ConvwrightError
from convwright.explain.dense_connections import DenseBlock, Reader, dense_blocks

Matrix = tuple[tuple[float | None, ...], ...]
"""A row for each source, a column for each target; None where the target comes before the source."""

DEFINITION = (
    "Column: the layer that reads, by its number in the block; the last is what follows the block. Row: the source "
    "that is read; 0 is the block's input, s the new maps of layer s. Raw: the average absolute weight, the mean of "
    "|w| over all weights with which the first convolution of the reading layer (or the classifier) reads the "
    "source's maps. Normalised: the L1 norm of the same weights, summed over the source's maps and the kernel, "
    "averaged over filters and divided by the number of the source's maps (DenseNet, Figure 5); this is the raw value "
    "times the kernel's area, the same for 1x1 convolutions. Relative: the normalised value over the largest in its "
    "column."
)
PLAIN = "Weights are the convolutions' own, as in the paper: the batch normalisation before them is left out."
FOLDED = "Each weight is multiplied by |gamma| of the batch normalisation that its map goes through before it."


@dataclass(frozen=True)
class Connection(Brief):
    """The weights with which one target reads the maps of one source."""

    block: str
    source: int
    target: str
    maps: int
    average: float
    """Mean absolute weight."""
    l1: float
    """L1 norm of the weights, averaged over filters."""
    reader: Reader

    @property
    def normalised(self) -> float:
        """L1 norm per map of the source."""
        return self.l1 / self.maps


@dataclass(frozen=True)
class BlockReuse(Brief):
    """The heat map of one dense block."""

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    maps: tuple[int, ...]
    """Number of maps of each source."""
    raw: Matrix
    """Average absolute weights."""
    normalised: Matrix
    """L1 norms over the number of maps."""

    @property
    def relative(self) -> Matrix:
        """The normalised matrix, each column divided by its largest value."""
        largest = [max(filter(None, column), default=0.0) for column in zip(*self.normalised, strict=True)]
        return tuple(
            tuple(
                None if value is None else value / most if most else 0.0
                for value, most in zip(row, largest, strict=True)
            )
            for row in self.normalised
        )

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the mean relative value of the columns with several sources; 1 and 1 for equal weights."""
        values = [value for column in self._choices() for value in column]
        return min(values), fmean(values)

    @property
    def input_share(self) -> float:
        """The mean relative value of the block's input in the columns with several sources."""
        return fmean(column[0] for column in self._choices())

    @property
    def late_to_early_ratio(self) -> float | None:
        """Mean weight of the later half of the layers divided by that of the earlier half, in the last column.

        Above 1: the layer after the block relies on late maps. None if no layer follows, or the block has one layer.
        """
        layers = [row[-1] for row in self.normalised[1:] if row[-1] is not None]
        half = len(layers) // 2
        if len(layers) < len(self.sources) - 1 or not half or not (early := fmean(layers[:half])):
            return None
        return fmean(layers[-half:]) / early

    def _choices(self) -> list[list[float]]:
        """The relative values of the targets that read more than one source."""
        columns = [[value for value in column if value is not None] for column in zip(*self.relative, strict=True)]
        return [column for column in columns if len(column) > 1] or columns


@dataclass(frozen=True)
class FeatureReuse(Brief):
    """Every dense block of a network, and every connection in them."""

    network: str
    with_norm: bool
    blocks: tuple[BlockReuse, ...]
    connections: tuple[Connection, ...]

    @property
    def definition(self) -> str:
        """Definition of the values in the figures."""
        return f"{DEFINITION} {FOLDED if self.with_norm else PLAIN}"

    def weakest(self) -> tuple[Connection, ...]:
        """Return all connections, by average absolute weight, the weakest first."""
        return tuple(sorted(self.connections, key=lambda each: each.average))


def feature_reuse(network: Network, module: nn.Module, *, with_norm: bool = False) -> FeatureReuse:
    """Measure the dense connections of a built network.

    Args:
        network: The network.
        module: The built network.
        with_norm: Whether the scale of the batch normalisation before a convolution multiplies its weights.

    Raises:
        NetworkError: The network has no dense blocks.
    """
    blocks, every = [], []
    for block in dense_blocks(network):
        connections = [each for reader in block.readers for each in _connections(block, reader, module, with_norm)]
        blocks.append(_matrices(block, connections))
        every += connections
    return FeatureReuse(network.name, with_norm, tuple(blocks), tuple(every))


def weight_by_source(layer: nn.Module, reader: Reader) -> list[torch.Tensor]:
    """Return a view of a layer's weights for each source: filters x maps x positions of the kernel.

    A linear layer that reads whole maps has a position for each pixel.
    """
    weight = layer.get_parameter("weight")
    return list(torch.split(weight.data.view(len(weight), sum(reader.maps), -1), list(reader.maps), dim=1))


def _connections(block: DenseBlock, reader: Reader, module: nn.Module, with_norm: bool) -> Iterator[Connection]:
    scales: list[torch.Tensor] | list[None] = [None] * len(reader.maps)
    if with_norm and reader.norm is not None:
        gammas = module.get_submodule(reader.norm).get_parameter("weight").data.abs().double()
        scales = list(torch.split(gammas, list(reader.maps)))
    weights = weight_by_source(module.get_submodule(reader.path), reader)
    for source, (weight, scale) in enumerate(zip(weights, scales, strict=True)):
        sizes = weight.abs().double() if scale is None else weight.abs().double() * scale[:, None]
        average, l1 = float(sizes.mean()), float(sizes.sum()) / len(sizes)
        if not average < float("inf"):
            raise ConvwrightError(f"{reader.path}: the weights are not finite numbers")
        yield Connection(block.name, source, reader.target, reader.maps[source], average, l1, reader)


def _matrices(block: DenseBlock, connections: list[Connection]) -> BlockReuse:
    columns = [[each for each in connections if each.reader is reader] for reader in block.readers]

    def matrix(value: Callable[[Connection], float]) -> Matrix:
        rows = zip_longest(*([value(each) for each in column] for column in columns))
        return tuple(rows)

    return BlockReuse(
        block.name,
        tuple(map(str, range(len(block.maps)))),
        tuple(reader.target for reader in block.readers),
        block.maps,
        matrix(lambda each: each.average),
        matrix(lambda each: each.normalised),
    )
