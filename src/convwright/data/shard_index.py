"""Where the images of a tar file are, and their labels: read once, and kept on disk while the file is unchanged."""

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np

from convwright import json_text
from convwright.data.lists import NAMES
from convwright.data.packed_names import PackedNames
from convwright.errors import DataError
from convwright.files import IMAGE_SUFFIXES, cache_folder, write_atomically
from convwright.printable import printable

FORMAT = 1
"""Version of the stored indices."""
LABELS = ("cls", "label", "cls.txt", "label.txt", "json", "txt")
"""Extensions of the members that a label is taken from, the first that a sample has."""
LONGEST_LABEL = 2**20
"""Bytes of a member that is read as a label."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}
"""First bytes of compressed files."""
BLOCK = 512


@dataclass(frozen=True)
class ShardIndex:
    """Images of one tar file."""

    names: PackedNames
    """Names of the members that are images."""
    starts: np.ndarray
    """int64 N: where each image starts in the file."""
    sizes: np.ndarray
    """int64 N: bytes of each image."""
    labels: tuple[tuple[str, ...] | None, ...]
    """The different labels: a name, or several; None for no label."""
    codes: np.ndarray
    """int32 N: position in `labels` of the label of each image."""
    several: bool
    """Whether a label is a list of names."""
    others: dict[str, int]
    """Samples without an image, by the suffix of their first member."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the content as arrays."""
        facts = json.dumps({"labels": self.labels, "several": self.several, "others": self.others})
        return {
            "text": self.names.text,
            "ends": self.names.ends,
            "starts": self.starts,
            "sizes": self.sizes,
            "codes": self.codes,
            "facts": np.frombuffer(facts.encode("utf-8", "surrogatepass"), np.uint8),
        }

    @classmethod
    def of_arrays(cls, arrays: Any) -> "ShardIndex":
        """Return the index with this content."""
        facts = json.loads(arrays["facts"].tobytes().decode("utf-8", "surrogatepass"))
        labels = tuple(None if each is None else tuple(each) for each in facts["labels"])
        names = PackedNames.of(arrays["text"], arrays["ends"])
        return cls(names, arrays["starts"], arrays["sizes"], labels, arrays["codes"], facts["several"], facts["others"])


def index_of(path: Path, stamp: int, label_column: str | None, *, keep: bool) -> ShardIndex:
    """Return the index of a tar file, from the disk if it is there.

    Args:
        path: The file.
        stamp: Its stamp, which changes when the file does.
        label_column: Member of JSON files with the label; None: found by its name.
        keep: Whether the index is kept on disk.

    Raises:
        DataError: The file is not a complete tar file.
    """
    identity = repr((os.path.realpath(path), label_column, FORMAT))
    name = blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    stored = cache_folder() / "shards" / f"{name}.npz"
    if keep and (known := _stored(stored, stamp)) is not None:
        return known
    index = read_index(path, label_column)
    if keep:
        _store(stored, index, stamp)
    return index


def _stored(path: Path, stamp: int) -> ShardIndex | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["stamp"]) == stamp:
                return ShardIndex.of_arrays(arrays)
    except Exception:  # missing, damaged, or of another version: it is made anew
        return None
    return None


def _store(path: Path, index: ShardIndex, stamp: int) -> None:
    arrays = index.to_arrays() | {"stamp": np.array(stamp, np.uint64)}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, write)
    except OSError:  # a full or read-only disk costs time only
        return


def read_index(path: Path, label_column: str | None = None) -> ShardIndex:
    """Read all headers of a tar file, and the members with labels.

    Args:
        path: The file.
        label_column: Member of JSON files with the label; None: found by its name.

    Raises:
        DataError: The file is not a complete tar file.
    """
    names: list[str] = []
    places: list[tuple[int, int]] = []
    labels: dict[tuple[str, ...] | None, int] = {}
    codes: list[int] = []
    others: dict[str, int] = {}
    several = False
    try:
        with path.open("rb") as file:
            _check_uncompressed(path, file)
            for sample in _samples(path, file):
                image = _image_of(sample)
                if image is None:
                    suffix = os.path.splitext(sample[0].name)[1].lower()  # noqa: PTH122
                    others[suffix] = others.get(suffix, 0) + 1
                    continue
                label, is_list = _label_of(path, file, sample, label_column)
                several |= is_list
                names.append(image.name)
                places.append((image.offset_data, image.size))
                codes.append(labels.setdefault(label, len(labels)))
    except tarfile.TarError as error:
        raise DataError(f"{printable(path)}: not a complete tar file: {error}; make or copy it again") from None
    except OSError as error:
        raise DataError(f"cannot read {printable(path)}: {error.strerror or error}") from None
    starts, sizes = np.array(places, np.int64).reshape(-1, 2).T.copy()
    return ShardIndex(PackedNames(names), starts, sizes, tuple(labels), np.array(codes, np.int32), several, others)


