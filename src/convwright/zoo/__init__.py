"""The zoo: one file a paper. Importing it registers every network by name; nothing here imports torch."""

from convwright.zoo import densenet, efficientnet, mobilenet, resnet, resnext, senet, vgg, wide_resnet

__all__ = ["densenet", "efficientnet", "mobilenet", "resnet", "resnext", "senet", "vgg", "wide_resnet"]
