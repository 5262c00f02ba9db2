"""What "Squeeze-and-Excitation Networks" prints (Hu et al. 2018, arXiv 1709.01507)."""

from itertools import pairwise

from convwright.arch.layers import Add, Conv, Gate, GlobalPool, Layer, Norm
from convwright.reproduction.claim import Claim, Difference, PaperClaims, costs, increase, macs, params

# Table 2 and Table 3: our network, the paper's name, GFLOPs, GFLOPs with SE. The paper's ResNets carry the
# stride of a bottleneck in its first 1x1 convolution.
FLOPS = (
    ("resnet50_v1", "ResNet-50", "3.86", "3.87"),
    ("resnet101_v1", "ResNet-101", "7.58", "7.60"),
    ("resnet152_v1", "ResNet-152", "11.30", "11.32"),
    ("resnext50_32x4d", "ResNeXt-50", "4.24", "4.25"),
    ("resnext101_32x4d", "ResNeXt-101", "7.99", "8.00"),
    ("vgg16", "VGG-16", "15.47", "15.48"),
    ("bn_inception", "BN-Inception", "2.03", "2.04"),
    ("inception_resnet_v2", "Inception-ResNet-v2", "11.75", "11.76"),
    ("mobilenet_v1", "MobileNet", "0.569", "0.572"),
)
REDUCTION = (("2", "45.7"), ("4", "35.7"), ("8", "30.7"), ("16", "28.1"), ("32", "26.9"), ("", "25.6"))
"""Table 10: reduction ratio of SE-ResNet-50, parameters in millions; without SE in the last row."""


def with_operations(expression: str, *kinds: type[Layer]) -> float:
    """Return thousands of millions of multiply-adds, plus one operation for each element of these kinds of layer."""
    cost = costs(expression)
    return (cost.macs + sum(row.elementwise for row in cost.layers if isinstance(row.layer, kinds))) / 1e9


def with_statistics(expression: str) -> float:
    """Return millions of parameters, with running statistics of normalisations and no bias in the squeezing layer."""
    rows = list(costs(expression).layers)
    statistics = sum(2 * row.output[0] for row in rows if isinstance(row.layer, Norm))
    squeezing = [after for before, after in pairwise(rows) if isinstance(before.layer, GlobalPool)]
    biases = sum(row.output[0] for row in squeezing if isinstance(row.layer, Conv))
    return (costs(expression).params + statistics - biases) / 1e6


# What the table may count besides the multiply-adds of convolutions; the first that gives the printed digits explains.
_COUNTED: tuple[tuple[tuple[type[Layer], ...], str], ...] = (
    ((Add, Gate), "a residual sum and of a gate"),
    ((Norm,), "a normalisation; so they do for all four ResNeXts"),
    ((Add, Gate, GlobalPool), "a sum, a gate and a squeeze; other rows leave the squeeze out"),
)
_ANOTHER = Difference(
    "Inception-ResNet-v2 as its weights were published takes 13.2 G at 299 pixels, as EfficientNet's Table 2 prints; "
    "11.75 G would be another size of image or another variant, which the paper does not say",
    within=0.13,
    known=False,
)


def _flops(name: str, subject: str, printed: str) -> Claim:
    """Return the claim on a network's multiply-adds, explained by what else the paper counts."""
    why = _ANOTHER if "inception_resnet" in name else None
    for kinds, counted in _COUNTED:
        if why is None and f"{with_operations(name, *kinds):.{len(printed.partition('.')[2])}f}" == printed:
            why = Difference(
                "the paper counts more than the multiply-adds of convolutions: the printed digits come out with one "
                f"operation for each element of {counted}",
                lambda kinds=kinds: with_operations(name, *kinds),  # type: ignore[misc]
            )
    return Claim("Tables 2 and 3", subject, "GFLOPs (multiply-adds)", printed, "G", macs(name), why)


def _claims() -> tuple[Claim, ...]:
    imagenet = Difference("takes training on ImageNet")
    own = Difference("a figure of trained weights")
    rounded = Difference(
        "0.26 % is the ratio of the two rounded figures, 3.87 / 3.86; the two fully connected layers of each block "
        "add 2.5 M multiply-adds, 0.07 %, and with squeeze and gate counted too it is 0.35 %",
        lambda: 100 * (3.87 / 3.86 - 1),
    )
    counted = Difference(
        "the paper's figures lie up to 0.07 M above a count of learnt parameters: with the running statistics of "
        "batch normalisation, and no bias in the squeezing layers, the printed digits come out for all six ratios"
    )
    se50, plain = "resnet50_v1|se:16", "resnet50_v1"
    return (
        *(_flops(name, subject, printed) for name, subject, printed, _ in FLOPS),
        *(_flops(f"{name}|se:16", f"SE-{subject}", printed) for name, subject, _, printed in FLOPS),
        Claim("Table 3", "MobileNet", "parameters", "4.2", "M", params("mobilenet_v1")),
        Claim("Table 3", "SE-MobileNet", "parameters", "4.7", "M", params("mobilenet_v1|se:16")),
        Claim(
            "Section 4",
            "SE-ResNet-50",
            "more multiply-adds than ResNet-50",
            "0.26",
            "%",
            increase(se50, plain, "macs"),
            rounded,
        ),
        Claim(
            "Section 4", "SE-ResNet-50", "more parameters than ResNet-50", "10", "%", increase(se50, plain, "params")
        ),
        Claim(
            "Section 4",
            "SE-ResNet-50",
            "parameters more than ResNet-50's",
            "2.5",
            "M",
            lambda: (costs(se50).params - costs(plain).params) / 1e6,
        ),
        Claim(
            "Section 4",
            "SE-ResNet-50 without SE in its last stage",
            "more parameters than ResNet-50",
            "4",
            "%",
            increase("resnet50_v1|se:16,stages=1-3", plain, "params"),
        ),
        *(_by_ratio(ratio, printed, counted.why) for ratio, printed in REDUCTION),
        Claim("Tables 2 and 3", "all networks", "top-1 and top-5 error", "", "%", None, imagenet),
        Claim("Tables 10 and 14", "SE-ResNet-50", "error by reduction ratio and by placement", "", "%", None, imagenet),
        Claim("Figures 6 and 7", "SE-ResNet-50", "mean excitation by class and depth", "", "", None, own),
    )


def _by_ratio(ratio: str, printed: str, why: str) -> Claim:
    name = f"resnet50_v1|se:{ratio}" if ratio else "resnet50_v1"
    subject = f"SE-ResNet-50, r = {ratio}" if ratio else "ResNet-50"
    return Claim(
        "Table 10", subject, "parameters", printed, "M", params(name), Difference(why, lambda: with_statistics(name))
    )


CLAIMS = PaperClaims("senet", "Squeeze-and-Excitation Networks", _claims())
