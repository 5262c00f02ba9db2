"""Intervals of shares that are compared on the same images."""

import math


def paired_loss(spoilt: int, mended: int, images: int, z: float = 1.959964) -> tuple[float, float, float]:
    """Return the share of images lost by a change, and its interval (95 % by default), from pairs of answers.

    spoilt: images right before and wrong after; mended: the other way round. The interval is Wald's with half an image
    added to each of the four outcomes (Agresti and Min 2005), which holds where hardly any answer changes.
    """
    total = images + 2
    middle = (spoilt - mended) / total
    spread = z * math.sqrt(spoilt + mended + 1 - (spoilt - mended) ** 2 / total) / total
    return (spoilt - mended) / images, max(-1.0, middle - spread), min(1.0, middle + spread)
