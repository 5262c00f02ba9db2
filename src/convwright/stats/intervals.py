"""Confidence intervals of shares."""

import math

Z_95 = 1.959964
"""Quantile of the standard normal distribution for two-sided intervals at 95 %."""


def wilson(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927, Journal of the American Statistical Association 22).

    Unlike Wald's interval it keeps its level for shares near 0 and 1 (Brown, Cai and DasGupta 2001).

    Args:
        successes: Number of successes, 0 to `trials`.
        trials: Number of trials, 1 or more.
        z: Quantile of the standard normal distribution; the level is 95 % by default.

    Returns:
        Lower and upper bound, 0 to 1; the share itself is never outside.
    """
    share = successes / trials
    spread = z * math.sqrt(share * (1 - share) / trials + (z / trials) ** 2 / 4)
    scale = 1 / (1 + z * z / trials)
    middle = share + z * z / (2 * trials)
    # Rounding must not push a share of 0 or 1 out of its own interval.
    return max(0.0, min(share, scale * (middle - spread))), min(1.0, max(share, scale * (middle + spread)))
