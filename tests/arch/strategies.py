"""Random networks: of the zoo's blocks, and of raw layer graphs."""

import math
from dataclasses import dataclass

from hypothesis import strategies as st

from convwright.arch import SE, Block, Network, Paper, Result, Stage
from convwright.arch.cost import cost
from convwright.arch.layers import (
    ACTIVATIONS,
    Act,
    Add,
    Concat,
    Conv,
    Dropout,
    Gate,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Norm,
    PadChannels,
    Pool,
    Seq,
)
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.densenet import DenseLayer, Transition
from convwright.zoo.efficientnet import MBConv
from convwright.zoo.resnet import BasicBlock, Bottleneck

PLACEMENTS = st.sampled_from(("standard", "pre", "post", "identity"))
ACTS = st.sampled_from(ACTIVATIONS)
STRIDES = st.sampled_from((1, 1, 2))

excitations = st.builds(
    SE,
    reduction=st.sampled_from((1, 2, 4.0, 16, 16.0, 2.5)),
    placement=PLACEMENTS,
    least=st.integers(1, 8),
    act=ACTS,
    gate=st.sampled_from(("sigmoid", "hardsigmoid")),
    of=st.sampled_from(("gated", "input")),
)


def blocks(se: st.SearchStrategy[SE | None]) -> st.SearchStrategy[Block]:
    """Blocks of every type in the zoo, narrow enough to build quickly."""
    widths = st.integers(1, 20)
    return st.one_of(
        st.builds(DenseLayer, growth=st.integers(1, 12), bottleneck=st.none() | st.integers(1, 4), se=se),
        st.builds(Transition, compression=st.sampled_from((0.01, 0.3, 0.5, 1.0)), stride=STRIDES),
        st.builds(BasicBlock, widths, STRIDES, st.sampled_from(("projection", "projection", "zero-pad")), se),
        st.builds(Bottleneck, st.integers(1, 8), STRIDES, st.sampled_from(("1x1", "3x3")), se),
        st.builds(MBConv, widths, st.integers(1, 6), st.sampled_from((3, 5)), STRIDES, se),
    )


stems = st.builds(
    Stem,
    out=st.integers(1, 20),
    kernel=st.sampled_from((3, 5, 7)),
    stride=STRIDES,
    pool=st.sampled_from((None, "max", "max-ceil")),
    act=st.none() | ACTS,
)
heads = st.builds(
    Classifier,
    hidden=st.sampled_from((0, 0, 24)),
    norm=st.booleans(),
    act=ACTS,
    dropout=st.sampled_from((0.0, 0.2)),
)


@st.composite
def any_networks(draw: st.DrawFn, se: st.SearchStrategy[SE | None] = st.none() | excitations) -> Network:
    """Networks of the zoo's blocks; some cannot be built (too small a resolution, a shortcut that narrows)."""
    stages = draw(st.lists(st.tuples(blocks(se), st.integers(1, 3)), max_size=4))
    return Network(
        name=draw(st.sampled_from(("random", "a network", "naïve"))),
        stem=draw(stems),
        stages=tuple(Stage(f"stage{i}", block, repeats) for i, (block, repeats) in enumerate(stages, start=1)),
        head=draw(heads),
        resolution=draw(st.integers(1, 40)),
        channels=draw(st.integers(1, 4)),
        classes=draw(st.integers(1, 20)),
        stochastic_depth=draw(st.sampled_from((0.0, 0.2))),
        init=draw(st.sampled_from(("he", "efficientnet"))),
        papers=draw(st.sampled_from(((), (Paper("T", "A", 2016, "1512.03385"),)))),
        results=draw(st.sampled_from(((), (Result("ImageNet", "top-1 error", 24.8),)))),
    )


def buildable(network: Network) -> bool:
    try:
        cost(network)
    except NetworkError:
        return False
    return True


networks = any_networks().filter(buildable)
plain_networks = any_networks(st.none()).filter(buildable)


# Raw layer graphs


@dataclass(frozen=True, repr=False, slots=True)
class Graph(Block):
    """A block that is any layer graph."""

    layer: Layer

    def layers(self, channels: int) -> Layer:
        return self.layer


