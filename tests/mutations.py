"""Random damage to structured values, for tests of everything that reads files."""

import copy
import random
import struct
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**70,
    10**400,
    0.5,
    -1e300,
    1e300,
    "",
    "text",
    "\x1b[31m",
    [],
    [[]],
    [None],
    {},
    {"a": 1},
    {"type": "Conv"},
)


def mutated(value: Any, draw: random.Random) -> Any:
    """Return a copy of a JSON-like value with one random change: a part replaced, removed, repeated or added."""
    whole = [copy.deepcopy(value)]
    holder, key = draw.choice(list(_places(whole)))
    change = draw.random()
    if change < 0.6:
        holder[key] = copy.deepcopy(draw.choice(VALUES))
    elif change < 0.75 and holder is not whole:
        del holder[key]
    elif change < 0.9 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif isinstance(holder, dict):
        holder["unknown"] = copy.deepcopy(draw.choice(VALUES))
    else:
        holder[key] = [holder[key]]
    return whole[0]


def _places(value: Any) -> Any:
    """Yield every place of a value, as the container that holds it and its key or index there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


EXTREMES = (
    *(b"\xff" * 10, b"\0" * 10, b"\x80" * 9, b"[" * 5000, b"&#x0;", b"\n", b'"', b"\xef\xbb\xbf"),
    *(struct.pack("<Q", 2**63), struct.pack(">I", 2**31), struct.pack("<I", 2**32 - 1), b"1e999", b"9" * 5000),
)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return bytes with one random fault: a part cut, removed, replaced, doubled or flipped, or an extreme value.

    Half of the faults are near the beginning, where headers are.
    """
    place = draw.randrange(1 + (len(content) if draw.random() < 0.5 else min(64, len(content))))
    size = draw.choice((1, 2, 8, 100))
    match draw.randrange(6):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + content[place + size :]
        case 2:
            return content[:place] + draw.randbytes(size) + content[place + size :]
        case 3:
            return content[:place] + content[place : place + size] * 2 + content[place + size :]
        case 4 if place < len(content):
            return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
    extreme = draw.choice(EXTREMES)
    return content[:place] + extreme + content[place + len(extreme) :]
