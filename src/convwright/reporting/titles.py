"""Short names of runs."""

from collections.abc import Sequence
from pathlib import Path


def titles(paths: Sequence[Path]) -> list[str]:
    """Return a name for each run: its folder, preceded by as many parent folders as make all names different."""
    whole = [path.absolute().parts for path in paths]
    depths = [1] * len(paths)
    names = [parts[-1] for parts in whole]
    while len(set(names)) < len(set(whole)):
        depths = [
            depth + (names.count(name) > 1 and depth < len(parts))
            for depth, name, parts in zip(depths, names, whole, strict=True)
        ]
        names = ["/".join(parts[-depth:]) for parts, depth in zip(whole, depths, strict=True)]
    return names
