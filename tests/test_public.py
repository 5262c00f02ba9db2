"""Every public function that takes a network also takes its expression, and refuses anything else in a line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import convwright as cw
from convwright.api import networks
from convwright.errors import NetworkError, UsageError

EXPRESSION = "cifar_resnet8"
CALLS: dict[str, Callable[[Any], Any]] = {
    "at": lambda network: cw.at(network, classes=5),
    "build": lambda network: cw.build(network, device="meta"),
    "compound": lambda network: cw.compound(network, 1),
    "cost": cw.cost,
    "describe": cw.describe,
    "draw": cw.draw,
    "fit_resolution": lambda network: cw.fit_resolution(network, 16),
    "network": cw.network,
    "recalibrate": lambda network: cw.recalibrate(network, 4),
    "scale": lambda network: cw.scale(network, depth=2),
    "truncate": lambda network: cw.truncate(network, 2),
}
OTHERS = {"models", "register"}
"""Functions that take no network."""
OPERATORS = ("at", "compound", "fit_resolution", "recalibrate", "regularise", "scale", "truncate")


def test_every_public_function_on_networks_is_covered() -> None:
    assert {*networks.__all__, "build"} == set(CALLS) | OTHERS
    assert set(CALLS) | OTHERS <= set(cw.__all__)


@pytest.mark.parametrize("name", CALLS)
def test_an_expression_does_what_its_network_does(name: str) -> None:
    network = cw.network(EXPRESSION)
    by_expression, by_network = CALLS[name](EXPRESSION), CALLS[name](network)
    if name == "build":
        by_expression, by_network = by_expression.network, by_network.network
    assert by_expression == by_network
    assert name == "describe" or by_expression.name == by_network.name


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Return everything that contains the network of `EXPRESSION`."""

    class Holder:
        """Stands for a run."""

        network = cw.network(EXPRESSION)

    folder = tmp_path_factory.mktemp("run")
    file = folder / "network.json"
    file.write_text(Holder.network.to_json_text())
    return {"file": file, "text": str(file), "folder": folder, "folder's text": str(folder), "run": Holder()}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("place", ["file", "text", "folder", "folder's text", "run"])
def test_files_and_runs_are_taken_too(name: str, place: str, places: dict[str, object]) -> None:
    found, expected = CALLS[name](places[place]), CALLS[name](EXPRESSION)
    if name == "build":
        found, expected = found.network, expected.network
    assert found == expected


def test_operators_apply_to_files(places: dict[str, object]) -> None:
    assert cw.cost(f"{places['text']}|classes:10|se:4") == cw.cost(f"{EXPRESSION}|classes:10|se:4")
    for text in ("absent/network.json|se:4", "absent/run", "absent.json", "x" * 5000 + "/y"):
        with pytest.raises(NetworkError, match=r"cannot be read: (No such file|File name too long)"):
            cw.network(text)
    with pytest.raises(NetworkError, match="is no path"):
        cw.network("a/\0")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", [3, None, 1.5, b"resnet18", ["resnet18"], object, {}], ids=str)
def test_anything_else_is_refused(name: str, value: object) -> None:
    expected = "a network is an expression such as .*, a Network, a run or a file, not |network: must be text, not "
    with pytest.raises(UsageError, match=expected):
        CALLS[name](value)


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_expression_is_explained(name: str) -> None:
    with pytest.raises(NetworkError, match="unknown network 'resnet51'; the nearest are resnet50"):
        CALLS[name]("resnet51")


def test_options_of_the_other_kind_of_network_are_refused() -> None:
    module = torch.nn.Conv2d(3, 8, 3)
    with pytest.raises(NetworkError, match="where: only a torch module has this option"):
        cw.recalibrate(EXPRESSION, 4, "0")  # type: ignore[call-overload]
    with pytest.raises(NetworkError, match="placement: only a Network or an expression has this option"):
        cw.recalibrate(module, 4, placement="pre")  # type: ignore[call-overload]
    with pytest.raises(NetworkError, match="classes: a torch module has its number of classes already"):
        cw.cost(module, classes=4)  # type: ignore[call-overload]


def test_a_network_is_returned_as_it_is() -> None:
    network = cw.network(EXPRESSION)
    assert cw.network(network) is network


def test_the_operators_of_arch_take_expressions_too() -> None:
    for name in OPERATORS:
        assert name in cw.arch.__all__
        with pytest.raises(NetworkError, match="unknown network 'resnet51'"):
            getattr(cw.arch, name)("resnet51", 1)
    assert cw.scale(network=EXPRESSION, depth=2) == cw.scale(EXPRESSION, 2)


def test_torch_modules_are_costed_and_recalibrated() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    assert cw.cost(module, 16).params == 3 * 8 * 9 + 8
    assert cw.recalibrate(module, 4, "0", resolution=16) is not module
