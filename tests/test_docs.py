"""What README and docs point to exists: files, symbols, commands and their options."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import convwright as cw
from convwright.cli.main import COMMANDS, LazyGroup, app
from convwright.errors import NetworkError

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "convwright"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")),
    *ROOT.glob("docs/**/*.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (page.parent / link).exists()]


class Names:
    """The names that source files define."""

    def __init__(self, paths):
        self.members = {}
        """Names by class or function: fields, methods and parameters."""
        self.names = set()
        """Module-level names, and texts that stand for themselves, as the placements of SE."""
        for path in paths:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            self.names |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            for node in tree.body:
                self._add(node)

    def _add(self, node):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self.names.add(name)
            case ast.ClassDef(name=name, body=body):
                inner = [
                    getattr(item, "name", None) or getattr(getattr(item, "target", None), "id", "") for item in body
                ]
                self.members.setdefault(name, set()).update(inner)
            case ast.FunctionDef(name=name, args=arguments):
                every = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
                self.members.setdefault(name, set()).update(argument.arg for argument in every)

    def defines(self, token):
        """Whether `Class`, `function`, `Class.member`, `Class(field=1)` or `function(parameter=1)` is defined here."""
        if re.fullmatch(r"\w+=\w+", token):
            return any(token.partition("=")[0] in members for members in self.members.values())
        name, _, rest = re.match(r"(\w+)([.(]?)(.*)", token).groups()
        if not rest:
            return name in self.names or name in self.members
        parts = re.findall(r"(\w+)\s*=", rest) if token.endswith(")") else [rest]
        return name in self.members and all(part in self.members[name] for part in parts)


EVERYWHERE = Names(SOURCES.rglob("*.py"))


def located(text) -> Iterator[tuple[str | None, str]]:
    """Yield each `token` of a text with the source file that stands before it, as in `file.py`: `one`, `other`."""
    for part in re.split(r"[;|(](?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", text):
        file = None
        for token, colon in re.findall(r"`([^`]+)`(:?)", part):
            if token.endswith(".py"):
                file = token if colon else None
                yield None, token
            else:
                yield file, token


def is_there(file, token):
    """Whether a file, folder, operator, network or symbol that the map of papers names exists."""
    token = token.replace("\\|", "|")
    if token.endswith((".py", "/")):
        return any((base / token).exists() for base in (ROOT, SOURCES))
    if token.startswith("convwright "):
        return bool(resolve(shlex.split(token)[1:]))
    if token.startswith("|"):
        return builds(f"resnet50{token}")
    known = EVERYWHERE if file is None else Names([SOURCES / file])
    return known.defines(token) or builds(token)


def builds(expression):
    try:
        cw.network(expression)
    except NetworkError:
        return False
    return True


def test_the_map_of_papers_names_files_and_symbols_that_exist():
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    found = [pair for line in text.splitlines() for pair in located(line)]
    assert len(found) > 100
    assert not [pair for pair in found if not is_there(*pair)]


@pytest.mark.parametrize(
    ("file", "token"),
    [
        ("zoo/densenet.py", "recalibrate"),
        (None, "DenseLayer.growths"),
        (None, "recalibrate(steps=1)"),
        (None, "zoo/dense.py"),
        (None, "|se:x"),
        (None, "the"),
    ],
)
def test_what_is_not_there_would_be_noticed(file, token):
    assert not is_there(file, token)


def test_commands_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^convwright (\w+)", text, re.MULTILINE))
    assert named == set(COMMANDS)


def shown(page) -> Iterator[list[str]]:
    """Yield the words after `convwright` of each command in a page's code blocks."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("convwright "):
                words = shlex.split(line, comments=True)[1:]
                yield words[: words.index(">")] if ">" in words else words


def mentioned(page) -> Iterator[list[str]]:
    """Yield the words after `convwright` of each command in a page's running text."""
    for code in re.findall(r"`convwright ([^`]+)`", page.read_text(encoding="utf-8")):
        yield shlex.split(code.replace("\\|", "|"))


def children(command):
    """Return the commands of a group by name."""
    if isinstance(command, LazyGroup):
        context = click.Context(command)
        return {name: command.get_command(context, name) for name in command.lazy}
    return getattr(command, "commands", {})


def resolve(words):
    """Return a command, and the words that are left for it."""
    command, name = app, "convwright"
    while words and children(command) and not words[0].startswith("-"):
        name, *words = words
        assert name in children(command), f"no command is named {name}"
        command = children(command)[name]
    return command, name, words


def options(command):
    return {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def every_command(command=app):
    """Yield all commands and groups."""
    yield command
    for inner in children(command).values():
        yield from every_command(inner)


COMMAND_LINES = [(page, words) for page in PAGES for words in shown(page)]


@pytest.mark.parametrize(("page", "words"), COMMAND_LINES, ids=lambda value: getattr(value, "name", None))
def test_commands_in_code_blocks_can_be_typed(page, words):
    assert parsed(words).args == [], "every word is understood"


def parsed(words):
    """Return the context of a command line; whatever is wrong in it raises an error."""
    command, name, rest = resolve(words)
    return command.make_context(name, list(rest))


@pytest.mark.parametrize("wrong", [["shwo"], ["show"], ["train", "--epoch", "1"], ["train", "--epochs", "some"]])
def test_commands_that_cannot_be_typed_would_be_noticed(wrong):
    with pytest.raises(Exception, match=r"no command|Missing|No such option|must be a number, above 0"):
        parsed(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_text_are_those_of_a_command_on_the_page(page):
    used = [*shown(page), *mentioned(page)]
    for words in mentioned(page):
        command, _, rest = resolve(words)
        assert {word for word in rest if word.startswith("--")} <= options(command), words
    guide = ROOT / "docs" in page.parents
    commands = [resolve(words)[0] for words in used] if used and guide else list(every_command())
    known = set.union(*map(options, commands))
    if not guide:
        known |= {
            text for path in ROOT.glob("benchmarks/*.py") for text in re.findall(r'"(--[a-z0-9-]+)"', path.read_text())
        }
    named = re.findall(r"`(--[a-z][a-z0-9-]*)", page.read_text(encoding="utf-8"))
    assert not set(named) - known
