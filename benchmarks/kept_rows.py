"""Results of runs that a stopped benchmark keeps: a row for each, in one file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convwright.files import write_text

Row = dict[str, Any]


def noted(out: Path) -> dict[str, Row]:
    """Return what has come out so far, by run."""
    path = out / "results.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {row["run"]: row for row in rows}


def keep(out: Path, name: str, make: Callable[[], Row]) -> None:
    """Make the row of a run, unless there is one, note it and print it."""
    if name not in noted(out):
        row = make()
        rows = noted(out) | {name: row}  # another process may have noted rows meanwhile
        write_text(out / "results.json", json.dumps(list(rows.values()), indent=1) + "\n")
    print(json.dumps(noted(out)[name]), flush=True)
