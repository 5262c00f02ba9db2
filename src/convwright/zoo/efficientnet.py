"""EfficientNet (Tan and Le 2019): the baseline B0, found by a search, and its scaled versions B1 to B8 and L2."""

from dataclasses import dataclass, replace
from typing import ClassVar

from convwright.arch.blocks import SE, Block, residual
from convwright.arch.layers import Act, Activation, Conv, Identity, Layer, Norm, Seq
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.operators import scale
from convwright.arch.registry import register
from convwright.arch.rounding import round_depth, round_width
from convwright.zoo.common import Classifier, Stem

PAPER = Paper(
    "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    "Tan and Le",
    2019,
    "1905.11946",
)
STUDENT = Paper("Self-training with Noisy Student improves ImageNet classification", "Xie et al.", 2020, "1911.04252")
ADVPROP = Paper("Adversarial Examples Improve Image Recognition", "Xie et al.", 2020, "1911.09665")

SQUEEZE = SE(4, least=1, act="silu", of="input")


@dataclass(frozen=True, repr=False, slots=True)
class MBConv(Block):
    """Mobile inverted bottleneck, with a shortcut where shapes allow it.

    It is a 1x1 convolution to `expand` times the input's maps, a depthwise convolution, squeeze-and-excitation, and a
    linear 1x1 convolution to `out` maps. Standard squeeze-and-excitation gates the expanded maps; the other placements
    gate the block's own maps.
    """

    out: int
    expand: int = 6
    kernel: int = 3
    stride: int = 1
    se: SE | None = SQUEEZE
    eps: float = 1e-5
    momentum: float = 0.01
    act: Activation = "silu"
    same: bool = False
    widths: ClassVar[tuple[str, ...]] = ("out",)
    strides: ClassVar[tuple[str, ...]] = ("stride",)

    def layers(self, channels: int) -> Layer:
        """Expand, filter, gate, project, add."""
        norm, hidden = Norm(self.eps, self.momentum), channels * self.expand
        inside = self.se is not None and self.se.placement == "standard"
        body = Seq(
            *((Conv(hidden), norm, Act(self.act)) if self.expand > 1 else ()),
            *(Conv(hidden, self.kernel, self.stride, groups=hidden, same=self.same), norm, Act(self.act)),
            self.se.layers(hidden, channels) if self.se and inside else Identity(),
            *(Conv(self.out), norm),
        )
        outer = None if inside else self.se
        if self.stride == 1 and channels == self.out:
            return residual(body, Identity(), outer, channels, self.out)
        return without_shortcut(body, outer, channels, self.out)


def without_shortcut(body: Layer, se: SE | None, channels: int, out: int) -> Layer:
    """Gate a body that has no shortcut: before or after it; the identity place does not exist here."""
    if se is None or se.placement == "identity":
        return body
    if se.placement == "pre":
        return Seq(se.layers(channels, channels), body)
    return Seq(body, se.layers(out, channels))


# Table 1: expansion, kernel, stride, channels, repeats.
B0_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)

# The published coefficients: width, depth, resolution, dropout; top-1 and top-5 accuracy as printed in the
# papers; and the epsilon of batch normalisation: torchvision's weights have 1e-5 up to B4 and 1e-3 from B5 on
# (the authors' TensorFlow code has 1e-3 throughout).
VARIANTS = {
    "b0": (1.0, 1.0, 224, 0.2, 77.1, 93.3, 1e-5),
    "b1": (1.0, 1.1, 240, 0.2, 79.1, 94.4, 1e-5),
    "b2": (1.1, 1.2, 260, 0.3, 80.1, 94.9, 1e-5),
    "b3": (1.2, 1.4, 300, 0.3, 81.6, 95.7, 1e-5),
    "b4": (1.4, 1.8, 380, 0.4, 82.9, 96.4, 1e-5),
    "b5": (1.6, 2.2, 456, 0.4, 83.6, 96.7, 1e-3),
    "b6": (1.8, 2.6, 528, 0.5, 84.0, 96.8, 1e-3),
    "b7": (2.0, 3.1, 600, 0.5, 84.3, 97.0, 1e-3),
    "b8": (2.2, 3.6, 672, 0.5, 85.5, None, 1e-3),
    "l2": (4.3, 5.3, 800, 0.5, 88.4, None, 1e-3),
}
LATER_PAPERS = {"b8": (PAPER, ADVPROP), "l2": (PAPER, STUDENT)}
"""Options of networks that pad like TensorFlow, where all their weights come from."""


