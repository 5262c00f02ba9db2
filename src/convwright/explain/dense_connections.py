"""Dense connections, found in the layer graph: which layer reads whose maps.

A dense layer joins its new maps to those it reads: `Concat(Identity(), new)`, or with a gated identity. A chain of
such layers is a dense block. Its sources are the block's input (0) and each layer's new maps (1, 2, ...); its targets
are the first convolution of each layer (1, 2, ...), and whatever reads the finished block: a transition, the head.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate

from convwright.arch.layers import Add, Combinator, Concat, Conv, Gate, Identity, Layer, Linear, Norm, PadChannels, Seq
from convwright.arch.network import Network
from convwright.errors import NetworkError


@dataclass(frozen=True)
class Reader:
    """A convolution or linear layer that reads the maps of several sources, side by side."""

    path: str
    """Path of the layer, as in `cost` and `build`."""
    target: str
    """Number of the dense layer; for the layer after the block, the name of its stage (`transition1`, `head`)."""
    maps: tuple[int, ...]
    """Number of maps of each source, in the order of the input channels."""
    norm: str | None
    """Path of the normalisation of the same maps just before it, which nothing else reads."""

    @property
    def starts(self) -> tuple[int, ...]:
        """The first input channel of each source."""
        return tuple(accumulate(self.maps[:-1], initial=0))


@dataclass
class DenseBlock:
    """A chain of dense layers."""

    name: str
    """Name of the stage in which the block starts."""
    readers: list[Reader] = field(default_factory=list)

    @property
    def maps(self) -> tuple[int, ...]:
        """Number of maps of each source."""
        return max((reader.maps for reader in self.readers), key=len)


def dense_blocks(network: Network) -> tuple[DenseBlock, ...]:
    """Return every dense block of a network, in order. NetworkError if it has none."""
    finder = _Finder()
    maps = _Maps(network.channels)
    for stage, path, block in network.blocks():
        finder.stage, finder.place = stage, path
        maps = finder.visit(block.layers(maps.channels), path, maps)
    found = tuple(block for block in finder.blocks if block.readers)
    if not found:
        raise NetworkError(
            f"{network.name} has no dense blocks: no layer joins its new maps to those that it reads, as DenseNet's do"
        )
    return found


def children(layer: Combinator, path: str) -> Iterator[tuple[str, Layer]]:
    """Yield the parts of a combinator with their paths."""
    for name, part in zip(layer.names, layer.parts, strict=True):
        yield f"{path}.{name}", part


def channels_after(layer: Layer, channels: int) -> int:
    """Return how many maps a layer outputs for a number of input maps; 0 for a classifier of unknown size."""
    match layer:
        case Conv() | PadChannels():
            return layer.out
        case Linear():
            return layer.out or 0
        case Seq():
            for part in layer.parts:
                channels = channels_after(part, channels)
            return channels
        case Add():
            return channels_after(layer.parts[0], channels)
        case Concat():
            return sum(channels_after(part, channels) for part in layer.parts)
    return channels


@dataclass(frozen=True)
class _Maps:
    """Maps between two layers: their number, the dense block and sources they come from, and the last normalisation."""

    channels: int
    block: DenseBlock | None = None
    sources: tuple[int, ...] = ()
    norm: str | None = None


class _Finder:
    """Walks the layer graph in order of execution and follows the maps of the dense block that is open."""

    def __init__(self) -> None:
        self.blocks: list[DenseBlock] = []
        self.stage = self.place = ""
        self.layer: str | None = None
        """Number of the dense layer that is being visited."""

    def visit(self, layer: Layer, path: str, maps: _Maps) -> _Maps:
        """Return the output maps of a layer, and add the layer to the readers if it reads several sources."""
        match layer:
            case Seq():
                for inner, part in children(layer, path):
                    maps = self.visit(part, inner, maps)
                return maps
            case Concat() if _joins_new_maps(layer):
                return self._join(layer, path, maps)
            case Add() | Concat():
                for inner, part in children(layer, path):
                    self.visit(part, inner, replace(maps, norm=None))  # several read what it normalised
                return _Maps(channels_after(layer, maps.channels))
            case Conv() | Linear():
                self._note(layer, path, maps)
                return _Maps(channels_after(layer, maps.channels))
            case Norm():
                return replace(maps, norm=path)
            case Gate():  # the paper does not count the factors of a gate as a connection
                return replace(maps, norm=None)
        channels = channels_after(layer, maps.channels)
        return maps if channels == maps.channels else _Maps(channels)

    def _join(self, layer: Concat, path: str, maps: _Maps) -> _Maps:
        """Visit a dense layer."""
        if maps.block is None:
            self.blocks.append(DenseBlock(self.stage))
            maps = _Maps(maps.channels, self.blocks[-1], (maps.channels,))
        outer, self.layer = self.layer, str(len(maps.sources))
        _, (inner, new) = children(layer, path)
        added = self.visit(new, inner, replace(maps, norm=None)).channels
        self.layer = outer
        return _Maps(maps.channels + added, maps.block, (*maps.sources, added))

    def _note(self, layer: Conv | Linear, path: str, maps: _Maps) -> None:
        if maps.block is None:
            return
        if isinstance(layer, Conv) and layer.groups > 1:
            raise NetworkError(f"{path} reads a dense block in {layer.groups} groups, not every map with every filter")
        maps.block.readers.append(Reader(path, self.layer or self.place, maps.sources, maps.norm))


def _joins_new_maps(layer: Concat) -> bool:
    """Return whether a concatenation joins its input, unchanged or gated, with one branch of new maps."""
    first, *others = layer.parts
    unchanged = isinstance(first, Identity | Gate) or (first == Seq())
    return unchanged and len(others) == 1 and not isinstance(others[0], Identity | Gate)
