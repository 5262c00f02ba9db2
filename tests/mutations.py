"""Random damage to structured values, for tests of everything that reads files."""

import copy
import random
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
