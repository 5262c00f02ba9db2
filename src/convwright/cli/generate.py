"""Commands made from functions: every parameter of a function becomes an option or an argument of its command."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import CompletionItem

from convwright.cli.columns import column_options, with_columns
from convwright.cli.messages import in_command_line_words
from convwright.cli.output import echo, print_json
from convwright.display.result import Result
from convwright.display.translation import translation
from convwright.errors import ArgumentError, ConvwrightError, SeveralErrors, UsageError, together
from convwright.options import REQUIRED, Option, options_of, summary_of
from convwright.printable import printable

OUTPUT_OPTIONS = ("json", "html")
"""Options of the command line for what a result's methods do: `to_dict` and `save_html`."""
NETWORKS = ("network", "networks")
"""Parameters that take a network of the zoo, or a file."""
JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON.")
HTML = click.Option(["--html", "html"], metavar="FILE", help="Write the result as a page.")


class Value(click.ParamType):  # type: ignore[type-arg] # subscripted only since click 8.4
    """The value of an option, as its description says; `checks_arguments` checks its bounds."""

    def __init__(self, option: Option) -> None:
        self.option = option
        kinds = {int: "NUMBER", float: "NUMBER", Path: "PATH", str: "TEXT"}
        named = ["TEXT"] * (str in option.kinds) or [kinds[kind] for kind in option.kinds if kind in kinds]
        self.name = option.form.metavar if option.form else "|".join([*named[:1], *option.choices]) or "TEXT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the value that a text means, or the error about a text that means none."""
        if not isinstance(value, str):
            return value
        try:
            return self.option.parse(value)
        except ArgumentError as error:
            named = self.option.flag if isinstance(param, click.Option) else self.option.name.upper()
            return UsageError(f"{named}: {error.reason}")  # raised with what is wrong with other options

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what help shows for the value."""
        return f"[{self.name}]" if self.option.choices else self.name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return what a shell offers for the value: its choices, names of networks, or files."""
        words = list(self.option.choices)
        if self.option.name in NETWORKS:
            from convwright.arch import registry

            words += [name for _, name in registry.names()]
        offered = [CompletionItem(each) for each in words if each.startswith(incomplete)]
        if offered or not {str, Path} & {*self.option.kinds}:
            return offered
        return [CompletionItem(incomplete, type="file")]


