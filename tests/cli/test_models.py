"""`convwright models`, and what holds for every command: start-up, help, errors, closed pipes."""

import json
import os
import subprocess
import sys

import pytest

import convwright as cw
from convwright.arch import registry
from convwright.errors import ArgumentError
from convwright.training.request import DEFAULT_NETWORK
from convwright.zoo import listing

HEAVY = ("torch", "torchvision", "numpy", "sklearn", "pydantic", "plotly", "rich.console", "rich.table")
LOADED = f"""
import sys
from convwright.cli.main import run
status = run(sys.argv[1:])
print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
sys.exit(status)
"""


def process(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


def test_every_network_is_listed_with_its_cost(convwright):
    done = convwright("models")
    assert done.status == 0
    lines = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    for _, name in registry.names():
        assert lines[name][1] == str(cw.network(name).resolution)
    assert lines["efficientnet_b0"][1:6] == ["224", "5.29", "M", "386", "M"]
    assert "top-1 error 24.8, top-5 7.48" in done.out
    assert "multiply-adds" in done.out
    for pattern in registry.patterns():
        assert pattern.form in done.out


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("efficientnet_b7", {"efficientnet_b7"}),
        ("*net50_v1", {"resnet50_v1", "seresnet50_v1"}),
        ("DenseNet (CIFAR)", {name for family, name in registry.names() if family == "DenseNet (CIFAR)"}),
        ("EfficientNet_B[01]", {"efficientnet_b0", "efficientnet_b1"}),
    ],
)
def test_filters_are_parts_or_globs_of_names_and_families(convwright, pattern, expected):
    listed = json.loads(convwright("models", pattern, "--json").out)
    assert {entry["name"] for entry in listed} == expected


@pytest.mark.parametrize(
    "name",
    [
        DEFAULT_NETWORK,
        *("cifar_resnet20", "CIFAR-SEResNet14", "densenet_bc_l16_k12", "densenet121", "resnet18|se:4"),
    ],
)
def test_every_network_is_found_by_its_exact_name(convwright, name):
    found = cw.network(name)
    (entry,) = (entry for entry in json.loads(convwright("models", name, "--json").out) if entry["name"] == found.name)
    assert entry["params"] == cw.cost(found).params
    assert entry["family"] in {family for family, _ in registry.names()}


def test_python_and_the_command_agree(convwright):
    listed = cw.models("*net50_v1")
    assert convwright("models", "*net50_v1").out == f"{listed}\n"
    assert convwright("models", "*net50_v1", "--json").out == listed.to_json(indent=1) + "\n"
    assert [each["name"] for each in listed.to_dict()["networks"]] == [each.network.name for each in listed]
    assert '<td class="text">resnet50_v1</td>' in listed._repr_html_()
    with pytest.raises(ArgumentError, match="pattern: must be text, not 3"):
        cw.models(3)


def test_json_is_exact(convwright):
    (entry,) = json.loads(convwright("models", "densenet121", "--json").out)
    assert entry == {
        "name": "densenet121",
        "family": "DenseNet",
        "resolution": 224,
        "params": 7978856,
        "macs": 2834161664,
        "weights": ["torchvision", "timm"],
        "papers": [
            {
                "title": "Densely Connected Convolutional Networks",
                "authors": "Huang et al.",
                "year": 2017,
                "arxiv": "1608.06993",
            }
        ],
        "results": [
            {"dataset": "ImageNet", "metric": "top-1 error", "value": 25.02},
            {"dataset": "ImageNet", "metric": "top-5 error", "value": 7.71},
        ],
    }


@pytest.mark.parametrize(("pattern", "reason"), [("resnt50", "resnet50"), ("zzz", "'convwright models'")])
def test_a_filter_that_finds_nothing_names_the_nearest(convwright, pattern, reason):
    done = convwright("models", pattern)
    assert (done.status, done.out) == (2, "")
    assert reason in done.message


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_tables_fit_the_terminal_and_cut_nothing(convwright, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = convwright("models")
    assert max(map(len, done.out.splitlines())) <= columns
    assert "…" not in done.out
    assert "\033" not in done.out


@pytest.mark.parametrize("command", [["models"], ["show", "efficientnet_b7"], ["show", "resnet50", "--diagram", "-"]])
def test_nothing_heavy_is_loaded(command):
    done = process("-c", LOADED, *command)
    assert (done.returncode, done.stderr.split()) == (0, [])


def test_the_module_is_the_command():
    done = process("-m", "convwright", "--version")
    assert (done.returncode, done.stdout) == (0, f"convwright {cw.__version__}\n")


def test_without_a_command_help_is_shown(convwright):
    done = convwright()
    assert done.status == 0
    assert "models" in done.out
    assert "show" in done.out


@pytest.mark.parametrize("wrong", [["shwo"], ["models", "a", "b"], ["models", "--jason"], ["show"]])
def test_wrong_use_is_reported_in_one_line(convwright, wrong):
    done = convwright(*wrong)
    assert (done.status, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert "--help" in done.message


def test_errors_of_a_whole_process_are_one_line():
    done = process("-m", "convwright", "show", "resnt50")
    assert done.returncode == 2
    assert done.stderr.startswith("convwright: unknown network 'resnt50'; the nearest are resnet50")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("text", "line"), [("", "interrupted"), ("continue with --resume", "continue with --resume")])
def test_an_interruption_is_one_line(convwright, monkeypatch, text, line):
    def interrupt(network):
        raise KeyboardInterrupt(*filter(None, [text]))

    monkeypatch.setattr(listing, "cost", interrupt)
    done = convwright("models")
    assert (done.status, done.err) == (130, f"convwright: {line}\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes end in another way there")
def test_a_reader_that_stops_reading_is_no_error():
    command = [sys.executable, "-m", "convwright", "show", "densenet264", "--layers", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode in (0, 141)


def test_a_terminal_of_ascii_alone_is_enough():
    done = process("-m", "convwright", "show", "resnet50", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "25.6 M" in done.stdout


def test_a_family_has_one_heading(convwright):
    lines = convwright("models", "incep").out.splitlines()
    assert lines.count("Inception") == lines.count("SE-Inception") == 1
