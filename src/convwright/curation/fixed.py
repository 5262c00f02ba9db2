"""The corrected list: which proposals are accepted, and the images that stay with their labels."""

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convwright import json_text
from convwright.brief import Brief
from convwright.csv_text import csv_table
from convwright.curation.pool import ROLES, Pool
from convwright.curation.suspects import Action, Suspect
from convwright.data.arrays import PREFIX
from convwright.data.joined_labels import JOINED
from convwright.data.lists import is_list
from convwright.data.tables import read_table
from convwright.errors import ArgumentError, DataError, UsageError, argument
from convwright.files import write_bytes
from convwright.printable import printable

ALL, CONFIDENT, NONE = "all", "confident", "none"
COLUMNS = ("path", "decision", "label")
"""Columns of a file of decisions, as the page writes it."""
ACTIONS: tuple[Action, ...] = ("keep", "relabel", "drop")
LIST_SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True)
class Decision(Brief):
    """What becomes of an image."""

    action: Action
    label: str = ""
    """The new class, for `relabel`."""


def decisions_by_rule(suspects: Sequence[Suspect], rule: str) -> dict[int, Decision]:
    """Return what becomes of suspects where none was looked at.

    Test images are never changed: a test set that follows a model's predictions would flatter that model.

    Args:
        suspects: The suspects.
        rule: `all`, `confident` or `none`: which proposals are accepted.
    """
    accepted = [
        each for each in suspects if each.split != "test" and (rule == ALL or (rule == CONFIDENT and each.confident))
    ]
    return {
        each.position: Decision(each.action, each.proposed_class if each.action == "relabel" else "")
        for each in accepted
    }


def read_decisions(path: Path, pool: Pool) -> dict[int, Decision]:
    """Read the decisions that a page wrote.

    Args:
        path: A CSV file with the columns path, decision (keep, relabel or drop) and label.
        pool: The images.

    Raises:
        DataError: The file cannot be read, or a row does not fit the images.
    """
    table = read_table(path)
    if not {*COLUMNS} <= {*table.names}:
        raise DataError(f"{printable(path)}: its columns must be {', '.join(COLUMNS)}, as the page writes them")
    places = [table.names.index(column) for column in COLUMNS]
    positions = {pool.name(position): position for position in range(len(pool))}
    found: dict[int, Decision] = {}
    for row in table.rows:
        where = f"{printable(path)}: line {row.line}"
        name, action, label = (str(row.cells[place] or "") for place in places)
        if name not in positions:
            raise DataError(f"{where}: {printable(name)} is no image of the data")
        if action not in ACTIONS:
            raise DataError(f"{where}: the decision is {action!r}; it must be keep, relabel or drop")
        if action == "relabel" and label not in pool.data.classes:
            raise DataError(f"{where}: there is no class {printable(label)!r}; there are {_some(pool.data.classes)}")
        found[positions[name]] = Decision(action, label if action == "relabel" else "")
    return found


def check_list_path(path: Path, pool: Pool, root: Path | None) -> None:
    """Check that a list of the images can be written to a file, before any work is done.

    Args:
        path: The list.
        pool: The images.
        root: Folder that the images' names are relative to; None for images of a named source or in memory.

    Raises:
        ArgumentError: The name of the file is not that of a list, or it is the list that was read.
        UsageError: The images have no names, or classes have names that a list cannot hold.
    """
    if path.suffix.lower() not in LIST_SUFFIXES:
        raise ArgumentError("out", f"{printable(path)}: a list must be a file named .csv or .tsv")
    spec = pool.data.name
    if is_list(spec) and path.absolute() == Path(spec).expanduser().absolute():
        raise ArgumentError("out", f"{printable(path)} is the list that is read; name another file")
    if spec.startswith(PREFIX):
        raise UsageError(
            "images that were given as arrays have no names for a list; `fixed()` of the result gives rows and labels"
        )
    if root is not None and not (pool.has_files and (root / pool.name(0)).is_file()):
        raise UsageError(f"the images of {printable(spec)} are not files of their own, which a list could name")
    signs = [name for name in pool.data.classes if JOINED.search(name)]
    if signs and not pool.images.multi_label:
        raise UsageError(f"the class {printable(signs[0])!r} has | or ; in its name, which join labels in a list")