def baseline(*, resolution: int = 224, dropout: float = 0.2, eps: float = 1e-5, same: bool = False) -> Network:
    """EfficientNet-B0 (Table 1), with the training noise of section 5.2."""
    momentum = 0.01
    stages = tuple(
        Stage(f"stage{index}", MBConv(out, expand, kernel, stride, eps=eps, momentum=momentum, same=same), repeats)
        for index, (expand, kernel, stride, out, repeats) in enumerate(B0_STAGES, start=1)
    )
    return Network(
        "efficientnet_b0",
        Stem(32, stride=2, act="silu", eps=eps, momentum=momentum, same=same),
        stages,
        Classifier(hidden=1280, act="silu", dropout=dropout, eps=eps, momentum=momentum),
        resolution,
        stochastic_depth=0.2,
        init="efficientnet",
        papers=(PAPER,),
    )


def variant(key: str) -> Network:
    """Scale the baseline by a variant's published coefficients."""
    width, depth, resolution, dropout, top1, top5, eps = VARIANTS[key]
    # Published resolutions are not r times 224 (B1's 240 is 1.07), so they are set, not scaled.
    unscaled = baseline(resolution=resolution, dropout=dropout, eps=eps, same=key in LATER_PAPERS)
    scaled = scale(unscaled, depth, width)
    printed = (("top-1 accuracy", top1), ("top-5 accuracy", top5))
    return replace(
        scaled,
        name=f"efficientnet_{key}",
        papers=LATER_PAPERS.get(key, (PAPER,)),
        results=tuple(Result("ImageNet", metric, value) for metric, value in printed if value is not None),
    )


# EfficientNet-Lite (Google, 2020; no paper): no squeeze-and-excitation, ReLU6; scaling changes
# neither the width of stem and head nor the depth of the first and last stage. Width, depth, resolution, dropout.
LITE = {
    "lite0": (1.0, 1.0, 224, 0.2),
    "lite1": (1.0, 1.1, 240, 0.2),
    "lite2": (1.1, 1.2, 260, 0.3),
    "lite3": (1.2, 1.4, 280, 0.3),
    "lite4": (1.4, 1.8, 300, 0.3),
}


def lite(key: str) -> Network:
    """A network for devices without floating point; it pads like TensorFlow, where all its weights come from."""
    width, depth, resolution, dropout = LITE[key]
    how = {"eps": 1e-3, "momentum": 0.01, "act": "relu6", "same": True}
    last = len(B0_STAGES)
    stages = tuple(
        Stage(
            f"stage{index}",
            MBConv(round_width(out, width), expand, kernel, stride, None, **how),  # type: ignore[arg-type]
            repeats if index in (1, last) else round_depth(repeats, depth),
        )
        for index, (expand, kernel, stride, out, repeats) in enumerate(B0_STAGES, start=1)
    )
    return Network(
        f"efficientnet_{key}",
        Stem(32, stride=2, **how),  # type: ignore[arg-type]
        stages,
        Classifier(hidden=1280, act="relu6", dropout=dropout, eps=1e-3, momentum=0.01),
        resolution,
        stochastic_depth=0.2,
        init="efficientnet",
        papers=(PAPER,),
    )


def _register() -> None:
    for key in VARIANTS:
        register("EfficientNet", f"efficientnet_{key}", lambda key=key: variant(key))  # type: ignore[misc]
    for key in LITE:
        register("EfficientNet-Lite", f"efficientnet_{key}", lambda key=key: lite(key))  # type: ignore[misc]


_register()
