"""Preprocessing for files of weights, which do not contain it: that of the publisher, by network and names of layers.

torchvision's and timm's files of most networks have the same names. Where their preprocessing differs, that of the most
common publisher is used, and `Preprocessing.doubts` describes the assumption.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from convwright.arch import Network
from convwright.arch.resolution import sides
from convwright.data.images import Framing
from convwright.errors import UsageError
from convwright.modules import build
from convwright.weights.naming import without_common_start

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
Scheme = Literal["own", "timm", "efficientnet_pytorch", "other"]
"""Library that names the layers; "other" are names of torchvision, and of timm where they are the same."""

IMAGENET: Normalisation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF: Normalisation = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
LITE: Normalisation = (127 / 255,) * 3, (128 / 255,) * 3
"""Mean and standard deviation of channels on the scale 0 to 1: torchvision's, Google's, EfficientNet-Lite's."""

_TEXTS = {IMAGENET: "ImageNet's mean and standard deviation", HALF: "a mean and standard deviation of 0.5"}
_NORMALISATIONS: tuple[tuple[str, tuple[Scheme, ...], Normalisation], ...] = (
    # torchvision published the first two with an input layer that turns ImageNet's normalisation into this one.
    ("googlenet|inception_v[34]|inception_resnet_v2", ("other", "own"), HALF),
    (r"preact_resnet\d+|efficientnet_v2_l", ("other", "own"), HALF),
    ("mobilenet_v1|efficientnet_b8|efficientnet_v2_[sml]", ("timm", "efficientnet_pytorch"), HALF),
    ("mobilenet_v1|efficientnet_b8", ("other", "own"), HALF),
    (r"efficientnet_lite\d|efficientnet_v2_b3", ("timm",), HALF),
    (r"efficientnet_lite\d", ("efficientnet_pytorch", "other", "own"), LITE),
)
_EXCEPTIONS: tuple[tuple[str, Scheme, Normalisation, str], ...] = (
    ("efficientnet_b[0-7]", "timm", HALF, "timm's *.ap_in1k and *.ra4_e3600_*"),
    ("efficientnet_b8", "timm", IMAGENET, "timm's tf_efficientnet_b8.ra_in1k"),
    ("efficientnet_lite0", "timm", IMAGENET, "timm's efficientnet_lite0.ra_in1k"),
    ("efficientnet_v2_b3", "timm", IMAGENET, "timm's tf_efficientnetv2_b3.in1k"),
    ("resnet34", "other", HALF, "timm's resnet34.ra4_e3600_r224_in1k"),
    ("inception_v3", "other", IMAGENET, "timm's inception_v3.gluon_in1k"),
)
"""Published weights that the file may contain and that expect another normalisation."""
_FRAMINGS = (
    ("inception_resnet_v2", Framing(0.8975)),
    (r"preact_resnet\d+|seresnext101_32x8d", Framing(0.95)),
    (r"seresnet\d+_v1|senet154", Framing(0.875, "bilinear")),
)
"""Framings of networks that torchvision does not have."""


_SAME_IN_PYTORCHCV = r"resnet(18|34)|resnext.*|densenet.*"
"""Networks of which pytorchcv has only one variant, which computes the same function."""


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared for a file of weights."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    framing: Framing
    doubts: tuple[str, ...] = ()
    """Assumptions that may be wrong, a sentence each."""


def of_file(network: Network, names: Collection[str], *, own: bool = False) -> Preprocessing:
    """Return the preprocessing of images for the weights in a file.

    Args:
        network: The network that gets the weights.
        names: Names of the tensors in the file.
        own: Whether the names are Convwright's.

    Raises:
        UsageError: The weights belong to a network with the same shapes that computes another function.
    """
    name = network.name.partition("|")[0]
    scheme: Scheme = "own" if own else scheme_of(names)
    mean, std = normalisation = next(
        (value for pattern, of, value in _NORMALISATIONS if scheme in of and re.fullmatch(pattern, name)), IMAGENET
    )
    doubts = [
        *_normalisation_doubts(name, scheme, normalisation),
        *_padding_doubts(network, name, scheme),
        *_stride_doubts(name, names),
    ]
    known = torchvision_weights(name) if scheme in ("own", "other") else None
    if known is not None:
        framing, _ = shown(next(iter(known)).transforms())
        return Preprocessing(mean, std, framing, tuple(doubts))
    return Preprocessing(mean, std, framing_of(name, min(sides(network.resolution))), tuple(doubts))


