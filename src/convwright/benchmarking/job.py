"""What a child process measures, and what it returns. No torch in here: most engines need none."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np

from convwright import json_text
from convwright.engines.runner import cores
from convwright.files import write_bytes

ENOUGH_SECONDS, LEAST, MOST = 2.0, 4, 100
"""Seconds of a measurement on an idle machine, and fewest and most batches in each of its rounds."""


GPU = 0
"""Number of threads of settings on a GPU, where it has no meaning."""


@dataclass(frozen=True)
class Setting:
    """How a network is run."""

    engine: str
    """Name of the backend."""
    precision: str = "f32"
    batch: int = 1
    """Images at once."""
    threads: int = field(default_factory=cores)
    """Threads on a CPU; `GPU` for one that computes on a GPU."""

    def to_dict(self) -> dict[str, object]:
        """Return all fields as values that JSON can hold."""
        return dict(vars(self))


@dataclass(frozen=True)
class Job:
    """What a child process measures."""

    path: str
    """Exported file, or the folder of `prepared` for a module."""
    setting: Setting
    seconds: float
    images: str = ""
    """File with further images to run; empty for none."""

    def to_json_text(self) -> str:
        """Return the job as JSON."""
        return json_text.dump(vars(self) | {"setting": self.setting.to_dict()})

    @classmethod
    def from_json_text(cls, text: str) -> Self:
        """Return the job that `to_json_text` described."""
        values = json_text.parse(text, "the job")
        return cls(**values | {"setting": Setting(**values["setting"])})


@dataclass(frozen=True)
class Outcome:
    """What a child process measured."""

    seconds: list[float]
    load_seconds: float
    memory_bytes: int | None
    doubt: str = ""
    """Why the times cannot be relied on; empty where they can."""


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array in NumPy's format. ConvwrightError if the file could not be written."""
    content = BytesIO()
    np.save(content, array)
    write_bytes(path, content.getbuffer())
