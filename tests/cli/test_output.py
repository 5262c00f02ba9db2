"""What commands print is safe on a terminal, fits any encoding, and a closed or full output is one clear line."""

import ast
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.checksums import Checksums
from convwright.csv_text import FORMULA_STARTS
from convwright.display.progress import counting
from convwright.display.result import Result
from convwright.files import digest_of
from convwright.printable import BOLD, PLAIN

SOURCES = Path(cw.__file__).parent
CONVWRIGHT = [sys.executable, "-m", "convwright"]
CLASSES = ("=HYPERLINK(0)", "\x1b[2J\x1b[31mred", "two\nlines", "caf\xe9 \u202egnp", "[/bold]")
"""Names of classes that a stranger's data may have."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A data set whose folders and files have hostile names."""
    root = tmp_path_factory.mktemp("data") / "photos\x1b]0;title\x07"
    for label, name in enumerate(CLASSES):
        (root / name.replace("/", "\u2215")).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng(8 * label + number).integers(0, 50, (8, 8)) + 40 * label
            Image.fromarray(pixels.astype(np.uint8)).save(root / name.replace("/", "\u2215") / f"@{number}\x9b31m.png")
    (root / CLASSES[0] / "broken\x1b[0m.png").write_text("no image")
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run\x1b[5m"
    options = ["--network", "cifar_seresnet8|scale:w=0.25", "--epochs", "1", "--out", path]
    done = subprocess.run(
        [*CONVWRIGHT, "train", "--data", photos, *options], capture_output=True, text=True, check=True
    )
    assert safe(done.stdout)
    assert safe(done.stderr)
    return path


@pytest.fixture(scope="module")
def renamed(run, tmp_path_factory):
    """The run, with class names of an author who did not have them read from folders."""
    path = tmp_path_factory.mktemp("renamed") / "run"
    shutil.copytree(run, path)
    content = json.dumps(CLASSES).encode()
    Checksums(path).record({"classes.json": digest_of(content)})
    (path / "classes.json").write_bytes(content)
    return path


def safe(text):
    """Whether a text of several lines cannot steer a terminal."""
    return text.replace(BOLD, "").replace(PLAIN, "").replace("\n", "").isprintable()


COMMANDS = {
    "data": ("data", "{photos}"),
    "data as JSON": ("data", "{photos}", "--json"),
    "evaluate": ("evaluate", "{run}", "--split", "train"),
    "evaluate as JSON": ("evaluate", "{run}", "--json"),
    "predict": ("predict", "{run}", "{photos}"),
    "predict as CSV": ("predict", "{run}", "{photos}", "--csv"),
    "predict as JSON": ("predict", "{run}", "{photos}", "--json"),
    "predict classes": ("predict", "{renamed}", "{photos}"),
    "predict classes as CSV": ("predict", "{renamed}", "{photos}", "--csv"),
    "predict classes as JSON": ("predict", "{renamed}", "{photos}", "--json"),
    "evaluate other classes": ("evaluate", "{renamed}"),
    "evaluate a split": ("evaluate", "{renamed}", "--split", "\x1b[2J"),
    "class of excitations": ("explain", "excitation", "{renamed}", "--classes", "\x1b[2J"),
    "show": ("show", "{run}"),
    "show as JSON": ("show", "{run}", "--json"),
    "excitation": ("explain", "excitation", "{run}"),
    "cam": ("explain", "cam", "{run}", "--count", "2"),
    "resume": ("train", "--resume", "{run}"),
    "wrong network": ("show", "res\x1b[2Jnet"),
    "wrong file": ("predict", "{run}", "no\x1bsuch\nfile\x9b.png"),
    "wrong run": ("evaluate", "{photos}"),
    "wrong option": ("train", "--data", "{photos}", "--optimizer", "s\x1b[1md"),
    "wrong place": ("train", "--data", "digits", "--out", "{run}"),
}


SHOWN = [
    pytest.param(command, terminal, id=f"{name} {'on a terminal' if terminal else 'in a pipe'}")
    for name, command in COMMANDS.items()
    for terminal in (True, False)
    if terminal or "--csv" not in command  # CSV in a file keeps names exact
]


@pytest.mark.parametrize(("command", "terminal"), SHOWN)
def test_no_name_can_steer_a_terminal(command, terminal, photos, run, renamed, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("_pytest.capture.CaptureIO.isatty", lambda self: terminal)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    answer = convwright(*(part.format(photos=photos, run=run, renamed=renamed) for part in command))
    assert answer.out or answer.err
    assert safe(answer.out), ascii(answer.out)
    assert safe(answer.err), ascii(answer.err)
    lines = (answer.out + answer.err).splitlines()
    assert not any(line.strip().startswith("lines") for line in lines), "a name's line break is printed"


def test_json_and_csv_keep_names_exact(photos, renamed, convwright):
    rows = [json.loads(line) for line in convwright("predict", renamed, photos, "--json", "--top", 5).out.splitlines()]
    assert {guess["class"] for row in rows for guess in row["predictions"]} == set(CLASSES)
    assert all(Path(row["file"]).is_file() for row in rows)
    table = list(csv.reader(io.StringIO(convwright("predict", renamed, photos, "--csv", "--top", 5).out, newline="")))
    assert {name.removeprefix("'") for name in table[1][1::2]} == set(CLASSES)


def test_no_csv_has_a_formula(photos, run, tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(photos / CLASSES[0])
    printed = convwright("predict", run, *sorted(path.name for path in Path.cwd().glob("@*")), "--csv").out
    convwright("evaluate", run, "--split", "all", "--predictions", tmp_path / "predictions.csv")
    written = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    for text in (printed, written):
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        assert any(cell.startswith("'") for cell in cells)
        assert not [cell for cell in cells if cell.startswith(tuple(FORMULA_STARTS))]


@pytest.mark.parametrize("arguments", [("show", "resnet18"), ("models", "resnet18", "--json"), ("--help",)])
@pytest.mark.parametrize(("redirection", "said"), [(">&-", "is closed"), (">/dev/full", "No space left on device")])
def test_an_output_that_cannot_be_written_is_one_line(arguments, redirection, said):
    done = in_shell(f"exec {sys.executable} -m convwright {' '.join(arguments)} {redirection}")
    assert done.returncode == 1
    assert done.stderr.startswith("convwright: standard output")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_work_starts_without_an_output(tmp_path):
    done = in_shell(f"exec {sys.executable} -m convwright train --data digits --out {tmp_path / 'run'} >&-")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_errors_that_nobody_can_read_keep_the_exit_status(redirection):
    assert in_shell(f"exec {sys.executable} -m convwright show resnt18 {redirection}").returncode == 2
    done = in_shell(f"exec {sys.executable} -m convwright show resnet18 {redirection}")
    assert done.returncode == 0
    assert "11.7 M" in done.stdout


def test_a_closed_input_is_reported(run):
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m convwright predict "$1" - <&-', sys.executable, run], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard input is closed" in done.stderr


PREDICT = """
import sys
from convwright.cli import main

for form in (["--json"], ["--csv"], []):
    assert main.run(["predict", *sys.argv[1:], "--top", "5", *form]) == 1  # the broken file
    print("END")
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_encoding_will_do(encoding, photos, renamed):
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, renamed, photos],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    lines, as_csv, text, rest = done.stdout.decode(encoding).split("END\n")
    found = {guess["class"] for line in lines.splitlines() for guess in json.loads(line)["predictions"]}
    assert found == set(CLASSES)
    assert as_csv
    assert text
    assert not rest


def test_json_has_no_nan(run, tmp_path, convwright, monkeypatch):
    monkeypatch.setattr("convwright.evaluation.evaluating.evaluate_run", lambda *_, **__: Measured())
    answer = convwright("evaluate", run, "--json")
    assert (answer.status, answer.out) == (1, "")
    assert "accuracy is nan, which JSON cannot hold" in answer.message


class Measured(Result):
    def to_dict(self):
        return {"accuracy": float("nan")}

    def blocks(self):
        return []


def in_shell(command):
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True)


PRINTING = {
    "cli/output.py": "the one place that prints",
}
JSON = {
    "json_text.py": "the one place that reads and writes JSON",
    "data/item_index.py": "lines of a cache, of which damaged ones are skipped",
    "data/shard_index.py": "the index of tar files in the cache, which is made anew if it is damaged",
    "scaling/storage.py": "columns of a study's database",
    "scaling/earlier.py": "studies that earlier versions stored with Optuna",
}


def calls(path):
    """Yield the dotted names of all functions that a file calls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_commands_print_through_one_place():
    for path in sorted(SOURCES.glob("cli/*.py")):
        if str(path.relative_to(SOURCES)) not in PRINTING:
            found = {name for name in calls(path) if name in ("print", "click.echo", "click.secho", "sys.stdout.write")}
            assert not found, f"{path.name}: use convwright.cli.output"


def test_json_is_read_and_written_in_one_place():
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if {"json.dumps", "json.loads", "json.dump", "json.load"}.intersection(calls(path))
    }
    assert found == set(JSON)


def test_bars_print_nothing_where_standard_error_is_no_terminal(capsys):
    with counting() as progress:
        progress(1, 2, "images")
        progress(2, 2, "images")
    assert capsys.readouterr() == ("", "")