def _check_uncompressed(path: Path, file: IO[bytes]) -> None:
    head = file.read(8)
    file.seek(0)
    for magic, how in COMPRESSED.items():
        if head.startswith(magic):
            raise DataError(
                f"{printable(path)} is compressed ({how}); images are read at random, so decompress it first"
            )


def _samples(path: Path, file: IO[bytes]) -> Iterator[list[tarfile.TarInfo]]:
    """Yield the members of each sample: neighbours whose names are the same up to the first dot after a slash."""
    size, key = os.fstat(file.fileno()).st_size, ""
    sample: list[tarfile.TarInfo] = []
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else all of them are held in memory
            if not member.isreg() or os.path.basename(member.name).startswith("."):  # noqa: PTH119
                continue
            if member.offset_data + member.size > size:
                raise DataError(f"{printable(path)} is truncated: it ends inside of {printable(member.name)}")
            own = _key(member.name)
            if own != key and sample:
                yield sample
                sample = []
            key = own
            sample.append(member)
        if sample:
            yield sample
        file.seek(archive.offset)
        if file.read(BLOCK) != bytes(BLOCK):
            raise DataError(f"{printable(path)} is truncated: it has no end mark; make or copy it again")


def _key(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _extension(member: tarfile.TarInfo) -> str:
    return member.name.rpartition("/")[2].partition(".")[2].lower()


def _image_of(sample: list[tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """Return the image of a sample: the member with a plain extension such as jpg, rather than seg.png."""
    found = [member for member in sample if f".{_extension(member).rpartition('.')[2]}" in IMAGE_SUFFIXES]
    plain = [member for member in found if "." not in _extension(member)]
    return next(iter(plain or found), None)


def _label_of(
    path: Path, file: IO[bytes], sample: list[tarfile.TarInfo], column: str | None
) -> tuple[tuple[str, ...] | None, bool]:
    """Return the label of a sample, and whether it is a list of names; None where it has none."""
    by_extension = {_extension(member): member for member in sample}
    wanted = ("json",) if column is not None else LABELS
    for extension in wanted:
        member = by_extension.get(extension)
        if member is None:
            continue
        if member.size > LONGEST_LABEL:
            raise DataError(f"{printable(path)}: {printable(member.name)} is too large to be a label")
        here = file.tell()
        file.seek(member.offset_data)
        content = file.read(member.size)
        file.seek(here)
        found = _label_in(path, member.name, extension, content, column)
        if found is not None:
            return found
    return None, False


def json_keys(path: Path, image: str) -> list[str]:
    """Return the members of the JSON file of an image; none without such a file.

    Args:
        path: The tar file.
        image: Name of the image in it.
    """
    with path.open("rb") as file:
        for sample in _samples(path, file):
            if image in {member.name for member in sample}:
                found = next((member for member in sample if _extension(member) == "json"), None)
                if found is None:
                    return []
                file.seek(found.offset_data)
                content = json_text.parse(file.read(found.size), f"{path}: {found.name}", DataError)
                return list(content) if isinstance(content, dict) else []
    return []


def _label_in(
    path: Path, name: str, extension: str, content: bytes, column: str | None
) -> tuple[tuple[str, ...], bool] | None:
    try:
        text = content.decode("utf-8-sig")
    except ValueError as error:
        raise DataError(f"{printable(path)}: {printable(name)} cannot be read as a label: {error}") from None
    source = f"{printable(path)}: {printable(name)}"
    value: Any = json_text.parse(text, source, DataError) if extension == "json" else text.strip()
    if isinstance(value, dict):
        names = [column] if column is not None else [each for each in value if each.lower() in NAMES["label_column"]]
        if len(names) > 1:
            raise DataError(
                f"{printable(path)}: {printable(name)} may have its label in {' or '.join(map(printable, names))}; "
                "name one of them with `label_column`"
            )
        value = value.get(names[0]) if names else None
    if value is None or value == "":
        return None
    several = isinstance(value, list)
    labels = value if several else [value]
    if any(isinstance(each, bool) or not isinstance(each, str | int) for each in labels):
        raise DataError(f"{printable(path)}: {printable(name)} has {value!r:.40} where a class must be")
    return tuple(sorted({str(each) for each in labels})), several
