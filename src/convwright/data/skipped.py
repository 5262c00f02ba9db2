"""Files that are not used as images, counted by suffix and reason, and names that systems reserve."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from convwright.display.wording import counted
from convwright.printable import printable

NOT_AN_IMAGE = "not an image format that is read"
SYSTEM = "hidden, or made by the system"
OUTSIDE = "outside of the folders of classes"
UNUSED = "in a folder that is not used"
UNREADABLE = "cannot be read"
LISTED_TWICE = "listed twice"
MOST_DESCRIBED = 2
"""Kinds of files that a line describes."""

SYSTEM_FOLDERS = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "~snapshot"),  # NAS
        *("__macosx", "network trash folder", "temporary items", "resource.frk"),  # macOS
        *("$recycle.bin", "recycler", "recycled", "system volume information", "msdownld.tmp", "_vti_cnf"),  # Windows
        *("lost+found", "__pycache__"),
    }
)
"""Names of folders, in lower case, that hold no images of the user's; those with a leading dot are not listed."""
_SYSTEM_NAME = re.compile(
    r"synophoto_thumb_.*|synoindex_.*|ehthumbs.*\.db|thumbs\.db|desktop\.ini|icon\r|~\$.*|found\.\d{3}", re.I
)


@dataclass(frozen=True)
class SkippedFiles:
    """Files of one suffix that are not used, for one reason."""

    suffix: str
    """In lower case with its dot; empty for files without a suffix."""
    reason: str
    files: int
    example: str
    """The first of the files."""

    def __str__(self) -> str:
        noun = f"{self.suffix} file" if self.suffix else "file without a suffix"
        plural = f"{self.suffix} files" if self.suffix else "files without a suffix"
        return f"{counted(self.files, noun, plural)}: {self.reason} (such as {self.example})"


def in_one_line(counts: Sequence[SkippedFiles]) -> str:
    """Return a line about files that are not used, without those that systems make; empty where there are no others.

    Args:
        counts: Files by suffix and reason, the largest counts first.
    """
    own = [each for each in counts if each.reason != SYSTEM]
    more = sum(each.files for each in own[MOST_DESCRIBED:])
    return "; ".join([*map(str, own[:MOST_DESCRIBED]), *([counted(more, "other file")] if more else [])])


class SkippedCounter:
    """Counts files that are not used."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, name: str, reason: str, files: int = 1) -> None:
        """Count a file.

        Args:
            name: Its name, or its path in the data.
            reason: Why it is not used.
            files: Number of such files.
        """
        key = printable(os.path.splitext(name)[1].lower()), reason  # noqa: PTH122 - of a text, for each of many files
        self._counts[key] = self._counts.get(key, 0) + files
        self._examples.setdefault(key, printable(name))

    def counts(self) -> tuple[SkippedFiles, ...]:
        """Return the counts, the largest first."""
        found = [SkippedFiles(*key, files, self._examples[key]) for key, files in self._counts.items()]
        return tuple(sorted(found, key=lambda each: (-each.files, each.suffix, each.reason)))


def is_system(name: str) -> bool:
    """Return whether a file or folder is hidden, or made by an operating system, a NAS or an archive program."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS or _SYSTEM_NAME.fullmatch(name) is not None
