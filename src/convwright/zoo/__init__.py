"""The zoo: one file a paper. Importing it registers every network by name; nothing here imports torch."""

from convwright.zoo import (
    densenet,
    efficientnet,
    efficientnet_v2,
    inception,
    inception_v4,
    mobilenet,
    resnet,
    resnext,
    senet,
    vgg,
    wide_resnet,
)

__all__ = [
    "densenet",
    "efficientnet",
    "efficientnet_v2",
    "inception",
    "inception_v4",
    "mobilenet",
    "resnet",
    "resnext",
    "senet",
    "vgg",
    "wide_resnet",
]
