"""Responses of the studio: HTML, and the command and the Python lines that give the same."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """What a form of the page shows.

    Args:
        html: Content made by results of the library.
        command: Arguments of `convwright`.
        python: Lines of Python that do the same.
        values: What the page's script draws.
    """

    html: str = ""
    command: Sequence[str] = ()
    python: str = ""
    values: dict[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object."""
        return {
            **self.values,
            "html": self.html,
            "command": shlex.join(["convwright", *self.command]) if self.command else "",
            "python": f"import convwright as cw\n\n{self.python}" if self.python else "",
        }
