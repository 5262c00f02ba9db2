"""Which tar files data names: braces, wildcards and folders, in WebDataset's way, and the split of each file."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from convwright.data.layout import NAMED, ROLES
from convwright.display.wording import listed
from convwright.errors import DataError
from convwright.printable import printable

SUFFIX = ".tar"
MOST = 1_000_000
"""Most files that braces may stand for."""
_NUMBERS = re.compile(r"(\d+)\.\.(\d+)")


def names_shards(spec: str) -> bool:
    """Return whether data is tar files: by its suffix, or a folder with such files and no others to train on."""
    if spec.lower().endswith(SUFFIX):
        return True
    folder = Path(spec).expanduser()
    try:
        return bool(spec) and folder.is_dir() and bool(_in_folder(folder))
    except OSError:
        return False


def shard_paths(spec: str) -> list[Path]:
    """Return the tar files that data names, in order.

    Args:
        spec: A file, a pattern such as `shards/{000..146}.tar`, `{train,val}-*.tar`, several of them joined by `::`, or
            a folder.

    Raises:
        DataError: A file is missing, or there is none.
    """
    folder = Path(spec).expanduser()
    if not spec.lower().endswith(SUFFIX) and folder.is_dir():
        return _in_folder(folder)
    paths: list[Path] = []
    for pattern in spec.split("::"):
        for name in expanded(pattern):
            path = Path(name).expanduser()
            paths.extend(sorted(path.parent.glob(path.name)) if re.search(r"[*?]", path.name) else [path])
    if not paths:
        raise DataError(f"{printable(spec)}: there are no such files")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        more = f", and neither do {len(missing) - 1:,} more of its {len(paths):,} files" if len(missing) > 1 else ""
        raise DataError(f"{printable(missing[0])} does not exist{more}")
    if len(set(paths)) < len(paths):
        raise DataError(f"{printable(spec)}: it names a file twice")
    return paths


def expanded(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with braces stands for: `{000..146}`, `{train,val}`, also nested.

    Raises:
        DataError: There are too many names, or a brace has no partner.
    """
    for count, name in enumerate(_expanded(pattern), 1):
        if count > MOST:
            raise DataError(f"{printable(pattern)} stands for more than {MOST:,} files")
        yield name


def _expanded(pattern: str) -> Iterator[str]:
    start = pattern.find("{")
    if start < 0:
        yield pattern
        return
    depth, commas, end = 0, [start], -1
    for place in range(start, len(pattern)):
        sign = pattern[place]
        depth += (sign == "{") - (sign == "}")
        if sign == "," and depth == 1:
            commas.append(place)
        if depth == 0:
            end = place
            break
    if end < 0:
        raise DataError(f"{printable(pattern)}: a brace is not closed; write {{000..146}} or {{train,val}}")
    inner = pattern[start + 1 : end]
    if numbers := _NUMBERS.fullmatch(inner):
        first, last = numbers[1], numbers[2]
        width = max(len(first), len(last)) if "0" in (first[0], last[0]) and (len(first) > 1 or len(last) > 1) else 0
        step = 1 if int(first) <= int(last) else -1
        choices: Iterator[str] = (f"{number:0{width}d}" for number in range(int(first), int(last) + step, step))
    else:
        ends = [*commas[1:], end]
        parts = [pattern[one + 1 : other] for one, other in zip(commas, ends, strict=True)]
        choices = (name for part in parts for name in _expanded(part))
    for choice in choices:
        for rest in _expanded(pattern[end + 1 :]):
            yield pattern[:start] + choice + rest


def roles_of(paths: list[Path]) -> list[str]:
    """Return the split of each file: by the first word of its name, or its folder; `train` where no file has one.

    Raises:
        DataError: Some of the files have a split, and others have not.
    """
    found = [_role(path) for path in paths]
    without = [path for path, role in zip(paths, found, strict=True) if not role]
    if without and len(without) < len(paths):
        shown = ", ".join(printable(path.name) for path in without[:NAMED]) + " ..." * (len(without) > NAMED)
        splits = listed(sorted(set(filter(None, found))))
        raise DataError(
            f"{printable(paths[0].parent)} has files of the splits {splits}, and files whose names show no "
            f"split: {shown}; name only files that belong together"
        )
    return [role or "train" for role in found]


def _role(path: Path) -> str:
    word = re.split(r"[-_.\d]", path.name.lower(), maxsplit=1)[0]
    return ROLES.get(word) or ROLES.get(path.parent.name.lower(), "")


def _in_folder(folder: Path) -> list[Path]:
    """Return the tar files of a folder, or of its folders of splits; none if there are other folders."""
    found: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                inside = sorted(Path(entry.path).glob(f"*{SUFFIX}")) if entry.name.lower() in ROLES else []
                if not inside:
                    return []
                found.extend(inside)
            elif entry.name.lower().endswith(SUFFIX):
                found.append(Path(entry.path))
    return found
