"""Limits of numbers, and those that many options share. Every number has an upper limit, so that none overflows."""

import math
from dataclasses import dataclass

from convwright.printable import number_text


@dataclass(frozen=True)
class Bounds:
    """Limits of a number, as metadata of `typing.Annotated`."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        low = [f"{number_text(self.ge)} or more"] if self.ge is not None else []
        low += [f"above {number_text(self.gt)}"] if self.gt is not None else []
        high = [f"{number_text(self.le)} or less"] if self.le is not None else []
        high += [f"below {number_text(self.lt)}"] if self.lt not in (None, math.inf) else []
        if self.ge is not None and self.le is not None:
            return f"{number_text(self.ge)} to {number_text(self.le)}"
        return " and ".join(low + high)


COUNT = Bounds(ge=1, le=1_000_000)
"""A number of images, classes, threads, repetitions and so on."""
COUNT_OR_NONE = Bounds(ge=0, le=1_000_000)
"""A number that may be 0."""
DURATION = Bounds(gt=0, le=1e6)
"""A time, in the unit of the option."""
GIGABYTES = Bounds(ge=0, le=1e9)
"""Space on a disk."""
