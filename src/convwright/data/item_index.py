"""Numbers that were found out about images, kept on disk, and valid while an image is unchanged."""

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np

from convwright.data.items import row_digests
from convwright.data.packed_names import PackedNames

FIXED = 5
"""Columns of a record besides its values: two of the key, stamp, reason, and a digest of the others."""
NO_REASON = 0
MANY = 65536


def keys_of(names: PackedNames) -> np.ndarray:
    """Return a digest of each name, int64 N x 2."""
    names = names.compact()
    keys = np.empty((len(names), 2), np.int64)
    for first in range(0, len(names), MANY):  # in pieces, as objects of Python take much memory
        ends = names.ends[first : first + MANY + 1]
        text = names.text[ends[0] : ends[-1]].tobytes()
        places = pairwise((ends - ends[0]).tolist())
        digests = [blake2b(text[start:end], digest_size=16).digest() for start, end in places]
        keys[first : first + MANY] = np.frombuffer(b"".join(digests), np.int64).reshape(-1, 2)
    return keys


class ItemIndex:
    """Records of one size in a file, of which the last one of an item is valid, while its stamp is the same.

    Records are only appended. Each has a digest of its own: a process that is killed leaves at most one that is not
    complete, which readers skip, as they skip all that is damaged. Reasons of failures are in a file beside it.

    Args:
        path: The file; it need not exist.
        width: Values of an item.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width
        self._reasons_path = path.with_name(f"{path.name}.reasons")
        self._reasons = _read_reasons(self._reasons_path)
        self._records = self._read()
        self._unsaved: list[tuple[int, ...]] = []
        self._unsaved_reasons: dict[int, str] = {}

    def find(self, keys: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        """Return the place of the valid record of each item, -1 where there is none.

        Args:
            keys: Digests of the items' names, int64 N x 2.
            stamps: Stamps of the items, uint64 N; no record is valid for a stamp of 0.
        """
        records = self._records
        if not len(records):
            return np.full(len(keys), -1)
        if len(records) == len(keys) and all(np.array_equal(records[:, place], keys[:, place]) for place in (0, 1)):
            places = np.arange(len(keys))  # as it usually is: the same images in the same order
        else:
            newest = records[::-1, 0]
            order = np.argsort(newest, kind="stable")
            found = np.searchsorted(newest, keys[:, 0], sorter=order).clip(max=len(order) - 1)
            places = len(newest) - 1 - order[found]
        valid = stamps != 0
        for column, wanted in enumerate((keys[:, 0], keys[:, 1], stamps.view(np.int64))):
            valid &= records[places, column] == wanted
        places[~valid] = -1
        return places

    def values(self, places: np.ndarray) -> np.ndarray:
        """Return the values of records, int64 N x width; those of other images where a place is -1."""
        if len(places) == len(self._records) and np.array_equal(places, np.arange(len(places))):
            return self._records[:, 4:-1].view()
        return self._records[places, 4:-1]

    def reasons(self, places: np.ndarray) -> list[str]:
        """Return why each record has no values; an empty text where it has."""
        return [self._reasons.get(number, "") for number in self._records[places, 3].tolist()]

    def failed(self, places: np.ndarray) -> np.ndarray:
        """Return which records have a reason instead of values, bool N."""
        failed: np.ndarray = self._records[places, 3] != NO_REASON
        return failed

    def column(self, number: int) -> np.ndarray:
        """Return one of the values of all records that have values, valid or not."""
        column: np.ndarray = self._records[self._records[:, 3] == NO_REASON, 4 + number]
        return column

    def put(self, key: np.ndarray, stamp: int, values: Sequence[int]) -> None:
        """Set the values of an item; `save` writes them to the disk."""
        self._unsaved.append((*key.tolist(), _signed(stamp), NO_REASON, *values))

    def put_reason(self, key: np.ndarray, stamp: int, reason: str) -> None:
        """Set the reason why an item has no values; `save` writes it to the disk."""
        number = int.from_bytes(blake2b(reason.encode("utf-8", "surrogatepass"), digest_size=7).digest()) + 1
        self._unsaved_reasons[number] = reason
        self._unsaved.append((*key.tolist(), _signed(stamp), number, *[0] * self.width))

    def save(self) -> None:
        """Write all new records to the disk."""
        if not self._unsaved:
            return
        new = {number: text for number, text in self._unsaved_reasons.items() if number not in self._reasons}
        if new:
            lines = [json.dumps([number, text]) for number, text in new.items()]
            _append(self._reasons_path, "\n".join(["", *lines, ""]).encode())  # the first ends a line that was torn
            self._reasons |= new
        records = np.array(self._unsaved, np.int64)
        records = np.column_stack((records, row_digests(*records.T).view(np.int64)))
        size = records[0].nbytes
        if self.path.exists() and (torn := self.path.stat().st_size % size):
            os.truncate(self.path, self.path.stat().st_size - torn)
        _append(self.path, records.tobytes())
        self._records = np.concatenate((self._records, records))
        self._unsaved.clear()
        self._unsaved_reasons.clear()

    def clear(self) -> None:
        """Delete all records, on disk too."""
        self._records = self._records[:0]
        self._unsaved.clear()
        self.path.unlink(missing_ok=True)

    def _read(self) -> np.ndarray:
        columns = self.width + FIXED
        try:
            content = np.fromfile(self.path, np.int64)
        except FileNotFoundError:
            content = np.empty(0, np.int64)
        records = content[: len(content) // columns * columns].reshape(-1, columns)
        if not len(records):
            return records
        whole = row_digests(*records[:, :-1].T).view(np.int64) == records[:, -1]
        used = np.unique(records[whole, 3])
        lost = [number for number in used.tolist() if number != NO_REASON and number not in self._reasons]
        whole &= ~np.isin(records[:, 3], lost)
        return records if whole.all() else records[whole]


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _signed(stamp: int) -> int:
    return stamp - 2**64 if stamp >= 2**63 else stamp


def _read_reasons(path: Path) -> dict[int, str]:
    found = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            match json.loads(line) if line else None:
                case [int(number), str(text)]:
                    found[number] = text
        except (ValueError, RecursionError):  # torn, or damaged
            continue
    return found
