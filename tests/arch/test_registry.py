"""Names of the registry: which can be taken, and by which packages."""

import importlib
import sys
from pathlib import Path

import pytest

import convwright as cw
from convwright.arch import Network, registry
from convwright.errors import NetworkError


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    cw.network("resnet18")
    monkeypatch.setattr(registry, "_NAMED", dict(registry._NAMED))
    monkeypatch.setattr(registry, "_PATTERNS", list(registry._PATTERNS))


def make() -> Network:
    return cw.network("resnet18")


@pytest.mark.parametrize("name", ["cifar_resnet26", "wrn_16_3", "densenet_bc_l46_k12"])
def test_a_name_of_a_pattern_cannot_be_taken(name: str) -> None:
    params = cw.cost(name).params
    with pytest.raises(NetworkError, match=f"{name} is a network of .* choose another name"):
        cw.register("mine", name, make)
    assert cw.cost(name).params == params


def test_a_later_pattern_replaces_nothing() -> None:
    params = [cw.cost(name).params for name in ("cifar_resnet26", "resnet18")]
    registry.register_pattern("mine", "<any>", ".*resnet.*", lambda match: cw.network("resnet50"))
    assert [cw.cost(name).params for name in ("cifar_resnet26", "resnet18")] == params
    assert cw.network("my_resnet").name == "resnet50"


@pytest.mark.parametrize("family", [3, "", None, "a\nb"])
def test_a_family_is_a_text(family: object) -> None:
    with pytest.raises(NetworkError, match="the family of abc must be a text"):
        cw.register(family, "abc", make)  # type: ignore[arg-type]
    assert "abc" not in {name for _, name in registry.names()}


def test_a_module_that_registers_can_be_reloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import convwright as cw\ndef make():\n    return cw.network('resnet{}')\ncw.register('mine', 'mine', make)"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "registering.py").write_text(code.format(18))
    module = importlib.import_module("registering")
    (tmp_path / "registering.py").write_text(code.format(34))
    importlib.reload(module)
    assert cw.network("mine").name == "resnet34"
    with pytest.raises(NetworkError, match="two networks are named mine"):
        cw.register("mine", "mine", make)
