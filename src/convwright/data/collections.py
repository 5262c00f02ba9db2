"""Collections of labelled images: folders, lists, tar files and data sets of Hugging Face, as numbered items."""

from collections.abc import Mapping
from pathlib import Path

from convwright.data.hugging_face import PREFIX, is_hugging_face, open_hugging_face
from convwright.data.items import LabelledItems
from convwright.data.shard_paths import names_shards, shard_paths
from convwright.data.shards import open_shards
from convwright.data.threads import Progress
from convwright.errors import ArgumentError, DataError
from convwright.printable import printable

JOINED = "::"
"""Characters between several patterns of tar files."""


def is_collection(spec: str) -> bool:
    """Return whether data is tar files, or a data set of Hugging Face."""
    return is_hugging_face(spec) or names_shards(spec)


def check_collection(spec: str) -> None:
    """Check that tar files exist. A data set of Hugging Face is looked for when it is opened.

    Raises:
        DataError: A file does not exist.
    """
    if not is_hugging_face(spec):
        shard_paths(spec)


def open_collection(
    spec: str,
    columns: Mapping[str, str | None],
    *,
    training: bool = True,
    offline_only: bool = False,
    keep: bool = True,
    progress: Progress | None = None,
) -> LabelledItems:
    """Return the images of tar files or of a data set of Hugging Face.

    Args:
        spec: The data, for which `is_collection` holds.
        columns: Columns that were named, by the names of the fields of `Data`.
        training: Whether the images are to train on.
        offline_only: Whether downloads are forbidden.
        keep: Whether indices of tar files are kept on disk.
        progress: Called with the number of files read, their total and a description.

    Raises:
        DataError: The data cannot be read, or is not as it must be.
        ArgumentError: A column was named that the data does not have.
    """
    if is_hugging_face(spec):
        found = open_hugging_face(spec, columns, training=training, offline_only=offline_only)
    else:
        given = [name for name, column in columns.items() if column is not None and name != "label_column"]
        if given:
            what = "column" if given[0].endswith("_column") else "option"
            raise ArgumentError(given[0], f"{printable(spec)} are tar files; this {what} belongs to lists of images")
        label = columns.get("label_column")
        found = open_shards(spec, label, training=training, keep=keep, progress=progress)
    if training and len(found.classes) < 2:
        raise DataError(
            f"{printable(spec)} has one class only, {printable(found.classes[0])}; it must have two or more"
        )
    return found


def absolute_path(spec: str) -> str:
    """Return data with absolute paths; names of data sets are returned as they are."""
    if spec.startswith(PREFIX):
        return spec
    return JOINED.join(str(Path(part).expanduser().absolute()) for part in spec.split(JOINED))