def scheme_of(names: Collection[str]) -> Scheme:
    """Return the library that names a checkpoint's tensors."""
    firsts = {name.partition(".")[0] for name in without_common_start(names).values()}
    if "_conv_stem" in firsts:
        return "efficientnet_pytorch"
    return "timm" if "conv_stem" in firsts else "other"


def framing_of(name: str, resolution: int) -> Framing:
    """Return the usual framing: 7/8 of the short side, or all but 32 pixels as Google evaluates."""
    if "efficientnet" in name:
        return Framing(resolution / (resolution + 32))
    return next((framing for pattern, framing in _FRAMINGS if re.fullmatch(pattern, name)), Framing(0.875))


def shown(transforms: Any) -> tuple[Framing, int]:
    """Return the framing and the resolution of torchvision's transforms."""
    (side,), (short,) = transforms.crop_size, transforms.resize_size
    return Framing(side / short, transforms.interpolation.value), side


def torchvision_weights(name: str) -> Any:
    """Return torchvision's weights of a network as its enumeration; None if it does not have the network."""
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(name)
    except ValueError:
        return None


def arithmetic(module: nn.Module) -> tuple[bool, frozenset[float]]:
    """Return what shapes do not show: whether convolutions pad as in TensorFlow, and the epsilons of normalisation."""
    parts = list(module.modules())
    same = any(isinstance(part, nn.Conv2d) and "Same" in type(part).__name__ for part in parts)
    return same, frozenset(part.eps for part in parts if isinstance(part, nn.BatchNorm2d))


def describe_arithmetic(same: bool, epsilons: Collection[float]) -> str:
    """Return the result of `arithmetic` in words."""
    values = " or ".join(f"{value:g}" for value in sorted(epsilons)) or "none"
    return f"{'TensorFlow' if same else 'PyTorch'}'s padding and normalisation with an epsilon of {values}"


def _normalisation_doubts(name: str, scheme: Scheme, assumed: Normalisation) -> list[str]:
    text = f"assumed that its images are normalised with {_TEXTS.get(assumed, 'the mean and deviation of its package')}"
    if scheme == "own":
        return [f"{text}; the file does not contain it; for weights of a run, give the run's directory"]
    return [
        f"{text}; {examples} need {_TEXTS[other]}: give those as timm:NAME"
        for pattern, of, other, examples in _EXCEPTIONS
        if of == scheme and re.fullmatch(pattern, name)
    ]


def _stride_doubts(name: str, names: Collection[str]) -> list[str]:
    """Return a doubt for names of pytorchcv, which several networks with different functions share."""
    of_pytorchcv = any("init_block" in tensor.split(".") for tensor in names)
    if not of_pytorchcv or re.fullmatch(_SAME_IN_PYTORCHCV, name):
        return []
    return [
        f"its layers have names of pytorchcv, some of whose networks have the layers of {name} and compute something "
        "else: resnet50 has the stride of a block in another convolution than resnet50b, efficientnet_b0b other "
        "padding than efficientnet_b0; compare the accuracy with the published one"
    ]


def _padding_doubts(network: Network, name: str, scheme: Scheme) -> list[str]:
    """Return doubts about the arithmetic of a file with names of timm; refuse a file that certainly differs."""
    if "efficientnet" not in name or scheme not in ("timm", "efficientnet_pytorch"):
        return []
    same, epsilons = arithmetic(build(network, device="meta"))
    if scheme == "efficientnet_pytorch":
        if not same:
            raise UsageError(
                "its layers have the names of EfficientNet-PyTorch, whose networks have "
                f"{describe_arithmetic(True, [1e-3])}; {name} has {describe_arithmetic(same, epsilons)}; "
                "use weights of torchvision"
            )
        return []
    if same and name != "efficientnet_lite0":  # of the others only TensorFlow's weights exist
        return []
    tensorflow, torch = describe_arithmetic(True, [1e-3]), describe_arithmetic(False, [1e-5])
    return [
        f"{name} has {describe_arithmetic(same, epsilons)}; timm's tf_* networks have {tensorflow} and its other "
        f"networks {torch}; if the file comes from the other kind, outputs differ slightly; give timm:NAME to check"
    ]
