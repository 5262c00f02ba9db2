"""Results that show themselves: as text, as HTML in a notebook, and as data."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from convwright import json_text
from convwright.brief import Brief
from convwright.display.table import Row, emphasised, paragraph, table

STYLE = (
    "<style>.convwright{font-size:13px;line-height:1.5}.convwright table{border-collapse:collapse;margin:.5em 0}"
    ".convwright th,.convwright td{padding:.15em .7em;text-align:right;border-bottom:1px solid #8884;"
    "font-variant-numeric:tabular-nums}.convwright .text{text-align:left}"
    ".convwright .scroll{overflow-x:auto}"
    ".convwright p{margin:.4em 0;white-space:pre-wrap}"
    ".convwright h4{margin:.8em 0 .2em}</style>"
)


@dataclass(frozen=True)
class Table:
    """Rows under titles. The first `left` columns and the last one are text, the others figures."""

    titles: Sequence[str]
    rows: Sequence[Row]
    left: int = 1

    def __str__(self) -> str:
        return table(self.titles, self.rows, left=self.left)

    def to_html(self) -> str:
        """Return the table as HTML."""
        last = len(self.titles) - 1

        def cells(row: Sequence[str], tag: str) -> str:
            kinds = [' class="text"' if index < self.left or index == last else "" for index in range(len(row))]
            if tag == "td":  # narrow pages show each row as a card, whose cells need their titles
                named = [f' data-label="{escape(title)}"' if title else "" for title in self.titles[1:]]
                kinds = [kind + label for kind, label in zip(kinds, ["", *named], strict=True)]
            tags = [tag if cell else "td" for cell in row]  # a title without text is not a title for screen readers
            return "".join(
                f"<{name}{kind}>{escape(cell)}</{name}>" for name, kind, cell in zip(tags, kinds, row, strict=True)
            )

        rows = [
            f'<tr><th class="text" colspan="{last + 1}">{escape(row)}</th></tr>'
            if isinstance(row, str)
            else f"<tr>{cells(row, 'td')}</tr>"
            for row in self.rows
        ]
        head, body = f"<tr>{cells(self.titles, 'th')}</tr>", "".join(rows)
        return f"{self._opening()}<thead>{head}</thead><tbody>{body}</tbody></table></div>"

    def _opening(self) -> str:
        return '<div class="scroll"><table>'


@dataclass(frozen=True, kw_only=True)
class Matrix(Table):
    """A table of classes by classes. A narrow page scrolls it, where it shows each row of other tables as a card."""

    def _opening(self) -> str:
        name = f"Table: {escape(self.titles[0])}"
        return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table class="matrix">'


@dataclass(frozen=True)
class Heading:
    """A line that names what follows."""

    text: str

    def __str__(self) -> str:
        return emphasised(self.text)

    def to_html(self) -> str:
        """Return the heading as HTML."""
        return f"<h4>{escape(self.text)}</h4>"


@dataclass(frozen=True)
class Lines:
    """Text whose line breaks are kept."""

    text: str

    def __str__(self) -> str:
        return self.text

    def to_html(self) -> str:
        """Return the text as HTML."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Paragraph:
    """Text whose lines are wrapped to the width of the terminal."""

    text: str

    def __str__(self) -> str:
        return "\n".join(map(paragraph, self.text.split("\n")))

    def to_html(self) -> str:
        """Return the paragraph as HTML."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Html:
    """A picture or figure that only notebooks and pages show; text shows nothing.

    Args:
        html: The HTML, or a function that makes it when it is shown.
    """

    html: str | Callable[[], str]

    def __str__(self) -> str:
        return ""

    def to_html(self) -> str:
        """Return the HTML."""
        return self.html if isinstance(self.html, str) else self.html()


Block = Table | Heading | Lines | Paragraph | Html


class Result(Brief, ABC):
    """Result of a public function.

    `str` gives the text that the command prints, `to_dict` what it prints with `--json`, and notebooks show tables
    and figures.
    """

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """Return all fields as values that JSON can hold."""

    @abstractmethod
    def blocks(self) -> Iterable[Block]:
        """Yield what is shown, in order."""

    def json_value(self) -> object:
        """Return what `--json` prints: `to_dict`, or the list in it where the command has always printed a list."""
        return self.to_dict()

    def to_json(self, *, indent: int | None = None) -> str:
        """Return what `--json` prints."""
        return json_text.dump(self.json_value(), indent=indent)

    def __str__(self) -> str:
        return "\n\n".join(text for block in self.blocks() if (text := str(block)))

    def _repr_html_(self) -> str:
        return f'{STYLE}<div class="convwright">{"".join(block.to_html() for block in self.blocks())}</div>'

    def save_html(self, path: str | Path) -> None:
        """Write what a notebook shows as one HTML file.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.display.pages import write_content

        words = re.findall("[A-Z][a-z]*", type(self).__name__)
        content = "".join(block.to_html() for block in self.blocks())
        write_content(Path(path), title=" ".join(words).capitalize(), content=content)
