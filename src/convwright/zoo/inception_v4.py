"""Inception-v3 (Szegedy et al. 2016), Inception-v4 and Inception-ResNet-v2 (Szegedy et al. 2017), for 299 pixels.

Rows of filters are written as `convwright.zoo.filters` reads them; "v" marks those without padding.
"""

from collections.abc import Iterable

from convwright.arch.blocks import SE, Block
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.registry import register
from convwright.zoo.common import Classifier
from convwright.zoo.inception import EPS, Filters, Inception, InceptionResidual, Reduction
from convwright.zoo.resnet import SE_PAPER

V3_PAPER = Paper("Rethinking the Inception Architecture for Computer Vision", "Szegedy et al.", 2016, "1512.00567")
V4_PAPER = Paper(
    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    "Szegedy et al.",
    2017,
    "1602.07261",
)
RESOLUTION = 299


def _numbered(blocks: Iterable[tuple[Block, int]]) -> tuple[Stage, ...]:
    return tuple(Stage(f"mixed{index}", block, repeats) for index, (block, repeats) in enumerate(blocks, start=1))


def _v3_35(pool: int) -> Inception:
    return Inception(("64", "48 64@5", "64 96@3 96@3", f"avg {pool}"), include_pad=True)


def _v3_17(width: int) -> Inception:
    """7x7 factorised into 1x7 and 7x1 (Figure 6), with `width` inner channels."""
    twice = f"{width} {width}@7x1 {width}@1x7 {width}@7x1 192@1x7"
    return Inception(("192", f"{width} {width}@1x7 192@7x1", twice, "avg 192"), include_pad=True)


def inception_v3() -> Network:
    """Table 1, with average pools that count the padding's zeros, as published weights were trained."""
    wide = Inception(("320", "384 384@1x3|384@3x1", "448 384@3 384@1x3|384@3x1", "avg 192"), include_pad=True)
    stages = _numbered(
        [
            (_v3_35(32), 1),
            (_v3_35(64), 2),
            (Reduction(("384@3/2v", "64 96@3 96@3/2v", "max@3/2v")), 1),
            *((_v3_17(width), repeats) for width, repeats in ((128, 1), (160, 2), (192, 1))),
            (Reduction(("192 320@3/2v", "192 192@1x7 192@7x1 192@3/2v", "max@3/2v")), 1),
            (wide, 2),
        ]
    )
    stem = Filters("32@3/2v 32@3v 64@3 max@3/2v 80 192@3v max@3/2v")
    return Network("inception_v3", stem, stages, Classifier(dropout=0.5), resolution=RESOLUTION, papers=(V3_PAPER,))


def inception_v4() -> Network:
    """Figures 3 to 9. The stem's concatenations are stages, whose strides `fit_resolution` removes one by one."""
    stages = _numbered(
        [
            (Reduction(("max@3/2v", "96@3/2v")), 1),
            (Inception(("64 96@3v", "64 64@1x7 64@7x1 96@3v")), 1),
            (Reduction(("192@3/2v", "max@3/2v")), 1),
            (Inception(("96", "64 96@3", "64 96@3 96@3", "avg 96")), 4),
            (Reduction(("384@3/2v", "192 224@3 256@3/2v", "max@3/2v")), 1),
            (Inception(("384", "192 224@1x7 256@7x1", "192 192@7x1 224@1x7 224@7x1 256@1x7", "avg 128")), 7),
            (Reduction(("192 192@3/2v", "256 256@1x7 320@7x1 320@3/2v", "max@3/2v")), 1),
            (Inception(("256", "384 256@1x3|256@3x1", "384 448@3x1 512@1x3 256@1x3|256@3x1", "avg 256")), 3),
        ]
    )
    stem, head = Filters("32@3/2v 32@3v 64@3"), Classifier(dropout=0.2)
    return Network("inception_v4", stem, stages, head, resolution=RESOLUTION, papers=(V4_PAPER,))


RESNET_ERRORS = {False: (20.37, 5.21), True: (19.80, 4.79)}
"""SENet, Table 2: top-1 and top-5 error of its re-implementation, and with SE."""


def inception_resnet_v2(se: SE | None = None) -> Network:
    """Figures 15 to 19 in the widths of the published weights, which differ from those of the figures in places."""
    last = ("192", "192 224@1x3 256@3x1")
    stages = _numbered(
        [
            (Inception(("96", "48 64@5", "64 96@3 96@3", "avg 64"), se=se), 1),
            (InceptionResidual(("32", "32 32@3", "32 48@3 64@3"), 0.17, se=se), 10),
            (Reduction(("384@3/2v", "256 256@3 384@3/2v", "max@3/2v"), se=se), 1),
            (InceptionResidual(("192", "128 160@1x7 192@7x1"), 0.1, se=se), 20),
            (Reduction(("256 384@3/2v", "256 288@3/2v", "256 288@3 320@3/2v", "max@3/2v"), se=se), 1),
            (InceptionResidual(last, 0.2, se=se), 9),
            (InceptionResidual(last, 1.0, act=False, se=se), 1),
        ]
    )
    top1, top5 = RESNET_ERRORS[se is not None]
    return Network(
        "seinception_resnet_v2" if se else "inception_resnet_v2",
        Filters("32@3/2v 32@3v 64@3 max@3/2v 80 192@3v max@3/2v"),
        stages,
        Classifier(hidden=1536, dropout=0.2, eps=EPS),
        resolution=RESOLUTION,
        papers=(V4_PAPER, SE_PAPER) if se else (V4_PAPER,),
        results=(Result("ImageNet", "top-1 error", top1), Result("ImageNet", "top-5 error", top5)),
    )


register("Inception", "inception_v3", inception_v3)
register("Inception", "inception_v4", inception_v4)
register("Inception", "inception_resnet_v2", inception_resnet_v2)
register("SE-Inception", "seinception_resnet_v2", lambda: inception_resnet_v2(SE(16)))
