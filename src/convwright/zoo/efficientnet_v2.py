"""EfficientNetV2 (Tan and Le 2021): 3x3 convolutions instead of early depthwise ones, for speed in training."""

from dataclasses import dataclass
from typing import ClassVar

from convwright.arch.blocks import SE, Block, residual
from convwright.arch.layers import Act, Activation, Conv, Identity, Layer, Norm, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register
from convwright.arch.rounding import round_depth
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.efficientnet import MBConv, without_shortcut

PAPER = Paper("EfficientNetV2: Smaller Models and Faster Training", "Tan and Le", 2021, "2104.00298")
EPS, MOMENTUM = 1e-3, 0.01


@dataclass(frozen=True, repr=False, slots=True)
class FusedMBConv(Block):
    """3x3 up to `expand` times the input's maps, linear 1x1 down to `out` (Figure 2); at `expand` 1 the 3x3 alone."""

    out: int
    expand: int = 4
    stride: int = 1
    se: SE | None = None
    eps: float = EPS
    momentum: float = MOMENTUM
    act: Activation = "silu"
    same: bool = False
    widths: ClassVar[tuple[str, ...]] = ("out",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Filter and expand, gate, project, add. Standard squeeze-and-excitation gates the expanded maps."""
        norm = Norm(self.eps, self.momentum)
        hidden = channels * self.expand if self.expand > 1 else self.out
        inside = self.se is not None and self.se.placement == "standard"
        body = Seq(
            *(Conv(hidden, 3, self.stride, same=self.same), norm, Act(self.act)),
            self.se.layers(hidden, channels) if self.se and inside else Identity(),
            *((Conv(self.out), norm) if self.expand > 1 else ()),
        )
        outer = None if inside else self.se
        if self.stride == 1 and channels == self.out:
            return residual(body, Identity(), outer, channels, self.out)
        return without_shortcut(body, outer, channels, self.out)


# Table 4 and the authors' code. Expansion, stride, channels, repeats: first without a depthwise convolution, then with.
Row = tuple[int, int, int, int]
STAGES: dict[str, tuple[tuple[Row, ...], tuple[Row, ...]]] = {
    "s": (((1, 1, 24, 2), (4, 2, 48, 4), (4, 2, 64, 4)), ((4, 2, 128, 6), (6, 1, 160, 9), (6, 2, 256, 15))),
    "m": (
        ((1, 1, 24, 3), (4, 2, 48, 5), (4, 2, 80, 5)),
        ((4, 2, 160, 7), (6, 1, 176, 14), (6, 2, 304, 18), (6, 1, 512, 5)),
    ),
    "l": (
        ((1, 1, 32, 4), (4, 2, 64, 7), (4, 2, 96, 7)),
        ((4, 2, 192, 10), (6, 1, 224, 19), (6, 2, 384, 25), (6, 1, 640, 7)),
    ),
    "b0": (((1, 1, 16, 1), (4, 2, 32, 2), (4, 2, 48, 2)), ((4, 2, 96, 3), (6, 1, 112, 5), (6, 2, 192, 8))),
}
# Stem, resolution in training (B0: in evaluation), dropout, top-1 accuracy on ImageNet where printed (Table 7).
VARIANTS = {"s": (24, 300, 0.2, 83.9), "m": (24, 384, 0.3, 85.1), "l": (32, 384, 0.4, 85.7), "b0": (32, 224, 0.2, None)}
# B1 to B3 scale B0 as B1 to B3 of the first family do: width, depth, resolution, dropout.
SCALED = {"b1": (1.0, 1.1, 240, 0.2), "b2": (1.1, 1.2, 260, 0.3), "b3": (1.2, 1.4, 300, 0.3)}


def _nearest(width: int, factor: float) -> int:
    """Round to the nearest multiple of 8: unlike the first family's, these widths may lose more than a tenth."""
    return max(8, int(width * factor + 4) // 8 * 8)


def efficientnet_v2(key: str) -> Network:
    """One of the family. The small ones, B0 to B3, pad as TensorFlow does, where their weights come from."""
    stem, resolution, dropout, top1 = VARIANTS.get(key, VARIANTS["b0"])
    width, depth = 1.0, 1.0
    if key in SCALED:
        width, depth, resolution, dropout = SCALED[key]
    same = key.startswith("b")
    fused, depthwise = STAGES[key if key in STAGES else "b0"]
    blocks: list[tuple[Block, int]] = [
        *((FusedMBConv(_nearest(out, width), expand, stride, same=same), n) for expand, stride, out, n in fused),
        *(
            (MBConv(_nearest(out, width), expand, 3, stride, eps=EPS, momentum=MOMENTUM, same=same), n)
            for expand, stride, out, n in depthwise
        ),
    ]
    return Network(
        f"efficientnet_v2_{key}",
        Stem(_nearest(stem, width), stride=2, act="silu", eps=EPS, momentum=MOMENTUM, same=same),
        tuple(Stage(f"stage{i}", block, round_depth(n, depth)) for i, (block, n) in enumerate(blocks, start=1)),
        Classifier(hidden=_nearest(1280, width), act="silu", dropout=dropout, eps=EPS, momentum=MOMENTUM),
        resolution,
        stochastic_depth=0.2,
        init="efficientnet",
        papers=(PAPER,),
        results=(Result("ImageNet", "top-1 accuracy", top1),) if top1 else (),
    )


for _key in (*SCALED, *VARIANTS):
    register("EfficientNetV2", f"efficientnet_v2_{_key}", lambda key=_key: efficientnet_v2(key))  # type: ignore[misc]
