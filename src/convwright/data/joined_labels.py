"""Several labels of an image in one cell of a list: which text separates them."""

import re
from collections import Counter

from convwright.errors import DataError
from convwright.printable import printable

SIGNS = "|;"
"""Characters that are taken for separators where no other is named."""
JOINED = re.compile(f"[{SIGNS}]")
_SURE = "`label_separator=','` names another separator, and `label_separator=''` keeps labels whole"


def guessed_separator(texts: list[str], name: str) -> tuple[str, str]:
    """Return the character that separates labels, empty if none does, and a line on how labels with one were read.

    Args:
        texts: The label of each row.
        name: Name of the list, for messages.

    Raises:
        DataError: Two characters separate labels.
    """
    signs = [sign for sign in SIGNS if _joins(texts, sign)]
    if len(signs) > 1:
        raise DataError(
            f"{name}: labels are joined by | in some rows and by ; in others; use one of them, or name "
            "it: `label_separator='|'`"
        )
    separator = signs[0] if signs else ""
    return separator, _reading_of(texts, separator)


def unused_separator(texts: list[str], separator: str) -> str:
    """Return a line if no label has the separator that was named, else an empty text."""
    if any(separator in text for text in texts):
        return ""
    return f"no label has the separator {separator!r}; each image has one label, or none"


def _joins(texts: list[str], sign: str) -> bool:
    """Return whether a character joins several labels, and is not part of a name such as AC;DC.

    It joins if at least half of the parts also occur in another label, or if every label has it.

    Args:
        texts: The label of each row.
        sign: The character.
    """
    different = {text.strip() for text in texts} - {""}
    joined = [text for text in different if sign in text]
    parts, lonely = _parts_of(joined, different, sign)
    return bool(joined) and (len(joined) == len(different) or 2 * len(lonely) <= len(parts))


def _parts_of(joined: list[str], different: set[str], sign: str) -> tuple[set[str], set[str]]:
    """Return the parts of joined labels, and those that occur in one label only."""
    counts = Counter(part for text in different for part in {part.strip() for part in text.split(sign)})
    parts = {part.strip() for text in joined for part in text.split(sign)} - {""}
    return parts, {part for part in parts if counts[part] == 1}


def _reading_of(texts: list[str], sign: str) -> str:
    """Return in a line how labels with | or ; were read; an empty text where there are none.

    Args:
        texts: The label of each row.
        sign: The character that joins labels; empty: none does.
    """
    different = {text.strip() for text in texts} - {""}
    shown = sorted(text for text in different if (sign in text if sign else JOINED.search(text)))
    if not shown:
        return ""
    if not sign:
        return f"{printable(shown[0])!r} is read as one label, as its parts are no labels of other images; {_SURE}"
    lonely = _parts_of(shown, different, sign)[1]
    example = next((text for text in shown if lonely & {part.strip() for part in text.split(sign)}), "")
    if example:
        return f"{printable(example)!r} is read as several labels, joined by {sign}; {_SURE}"
    return f"labels are separated by {sign}, as in {printable(shown[0])!r}; {_SURE}"
