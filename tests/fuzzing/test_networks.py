"""Fuzzing of what names or describes a network: expressions, JSON and budgets, and commands that take them."""

import json
import random

import pytest
from hypothesis import strategies as st

import convwright as cw
from convwright.arch.expression import load_network
from convwright.cli.main import run as run_command
from convwright.errors import ConvwrightError
from convwright.scaling.budget import as_budget

from ..mutations import VALUES, damaged, mutated

SEEDS = st.integers(0, 2**40)
ODD = st.sampled_from(
    ("", " ", "0", "-1", "1e999", "nan", "inf", "9" * 5000, "½", "٣", "\x00", "\x1b[2J", "\ud800", "|")
)
NUMBERS = st.one_of(st.integers(-3, 300).map(str), st.floats(allow_nan=True).map(str), ODD)
NAMES = st.sampled_from(
    ("resnet18", "densenet_bc_l16_k8", "efficientnet_b0", "cifar_seresnet8", "vgg11", "mobilenet_v2")
)
KEYS = ("d", "w", "r", "alpha", "beta", "gamma", "least", "placement", "stages", "act", "gate", "of", "reduction", "x")
WORDS = st.sampled_from(("pre", "standard", "1-3", "stage1", "relu", "none", "input", "off"))
OPERATORS = ("se", "scale", "phi", "fit", "resolution", "classes", "channels", "dropout", "stochastic_depth", "zzz")


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Names with operators, of which most are written as they should be."""
    parts = [draw(NAMES | ODD | st.text(max_size=12))]
    for _ in range(draw(st.integers(0, 3))):
        options = [draw(NUMBERS | WORDS)] if draw(st.booleans()) else []
        keys = draw(st.lists(st.sampled_from(KEYS), max_size=3))
        options += [f"{key}={draw(NUMBERS | WORDS)}" for key in keys]
        parts.append(f"{draw(st.sampled_from(OPERATORS))}:{','.join(options)}")
    return draw(st.sampled_from(("|", "|", "|", " | ", "||"))).join(parts)


def use_network(network: cw.Network) -> None:
    """Do with a network what `show` does."""
    counted = cw.cost(network)
    assert counted.macs >= 0
    assert cw.Network.from_json_text(network.to_json_text()) == network
    assert "<svg" in cw.draw(network)._repr_html_()


def test_expressions(fuzz):
    def use(text: str) -> None:
        network = cw.network(text)
        assert cw.network(network.name) == network
        use_network(network)

    fuzz(expressions() | st.text(max_size=40), use, 100)


def test_network_json(fuzz, tmp_path):
    bases = [cw.network(name).to_json() for name in ("densenet_bc_l16_k8|se:4", "cifar_resnet8", "efficientnet_b0")]
    bases += [cw.network(name).to_json() for name in ("inception_v3|scale:d=0.3", "seresnet50_v1|scale:d=0.3")]
    path = tmp_path / "network.json"

    def content(seed: int) -> bytes:
        draw = random.Random(seed)
        value = draw.choice(bases)
        for _ in range(draw.randrange(3)):
            value = mutated(value, draw)
        whole = json.dumps(value).replace(str(10**400), "9" * 5000).encode()
        return damaged(whole, draw) if draw.random() < 0.5 else whole

    def use(content: bytes) -> None:
        path.write_bytes(content)
        use_network(load_network(path))

    fuzz(SEEDS.map(content) | st.binary(max_size=50), use, 60)


RESOURCES = st.sampled_from(("macs", "params", "activations", "memory", "latency", "FLOPs", "latency_ms", "", "x"))
SIGNS = st.sampled_from(("<=", "<", "=", "≤", ">=", "", "<=<="))
UNITS = st.sampled_from(("", "K", "M", "G", "T", "MB", "KiB", "ms", "us", "s", "parsec", "\n"))
LIMITS = st.builds(lambda *parts: "".join(parts), RESOURCES, SIGNS, NUMBERS, UNITS)
RIGHT = st.sampled_from(
    ("macs<=50M", "params < 2.5M", "memory=40MB", "FLOPs<=1G", "activations <= 5 M", "latency<=3ms")
)
TEXTS = (
    st.lists(RIGHT, max_size=3).map(", ".join)
    | st.lists(LIMITS | RIGHT, max_size=4).map(", ".join)
    | st.text(max_size=30)
)
MAPPINGS = st.dictionaries(
    RESOURCES | st.sampled_from((None, 1, ("a",))),
    st.sampled_from(VALUES) | st.floats() | st.integers() | st.integers(1, 10**9),
    max_size=3,
)


def test_budgets(fuzz):
    def use(budget: object) -> None:
        read = as_budget(budget)
        assert read.limits
        assert all(0 < limit < float("inf") for limit in read.limits.values())
        assert as_budget(read) is read
        assert str(read).isprintable()
        if read.latency is None:
            cw.plan("cifar_resnet8", budget=budget).to_dict()

    fuzz(TEXTS | MAPPINGS | st.sampled_from(VALUES), use, 100)


COMMANDS = st.one_of(
    st.builds(lambda name: ["show", name], expressions()),
    st.builds(lambda name, flag: ["show", name, *flag], NAMES, st.lists(NUMBERS | TEXTS, max_size=2)),
    st.builds(lambda text: ["scale", "plan", "cifar_resnet8", "--budget", text], TEXTS),
    st.builds(lambda name, phi: ["scale", "plan", name, "--phi", phi], expressions(), NUMBERS),
    st.builds(lambda text: ["models", text], st.text(max_size=10)),
    st.builds(
        lambda option, value: ["train", "--data", "digits", "--out", "/nowhere/run", option, value],
        st.sampled_from(
            ("--epochs", "--seed", "--recipe", "--lr", "--mixup", "--minutes", "--network", "--resolution")
        ),
        NUMBERS | WORDS,
    ),
    st.lists(st.sampled_from(("show", "train", "--data", "--json", "-h", "scale", "--", "resnet18")) | ODD, max_size=4),
)


def test_commands(fuzz, capsys, monkeypatch, tmp_path):
    """A command ends with status 0, 1 or 2; of an error it prints one line that begins with its name."""
    monkeypatch.chdir(tmp_path)

    def use(arguments: list[str]) -> None:
        capsys.readouterr()
        status = run_command(arguments)
        out, err = capsys.readouterr()
        assert status in (0, 1, 2)
        assert "Traceback" not in err
        lines = err.splitlines()
        if status:
            assert lines, "an error without a message"
            assert all(line.startswith("convwright: ") for line in lines), err
            raise ConvwrightError("refused")
        assert out

    fuzz(COMMANDS, use, 60)


@pytest.fixture(autouse=True)
def _no_runs(monkeypatch):
    """Let no command train: those that are right end before they begin."""
    from convwright.training import prepare

    def refuse(*_: object, **__: object) -> None:
        raise ConvwrightError("this test trains nothing")

    monkeypatch.setattr(prepare, "prepare", refuse)
