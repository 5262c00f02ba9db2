"""Random seeds derived from their purpose, so that no random number depends on hidden state."""

import hashlib

from convwright.errors import ArgumentError

LARGEST_SEED = 2**63 - 1
"""Seeds are whole numbers of 64 bits: negative ones are allowed, and give other numbers than their opposites."""


def check_seed(seed: int, parameter: str = "seed") -> int:
    """Return a seed as an int, once it is known to be one.

    Args:
        seed: The seed; NumPy's whole numbers are allowed.
        parameter: Its name, for the message.

    Raises:
        ArgumentError: It is not a whole number of 64 bits.
    """
    whole = hasattr(seed, "__index__") and not isinstance(seed, bool)
    if not whole or not -LARGEST_SEED <= int(seed) <= LARGEST_SEED:
        given = f", not {seed!r:.80}" if not whole or abs(int(seed)) < 10**100 else ""
        raise ArgumentError(parameter, f"must be a whole number of at most 64 bits{given}")
    return int(seed)


def derive(seed: int, purpose: str, *counters: int) -> int:
    """Return a 63-bit seed for one purpose at one place, e.g. ``derive(0, "augment", step)``.

    Equal arguments give equal seeds on every machine and Python; different ones give unrelated seeds.

    Raises:
        ArgumentError: The seed is not a whole number of 64 bits.
    """
    text = "/".join([str(check_seed(seed)), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
