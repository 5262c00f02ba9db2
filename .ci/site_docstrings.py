"""Extension of griffe for the API reference: descriptions and types as `help` shows them."""

import ast
import inspect
import re
from contextlib import suppress
from typing import Any

import griffe

RUNNING = ("convwright.api.", "convwright.arch.operators.", "convwright.explain.functions.")
"""Modules whose functions have descriptions that `checks_arguments` completes when they are imported."""


class AsHelpShows(griffe.Extension):
    """Takes docstrings and types of the public functions from the running code, and plain types everywhere."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Give examples the heading by which griffe takes their lines for code."""
        if obj.docstring is not None:
            obj.docstring.value = with_examples(obj.docstring.value)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Complete the docstring of a function, and make the types of its parameters plain."""
        if func.docstring is None:
            return
        types: dict[str, str] = {}
        if func.path.startswith(RUNNING) and func.parent is func.module:
            found = griffe.dynamic_import(func.path)
            func.docstring.value = with_examples(inspect.getdoc(found) or "")
            for name, parameter in inspect.signature(found).parameters.items():
                if parameter.annotation is not parameter.empty:
                    types[name] = inspect.formatannotation(parameter.annotation).strip("'\"")
        for parameter in func.parameters:
            text = types.get(parameter.name, str(parameter.annotation or ""))
            with suppress(SyntaxError):  # a value that has no source form: the source file's own annotation stays
                parameter.annotation = plain(text, func.docstring) or parameter.annotation

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Make the type of a documented attribute plain."""
        if attr.docstring is not None and attr.annotation is not None:
            attr.annotation = plain(str(attr.annotation), attr.docstring) or attr.annotation


class _Plain(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        name = ast.unparse(node.value)
        if name == "Annotated" and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return ast.BinOp(node.slice, ast.BitOr(), ast.Constant(None)) if name == "Optional" else node


def with_examples(docstring: str) -> str:
    """Return a docstring with the heading `Examples` in place of `Example`."""
    return re.sub(r"^( *)Example:$", r"\1Examples:", docstring, flags=re.MULTILINE)


def plain(text: str, docstring: griffe.Docstring) -> str | griffe.Expr | None:
    """Return a type without modules, `Annotated` and `Optional`; None for an empty text."""
    if not text:
        return None
    bare = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)
    tree = _Plain().visit(ast.parse(bare, mode="eval"))
    return griffe.parse_docstring_annotation(ast.unparse(tree), docstring)
