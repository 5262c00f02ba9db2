"""Types in a network's JSON: found by qualified name, in every version of the schema."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

import convwright as cw
from convwright.arch import Block, Network, Stage, registry
from convwright.arch.layers import Act, Conv, Layer, Norm, Seq
from convwright.arch.network import SCHEMA
from convwright.arch.node import Node
from convwright.errors import ConvwrightWarning, NetworkError
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.resnet import Bottleneck as PublishedBottleneck

PUBLISHED = cw.network("resnet50")


@dataclass(frozen=True)
class Bottleneck(Block):
    """A user's block with the name and the fields of a published one."""

    width: int
    stride: int = 1
    widths, strides = ("width",), ("stride",)

    def layers(self, channels: int) -> Layer:
        return Seq(Conv(self.width, 3, self.stride), Norm(), Act())


@dataclass(frozen=True)
class OnlyOne(Block):
    """A user's block with a name that no published one has."""

    width: int
    stride: int = 1
    widths, strides = ("width",), ("stride",)

    def layers(self, channels: int) -> Layer:
        return Seq(Conv(self.width, 3, self.stride), Norm(), Act())


def with_bare_names(value: object) -> object:
    """A network's JSON as schema 1 had it."""
    if isinstance(value, list):
        return [with_bare_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: with_bare_names(item) for name, item in value.items() if name not in ("schema", "counts")}
    return found | ({"type": found["type"].rpartition(".")[2]} if "type" in found else {})


def own_network() -> Network:
    return Network("own", Stem(16), (Stage("stage1", Bottleneck(8, 2), 2),), Classifier())


def test_a_class_of_the_same_name_does_not_replace_a_published_one() -> None:
    again = Network.from_json_text(PUBLISHED.to_json_text())
    assert type(again.stages[0].block) is PublishedBottleneck
    assert cw.cost(again).params == 25_557_032
    own = Network.from_json_text(own_network().to_json_text())
    assert type(own.stages[0].block) is Bottleneck
    assert own == own_network()


def test_bare_names_are_those_of_convwright() -> None:
    again = Network.from_json(with_bare_names(PUBLISHED.to_json()))
    assert again == PUBLISHED
    assert type(again.stages[0].block) is PublishedBottleneck


@pytest.mark.parametrize("name", [name for _, name in registry.names()])
def test_every_network_is_read_from_schema_1(name: str) -> None:
    network = cw.network(name)
    assert Network.from_json(with_bare_names(network.to_json())) == network


def test_the_schema_is_written_and_checked() -> None:
    data = PUBLISHED.to_json()
    assert list(data)[:2] == ["type", "schema"]
    assert data["schema"] == SCHEMA
    assert Network.from_json(data | {"schema": 1}) == PUBLISHED
    with pytest.raises(NetworkError, match=f"written with schema {SCHEMA + 1}.* install a newer version"):
        Network.from_json(data | {"schema": SCHEMA + 1})
    for wrong in (0, "2", None, True, 1.0):
        with pytest.raises(NetworkError, match="schema must be a version from 1"):
            Network.from_json(data | {"schema": wrong})


