"""From a network as data to a torch module: an interpreter of the layer graph."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from convwright.arch import layers as graph
from convwright.arch.cost import cost
from convwright.arch.expression import NetworkLike, as_network
from convwright.arch.network import Network
from convwright.arch.operators import at
from convwright.arch.resolution import sides
from convwright.arch.shapes import Shape, conv_padding, conv_shape, pool_shape
from convwright.errors import NetworkError
from convwright.modules import combinators as combinators
from convwright.modules.devices import find_device
from convwright.modules.fused.chains import FusedChain, FusedSum, Operators
from convwright.modules.fused.convolution import ConvSpec
from convwright.modules.fused.dense import DenseStage, is_dense
from convwright.modules.fused.depthwise import DepthwiseConv2d, SameDepthwiseConv2d
from convwright.modules.fused.pointwise import PointwiseConv2d
from convwright.modules.fused.winograd import WinogradConv2d
from convwright.modules.init import allocate, initialise
from convwright.seeds import check_seed
from convwright.units import human

MOST_PARAMS = 1 << 50
"""Parameters of the largest module that is built, also without weights: torch counts bytes in 63 bits."""


class ConvNet(combinators.Chain):
    """A built network: stem, stages by name, head. `network` is the description it was built from."""

    def __init__(self, network: Network, parts: combinators.Named) -> None:
        super().__init__(parts)
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """N x channels x H x W to N x classes."""
        logits: torch.Tensor = super().forward(x).flatten(1)  # type: ignore[no-untyped-call]
        return logits


def build(
    network: NetworkLike,
    classes: int | None = None,
    *,
    channels: int | None = None,
    device: torch.device | str | None = None,
    seed: int | None = None,
    fused: bool | None = None,
    memory_efficient: bool = False,
) -> ConvNet:
    """Build the torch module that a network describes, with initial weights as in its paper.

    Parameters are named by stage, block and layer (``stage2.block1.add.body.conv1.weight``), as `cost` names its rows.

    Args:
        network: Network, expression, file of a network (`network.json`), run directory or run (its
            network, not its trained weights).
        classes: Outputs; the network's own by default.
        channels: Input channels; the network's own by default.
        device: Where the weights lie; "meta" gives a module without weights.
        seed: Fixes the initial weights without touching torch's global generator.
        fused: Train with fewer passes over memory and faster convolutions (`convwright.modules.fused`), which round
            differently from torch's; weights, their names and inference are the same.
        memory_efficient: Recompute in the backward pass what is cheap to compute, instead of keeping it, which saves
            most of the memory of dense blocks. `fused` is then true by default.

    Returns:
        Module from N x channels x H x W (normalised floats) to N x classes (logits).

    Raises:
        NetworkError: The network cannot be built, or its weights do not fit into memory.
        ArgumentError: This machine lacks the device, or the seed is not a whole number.

    Example:
        >>> module = cw.build("cifar_seresnet20", classes=5, seed=0)
        >>> module(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 5])
    """
    network = at(as_network(network), classes=classes, channels=channels)
    if seed is not None:
        check_seed(seed)
    params = cost(network).params  # names the layer that cannot be built, before any memory is spent
    if params > MOST_PARAMS:
        raise NetworkError(f"{network.name}: {human(params)} parameters are more than torch can number")
    device = find_device(device or "cpu")
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        fused = memory_efficient if fused is None else fused
        operators = Operators(fused, memory_efficient) if fused or memory_efficient else None
        module = _Builder(network.classes, operators).run(network)
    if device.type != "meta":
        try:
            allocate(module, device)
        except (RuntimeError, MemoryError):  # torch's allocator, before the system runs out
            weights = sum(weight.numel() * weight.element_size() for weight in module.parameters())
            raise NetworkError(
                f"{network.name}: its weights need {weights / 1e9:,.1f} GB, which exceeds the available memory"
            ) from None
        initialise(module, network.init, seed)
    return module


def module_of(layer: graph.Layer, shape: Shape, classes: int = 1, seed: int = 0) -> nn.Module:
    """Build one layer graph for an input of a shape (channels, height, width), with He's initial weights."""
    with torch.device("meta"):
        module, _ = _Builder(classes).visit(layer, shape)
    allocate(module, torch.device("cpu"))
    initialise(module, "he", seed)
    return module