@dataclass(frozen=True)
class FixedList(Brief):
    """Images that stay, with their labels."""

    pool: Pool
    decisions: Mapping[int, Decision]

    @property
    def kept(self) -> list[int]:
        """Positions in the pool of the images that stay."""
        return [one for one in range(len(self.pool)) if self._action(one) != "drop"]

    @property
    def counts(self) -> dict[Action, int]:
        """Images by what became of them; `keep` counts all that stay as they are."""
        found = Counter(decision.action for decision in self.decisions.values())
        changed = found["relabel"] + found["drop"]
        return {"keep": len(self.pool) - changed, "relabel": found["relabel"], "drop": found["drop"]}

    def labels_of(self, position: int) -> tuple[str, ...]:
        """Return the class of an image after the decisions; its classes where it may have several."""
        decision = self.decisions.get(position)
        if decision is not None and decision.action == "relabel":
            return (decision.label,)
        return self.pool.classes_of(position)

    def of_split(self, split: str) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """Return the images of a split that stay: their rows in the split as it was given, int64, and their classes.

        Validation images that were held out of the training images are training images here.

        Args:
            split: `train`, `val` or `test`.
        """
        kept = [one for one in self.kept if ROLES[self.pool.roles[one]] == split]
        rows = self.pool.rows[kept]
        order = np.argsort(rows, kind="stable")
        return rows[order], [self.labels_of(kept[place]) for place in order.tolist()]

    def rows(self, place: str) -> list[list[object]]:
        """Return the rows of the list, that of the titles first.

        Args:
            place: Text before the name of each image, such as a folder or a source.
        """
        weighted = self.pool.weight(0) is not None
        grouped = self.pool.group(0) is not None
        titles = ["path", "label", "split", *["weight"] * weighted, *["group"] * grouped, "decision", "original_label"]
        found: list[list[object]] = [[*titles]]
        for one in self.kept:
            action = self._action(one)
            row: list[object] = [place + self.pool.name(one), self._cell(self.labels_of(one))]
            row.append(ROLES[self.pool.roles[one]])
            row += [1.0 if (weight := self.pool.weight(one)) is None else weight] if weighted else []
            row += [self.pool.group(one) or ""] if grouped else []
            original = self._cell(self.pool.classes_of(one)) if action == "relabel" else ""
            found.append([*row, action if one in self.decisions else "", original])
        return found

    def write(self, path: Path, root: Path | None) -> None:
        """Write the list, completely or not at all.

        Args:
            path: The file, .csv or .tsv; it is replaced if it exists.
            root: Folder that the images' names are relative to; None for a named source.
        """
        rows = self.rows(_place(path, root, self.pool))
        if path.suffix.lower() == ".tsv":
            table = io.StringIO(newline="")
            csv.writer(table, delimiter="\t", lineterminator="\n").writerows(rows)
            text = table.getvalue()
        else:
            text = csv_table(rows)
        write_bytes(path, text.encode("utf-8", "surrogateescape"))  # names of files may have any bytes

    def _action(self, position: int) -> Action:
        decision = self.decisions.get(position)
        return "keep" if decision is None else decision.action

    def _cell(self, labels: Sequence[str]) -> str:
        return json_text.dump(list(labels)) if self.pool.images.multi_label else labels[0]


def _place(path: Path, root: Path | None, pool: Pool) -> str:
    """Return the text before an image's name: relative to the list where the images are below its folder."""
    if root is None:
        return "" if pool.has_files else f"{pool.data.name}:"  # a list of a source's images names them in full
    folder, images = path.absolute().parent, root.absolute()
    inside = images == folder or folder in images.parents
    start = os.path.relpath(images, folder) if inside else str(images)
    return "" if start == os.curdir else start + os.sep


def decisions_of(accept: str | Path, suspects: Sequence[Suspect], pool: Pool) -> dict[int, Decision]:
    """Return the decisions that `accept` names: a rule, or a file that a page wrote.

    Raises:
        ArgumentError: It is neither, or the file does not fit the images.
    """
    if str(accept) in (ALL, CONFIDENT, NONE):
        return decisions_by_rule(suspects, str(accept))
    path = Path(accept).expanduser()
    if not path.is_file():
        rules = f"{CONFIDENT}, {ALL}, {NONE}"
        raise ArgumentError("accept", f"{printable(path)} is no file; give {rules}, or a file that the page wrote")
    with argument("accept"):
        return read_decisions(path, pool)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:5]))
    return shown + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
