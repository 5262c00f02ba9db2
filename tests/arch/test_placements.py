"""Where squeeze-and-excitation stands in each block (SENet, Figure 5), and how wide it is."""

import pytest

from convwright.arch import SE, Block
from convwright.arch.cost import LayerCost, cost_of_block
from convwright.arch.layers import Act, Add, Concat, Conv, Gate, Norm, Pool
from convwright.zoo.densenet import DenseLayer
from convwright.zoo.efficientnet import MBConv
from convwright.zoo.resnet import BasicBlock, Bottleneck

LETTERS = {Conv: "c", Norm: "n", Act: "a", Add: "+", Concat: "|", Gate: "S", Pool: "p"}


def rows(block: Block, *, inside: bool) -> list[LayerCost]:
    """Layers in order of execution: those inside squeeze-and-excitation, or all others with the gate itself."""
    every = list(cost_of_block(block, (16, 8, 8), 10).layers)
    gates = tuple(row.path.removesuffix("scale") for row in every if isinstance(row.layer, Gate))
    return [row for row in every if inside == (row.path.startswith(gates) and not isinstance(row.layer, Gate))]


def order(block: Block) -> str:
    return "".join(LETTERS[type(row.layer)] for row in rows(block, inside=False))


@pytest.mark.parametrize(
    ("block", "placement", "expected"),
    [
        (BasicBlock(16), "standard", "cnacnS+a"),
        (BasicBlock(16), "pre", "Scnacn+a"),
        (BasicBlock(16), "post", "cnacn+aS"),
        (BasicBlock(16), "identity", "cnacnS+a"),
        (Bottleneck(4), "standard", "cnacnacnS+a"),
        (Bottleneck(4), "pre", "Scnacnacn+a"),
        (Bottleneck(4), "post", "cnacnacn+aS"),
        (Bottleneck(8, 2), "identity", "cnacnacncnS+a"),
        (DenseLayer(4), "standard", "nacnacS|"),
        (DenseLayer(4), "pre", "Snacnac|"),
        (DenseLayer(4), "post", "nacnac|S"),
        (DenseLayer(4, None), "identity", "Snac|"),
        (MBConv(16), "standard", "cnacnaScn+"),
        (MBConv(16), "pre", "Scnacnacn+"),
        (MBConv(16), "post", "cnacnacn+S"),
        (MBConv(16), "identity", "cnacnacnS+"),
        (MBConv(24), "standard", "cnacnaScn"),
        (MBConv(24), "pre", "Scnacnacn"),
        (MBConv(24), "post", "cnacnacnS"),
        (MBConv(24), "identity", "cnacnacn"),
        (MBConv(24, expand=1), "standard", "cnaScn"),
    ],
)
def test_order_of_layers(block: Block, placement: str, expected: str) -> None:
    assert order(block.recalibrated(SE(4, placement))) == expected  # type: ignore[arg-type]
    assert order(block.recalibrated(None)) == expected.replace("S", "")


@pytest.mark.parametrize(
    ("block", "placement", "path"),
    [
        (BasicBlock(16), "standard", "add.body.se.scale"),
        (BasicBlock(16), "pre", "add.body.se.scale"),
        (BasicBlock(16), "post", "se.scale"),
        (BasicBlock(16), "identity", "add.shortcut.se.scale"),
        (DenseLayer(4), "standard", "new.se.scale"),
        (DenseLayer(4), "pre", "new.se.scale"),
        (DenseLayer(4), "identity", "se.scale"),
    ],
)
def test_branch_of_the_gate(block: Block, placement: str, path: str) -> None:
    every = cost_of_block(block.recalibrated(SE(4, placement)), (16, 8, 8), 10).layers  # type: ignore[arg-type]
    assert [row.path for row in every if isinstance(row.layer, Gate)] == [path]


@pytest.mark.parametrize(
    ("block", "se", "gated", "squeezed"),
    [
        (BasicBlock(64), SE(16), 64, 8),
        (BasicBlock(256), SE(16), 256, 16),
        (BasicBlock(64), SE(16, least=1), 64, 4),
        (BasicBlock(64), SE(16, "pre", least=1), 16, 1),
        (Bottleneck(64, 2), SE(16), 256, 16),
        (DenseLayer(12), SE(4, least=1), 12, 3),
        (DenseLayer(12), SE(4, "post", least=1), 28, 7),
        (MBConv(24), SE(4, least=1, of="input"), 96, 4),
        (MBConv(24), SE(4, least=1), 96, 24),
        (BasicBlock(64), SE(2.5, least=1), 64, 25),
    ],
)
def test_width_of_the_squeeze(block: Block, se: SE, gated: int, squeezed: int) -> None:
    inside = rows(block.recalibrated(se), inside=True)
    assert [row.output[0] for row in inside if isinstance(row.layer, Conv)] == [squeezed, gated]
