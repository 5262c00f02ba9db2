"""Names in one block of bytes, for collections of a million files. Without torch."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    import torch


class PackedNames(Sequence[str]):
    """Names in one block of bytes: a seventh of the memory of a tuple of texts.

    Args:
        names: The names.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        text, ends = bytearray(), array("q", [0])
        for name in names:
            text += name.encode("utf-8", "surrogateescape")
            ends.append(len(text))
        self._bytes = np.frombuffer(bytes(text), np.uint8)
        self._ends = np.array(ends, np.int64)
        self._rows: np.ndarray | None = None
        """Places of the names in the block; None: all, in order."""

    @classmethod
    def of(cls, text: np.ndarray, ends: np.ndarray) -> "PackedNames":
        """Return the names in a block of bytes.

        Args:
            text: uint8, the names in UTF-8 one after another.
            ends: int64, 0 and the end of each name.
        """
        made = cls()
        made._bytes, made._ends = text, ends
        return made

    @property
    def text(self) -> np.ndarray:
        """The block of bytes, uint8. Names that were left out by `choose` are still in it."""
        return self._bytes

    @property
    def ends(self) -> np.ndarray:
        """0 and the end of each name in the block, int64."""
        return self._ends

    def choose(self, positions: "torch.Tensor | np.ndarray") -> "PackedNames":
        """Return the names at these positions, over the same block."""
        made = PackedNames.of(self._bytes, self._ends)
        chosen = np.asarray(positions, np.int64)
        made._rows = chosen if self._rows is None else self._rows[chosen]
        return made

    def __len__(self) -> int:
        return len(self._ends) - 1 if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        place = range(len(self))[index]  # IndexError where there is none
        if self._rows is not None:
            place = int(self._rows[place])
        return self._bytes[self._ends[place] : self._ends[place + 1]].tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        text = self._bytes.data  # no copy: few of the names may have been chosen
        starts, ends = (
            (self._ends[:-1], self._ends[1:])
            if self._rows is None
            else (self._ends[self._rows], self._ends[self._rows + 1])
        )
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return (str(text[start:end], "utf-8", "surrogateescape") for start, end in pairs)

    def compact(self) -> "PackedNames":
        """Return the names in a block that holds no others."""
        return self if self._rows is None else PackedNames(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of every sequence that may be large
