"""What "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" prints (Tan and Le 2019).

Published as arXiv 1905.11946.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from convwright.arch.layers import Act
from convwright.reproduction.claim import Claim, Difference, PaperClaims, costs, macs, params, read
from convwright.reproduction.coefficients import ALPHA, BETA, GAMMA, RESOLUTION, Coefficients, published
from convwright.reproduction.senet import with_operations, with_statistics


class Row(NamedTuple):
    """A line of Table 2: ImageNet top-1 accuracy in percent, parameters in M and FLOPs in G as printed."""

    model: str
    ours: str
    """Our network, "" where we have none."""
    top1: float
    params: str
    flops: str


FAMILY = (
    Row("EfficientNet-B0", "efficientnet_b0", 77.1, "5.3", "0.39"),
    Row("EfficientNet-B1", "efficientnet_b1", 79.1, "7.8", "0.70"),
    Row("EfficientNet-B2", "efficientnet_b2", 80.1, "9.2", "1.0"),
    Row("EfficientNet-B3", "efficientnet_b3", 81.6, "12", "1.8"),
    Row("EfficientNet-B4", "efficientnet_b4", 82.9, "19", "4.2"),
    Row("EfficientNet-B5", "efficientnet_b5", 83.6, "30", "9.9"),
    Row("EfficientNet-B6", "efficientnet_b6", 84.0, "43", "19"),
    Row("EfficientNet-B7", "efficientnet_b7", 84.3, "66", "37"),
)
COMPARATORS = (
    Row("ResNet-50", "resnet50", 76.0, "26", "4.1"),
    Row("DenseNet-169", "densenet169", 76.2, "14", "3.5"),
    Row("ResNet-152", "resnet152_v1", 77.8, "60", "11"),
    Row("DenseNet-264", "densenet264", 77.9, "34", "6.0"),
    Row("Inception-v3", "inception_v3", 78.8, "24", "5.7"),
    Row("Xception", "", 79.0, "23", "8.4"),
    Row("Inception-v4", "inception_v4", 80.0, "48", "13"),
    Row("Inception-ResNet-v2", "inception_resnet_v2", 80.1, "56", "13"),
    Row("ResNeXt-101", "resnext101_64x4d|resolution:320", 80.9, "84", "32"),
    Row("PolyNet", "", 81.3, "92", "35"),
    Row("SENet", "senet154|resolution:320", 82.7, "146", "42"),
    Row("NASNet-A", "", 82.7, "89", "24"),
    Row("AmoebaNet-A", "", 82.8, "87", "23"),
    Row("PNASNet", "", 82.9, "86", "23"),
    Row("AmoebaNet-C", "", 83.5, "155", "41"),
    Row("GPipe", "", 84.3, "557", ""),
)
# Table 3: network, what was scaled, our expression, printed GFLOPs.
SCALED = (
    ("MobileNetV1", "as it is", "mobilenet_v1", "0.6"),
    ("MobileNetV1", "w = 2", "mobilenet_v1|scale:w=2", "2.2"),
    ("MobileNetV1", "r = 2", "mobilenet_v1|scale:r=2", "2.2"),
    ("MobileNetV1", "d = 1.4, w = 1.2, r = 1.3", "mobilenet_v1|scale:d=1.4,w=1.2,r=1.3", "2.3"),
    ("MobileNetV2", "as it is", "mobilenet_v2", "0.3"),
    ("MobileNetV2", "d = 4", "mobilenet_v2|scale:d=4", "1.2"),
    ("MobileNetV2", "w = 2", "mobilenet_v2|scale:w=2", "1.1"),
    ("MobileNetV2", "r = 2", "mobilenet_v2|scale:r=2", "1.2"),
    ("MobileNetV2", "compound, phi = 2", "mobilenet_v2|phi:2", "1.3"),
    ("ResNet-50", "as it is", "resnet50", "4.1"),
    ("ResNet-50", "d = 4", "resnet50|scale:d=4", "16.2"),
    ("ResNet-50", "w = 2", "resnet50|scale:w=2", "14.7"),
    ("ResNet-50", "r = 2", "resnet50|scale:r=2", "16.4"),
    ("ResNet-50", "compound, phi = 2", "resnet50|phi:2", "16.7"),
)
# Table 7, the networks of the class activation maps: B0 by one factor each, printed GFLOPs, and the factor that
# gives them.
CAM = (
    ("as it is", "efficientnet_b0", "0.4", ""),
    ("d = 4", "efficientnet_b0|scale:d=4", "1.8", "d=4.2"),
    ("w = 2", "efficientnet_b0|scale:w=2", "1.8", "w=2.2"),
    ("r = 2", "efficientnet_b0|scale:r=2", "1.9", "r=2.2"),
    ("d = 1.4, w = 1.2, r = 1.3", "efficientnet_b0|scale:d=1.4,w=1.2,r=1.3", "1.8", ""),
)


def with_everything(expression: str) -> float:
    """Return thousands of millions of multiply-adds, element-wise and pooling operations."""
    return (costs(expression).macs + costs(expression).elementwise) / 1e9


def with_statistics_only(expression: str) -> Callable[[], float]:
    """Return a function that gives millions of parameters, with the running statistics of normalisations."""
    return lambda: with_statistics(expression)


_PEERS = (
    "torchvision's and timm's networks, whose weights are the published ones, have exactly our multiply-adds, counted "
    "by torch; the paper does not say how it counted"
)
_ELSEWHERE = "the paper quotes this figure from others; the published weights' network has ours, counted by torch"
_STATISTICS = "with the running statistics of batch normalisation counted as parameters, the printed digits come out"
_ROUNDED = "the coefficients are printed rounded: {} gives the printed digits"
_SWAPPED = (
    "this row and the other stand in each other's place: counted with element-wise operations, {} gives the printed "
    "digits, and the other row's network this row's"
)
# What differs from the print: network (or network and what was scaled) and quantity, and why.
_PARAMS = {
    **{name: Difference(_STATISTICS, with_statistics_only(name)) for name in ("efficientnet_b2", "densenet264")},
    "resnext101_64x4d|resolution:320": Difference(_STATISTICS, with_statistics_only("resnext101_64x4d|resolution:320")),
    "inception_v4": Difference(
        _ELSEWHERE + "; with the auxiliary classifier it would be 46 M", None, 0.12, known=False
    ),
    "senet154|resolution:320": Difference(_ELSEWHERE, None, 0.22, known=False),
}
_FLOPS = {
    **{f"efficientnet_b{index}": Difference(_PEERS, None, 0.05, known=False) for index in (4, 5, 7)},
    "efficientnet_b1": Difference(
        "with one operation for each element that an activation function handles, the printed digits come out; so they "
        "do for B0, B2, B3 and B6",
        lambda: with_operations("efficientnet_b1", Act),
    ),
    **{name: Difference(_ELSEWHERE, None, 0.05, known=False) for name in ("densenet169", "densenet264")},
    "inception_v4": Difference(_ELSEWHERE, None, 0.06, known=False),
}
_OTHER = "the paper does not say how its implementation of this network rounds differently"
_SCALED = {
    "mobilenet_v1|scale:r=2": Difference(_OTHER, None, 0.04, known=False),
    "mobilenet_v1|scale:d=1.4,w=1.2,r=1.3": Difference(_OTHER, None, 0.08, known=False),
    "mobilenet_v2|phi:2": Difference(
        "the row's coefficients are not printed; those of the other compound rows, d = 1.4 and w = 1.2, at 288 pixels "
        "(1.3 times 224, down to a multiple of 32) give the printed digits",
        lambda: costs("mobilenet_v2|scale:d=1.4,w=1.2,r=1.2857").macs / 1e9,
    ),
    "resnet50|scale:d=4": Difference(_SWAPPED.format("w = 2"), lambda: with_everything("resnet50|scale:w=2")),
    "resnet50|scale:w=2": Difference(_SWAPPED.format("d = 4"), lambda: with_everything("resnet50|scale:d=4")),
    "resnet50|phi:2": Difference("the row's coefficients are not printed", None, 0.03, known=False),
}


def _table_2(row: Row) -> Iterator[Claim]:
    name = row.ours
    size = f" at {read(name).resolution} pixels" if "|resolution" in name else ""
    yield Claim("Table 2", row.model, "parameters", row.params, "M", params(name), _PARAMS.get(name))
    yield Claim("Table 2", f"{row.model}{size}", "GFLOPs (multiply-adds)", row.flops, "G", macs(name), _FLOPS.get(name))


def _cam(scaled: str, name: str, printed: str, factor: str) -> Claim:
    why = None
    if factor:
        finer = f"efficientnet_b0|scale:{factor}"
        why = Difference(_ROUNDED.format(factor.replace("=", " = ")), macs(finer))
    return Claim("Table 7", f"EfficientNet-B0, {scaled}", "GFLOPs (multiply-adds)", printed, "G", macs(name), why)


def _linear() -> Iterator[Claim]:
    """Return the claims of section 3.2: multiply-adds in proportion to d, w^2, r^2."""
    base = "resnet50"
    notes = {
        "d": "1.85 times: stem, head and the first block of each stage stand once at any depth",
        "w": "3.94 times: the three colours and the thousand classes are not doubled",
        "r": "exactly 4 but for the last layer, which sees one pixel at any resolution",
    }
    for factor, printed in (("d", "2"), ("w", "4"), ("r", "4")):
        yield Claim(
            "Section 3.2",
            f"ResNet-50, {factor} = 2",
            "times the multiply-adds",
            printed,
            "",
            lambda factor=factor: costs(f"{base}|scale:{factor}=2").macs / costs(base).macs,  # type: ignore[misc]
            note=notes[factor],
        )


def _coefficients(one: Coefficients) -> Iterator[Claim]:
    """Return the claims on a network's published width, depth and resolution: beta^phi, alpha^phi, 224 gamma^phi."""
    subject, phi = f"EfficientNet-{one.key.upper()}, phi = {one.phi:g}", one.phi
    depth = Difference(
        f"every stage rounds its repetitions up: {one.blocks} blocks are {one.depth_after_rounding:.2f} times B0's, "
        f"which follows {ALPHA}^phi = {ALPHA**phi:.2f}, while the published coefficient is smaller",
        within=0.16,
    )
    yield Claim("Code", subject, "width, 1.1^phi", f"{one.width:.1f}", "", lambda: BETA**phi, _WIDTH)
    yield Claim("Code", subject, "depth, 1.2^phi", f"{one.depth:.1f}", "", lambda: ALPHA**phi, depth)
    yield Claim(
        "Code", subject, "resolution, 224 x 1.15^phi", str(one.resolution), "px", lambda: RESOLUTION * GAMMA**phi, _SIDE
    )