def with_type(name: str) -> dict[str, object]:
    data = own_network().to_json()
    data["stages"][0]["block"]["type"] = name
    return data


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("__main__.MyBlock", "a script or notebook defined; define it here first"),
        ("my_package.blocks.MyBlock", "unknown type 'my_package.blocks.MyBlock'; import my_package.blocks before"),
        ("Botleneck", "unknown type 'Botleneck'; the nearest are Bottleneck"),
        ("convwright.zoo.resnet.BasicBlok", "the nearest are convwright.zoo.resnet.BasicBlock"),
        ("a\x1b.B", r"unknown type 'a\\x1b.B'; import a\\x1b before"),
    ],
)
def test_unknown_types_are_refused_with_a_remedy(name: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        Network.from_json(with_type(name))
    assert "\n" not in str(caught.value)


def define(module: str, width: int = 8) -> type[Node]:
    """Define a class in a module, as a notebook's cell or a reload does."""

    @dataclass(frozen=True)
    class Again(Block):
        out: int = width
        widths: ClassVar[tuple[str, ...]] = ("out",)
        __module__ = module
        __qualname__ = "Again"

        def layers(self, channels: int) -> Layer:
            return Conv(self.out)

    return Again


def test_the_newest_definition_of_a_class_counts() -> None:
    first = define("__main__")
    old = Network("again", Stem(16), (Stage("stage1", first(12)),), Classifier())  # type: ignore[call-arg,arg-type]
    text = old.to_json_text()
    second = define("__main__", 16)
    assert type(Network.from_json_text(text).stages[0].block) is second
    with pytest.raises(NetworkError, match=r"__main__\.Again has been defined again; make the network again"):
        old.to_json_text()
    assert cw.cost(old).params  # it works as before


def test_two_files_cannot_define_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("a/blocks.py", "b/blocks.py"):
        module = ModuleType("my_blocks")
        module.__file__ = place
        monkeypatch.setitem(sys.modules, "my_blocks", module)
        if place.startswith("a"):
            define("my_blocks")
            define("my_blocks")  # as a reload does
        else:
            with pytest.raises(NetworkError, match=r"a/blocks\.py and b/blocks\.py both define my_blocks\.Again"):
                define("my_blocks")


SCRIPT = """
import sys
from dataclasses import dataclass
import convwright as cw
from convwright.arch import Act, Block, Conv, Network, Norm, Seq, Stage
from convwright.zoo.common import Classifier, Stem

@dataclass(frozen=True)
class MyBlock(Block):
    width: int
    stride: int = 1
    widths, strides = ("width",), ("stride",)

    def layers(self, channels: int):
        return Seq(Conv(self.width, 3, self.stride), Norm(), Act())

network = Network("mine", Stem(16), (Stage("stage1", MyBlock(8), 2),), Classifier())
assert Network.from_json_text(network.to_json_text()) == network
open(sys.argv[1], "w").write(network.to_json_text())
"""


def test_a_class_of_a_script_is_read_in_that_process_alone(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    subprocess.run([sys.executable, "-c", SCRIPT, path], check=True)
    assert json.loads(path.read_text())["stages"][0]["block"]["type"] == "__main__.MyBlock"
    with pytest.raises(NetworkError, match=r"unknown type '__main__\.MyBlock', which a script or notebook"):
        Network.from_json_text(path.read_bytes(), path)


def test_an_own_block_of_schema_1_is_found_by_its_bare_name() -> None:
    network = Network("bare", Stem(16), (Stage("stage1", OnlyOne(8, 2), 2),), Classifier())
    with pytest.warns(ConvwrightWarning, match="names the type OnlyOne; .*test_json_types.OnlyOne, the only class"):
        assert Network.from_json(with_bare_names(network.to_json())) == network
    with pytest.raises(NetworkError, match="unknown type 'OnlyTwo'"):
        Network.from_json_text(json.dumps(with_bare_names(network.to_json())).replace("OnlyOne", "OnlyTwo"))


def test_counts_show_that_a_class_is_another_one() -> None:
    data = own_network().to_json()
    assert data["counts"] == {"params": cw.cost(own_network()).params, "macs": cw.cost(own_network()).macs}
    assert "counts" not in PUBLISHED.to_json()
    assert Network.from_json({name: value for name, value in data.items() if name != "counts"}) == own_network()
    with pytest.raises(
        NetworkError, match=r"written with 1 parameters and 2 MACs, and now has [\d,]+ parameters.*Bottl"
    ):
        Network.from_json(data | {"counts": {"params": 1, "macs": 2}})
    with pytest.raises(NetworkError, match="written with the counts 3, and now has"):
        Network.from_json(data | {"counts": 3})
