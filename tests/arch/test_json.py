"""Networks as JSON: an exact round trip, and clear errors for anything else."""

import json
from typing import Any

import pytest
from hypothesis import given

import convwright as cw
from convwright.arch import SE, Network, registry
from convwright.arch.layers import Add, Conv, Dropout, Identity, Linear, Norm, Pool, Seq
from convwright.arch.node import decode
from convwright.errors import NetworkError

from .strategies import any_networks, raw_networks


def everything(value: object) -> object:
    """A value with the types and fields of all nodes in it, those that equality leaves out among them."""
    if isinstance(value, tuple):
        return [everything(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        fields = {name: everything(getattr(value, name)) for name in value.__dataclass_fields__}
        return type(value).__name__, fields
    return type(value).__name__, value


@given(any_networks() | raw_networks())
def test_the_round_trip_is_exact(network: Network) -> None:
    text = network.to_json_text()
    again = Network.from_json_text(text)
    assert again == network
    assert everything(again) == everything(network)
    assert again.to_json_text() == text
    assert hash(again) == hash(network)


@pytest.mark.parametrize("name", [name for _, name in registry.names()])
def test_every_named_network_survives_the_round_trip(name: str) -> None:
    network = cw.network(name)
    assert everything(Network.from_json_text(network.to_json_text())) == everything(network)


def test_only_what_differs_from_the_defaults_is_stored_and_shown() -> None:
    assert Conv(8, 3).to_json() == {"type": "convwright.arch.layers.Conv", "out": 8, "kernel": 3}
    assert repr(Conv(8, (3, 1))) == "Conv(out=8, kernel=(3, 1))"
    assert repr(Seq(Conv(8), Identity(), Seq(Linear()))) == "Seq(Conv(out=8), Linear())"


def test_a_network_shows_its_stages() -> None:
    lines = str(cw.network("cifar_seresnet20|channels:1")).splitlines()
    assert repr(cw.network("cifar_seresnet20|channels:1")) == lines[0]
    assert lines[0] == "Network 'cifar_seresnet20|channels:1': 1 x 32 x 32 -> 10 classes"
    assert lines[2].split() == ["stage1", "3", "x", "BasicBlock(out=16,", "shortcut='zero-pad',", "se=SE())"]


def changed(**changes: Any) -> str:
    """The JSON of a small network with members replaced."""
    return json.dumps(cw.network("cifar_resnet8").to_json() | changes)


STAGE = {"type": "Stage", "name": "stage1"}
BLOCK = {"type": "BasicBlock", "out": 16}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the network: not readable JSON"),
        ("{", "the network: not readable JSON"),
        ("[" * 100_000, "the network: not readable JSON: nested too deeply"),
        ("1" * 5000, "the network: not readable JSON"),
        (changed(stochastic_depth=float("nan")), "NaN is not a finite number"),
        ("[" * 150 + "]" * 150, "nested more than 100 levels deep"),
        ("null", "expected a Network in the JSON, found NoneType"),
        ("[]", "expected a Network in the JSON, found tuple"),
        ("{}", "unknown type None"),
        (changed(type="Nonsense"), "unknown type 'Nonsense'"),
        (changed(type=["Network"]), "unknown type"),
        (changed(type="Block"), "unknown type 'Block'"),
        (json.dumps(BLOCK), "expected a Network in the JSON, found BasicBlock"),
        (changed(depth=3), "Network has no field 'depth'"),
        (json.dumps({"type": "Network", "name": "x"}), "Network lacks its field 'head'"),
        (changed(name=3), "'name' in the JSON cannot be 3"),
        (changed(stages="stage1"), "'stages' in the JSON cannot be 'stage1'"),
        (changed(stages=[3]), "'stages' in the JSON cannot be"),
        (changed(stages=[BLOCK]), "'stages' in the JSON cannot be"),
        (changed(stages=[STAGE | {"block": None}]), "'block' in the JSON cannot be None"),
        (changed(stages=[STAGE | {"block": BLOCK, "repeats": "2"}]), "'repeats' in the JSON cannot be '2'"),
        (changed(stages=[STAGE | {"block": BLOCK, "repeats": 1.0}]), "'repeats' in the JSON cannot be 1.0"),
        (
            changed(stages=[STAGE | {"block": BLOCK, "repeats": 0}]),
            "stage1: the number of repetitions must be 1 or more, not 0",
        ),
        (changed(stages=[STAGE | {"block": BLOCK, "repeats": 10**6}]), "blocks are too many"),
        (changed(stages=[STAGE | {"block": BLOCK}] * 2), "two parts are named 'stage1'"),
        (changed(stages=[{"type": "Stage", "name": "a b", "block": BLOCK}]), "a stage's name is a word"),
        (changed(stages=[STAGE | {"block": BLOCK | {"shortcut": "none"}}]), "'shortcut' in the JSON cannot be"),
        (changed(stages=[STAGE | {"block": BLOCK | {"se": 16}}]), "'se' in the JSON cannot be 16"),
        (changed(head=[]), "'head' in the JSON cannot be"),
        (changed(head={"type": "Conv", "out": 3}), "'head' in the JSON cannot be"),
        (changed(resolution=True), "'resolution' in the JSON cannot be True"),
        (changed(resolution=None), "'resolution' in the JSON cannot be None"),
        (changed(resolution=0), "resolution must be 1 or more"),
        (
            changed(resolution=10**18),
            "'resolution' must be a finite number from -10,000,000 to 10,000,000, not 1000000000000000000",
        ),
        (changed(name="a\x1b[2Jb"), r"'name' has control characters: 'a\\x1b\[2Jb'"),
        (changed(name="\u202eb"), "'name' has control characters"),
        (changed(init="magic"), "unknown initialisation 'magic'"),
        (changed(stages=[STAGE | {"block": BLOCK | {"stride": 0}}]), "BasicBlock's stride must be 1 or more"),
        (changed(stages=[STAGE | {"block": {"type": "Inception", "rows": []}}]), "needs one row of filters or more"),
        (changed(stages=[STAGE | {"block": {"type": "Inception", "rows": ["9" * 5000]}}]), "is not a filter"),
        (changed(stages=[STAGE | {"block": {"type": "SENetBlock", "out": 8, "groups": 0}}]), "one group or more"),
        (changed(stochastic_depth=1), "stochastic depth is a rate"),
        (changed(stochastic_depth="a"), "'stochastic_depth' in the JSON cannot be"),
        (changed(papers={"type": "Paper"}), "Paper lacks its field"),
    ],
)
def test_json_of_no_network_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network.from_json_text(text)


