"""Families of other packages: registered through entry points, and unable to break anything else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

MODULE = """
from dataclasses import dataclass
from convwright.arch import Act, Block, Conv, Network, Norm, Seq, Stage
from convwright.arch.registry import register
from convwright.zoo.common import Classifier, Stem

@dataclass(frozen=True)
class Plain(Block):
    width: int
    stride: int = 1
    widths, strides = ("width",), ("stride",)

    def layers(self, channels: int):
        return Seq(Conv(self.width, 3, self.stride), Norm(), Act())

def plain() -> Network:
    return Network("plain", Stem(16), (Stage("stage1", Plain(8, 2), 2),), Classifier())

def register_all() -> None:
    register("Plain", "plain", plain)

NETWORKS = {"plain_too": plain}
FAILING = {"resnet50": plain}
UNUSABLE = {"three": lambda: 3, "failing": lambda: 1 / 0}
"""


def install(folder: Path, entry_points: str, package: str = "plain_networks", module: str = MODULE) -> None:
    """Lay out a package as installers do."""
    (folder / f"{package}.py").write_text(module)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[convwright.networks]\n{dedent(entry_points)}")


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(("provided", "name"), [("register_all", "plain"), ("NETWORKS", "plain_too")])
def test_networks_of_an_installed_package_are_like_any_other(tmp_path: Path, provided: str, name: str) -> None:
    install(tmp_path, f"plain = plain_networks:{provided}")
    shown = run(tmp_path, "-m", "convwright", "show", f"{name}|scale:w=2", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    description = json.loads(shown.stdout)
    assert description["network"]["stages"][0]["block"]["type"] == "plain_networks.Plain"
    (tmp_path / "network.json").write_text(json.dumps(description["network"]))
    again = run(tmp_path, "-m", "convwright", "show", str(tmp_path / "network.json"), "--json")
    assert json.loads(again.stdout)["params"] == description["params"]  # the package is loaded for its types
    listed = json.loads(run(tmp_path, "-m", "convwright", "models", "--json").stdout)
    assert {"plain", "resnet50"} <= {each["name"] for each in listed}


def test_networks_of_the_zoo_do_not_load_packages(tmp_path: Path) -> None:
    install(tmp_path, "plain = plain_networks", module="raise SystemExit(3)")
    assert run(tmp_path, "-m", "convwright", "show", "resnet50").returncode == 0


@pytest.mark.parametrize(
    ("entry_point", "module", "reason"),
    [
        ("absent:register", MODULE, "ModuleNotFoundError: No module named 'absent'"),
        ("plain_networks:absent", MODULE, "AttributeError: module 'plain_networks' has no attribute 'absent'"),
        ("plain_networks:FAILING", MODULE, "two networks are named resnet50"),
        ("plain_networks:__name__", MODULE, "neither a function nor a mapping"),
        ("plain_networks:x", "raise ValueError('first line\\nsecond line')", "ValueError: first line second line"),
    ],
)
def test_a_package_that_fails_is_reported_and_left_out(
    tmp_path: Path, entry_point: str, module: str, reason: str
) -> None:
    install(tmp_path, f"broken = {entry_point}", module=module)
    (tmp_path / "sound").mkdir()
    install(tmp_path, "sound = sound_networks:NETWORKS", package="sound_networks")
    done = run(tmp_path, "-m", "convwright", "models", "--json")
    names = {each["name"] for each in json.loads(done.stdout)}
    assert done.returncode == 0
    assert {"resnet50", "plain"} <= names
    (line,) = done.stderr.splitlines()
    assert line.startswith("convwright: the plug-in 'broken' of plain_networks (convwright.networks) is left out: ")
    assert reason in line


@pytest.mark.parametrize(("name", "reason"), [("three", "returns 3, not a Network"), ("failing", "ZeroDivisionError")])
def test_what_is_no_network_is_reported(tmp_path: Path, name: str, reason: str) -> None:
    install(tmp_path, "odd = plain_networks:UNUSABLE")
    done = run(tmp_path, "-m", "convwright", "show", name)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"the function registered as {name}" in done.stderr
    assert reason in done.stderr
    listed = run(tmp_path, "-m", "convwright", "models", "--json")
    assert "resnet50" in {each["name"] for each in json.loads(listed.stdout)}
    (line,) = (line for line in listed.stderr.splitlines() if name in line)
    assert line.startswith(f"convwright: {name} is left out: ")
