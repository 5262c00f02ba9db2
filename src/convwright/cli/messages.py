"""Messages of the library in the words of the command line.

A message of the library has code for Python between backquotes: a parameter (`out`), one with its value
(`clip_norm=1`), a method of the result (`to_dict()`), a function (`cw.train`) or a call (`cw.resume(RUN)`). Here it
becomes the option or the command that does the same: --out, --clip-norm 1, --json, convwright train, convwright train
--resume RUN.
"""

import ast
import re
import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType

from convwright.printable import quoted

RESULTS = MappingProxyType({"to_dict()": "--json", "to_csv()": "--csv", "save_html()": "--html"})
"""Options that print what methods of a result return."""
COMMANDS = MappingProxyType({"resume": ("train", "--resume")})
"""Command and option of functions that are not commands of their own; the option takes the first argument."""


def in_command_line_words(text: str, flags: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a message with options and commands instead of Python's parameters and calls.

    Args:
        text: The message.
        flags: The option of each parameter of the command; a parameter that is not named is left as it is, unless it
            has a value.
    """
    return re.sub(r"`([^`]+)`", lambda found: _translated(found[1], flags) or found[0], text)


def _translated(code: str, flags: Mapping[str, str]) -> str:
    """Return the words for a piece of code; an empty text for what is not code of a message."""
    if code in RESULTS:
        return RESULTS[code]
    if code.isidentifier():
        return flags.get(code, "")
    try:
        parsed = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError):
        assigned = re.fullmatch(r"(\w+)=(.+)", code)
        return _option(assigned[1], assigned[2], flags) if assigned else ""
    function = parsed.func if isinstance(parsed, ast.Call) else parsed
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "cw"):
        return ""
    name, *option = COMMANDS.get(function.attr, (function.attr,))
    words = [f"convwright {name}", *option]
    if isinstance(parsed, ast.Call):
        words += [_value(ast.unparse(each), quoted) for each in parsed.args]
        words += [_option(each.arg or "", ast.unparse(each.value), {}) for each in parsed.keywords]
    return " ".join(words)


def _option(name: str, value: str, flags: Mapping[str, str]) -> str:
    """Return the option that sets a parameter to a value, which is written as in Python."""
    flag = flags.get(name) or f"--{name.replace('_', '-')}"
    if value in ("True", "False"):
        return flag if value == "True" else f"--no-{flag.removeprefix('--')}"
    return f"{flag} {_value(value)}"


def _value(code: str, quote: Callable[[str], str] = shlex.quote) -> str:
    """Return a value as an argument of a shell; a name stands for what the user chooses: NAME."""
    try:
        return quote(str(ast.literal_eval(code)))
    except (SyntaxError, ValueError):
        return code.upper()
