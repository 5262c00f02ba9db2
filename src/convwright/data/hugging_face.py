"""Data sets of Hugging Face: from a folder or by name, read with the package `datasets`.

A folder is one that `save_to_disk` has written, or a downloaded repository with Parquet files.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from convwright import json_text
from convwright.data.items import ItemSplit, LabelledItems, Reference, row_digests, stamps_of
from convwright.data.layout import ROLES
from convwright.data.lists import NAMES
from convwright.data.packed_names import PackedNames
from convwright.display.wording import listed
from convwright.errors import ArgumentError, DataError
from convwright.extras import require_package
from convwright.printable import printable

PREFIX = "hf:"
"""First characters of the name of a data set of Hugging Face."""
FILES = ("dataset_dict.json", "state.json")
"""Files by which a folder of `save_to_disk` is recognised: of several splits, or of one."""
PARQUET = re.compile(r"([a-z]+)-\d{5}-of-\d{5}(-\w+)?\.parquet")
"""Names of the files of a repository: split, number, number of all, and often a digest."""
PARQUET_FOLDER = "data"
"""Folder of a repository in which they usually are."""
BATCH_ROWS = 256
"""Rows that are read at once where only files of images are of interest."""
TIMEOUT = 5.0
"""Seconds in which the server must answer."""
UNSUPPORTED = frozenset({"group_column", "weight_column", "split_column", "label_separator"})


class HuggingFaceItems:
    """Images of a data set of Hugging Face.

    Args:
        name: Folder or name of the data set.
        splits: Data sets by split, with an image column that is not decoded.
        column: The image column.
    """

    def __init__(self, name: str, splits: Mapping[str, Any], column: str) -> None:
        self.name, self._column = name, column
        self._rows = {role: split.select_columns([column]).with_format("arrow") for role, split in splits.items()}
        self._ends = np.cumsum([len(split) for split in splits.values()])
        self._files = {role: [str(file["filename"]) for file in split.cache_files] for role, split in splits.items()}
        self.names = PackedNames(f"{role}/{row}" for role, split in splits.items() for row in range(len(split)))

    def image_files(self) -> Iterator[str]:
        """Yield the file of each image that is not in the data set itself, as the data set names it."""
        for rows in self._rows.values():
            for batch in rows.iter(BATCH_ROWS):
                for cell in batch.column(0).to_pylist():
                    if cell and cell["bytes"] is None and cell["path"]:
                        yield str(cell["path"])

    @property
    def identity(self) -> str:
        """The folder or name, and the image column."""
        files = sorted(str(Path(file).resolve().parent) for files in self._files.values() for file in files)
        return f"{self.name} {self._column} {files[:1]}"

    @cached_property
    def stamps(self) -> np.ndarray:
        """uint64 N: digests of the files and of the row of each image."""
        return np.concatenate([self._stamps(role, np.arange(len(rows))) for role, rows in self._rows.items()])

    def stamp_now(self, number: int) -> int:
        """Return the stamp that an image has at this moment."""
        return int(self.stamps_now(np.array([number]))[0])

    def stamps_now(self, numbers: np.ndarray) -> np.ndarray:
        """Return the stamps that some images have at this moment, uint64 N.

        Args:
            numbers: int64 N.
        """
        stamps = np.zeros(len(numbers), np.uint64)
        splits = np.searchsorted(self._ends, numbers, "right")
        for split, role in enumerate(self._rows):
            if (here := splits == split).any():
                stamps[here] = self._stamps(role, numbers[here] - (int(self._ends[split - 1]) if split else 0))
        return stamps

    def reference(self, number: int) -> Reference:
        """Return the encoded image, or its file where the data set has paths only."""
        role, row = self._place(number)
        cell = self._rows[role][row : row + 1].column(0)[0].as_py()
        if not cell or (cell["bytes"] is None and not cell["path"]):
            raise OSError("there is no image in this row")
        return cell["bytes"] if cell["bytes"] is not None else str(cell["path"])

    def _place(self, number: int) -> tuple[str, int]:
        split = int(np.searchsorted(self._ends, number, "right"))
        return list(self._rows)[split], number - (int(self._ends[split - 1]) if split else 0)

    def _stamps(self, role: str, rows: np.ndarray) -> np.ndarray:
        files = stamps_of(PackedNames(self._files[role]))
        if not len(files) or not files.all():  # images in memory have no stamp, and are not kept
            return np.zeros(len(rows), np.uint64)
        whole = np.bitwise_xor.reduce(files)
        return row_digests(np.full(len(rows), whole), rows)


def is_hugging_face(spec: str) -> bool:
    """Return whether data is a data set of Hugging Face: by its prefix, or by the files of a folder."""
    if spec.startswith(PREFIX):
        return True
    folder = Path(spec).expanduser()
    try:
        return bool(spec) and (any((folder / name).is_file() for name in FILES) or bool(_parquet_files(folder)))
    except OSError:
        return False


def _parquet_files(folder: Path) -> dict[str, list[str]]:
    """Return the Parquet files of a downloaded repository by split; of others none."""
    found: dict[str, list[str]] = {}
    for place in (folder / PARQUET_FOLDER, folder):
        if place.is_dir():
            for path in sorted(place.glob("*-of-*.parquet")):
                if (name := PARQUET.fullmatch(path.name)) is not None:
                    found.setdefault(name[1], []).append(str(path))
        if found:
            break
    return found


def data_files(folder: Path) -> list[Path]:
    """Return the files of a data set in a folder, without opening them; absent ones too if it names them.

    Raises:
        DataError: The folder is damaged.
    """
    if parquet := _parquet_files(folder):
        return [Path(file) for files in parquet.values() for file in files]
    if (folder / FILES[0]).is_file():
        splits = [folder / name for name in _named(folder / FILES[0], "splits")]
    else:
        splits = [folder]
    found: list[Path] = []
    for split in splits:
        state = split / FILES[1]
        entries = [each.get("filename") if isinstance(each, dict) else None for each in _named(state, "_data_files")]
        if not all(isinstance(each, str) for each in entries):
            raise DataError(f"{printable(state)} is damaged; save the data set again")
        found += [state, *(split / str(each) for each in entries)]
    return found


def _named(file: Path, key: str) -> list[Any]:
    """Return a list of a JSON file."""
    stored = json_text.read(file)
    value = stored.get(key) if isinstance(stored, dict) else None
    if not isinstance(value, list) or (key == "splits" and not all(isinstance(each, str) for each in value)):
        raise DataError(f"{printable(file)} is damaged; save the data set again")
    return value


def open_hugging_face(
    spec: str, columns: Mapping[str, str | None], *, training: bool = True, offline_only: bool = False
) -> LabelledItems:
    """Return the images of a data set of Hugging Face, with labels.

    Args:
        spec: `hf:` and a name, also with a configuration (`hf:user/name:configuration`); or a folder.
        columns: Columns that were named, by the names of the fields of `Data`.
        training: Whether the images are to train on, so that there must be a split `train`.
        offline_only: Whether downloads are forbidden.

    Raises:
        UsageError: The package `datasets` is missing; the message has the command that installs it.
        DataError: The data set cannot be loaded, or has no images or no labels.
        ArgumentError: There is no such column, or several may be meant.
    """
    if given := [name for name in sorted(UNSUPPORTED) if columns.get(name) is not None]:
        raise ArgumentError(given[0], f"cannot be used with {printable(spec)}; it belongs to lists of images")
    datasets = require_package("datasets", "reading data sets of Hugging Face")
    found = _loaded(datasets, spec, offline_only=offline_only)
    skipped: list[str] = []
    splits = _splits(spec, found, skipped, training=training)
    features = next(iter(splits.values())).features
    images = _image_column(datasets, spec, features, columns.get("path_column"))
    labels = _label_column(datasets, spec, features, columns.get("label_column"), images)
    values = {role: split.select_columns([labels]).with_format("arrow")[:].column(0) for role, split in splits.items()}
    values = {role: column.to_pylist() for role, column in values.items()}
    if "train" in splits and (test := values.get("test")) is not None and all(each in (None, -1) for each in test):
        skipped.append(f"test: it has no labels, in {len(test):,} rows")
        del splits["test"], values["test"]
    classes, arrays = _as_labels(spec, values, _class_names(datasets, features[labels]))
    undecoded = {role: split.cast_column(images, datasets.Image(decode=False)) for role, split in splits.items()}
    items = HuggingFaceItems(spec, undecoded, images)
    parts, start = {}, 0
    for role, array in arrays.items():
        parts[role] = ItemSplit(np.arange(start, start + len(array)), array)
        start += len(array)
    return LabelledItems(spec, items, classes, parts, skipped)


def _loaded(datasets: Any, spec: str, *, offline_only: bool) -> Any:
    try:
        if not spec.startswith(PREFIX):
            return _loaded_folder(datasets, Path(spec).expanduser())
        name, _, configuration = spec.removeprefix(PREFIX).partition(":")
        with _offline(datasets) if offline_only or not _reachable() else nullcontext():
            return datasets.load_dataset(name, configuration or None)
    except Exception as error:  # of another package: of the network, of the file system, or its own
        why = " ".join(f"{error}".split()).split(". ")[0] or type(error).__name__
        advice = "; without a network, give a folder that `save_to_disk` has written" * spec.startswith(PREFIX)
        raise DataError(f"{printable(spec)} cannot be loaded: {printable(why):.200}{advice}") from None


def _loaded_folder(datasets: Any, folder: Path) -> Any:
    if files := _parquet_files(folder):
        with _offline(datasets):  # their content is kept in the cache of `datasets`, as that of a named data set is
            return datasets.load_dataset("parquet", data_files=files)
    return datasets.load_from_disk(str(folder))


def _reachable() -> bool:
    """Return whether the server answers: the packages try for half a minute where it does not."""
    if getproxies():
        return True
    constants = require_package("huggingface_hub.constants", "loading data sets of Hugging Face by name")
    place = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((place.hostname or "", place.port or 443), TIMEOUT).close()
    except OSError:
        return False
    return True


@contextmanager
def _offline(datasets: Any) -> Iterator[None]:
    """Let the packages use their own cache only."""
    constants = require_package("huggingface_hub.constants", "loading data sets of Hugging Face by name")
    places = [place for place in (datasets.config, constants) if hasattr(place, "HF_HUB_OFFLINE")]
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _splits(spec: str, found: Any, skipped: list[str], *, training: bool) -> dict[str, Any]:
    """Return the data sets by role, in order."""
    if not isinstance(found, dict):
        return {"train": found}
    by_role: dict[str, Any] = {}
    for name, split in found.items():
        role = ROLES.get(str(name).lower())
        if role is None:
            skipped.append(f"{printable(name)}: not used, since it is no split train, val or test")
        elif role in by_role:
            raise DataError(f"{printable(spec)} has two splits {role}: {listed(map(printable, found))}")
        elif len(split):
            by_role[role] = split
    if training and "train" not in by_role:
        raise DataError(f"{printable(spec)} has the splits {listed(map(printable, found))} and none that is train")
    if not by_role:
        raise DataError(f"{printable(spec)} has no images")
    return {role: by_role[role] for role in ("train", "val", "test") if role in by_role}


def _image_column(datasets: Any, spec: str, features: Any, given: str | None) -> str:
    found: list[str] = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if given is not None:
        if given not in found:
            raise ArgumentError("path_column", _no_column(spec, given, found or list(features), "images"))
        return given
    if not found:
        raise DataError(
            f"{printable(spec)} has no column of images; its columns are {listed(map(printable, features))}"
        )
    if len(found) > 1:
        raise ArgumentError("path_column", f"missing: images may be {listed(found, last='or')} in {printable(spec)}")
    return found[0]


def _label_column(datasets: Any, spec: str, features: Any, given: str | None, images: str) -> str:
    others: list[str] = [name for name in features if name != images]
    if given is not None:
        if given not in others:
            raise ArgumentError("label_column", _no_column(spec, given, others, "labels"))
        return given
    found = [name for name in others if _class_names(datasets, features[name]) is not None]
    named = [name for name in others if name.lower() in NAMES["label_column"]]
    candidates = [name for name in named if name in found] or found or named
    if len(candidates) != 1:
        which = listed(candidates or others, last="or") or "none of its columns"
        raise ArgumentError("label_column", f"missing: labels may be {which} in {printable(spec)}; name the column")
    return candidates[0]


def _no_column(spec: str, given: str, columns: list[str], what: str) -> str:
    return f"{printable(spec)} has no column {given!r} of {what}; it has {listed(map(printable, columns))}"


def _class_names(datasets: Any, feature: Any) -> list[str] | None:
    """Return the names of the classes of a column, also of a list of classes; None where it has no classes."""
    inner = getattr(feature, "feature", feature)
    return list(inner.names) if isinstance(inner, datasets.ClassLabel) else None


def _as_labels(
    spec: str, values: dict[str, list[Any]], names: list[str] | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the classes and the labels by split: int64 N, or bool N x classes."""
    every = [value for each in values.values() for value in each]
    several = any(isinstance(value, list) for value in every)
    lists = {role: [value if isinstance(value, list) else [value] for value in each] for role, each in values.items()}
    for role, rows in lists.items():
        for row, labels in enumerate(rows):
            if any(not isinstance(each, str | int) or isinstance(each, bool) or each == -1 for each in labels):
                raise DataError(f"{printable(spec)}: {role}/{row} has the label {labels[0]!r:.40}, which is no class")
    if names is None:
        different = {label for rows in lists.values() for labels in rows for label in labels}
        ordered = sorted(different, key=str) if any(isinstance(each, str) for each in different) else sorted(different)
        places = {label: place for place, label in enumerate(ordered)}
        classes = tuple(map(str, ordered))
    else:
        places, classes = {place: place for place in range(len(names))}, tuple(names)
    if several:
        return classes, {role: _as_table(rows, places) for role, rows in lists.items()}
    return classes, {role: np.array([places[row[0]] for row in rows], np.int64) for role, rows in lists.items()}


def _as_table(rows: list[list[Any]], places: dict[Any, int]) -> np.ndarray:
    table = np.zeros((len(rows), len(places)), bool)
    for row, labels in enumerate(rows):
        table[row, [places[label] for label in labels]] = True
    return table
