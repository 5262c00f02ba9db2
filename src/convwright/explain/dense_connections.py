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
    """As `cost` and `build` name it."""
    target: str
    """Number of the dense layer; of what follows the block, the name of its place (``transition1``, ``head``)."""
    maps: tuple[int, ...]
    """How many maps of each source, in the order in which they lie."""
    norm: str | None
    """Path of the normalisation of the same maps just before it, which nothing else reads."""

    @property
    def starts(self) -> tuple[int, ...]:
        """The first input channel of each source."""
        return tuple(accumulate(self.maps[:-1], initial=0))


@dataclass
class DenseBlock:
    """A chain of dense layers, as a network has it."""

    name: str
    """Of the stage in which it begins."""
    readers: list[Reader] = field(default_factory=list)

    @property
    def maps(self) -> tuple[int, ...]:
        """How many maps each source has."""
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
    """Return how many maps a layer puts out, given those that enter; a classifier's are not known, and 0."""
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
    """Maps on their way: how many, of which sources of which dense block, and by what they were just normalised."""

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
        """Number of the dense layer whose inside is visited."""

    def visit(self, layer: Layer, path: str, maps: _Maps) -> _Maps:
        """Return what a layer makes of maps, and note it if it reads several sources."""
        match layer:
            case Seq():
                for inner, part in children(layer, path):
                    maps = self.visit(part, inner, maps)
                return maps
            case Concat() if _carried(layer):
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
            case Gate():  # what it multiplies each map by is not what the paper counts as a connection
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


def _carried(layer: Concat) -> bool:
    """Does a concatenation hand on what it reads, before one branch of new maps?"""
    first, *others = layer.parts
    handed_on = isinstance(first, Identity | Gate) or (first == Seq())
    return handed_on and len(others) == 1 and not isinstance(others[0], Identity | Gate)
