"""Hooks of mkdocs.yml: pages that are made from the code, and links that leave the folder of the documentation."""

import inspect
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import convwright
from convwright.cli.main import app

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "convwright"
COPIES = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "notebooks/index.md",
    **{
        f"examples/{path.name}": f"notebooks/{path.name}"
        for path in (ROOT / "examples").glob("*.md")
        if path.name != "README.md"
    },
}
"""Pages of the site whose files are not in `docs/`."""
INTERNAL = {"api", "cli", "convwright", "display"}
"""Packages whose public names are described elsewhere, or that users do not call."""

WITH_SOURCE = {"arch", "explain", "modules", "zoo"}
"""Packages whose pages show the source of each function: what the papers describe."""

FIRST = {"Arguments": "argument", "Commands": "command"}
"""Heading of the first column for sections of help that list no options."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages made from the code, and pages that the navigation does not name, in the navigation."""
    sections = {title: pages for entry in config.nav or [] for title, pages in entry.items()}
    sections["Reference"] += [
        {"Commands": [path for path, _ in command_pages()]},
        {"API": [path for path, _ in api_pages()]},
    ]
    named = re.findall(r"[\w./-]+\.md", str(config.nav))
    sections["Guides"] += [path.name for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in named]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code, and those whose files are elsewhere."""
    pages = [*command_pages(), *api_pages()]
    pages += [(path, (ROOT / source).read_text(encoding="utf-8")) for source, path in COPIES.items()]
    for path, text in pages:
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to files outside of the documentation to their page or to the repository."""
    source = next((source for source, path in COPIES.items() if path == page.file.src_uri), f"docs/{page.file.src_uri}")

    def lead(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if "://" in target:
            return match[0]
        path = normpath(PurePosixPath(source).parent / target)
        inside = COPIES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if inside is None:
            return f"]({page_of_repository(path)}{anchor})"
        return f"]({relpath(inside, PurePosixPath(page.file.src_uri).parent)}{anchor})"

    def changed(text: str) -> str:
        text = re.sub(r"\]\(([^)#\s]+)(#[^)\s]*)?\)", lead, text)
        return re.sub(r"`[^`\n]*`", lambda code: code[0].replace(r"\|", "|"), text)

    if page.file.src_uri == "papers.md":
        markdown = "\n".join(map(with_links_to_code, markdown.split("\n")))
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else changed(part) for part in parts)


def with_links_to_code(row: str) -> str:
    """Lead the files and names in a row of the map of papers to the repository and to the API reference."""
    module = None

    def lead(code: re.Match[str]) -> str:
        nonlocal module
        token = code[1]
        if token.endswith(".py") and (SOURCES / token).is_file():
            module = "convwright." + token.removesuffix(".py").replace("/", ".")
            return f"[{code[0]}]({page_of_repository(f'src/convwright/{token}')})"
        name = re.fullmatch(r"([A-Za-z]\w*(?:\.\w+)*)(\(.*\))?", token)
        if module is None or name is None:
            return code[0]
        return f'<autoref optional identifier="{module}.{name[1]}">{code[0]}</autoref>'

    return re.sub(r"`([^`]+)`", lead, row) if row.startswith("|") else row


def on_page_content(html: str, **_: Any) -> str:
    """Make pictures links to their files, where a reader on a phone can enlarge them."""
    return re.sub(r'<p>(<img [^>]*?src="([^":]+)"[^>]*>)</p>', r'<p><a href="\2">\1</a></p>', html)


def on_post_page(output: str, **_: Any) -> str:
    """Keep pages from asking GitHub for the repository's figures: they load nothing from other servers."""
    return output.replace(' data-md-component="source"', "")


def page_of_repository(path: str) -> str:
    """Return the address of a file in the repository."""
    return f"https://github.com/convwright/convwright/blob/main/{path}"


class Sections(click.HelpFormatter):
    """Collects what a command's help says, in place of laying it out.

    Attributes:
        parts: Heading, rows of options and descriptions, and paragraphs of each section.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[str, list[tuple[str, str]], list[str]]] = [("", [], [])]

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Begin a section."""
        self.parts.append((name, [], []))
        yield

    def write_dl(self, rows: Any, *_: Any, **__: Any) -> None:
        """Take the rows of a section."""
        self.parts[-1][1].extend(rows)

    def write_text(self, text: str) -> None:
        """Take a paragraph."""
        self.parts[-1][2].append(text)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Take the line of usage."""
        self.parts[-1][2].append(f"```text\n{prog} {args}\n```")


def command_pages() -> list[tuple[str, str]]:
    """Return path and text of a page for each command."""
    overview = "# Commands\n\nWhat `--help` prints, of every command.\n\n| command | what it does |\n|---|---|\n"
    pages = []
    for name, command in commands(app, "convwright"):
        words = name.split()[1:]
        if not words:
            continue
        path = f"reference/commands/{'-'.join(words)}.md"
        overview += f"| [`{name}`]({PurePosixPath(path).name}) | {escaped(command.get_short_help_str(200))} |\n"
        pages.append((path, page_of_command(name, command)))
    return [("reference/commands/index.md", overview), *pages]


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, with the words that call it."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            yield from commands(inner, f"{name} {each}")


def page_of_command(name: str, command: click.Command) -> str:
    """Return the page of a command: what its help says, with a table for each group of options."""
    context = click.Context(command, info_name=name, **app.context_settings)
    sections = Sections()
    command.format_help(context, sections)
    text = f"# {name}\n"
    for title, rows, paragraphs in sections.parts:
        text += f"\n## {title}\n" if title else ""
        text += "".join(f"\n{paragraph}\n" for paragraph in paragraphs)
        if rows:
            lines = [f"| `{option}` | {escaped(description)} |" for option, description in rows]
            text += "\n" + "\n".join([f"| {FIRST.get(title, 'option')} | meaning |", "|---|---|", *lines]) + "\n"
    return text


def escaped(text: str) -> str:
    """Return a text of help for a cell of a table."""
    return re.sub(r"([|<>*_\[\]])", r"\\\1", " ".join(text.split()))


def api_pages() -> list[tuple[str, str]]:
    """Return path and text of a page for the public names, and of one for each package."""
    text = "# convwright\n\n`import convwright as cw` gives these names.\n"
    for name in sorted(convwright.__all__, key=str.lower):
        value = getattr(convwright, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            found = inspect.unwrap(value)
            options = {"heading": f"convwright.{name}", "toc_label": name, "inherited_members": True}
            options["show_source"] = found.__module__.split(".")[1] in WITH_SOURCE
            text += f"\n::: {found.__module__}.{found.__qualname__}\n    options: {json.dumps(options)}\n"
    pages = [("reference/api/index.md", text)]
    for package in sorted(path.parent.name for path in SOURCES.glob("*/__init__.py")):
        if package not in INTERNAL:
            text = "---\nsearch: {boost: 0.3}\n---\n" + f"# convwright.{package}\n\n::: convwright.{package}\n"
            text += "    options: {show_submodules: true, show_root_heading: false, show_root_toc_entry: false, "
            text += f"show_source: {str(package in WITH_SOURCE).lower()}}}\n"
            pages.append((f"reference/api/{package}.md", text))
    return pages
