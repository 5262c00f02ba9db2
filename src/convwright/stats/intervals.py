"""Confidence intervals of shares, and of differences between shares of the same images."""

import math


def paired_difference(spoilt: int, mended: int, images: int, z: float = 1.959964) -> tuple[float, float, float]:
    """Return the share of images lost by a change, and its interval (95 % by default), from pairs of answers.

    spoilt: images right before and wrong after; mended: the other way round. The interval is Wald's with half an image
    added to each of the four outcomes (Agresti and Min 2005), which holds where hardly any answer changes.
    """
    total = images + 2
    middle = (spoilt - mended) / total
    spread = z * math.sqrt(spoilt + mended + 1 - (spoilt - mended) ** 2 / total) / total
    return (spoilt - mended) / images, max(-1.0, middle - spread), min(1.0, middle + spread)


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's score interval for a share, at 95 % by default; sound for shares near 0 and 1 too."""
    share = successes / trials
    spread = z * math.sqrt(share * (1 - share) / trials + (z / trials) ** 2 / 4)
    scale = 1 / (1 + z * z / trials)
    middle = share + z * z / (2 * trials)
    # Rounding must not push a share of 0 or 1 out of its own interval.
    return max(0.0, min(share, scale * (middle - spread))), min(1.0, max(share, scale * (middle + spread)))
