"""Untrusted text on a screen: names of files, classes and networks cannot steer a terminal or fake a line."""

import os
import re
import shlex
import unicodedata
from contextlib import suppress

BOLD, PLAIN = "\033[1m", "\033[0m"
"""The only terminal sequences that the command line writes itself."""
EXACT = 1e15
"""Floats below this show whole numbers without an exponent."""


def printable(text: object) -> str:
    r"""Return a text as one line that is safe to print: every character that is not printable is spelled out.

    Args:
        text: A name, or any other object. Undecodable bytes of file names become `\xff`, control
            characters `\x1b`, line breaks `\n`, and invisible marks of writing direction `\u202e`.
    """
    plain = str(text)
    if _is_safe(plain):
        return plain
    with suppress(UnicodeEncodeError):  # lone surrogates, as JSON files can hold
        plain = os.fsencode(plain).decode("utf-8", "backslashreplace")
    return "".join(character if _is_safe(character) else _spelled_out(character) for character in plain)


def _is_safe(text: str) -> bool:
    """Whether a text can be printed as it is; wide and non-breaking spaces can."""
    return text.isprintable() or all(one.isprintable() or unicodedata.category(one) == "Zs" for one in text)


def number_text(value: float) -> str:
    """Return a number as messages show it: whole numbers exactly, and others with six digits."""
    whole = isinstance(value, int) or (abs(value) < EXACT and value == int(value))
    return str(int(value)) if whole else f"{value:g}"


def quoted(path: object) -> str:
    """Return a path as one word of a shell command that a message suggests."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def in_markdown(text: object) -> str:
    """Return a text for a sentence in Markdown, where it is neither HTML nor a link, picture or code.

    Args:
        text: A name, or any other object; it is made `printable`.
    """
    return re.sub(r"[\\<>&\[\]`]", r"\\\g<0>", printable(text))


def printable_lines(text: str) -> str:
    """Return text of several lines that is safe to print; line breaks and our own bold print are kept."""
    return "\n".join(
        PLAIN.join(BOLD.join(map(printable, part.split(BOLD))) for part in line.split(PLAIN))
        for line in text.split("\n")
    )


def escape_in_json(text: str) -> str:
    r"""Return JSON text in which characters that could steer a terminal are `\u` escapes; its value is the same.

    Args:
        text: JSON as `json_text.dump` writes it, with line breaks only between values.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character == "\n" or character.isprintable() else _json_escape(character) for character in text
    )


def _spelled_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
