"""Paths of this machine in texts that others may read: they are replaced by shorter names."""

import html
import re
from collections.abc import Mapping

from markupsafe import escape

from convwright import json_text
from convwright.printable import printable

_QUOTED = (
    str,
    printable,
    lambda text: text.replace("'", "'\"'\"'"),  # in a word of a shell command
    lambda text: text.replace("'", "''"),  # in YAML
    lambda text: repr(text)[1:-1],
    lambda text: json_text.dump(text, ascii_only=True)[1:-1],
    lambda text: json_text.dump(text)[1:-1],
)
_ESCAPED = (str, escape, html.escape, lambda text: html.escape(text, quote=False))
"""How texts spell a path: as it is or in quotes, and that as it is or, in a plot's texts, as HTML."""


class PathNames:
    """Replaces paths in values before a page shows them, so that the page escapes the names as it escapes any text.

    Args:
        names: Paths, and what is shown instead of each; a longer path counts before one that it begins with. The root
            of the file system and names without a separator stay.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        paths = sorted((path for path in names if "/" in path and path.strip("/.")), key=len)
        self._names = {
            str(escaped(quoted(path))): str(escaped(quoted(names[path])))
            for path in paths
            for quoted in _QUOTED
            for escaped in _ESCAPED
        }
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, longest_first))})") if paths else None

    def in_text(self, text: str) -> str:
        """Return a text with names instead of paths."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._names[match[0]], text)

    def in_value(self, value: object) -> object:
        """Return a value of JSON with names instead of paths in its texts, also in lists and dictionaries."""
        if isinstance(value, str):
            return self.in_text(value)
        if isinstance(value, list):
            return [self.in_value(each) for each in value]
        if isinstance(value, dict):
            return {key: self.in_value(each) for key, each in value.items()}
        return value
