"""Messages name parameters and calls in Python, and options and commands on the command line."""

import ast
import re
from pathlib import Path

import pytest

import convwright as cw
from convwright.cli.messages import in_command_line_words
from convwright.errors import RunError, UsageError

SOURCE = Path(cw.__file__).parent
FLAGS = {"out": "--out", "target": "--class", "run": ""}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("give another `out`", "give another --out"),
        ("give `target=3`", "give --class 3"),
        ("or `clip_norm=1`", "or --clip-norm 1"),
        ("use `fused=False`, `find_lr=True`", "use --no-fused, --find-lr"),
        ("resume with `cw.resume('runs/a b')`", "resume with convwright train --resume 'runs/a b'"),
        ("with `cw.resume`", "with convwright train --resume"),
        ("`cw.train` makes one", "convwright train makes one"),
        ("`cw.train(config='runs/a/config.yaml', out=new)`", "convwright train --config runs/a/config.yaml --out NEW"),
        ("the class `cat` or `a b` or ``", "the class `cat` or `a b` or ``"),
        ("a `run` without an option", "a `run` without an option"),
        ("os `os.getcwd()`", "os `os.getcwd()`"),
    ],
)
def test_code_becomes_what_the_command_line_has_for_it(message, expected):
    assert in_command_line_words(message, FLAGS) == expected


def test_a_path_is_quoted_for_the_shell():
    path = 'it\'s \\ a "path"\n'
    message = in_command_line_words(f"resume with `cw.resume({path!r})`")
    assert message == "resume with convwright train --resume 'it'\"'\"'s \\ a \"path\"\n'"


def test_one_error_is_worded_for_python_and_for_the_command_line(tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    options = {"network": "cifar_resnet8", "epochs": 0.05, "out": "run", "progress": False}
    cw.train("digits", **options)
    with pytest.raises(RunError, match=r"^run already holds a run; give another `out`, or .*`cw\.resume\('run'\)`$"):
        cw.train("digits", **options)
    shown = convwright("train", "--data", "digits", "--network", "cifar_resnet8", "--out", "run").message
    assert "run already holds a run; give another --out, or resume it with convwright train --resume run" in shown
    with pytest.raises(UsageError, match="minutes: takes the place of `epochs`; give one of the two"):
        cw.TrainRequest(data="digits", minutes=1, epochs=1)
    shown = convwright("train", "--data", "digits", "--minutes", 1, "--epochs", 1).message
    assert "--minutes: takes the place of --epochs; give one of the two" in shown


def texts(path):
    """Return the constant texts of what a file raises or warns of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        warned = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "warn"
        if warned or isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_no_message_of_the_library_names_an_option_of_the_command_line():
    found = [
        f"{path.relative_to(SOURCE)}: {text}"
        for path in SOURCE.rglob("*.py")
        if "cli" not in path.relative_to(SOURCE).parts
        for text in texts(path)
        if re.search(r"(?<![\w-])--[a-z]", text) and "torchrun" not in text
    ]
    assert found == []