def test_objects_are_checked_as_their_text_is() -> None:
    with pytest.raises(NetworkError, match="'stages' in the JSON cannot be 'stage1'"):
        Network.from_json(json.loads(changed(stages="stage1")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(0), "out of a convolution must be 1 or more, not 0"),
        (lambda: Conv(6, groups=4), "6 channels cannot have 4 groups"),
        (lambda: Conv(6, kernel=(3, 0)), "kernel of a convolution must be 1 or more, not 0"),
        (lambda: Conv(6, stride=0), "stride of a convolution must be 1 or more, not 0"),
        (lambda: Conv(6, padding=-1), "padding of a convolution must be 0 or more, not -1"),
        (lambda: Pool("max", 0, 1), "kernel of a pool must be 1 or more, not 0"),
        (lambda: Pool("avg", 2, 2, padding=2), "at most half"),
        (lambda: Dropout(1.0), "dropout rate"),
        (lambda: Linear(0), "out of a linear layer must be 1 or more, not 0"),
        (lambda: Norm(eps=-1.0), "eps must be 0 or more, and its momentum from 0 to 1"),
        (lambda: Norm(momentum=1.5), "eps must be 0 or more, and its momentum from 0 to 1"),
        (lambda: Add(Identity()), "joins 2 branches or more, not 1"),
        (lambda: decode({"type": "Concat", "parts": []}), "joins 2 branches or more, not 0"),
        (
            lambda: decode({"type": "Conv", "out": 8, "kernel": [3, 3, 3]}),
            r"'kernel' in the JSON cannot be \(3, 3, 3\)",
        ),
        (lambda: decode({"type": "Act", "function": "cosine"}), "'function' in the JSON cannot be 'cosine'"),
        (lambda: SE(placement="inside"), "unknown placement 'inside'"),  # type: ignore[arg-type]
        (lambda: SE(of="all"), "'gated' or 'input'"),  # type: ignore[arg-type]
    ],
)
def test_impossible_layers_are_refused_when_made(make: object, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()  # type: ignore[operator]
