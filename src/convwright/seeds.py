"""Random seeds derived from their purpose, so that no random number depends on hidden state."""

import hashlib


def derive(seed: int, purpose: str, *counters: int) -> int:
    """Return a 63-bit seed for one purpose at one place, e.g. ``derive(0, "augment", step)``.

    Equal arguments give equal seeds on every machine and Python; different ones give unrelated seeds.
    """
    text = "/".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