@st.composite
def convolutions(draw: st.DrawFn, channels: int, out: int | None = None, *, keeping: bool = False) -> Conv:
    """Convolutions; if `keeping`, only those that keep the size of the map."""
    out = draw(st.integers(1, 9)) if out is None else out
    common = math.gcd(channels, out)
    groups = draw(st.sampled_from([n for n in range(1, common + 1) if common % n == 0]))
    bias, dilation = draw(st.booleans()), draw(st.sampled_from((1, 1, 2)))
    sides = st.sampled_from((1, 3)) if keeping else st.integers(1, 4)
    kernel = draw(sides | st.tuples(sides, sides))
    if keeping:
        return Conv(out, kernel, groups=groups, dilation=dilation, bias=bias)
    stride = draw(st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.none() | st.integers(0, 2) | st.tuples(st.integers(0, 2), st.integers(0, 2)))
    same = padding is None and draw(st.booleans())
    return Conv(out, kernel, stride, groups, dilation, padding, bias, same)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    kernel = draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2))
    return Pool(draw(st.sampled_from(("max", "avg"))), kernel, draw(st.integers(1, 3)), padding, draw(st.booleans()))


@st.composite
def gates(draw: st.DrawFn, channels: int) -> Gate:
    squeezed = draw(st.integers(1, 4))
    if draw(st.booleans()):
        return Gate(GlobalPool(), Linear(squeezed), Act(draw(ACTS)), Linear(channels), Act("sigmoid"))
    return Gate(GlobalPool(), Conv(squeezed, bias=True), Act(draw(ACTS)), Conv(channels), Act("sigmoid"))


@st.composite
def branches(draw: st.DrawFn, channels: int, deep: int, out: int | None = None) -> tuple[Layer, int]:
    """A layer that keeps the size of the map, and how many channels it gives."""
    parts: list[Layer] = []
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(("conv", "norm", "act", "gate", "join")))
        if kind == "conv":
            parts.append(draw(convolutions(channels, keeping=True)))
            channels = parts[-1].out
        elif kind == "join":
            layer, channels = draw(joins(channels, deep))
            parts.append(layer)
        else:
            parts.append({"norm": Norm(), "act": Act(draw(ACTS)), "gate": draw(gates(channels))}[kind])
    if out is not None and channels != out:
        parts.append(draw(convolutions(channels, out, keeping=True)))
        channels = out
    return (Seq(*parts) if parts else Identity()), channels


@st.composite
def joins(draw: st.DrawFn, channels: int, deep: int) -> tuple[Layer, int]:
    """Sums and concatenations of branches, nested at most `deep` levels."""
    if deep == 0:
        return Norm(), channels
    if draw(st.booleans()):
        body, out = draw(branches(channels, deep - 1))
        others = [draw(branches(channels, deep - 1, out))[0] for _ in range(draw(st.integers(1, 2)))]
        if isinstance(body, Identity):  # x + x stands in no network
            body = Norm()
        return Add(body, *others), out
    parts = [draw(branches(channels, deep - 1)) for _ in range(draw(st.integers(2, 3)))]
    return Concat(*[layer for layer, _ in parts]), sum(out for _, out in parts)


@st.composite
def graphs(draw: st.DrawFn, channels: int) -> Layer:
    """Any layer graph, of every primitive and combinator."""
    parts: list[Layer] = []
    for _ in range(draw(st.integers(1, 5))):
        match draw(st.sampled_from(("conv", "act", "pool", "pad", "dropout", "squeeze", "linear", "join", "branch"))):
            case "conv":
                parts.append(draw(convolutions(channels)))
                channels = parts[-1].out
            case "act":
                parts.extend(map(Act, draw(st.lists(ACTS, min_size=1, max_size=3))))
            case "pool":
                parts.append(draw(pools()))
            case "pad":
                channels += draw(st.integers(0, 4))
                parts.append(PadChannels(channels))
            case "dropout":
                parts.append(Dropout(0.5))
            case "squeeze":
                parts.append(GlobalPool(draw(st.integers(1, 3))))
            case "linear":
                channels = draw(st.integers(1, 9))
                parts.append(Linear(channels, draw(st.booleans())))
            case "join":
                layer, channels = draw(joins(channels, 2))
                parts.append(layer)
            case _:
                layer, channels = draw(branches(channels, 1))
                parts.append(layer)
    return Seq(*parts)


@st.composite
def raw_networks(draw: st.DrawFn) -> Network:
    """Networks of one raw layer graph; some cannot be built (maps that become too small)."""
    channels = draw(st.integers(1, 6))
    return Network(
        "graph",
        Graph(draw(graphs(channels))),
        (),
        Classifier(),
        draw(st.integers(1, 24)),
        channels,
        draw(st.integers(1, 9)),
    )


raw = raw_networks().filter(buildable)