_WIDTH = Difference("2.0 is what the code says, and 1.95 the formula", within=0.03)
_SIDE = Difference("rounded up, to a side that strides divide well", within=0.05)


def _claims() -> tuple[Claim, ...]:
    imagenet = Difference("takes training on ImageNet")
    fewer = Difference(
        "18 is the ratio of the rounded figures, 32 / 1.8; of the unrounded ones it is 17.3", lambda: 32 / 1.8
    )
    return (
        Claim(
            "Section 3.3",
            "alpha beta^2 gamma^2",
            "with 1.2, 1.1, 1.15",
            "2",
            "",
            lambda: ALPHA * BETA**2 * GAMMA**2,
            note="1.92: each step of phi costs 1.92 times the multiply-adds, before rounding",
        ),
        *_linear(),
        *(claim for row in FAMILY for claim in _table_2(row)),
        *(claim for row in COMPARATORS if row.ours for claim in _table_2(row)),
        Claim(
            "Section 1",
            "EfficientNet-B3 and ResNeXt-101",
            "times fewer multiply-adds",
            "18",
            "",
            lambda: costs("resnext101_64x4d|resolution:320").macs / costs("efficientnet_b3").macs,
            fewer,
        ),
        *(
            Claim("Table 3", f"{base}, {what}", "GFLOPs (multiply-adds)", printed, "G", macs(name), _SCALED.get(name))
            for base, what, name, printed in SCALED
        ),
        *(_cam(*row) for row in CAM),
        *(claim for one in published() for claim in _coefficients(one)),
        Claim("Tables 2, 3 and 7", "all networks", "top-1 and top-5 accuracy", "", "%", None, imagenet),
        Claim(
            "Table 2",
            "Xception, PolyNet, NASNet, AmoebaNet, PNASNet, GPipe",
            "parameters and GFLOPs",
            "",
            "",
            None,
            Difference("networks that are not in the zoo"),
        ),
    )


CLAIMS = PaperClaims(
    "efficientnet", "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", _claims()
)
