"""Blocks that users write: what is wrong with a class or a method is one clear line, before the network is used."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

import convwright as cw
from convwright.arch import Block, Conv, Layer, Network, Norm, Seq, Stage
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.resnet import BasicBlock


def network_of(block: object) -> Network:
    return Network("mine", Stem(16, stride=2), (Stage("stage1", block, 2),), Classifier())  # type: ignore[arg-type]


def a_class(layers: Callable[..., object], widths: object = ("width",), strides: object = ("stride",)) -> type[Block]:
    """Return the class of a block, as a user would write it."""
    annotations = {"width": int, "stride": int}
    body = {"__annotations__": annotations, "stride": 1, "widths": widths, "strides": strides, "layers": layers}
    return dataclass(frozen=True)(type("Mine", (Block,), body | {"__module__": __name__}))


def right(self: Block, channels: int) -> Layer:
    return Seq(Conv(self.width, 3, self.stride), Norm())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("wdith",), r"names 'wdith', which is not a field of the class; it has width, stride"),
        ("stride", r'must be a tuple of names of fields, not \'stride\'; write \("stride",\) with a comma'),
        (None, "must be a tuple of names of fields, not None"),
        (lambda self: ("width",), "must be a tuple of names of fields, not <bound method"),
        ((1,), r"must be a tuple of names of fields, not \(1,\)"),
    ],
)
@pytest.mark.parametrize("attribute", ["widths", "strides"])
def test_widths_and_strides_name_fields(attribute: str, names: object, message: str) -> None:
    block = a_class(right, **{attribute: names})(32)
    with pytest.raises(NetworkError, match=rf"^Mine\.{attribute} {message}"):
        network_of(block)


@pytest.mark.parametrize("value", [32.0, "32", None, -1, True])
def test_widths_are_whole_numbers(value: object) -> None:
    with pytest.raises(NetworkError, match=r"^Mine\.widths names 'width', which must hold a whole number"):
        network_of(a_class(right)(value))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda self, c: [Conv(8), Norm()], r"returns a value of the type list; give layers one by one"),
        (lambda self, c: None, "returns None; it must return one layer"),
        (lambda self, c: Norm, r"returns the class Norm; write Norm\(\.\.\.\)"),
        (lambda self, c: Seq([Conv(8), Norm()]), r"has in Seq\(\.\.\.\) a value of the type list; give layers one by"),
        (lambda self, c: Seq(Conv(8), "relu"), r"has in Seq\(\.\.\.\) a value of the type str; it must return one"),
        (lambda self, c: Conv(self.wdith), "failed: AttributeError: 'Mine' object has no attribute 'wdith'"),
        (lambda self: Conv(8), "failed: TypeError: .*takes 1 positional argument but 2 were given"),
    ],
)
def test_layers_returns_one_layer(layers: Callable[..., object], message: str) -> None:
    network = network_of(a_class(layers)(32))
    for use in (cw.cost, cw.build, cw.draw, lambda one: cw.fit_resolution(one, 32)):
        with pytest.raises(NetworkError, match=rf"at stage1\.block1: Mine\.layers\(16\) {message}"):
            use(network)


def test_a_layer_of_another_class_is_refused() -> None:
    @dataclass(frozen=True, repr=False)
    class Twice(Layer):
        pass

    network = network_of(a_class(lambda self, c: Twice())(32))
    with pytest.raises(NetworkError, match="returns a layer of the class Twice, which has no interpreters"):
        cw.cost(network)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda c: Conv(c * 1.5), "out of a convolution must be a whole number, not 24.0"),
        (lambda c: Conv(c, 3.0), "kernel of a convolution must be a whole number, not 3.0"),
        (lambda c: Conv(c, 3, padding=(1, 0.5)), "padding of a convolution must be a whole number, not 0.5"),
        (lambda c: Conv(c, 3, stride=(1, 0)), "stride of a convolution must be 1 or more, not 0"),
    ],
)
def test_sizes_of_layers_are_whole_numbers(layer: Callable[[int], Layer], message: str) -> None:
    with pytest.raises(NetworkError, match=f"at stage1.block1: {message}"):
        cw.cost(network_of(a_class(lambda self, c: layer(c))(32)))


def test_a_block_without_layers_names_the_method() -> None:
    with pytest.raises(NetworkError, match=r"Mine does not define the method layers\(self, channels\)"):
        cw.cost(network_of(a_class(Block.layers)(32)))


def test_a_class_is_a_frozen_dataclass() -> None:
    class Plain(Block):
        width: int = 8

    @dataclass
    class Mutable(Block):
        width: int = 8

    class Derived(BasicBlock):
        extra: int = 1

    for cls, named in (
        (Plain, r"Plain is not"),
        (Mutable, "Mutable is not"),
        (Derived, "Derived has the field 'extra'"),
    ):
        with pytest.raises(
            NetworkError, match=rf"^{named}.*write @dataclass\(frozen=True\) above class {cls.__name__}$"
        ):
            network_of(cls(8))


def test_a_class_that_changes_only_methods_needs_no_decorator() -> None:
    class Louder(BasicBlock):
        repeatable = False

    assert cw.cost(network_of(Louder(32))).params == cw.cost(network_of(BasicBlock(32))).params


def test_fields_cannot_change() -> None:
    with pytest.raises(NetworkError, match=r"Mine's field 'stride' can change, as it holds \[1, 2\]; give a tuple"):
        network_of(a_class(right)(32, [1, 2]))


def test_parts_of_a_network_are_of_the_right_kind() -> None:
    cls, stage = a_class(right), Stage("stage1", BasicBlock(32))
    with pytest.raises(NetworkError, match=r"^stage stage1 has the class Mine as its block; write Mine\(\.\.\.\)$"):
        network_of(cls)
    with pytest.raises(NetworkError, match="the block of stage stage1 must be an instance of a subclass of Block"):
        network_of(Conv(32))
    for stages in ([stage], stage):
        with pytest.raises(NetworkError, match="mine: the stages must be a tuple of Stage objects"):
            Network("mine", Stem(16), stages, Classifier())  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match=r'mine: a stage is Stage\("stage1", block, repeats\), not BasicBlock'):
        Network("mine", Stem(16), (BasicBlock(32),), Classifier())  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match="the head has the class Classifier"):
        Network("mine", Stem(16), (stage,), Classifier)  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match="the number of repetitions must be a whole number"):
        Stage("stage1", BasicBlock(32), 2.0)  # type: ignore[arg-type]