class GroupedCommand(click.Command):
    """A command that calls a function, and whose help lists options by group.

    Args:
        function: The function.
        described: What its parameters mean.
        flags: The option of each parameter; empty for one that is given by position.
    """

    def __init__(
        self,
        *arguments: Any,
        function: Callable[..., Any],
        described: Sequence[Option],
        flags: Mapping[str, str],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.function, self.described, self.flags = function, described, flags

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a command line, and check the values before anything that takes time is imported or done."""
        left = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            flags = {each.name or "": "" if isinstance(each, click.Argument) else each.opts[0] for each in self.params}
            with option_names(flags):
                _check_values([each.type.option for each in self.params if isinstance(each.type, Value)], ctx.params)
        return left

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section of help for each group of options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        groups = {option.name: option.group for option in self.described}
        for parameter in self.get_params(ctx):
            group = groups.get(parameter.name or "", "")
            if isinstance(parameter, DescribedArgument):
                sections["Arguments"].append((parameter.make_metavar(ctx), parameter.description))
            elif record := parameter.get_help_record(ctx):
                sections.setdefault(group or "Options", []).append(record)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class DescribedArgument(click.Argument):
    """An argument with a description; click itself has none."""

    def __init__(self, *arguments: Any, help: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.description = help


def command(
    function: Callable[..., Any],
    *,
    name: str,
    arguments: Sequence[str] = (),
    options: Sequence[Option] | None = None,
    extra: Sequence[click.Parameter] = (),
    html: bool = False,
    show: Callable[[Any], None] | None = None,
    call: Callable[..., Any] | None = None,
    after: Callable[[Any], None] | None = None,
    stream: Callable[..., None] | None = None,
) -> click.Command:
    """Return the command that calls a function and prints its result.

    Args:
        function: The function; its docstring is the command's help.
        name: Name of the command.
        arguments: Parameters that are given by position.
        options: The function's parameters, where they are not those of its signature.
        extra: Further options of the command line.
        html: Whether the command has `--html`, which writes the result as a page.
        show: What prints the result as text; by default its `str`.
        call: What is called with the values, if it is not the function itself: with those of `extra` too.
        after: What is called with the result once it is printed; it raises an error where a part of the work failed.
        stream: What prints results while they are computed, in place of the function; it is called with all values,
            those of `extra` and `as_json` included.
    """
    described = list(options_of(function) if options is None else options)
    described = [each for each in described if each.kinds or each.choices]  # the rest is for Python callers
    columns = column_options([*described, *(each.type.option for each in extra if isinstance(each.type, Value))])
    described += columns
    flags = {each.name: "" if each.name in arguments else each.flag for each in described}
    named = {each.name or "": "" if isinstance(each, click.Argument) else each.opts[0] for each in extra} | flags

    def run(as_json: bool, html: str | None = None, **values: Any) -> None:
        given = {key: value for key, value in values.items() if value not in (None, ())}
        with option_names(named):
            given = with_columns(given, columns)
            if html is not None:
                from convwright.places import check_file

                check_file("--html", Path(html))
            if stream is not None:
                stream(as_json=as_json, **given)
                return
            result = (call or function)(**given)
        _print_result(result, as_json=as_json, html=html, show=show, flags=named)
        if after is not None:
            after(result)

    parameters = [*_ordered_parameters(described, flags, arguments), *extra]
    return GroupedCommand(
        name,
        params=[*parameters, *[HTML] * html, JSON],
        callback=run,
        help=plain(summary_of(inspect.getdoc(function) or ""), flags),
        function=function,
        described=described,
        flags=flags,
    )


def _check_values(options: Sequence[Option], given: Mapping[str, Any]) -> None:
    """Check the values of a command line.

    Raises:
        ArgumentError: An option cannot have its value; `SeveralErrors` for several.
    """
    wrong: list[UsageError] = []
    for option in options:
        value = given.get(option.name)
        unread = [each for each in (value if isinstance(value, tuple) else [value]) if isinstance(each, UsageError)]
        try:
            if value not in (None, ()) and not unread:
                option.check(value)
        except ArgumentError as error:
            unread.append(error)
        wrong += unread
    if wrong:
        raise together(wrong)


def _print_result(
    result: Any, *, as_json: bool, html: str | None, show: Callable[[Any], None] | None, flags: Mapping[str, str]
) -> None:
    """Print a result as JSON, or as text in words of the command line; write its page if given `--html`."""
    if html is not None:
        result.save_html(html)
    if as_json:
        print_json(result.json_value() if isinstance(result, Result) else result, indent=1)
    elif show is not None:
        show(result)
    else:
        echo(in_command_line_words(str(result), flags))
    if html is not None and not as_json:
        echo(f"page: {printable(html)}")


def parameters_of(options: Sequence[Option], arguments: Sequence[str] = ()) -> list[click.Parameter]:
    """Return options of the command line that set parameters of a second function, for `extra` of a command.

    Args:
        options: The function's parameters.
        arguments: Parameters that are given by position.
    """
    flags = {each.name: "" if each.name in arguments else each.flag for each in options}
    return [parameter for each in options for parameter in _parameters(each, flags)]


class option_names:  # noqa: N801 - used like a function
    """A context in which errors and lines of progress name a command's options instead of parameters.

    Args:
        flags: The option of each parameter; empty for one that is given by position.
    """

    def __init__(self, flags: dict[str, str]) -> None:
        self.flags = flags

    def __enter__(self) -> None:
        self.token = translation.set(partial(in_command_line_words, flags=self.flags))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        translation.reset(self.token)
        if isinstance(error, SeveralErrors):
            error.errors = tuple(UsageError(self._line(each)) for each in error.errors)
            error.args = ("\n".join(map(str, error.errors)),)
            return
        if isinstance(error, ConvwrightError | KeyboardInterrupt) and error.args:
            error.args = (in_command_line_words(str(error), self.flags), *error.args[1:])
        if isinstance(error, ArgumentError) and error.argument in self.flags and not error.source:
            raise UsageError(self._line(error)) from None

    def _line(self, error: UsageError) -> str:
        """Return an error in words of the command line."""
        if not isinstance(error, ArgumentError) or error.argument not in self.flags or error.source:
            return in_command_line_words(str(error), self.flags)
        flag, reason = self.flags[error.argument], in_command_line_words(error.reason, self.flags)
        return f"{flag}: {reason}" if flag else reason


def plain(text: str, flags: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a docstring as help shows it: without the quotes of code, and with paragraphs that can be wrapped.

    Args:
        text: The docstring.
        flags: The option of each parameter, which takes the place of the parameter's name.
    """
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    named = re.sub(r"`(\w+)`", lambda found: flags.get(found[1]) or found[0], "\n\n".join(paragraphs))
    return named.replace("`", "")


def _ordered_parameters(
    described: Sequence[Option], flags: Mapping[str, str], arguments: Sequence[str]
) -> list[click.Parameter]:
    """Return the parameters of a command: those given by position in their order, then the options."""
    order = {each: index for index, each in enumerate(arguments)}
    parameters = [parameter for each in described for parameter in _parameters(each, flags)]
    return sorted(parameters, key=lambda each: order.get(each.name or "", len(order)))


def _parameters(option: Option, flags_of: Mapping[str, str]) -> list[click.Parameter]:
    text = plain(option.description, flags_of)
    positional = not flags_of[option.name]
    required = option.default is REQUIRED and not option.nullable
    if positional:
        name = option.name.upper() + "..." * option.many
        return [
            DescribedArgument(
                [option.name],
                type=Value(option),
                nargs=-1 if option.many else 1,
                required=required,
                help=text,
                metavar=name if required else f"[{name}]",
            )
        ]
    flags = list(option.flags or (option.flag,))
    if bool in option.kinds:
        if option.default is False:
            return [click.Option([*flags, option.name], is_flag=True, default=None, help=text)]
        names = [f"{flags[0]}/--no-{flags[0][2:]}", *flags[1:]]
        return [click.Option([*names, option.name], is_flag=True, default=None, help=text + _default(option))]
    value = Value(option)
    return [
        click.Option(
            [*flags, option.name],
            type=value,
            multiple=option.many,
            required=required,
            help=text + _default(option),
        )
    ]


def _default(option: Option) -> str:
    if option.default in (REQUIRED, None, (), ""):
        return ""
    default = option.default
    if isinstance(default, bool):
        return f"  [default: {'yes' if default else 'no'}]"
    return f"  [default: {f'{default:g}' if isinstance(default, float) else default}]"
