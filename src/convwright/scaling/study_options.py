"""Options that a search and the training of a family share, described once."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from convwright.bounds import COUNT, COUNT_OR_NONE
from convwright.options import Described, Flags

DATABASE_FILES = ("study.db", "study.db-journal", "study.db-wal", "study.db-shm")
"""The database that a study has in its own folder, and what SQLite writes beside it."""

Recipe = Annotated[
    Literal["densenet", "senet", "efficientnet", "fast"] | None,
    Described("Training recipe of a paper, or `fast`: high accuracy in a short time."),
]
Fields = Annotated[
    Mapping[str, object] | Sequence[str],
    Flags(("--set",)),
    Described(
        "A field of the recipe as FIELD=VALUE, such as progressive=0; may be repeated. In Python also a dictionary."
    ),
]
BatchSize = Annotated[int | None, COUNT, Described("Images in a step.")]
Precision = Annotated[Literal["32-true", "bf16-mixed", "16-mixed"] | None, Described("Precision of the computations.")]
Workers = Annotated[
    int, COUNT_OR_NONE, Described("Training runs at once on this machine, its cores divided among them.")
]
Cluster = Annotated[str | None, Described("Train on this Ray cluster instead: an address, `auto`, or `local`.")]
CoresPerTask = Annotated[
    int,
    COUNT,
    Flags(("--cores-per-task", "--cores-per-trial")),
    Described("Cores of each training run on a cluster."),
]
Storage = Annotated[
    str | None,
    Described("Database of the study, such as postgresql://user@host/database; a file in `out` by default."),
]
StudyName = Annotated[str | None, Described("Name of the study in the database; the name of `out` by default.")]
