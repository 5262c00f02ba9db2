"""Images to split, with what keeps some of them together: those of a folder, a list or a built-in data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from convwright.data.arrays import PREFIX
from convwright.data.collections import is_collection
from convwright.data.dataset import CHUNK, Parts, Split
from convwright.data.framing import Framing
from convwright.data.images import Header, framing_for, quiet, read_header, reason_of
from convwright.data.layout import Found
from convwright.data.likeness import Likeness, likeness_of, thumbnail_of
from convwright.data.lists import ImageList
from convwright.data.skipped import UNREADABLE, SkippedFiles
from convwright.data.source_lists import parts_of_list
from convwright.data.sources import SOURCES, check_no_columns, existing, find_in
from convwright.data.threads import Progress, in_threads
from convwright.errors import ArgumentError
from convwright.printable import printable


@dataclass(frozen=True)
class Pool:
    """Images that are not split yet."""

    shown: str
    """The data, for messages."""
    classes: tuple[str, ...]
    multi_label: bool
    names: Sequence[str]
    """Name of each image, for messages and patterns."""
    paths: Sequence[Path]
    """What a list names each image by."""
    labels: list[tuple[int, ...]]
    likenesses: list[Likeness]
    groups: Sequence[str] | None = None
    """Group of each image, empty for images of no group; None: there are no groups."""
    weights: Sequence[float] | None = None
    source: str = ""
    """The built-in data set that the images are of; empty for files."""
    left_out: tuple[str, ...] = ()
    """One line for each file that was left out, and why."""
    skipped: tuple[SkippedFiles, ...] = field(default=())
    """Files that are not used as images, counted by suffix and reason."""

    def label_tensor(self) -> torch.Tensor:
        """Return the labels, int64 N; for multi-label data, bool N x classes."""
        if not self.multi_label:
            return torch.tensor([label for (label,) in self.labels], dtype=torch.int64)
        several = torch.zeros(len(self.labels), len(self.classes), dtype=torch.bool)
        for row, each in enumerate(self.labels):
            several[row, list(each)] = True
        return several


def pool_of(spec: str, columns: Mapping[str, str | None], group: str | None, progress: Progress | None = None) -> Pool:
    """Read images to split.

    Args:
        spec: A folder, a list of images, or the name of a built-in data set.
        columns: Columns of a list, by the names of the fields of `Data`.
        group: Column of a list whose equal values stay in one split.
        progress: Called with the number of images done, their total and a description.

    Raises:
        DataError: There is no such data.
        ArgumentError: The data is split already, or a list cannot name its images.
    """
    _check_listable(spec)
    if spec in SOURCES:
        check_no_columns(columns, spec)
        if group is not None:
            raise ArgumentError("group", f"{printable(spec)} is a built-in data set, which has no columns")
        return _pool_of_source(spec, SOURCES[spec].read(False))
    found = _found(spec, columns, group)
    if isinstance(found, ImageList):
        _check_not_split(spec, {entry.role for entry in found.entries})
        parts = parts_of_list(found, SOURCES[found.source].read(False))
        return _pool_of_parts(printable(spec), parts, found.source, [entry.path for entry in found.entries])
    _check_not_split(spec, found.splits)
    return _pool_of_files(found, progress)


def _check_listable(spec: str) -> None:
    """Check that a list can name the images of the data.

    Raises:
        ArgumentError: It cannot.
    """
    if spec.startswith(PREFIX):
        raise ArgumentError(
            "data",
            "images that are given in Python cannot be named in a list; save them as files, or give some of them as "
            "`val_images` and `test_images`",
        )
    if is_collection(spec):
        raise ArgumentError(
            "data",
            f"{printable(spec)}: a list names files, and not images inside tar files or data sets of Hugging Face; "
            "extract them into a folder first, or name the files of each split train, val and test",
        )


def _check_not_split(spec: str, roles: "set[str] | Mapping[str, object]") -> None:
    if {*roles} != {"train"}:
        shown = " and ".join(role for role in ("train", "val", "test") if role in roles)
        raise ArgumentError("data", f"{printable(spec)} is split into {shown} already; give the images of one split")


def _found(spec: str, columns: Mapping[str, str | None], group: str | None) -> Found | ImageList:
    with existing(spec) as path, quiet():
        if group is not None and path.is_dir():
            raise ArgumentError("group", f"{printable(spec)} is a folder, which has no columns; use `pattern`")
        try:
            return find_in(path, {**columns, **({} if group is None else {"group_column": group})})
        except ArgumentError as error:
            if error.argument == "group_column" and group is not None:
                raise ArgumentError("group", error.reason) from None
            raise


def _pool_of_source(spec: str, parts: Parts) -> Pool:
    """Return all images of a built-in data set, whose own splits do not count."""
    splits = parts.splits()
    names = [f"{spec}:{role}/{position}" for role, split in splits.items() for position in range(len(split))]
    pools = [_pool_of_parts(spec, Parts(parts.classes, split, None, None), spec, ()) for split in splits.values()]
    return Pool(
        printable(spec),
        parts.classes,
        parts.train.multi_label,
        names,
        [Path(name) for name in names],
        [labels for pool in pools for labels in pool.labels],
        [likeness for pool in pools for likeness in pool.likenesses],
        source=spec,
    )


def _pool_of_parts(shown: str, parts: Parts, source: str, names: Sequence[str]) -> Pool:
    """Return the training images of a built-in data set, or of a list of them."""
    split = parts.train
    return Pool(
        shown,
        parts.classes,
        split.multi_label,
        names,
        [Path(name) for name in names],
        split.label_sets(),
        _likenesses(split),
        split.groups,
        None if split.weights is None else split.weights.tolist(),
        source,
    )


def _likenesses(split: Split) -> list[Likeness]:
    """Return what shows whether images in memory are the same."""
    found = []
    digests = split.traits().digests.numpy()
    for rows in torch.arange(len(split)).split(CHUNK):
        pixels = split.take(rows).expand(-1, 3, -1, -1).numpy()
        found += [
            Likeness(digests[row].tobytes(), thumbnail_of(image)) for row, image in zip(rows, pixels, strict=True)
        ]
    return found


def _pool_of_files(found: Found, progress: Progress | None) -> Pool:
    """Return the files of a folder or a list that can be read."""
    likenesses, unreadable = _read(found, found.paths, progress)
    files = found.splits["train"]
    return Pool(
        found.shown,
        tuple(found.classes),
        found.multi_label,
        files.names,
        files.paths,
        files.label_sets(),
        likenesses,
        files.groups,
        files.weights,
        left_out=(*found.skipped, *unreadable),
        skipped=found.files.counts(),
    )


def _read(found: Found, paths: list[Path], progress: Progress | None) -> tuple[list[Likeness], list[str]]:
    """Return what shows whether images are the same, and why files cannot be read; these are removed."""
    with quiet():
        headers = list(in_threads(_header, paths, progress, "reading headers"))
        framing = framing_for(header for header in headers if isinstance(header, Header))

        def work(item: tuple[Path, Header | str]) -> Likeness | str:
            return _likeness(*item, framing)

        pairs = list(zip(paths, headers, strict=True))
        results = list(in_threads(work, pairs, progress, "comparing images"))
    files = found.splits["train"]
    unreadable = []
    for position, (path, result) in enumerate(zip(paths, results, strict=True)):
        if isinstance(result, str):
            line = "" if files.lines is None else f"line {files.lines[position]}: "
            unreadable.append(f"{line}{printable(files.names[position])}: {result}")
            found.files.add(str(path), UNREADABLE)
    files.keep([position for position, result in enumerate(results) if isinstance(result, Likeness)])
    return [result for result in results if isinstance(result, Likeness)], unreadable


def _header(path: Path) -> Header | str:
    try:
        return read_header(path)
    except Exception as error:  # Pillow raises nearly anything on damaged files
        return reason_of(path, error)


def _likeness(path: Path, header: Header | str, framing: Framing) -> Likeness | str:
    if isinstance(header, str):
        return header
    try:
        return likeness_of(path, header, framing)
    except Exception as error:
        return reason_of(path, error)