class _Builder:
    def __init__(self, classes: int, operators: Operators | None = None) -> None:
        self.classes, self.operators = classes, operators
        self.drop_rate = 0.0

    def run(self, network: Network) -> ConvNet:
        """Build every block, in nested sequences named by stage and block."""
        shape: Shape = (network.channels, *sides(network.resolution))
        top: dict[str, dict[str, nn.Module] | nn.Module] = {}
        kinds: dict[str, list[bool]] = {}
        placed = list(network.blocks())
        inner = len(placed) - 2  # stem and head drop nothing
        for index, (_, path, block) in enumerate(placed):
            self.drop_rate = network.stochastic_depth * (index - 1) / inner if 0 < index <= inner else 0.0
            layers = block.layers(shape[0])
            module, shape = self.visit(layers, shape)
            stage, _, name = path.partition(".")
            kinds.setdefault(stage, []).append(is_dense(layers))
            if name:
                cast(dict[str, nn.Module], top.setdefault(stage, {}))[name] = module
            else:
                top[stage] = module
        dense = {stage for stage in top if self.operators and all(kinds[stage])}
        parts = [
            (name, part if isinstance(part, nn.Module) else self._stage(part, dense=name in dense))
            for name, part in top.items()
        ]
        return ConvNet(network, parts)

    def _stage(self, blocks: dict[str, nn.Module], *, dense: bool) -> nn.Module:
        if dense and self.operators:
            return DenseStage(blocks.items(), self.operators)
        return combinators.Chain(blocks.items())

    def visit(self, layer: graph.Layer, shape: Shape, *, owned: bool = False) -> tuple[nn.Module, Shape]:
        """Return the module of a layer and the shape of its output.

        owned: nothing else reads the input, so that an activation may overwrite it.
        """
        match layer:
            case graph.Seq():
                parts, shape = self._chain(layer, shape)
                if self.operators:
                    return FusedChain(parts, layer.parts, self.operators), shape
                return combinators.Chain(parts), shape
            case graph.Gate():
                parts, _ = self._chain(layer, shape)
                return combinators.Gated(parts), shape
            case graph.Add():
                branches = [self.visit(part, shape) for part in layer.parts]
                named = zip(layer.names, [module for module, _ in branches], strict=True)
                kind = FusedSum if self.operators else combinators.Sum
                return kind(named, self.drop_rate), branches[0][1]
            case graph.Concat():
                branches = [self.visit(part, shape) for part in layer.parts]
                named = zip(layer.names, [module for module, _ in branches], strict=True)
                channels = sum(output[0] for _, output in branches)
                return combinators.Join(named), (channels, *branches[0][1][1:])
            case graph.Act():
                return _activation(layer, in_place=owned), shape
            case graph.Conv() if self.operators and self.operators.fused:
                return _conv(layer, shape, kind=_own(layer, shape[0]))
        return _PRIMITIVES[type(layer)](layer, shape, self.classes)

    def _chain(self, layer: graph.Combinator, shape: Shape) -> tuple[list[tuple[str, nn.Module]], Shape]:
        parts: list[tuple[str, nn.Module]] = []
        owned = False
        for name, part in zip(layer.names, layer.parts, strict=True):
            module, shape = self.visit(part, shape, owned=owned)
            parts.append((name, module))
            # Convolution, normalisation and sum make a new tensor that their own backward pass does not need.
            owned = isinstance(part, graph.Conv | graph.Norm | graph.Add)
        return parts, shape


def _activation(act: graph.Act, *, in_place: bool) -> nn.Module:
    if act.function in ("relu", "relu6"):
        return nn.ReLU(in_place) if act.function == "relu" else nn.ReLU6(in_place)
    return _ACTIVATIONS[act.function]()


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def _own(conv: graph.Conv, channels: int) -> type[nn.Conv2d] | None:
    """Return the class of a convolution that has operators of its own."""
    spec = ConvSpec.of_layer(conv, channels)
    kind = next((kind for kind in (WinogradConv2d, DepthwiseConv2d, PointwiseConv2d) if kind.supports(spec)), None)
    return SameDepthwiseConv2d if kind is DepthwiseConv2d and conv.same else kind


def _conv(
    conv: graph.Conv, shape: Shape, _: int = 0, *, kind: type[nn.Conv2d] | None = None
) -> tuple[nn.Module, Shape]:
    kind = kind or (combinators.SameConv2d if conv.same else nn.Conv2d)
    module = kind(
        shape[0],
        conv.out,
        conv.kernel,
        conv.stride,
        0 if conv.same else conv_padding(conv),
        conv.dilation,
        conv.groups,
        conv.bias,
    )
    return module, conv_shape(conv, shape)


def _pool(pool: graph.Pool, shape: Shape, _: int) -> tuple[nn.Module, Shape]:
    where = (pool.kernel, pool.stride, pool.padding)
    module: nn.Module
    if pool.function == "max":
        module = nn.MaxPool2d(*where, ceil_mode=pool.ceil)
    else:
        module = nn.AvgPool2d(*where, ceil_mode=pool.ceil, count_include_pad=pool.include_pad)
    return module, pool_shape(pool, shape)


def _linear(linear: graph.Linear, shape: Shape, classes: int) -> tuple[nn.Module, Shape]:
    out = classes if linear.out is None else linear.out
    return combinators.FullyConnected(shape[0] * shape[1] * shape[2], out, linear.bias), (out, 1, 1)


_PRIMITIVES: dict[type[graph.Layer], Callable[[Any, Shape, int], tuple[nn.Module, Shape]]] = {
    graph.Conv: _conv,
    graph.Pool: _pool,
    graph.Linear: _linear,
    graph.Norm: lambda norm, shape, _: (nn.BatchNorm2d(shape[0], norm.eps, norm.momentum), shape),
    graph.GlobalPool: lambda pool, shape, _: (nn.AdaptiveAvgPool2d(pool.size), (shape[0], pool.size, pool.size)),
    graph.Dropout: lambda dropout, shape, _: (nn.Dropout(dropout.rate), shape),
    graph.Scale: lambda scale, shape, _: (combinators.Scale(scale.factor), shape),
    graph.Identity: lambda _, shape, __: (nn.Identity(), shape),
    graph.PadChannels: lambda pad, shape, _: (combinators.PadChannels(pad.out), (pad.out, *shape[1:])),
}
