"""Naming networks and counting their cost loads no heavy library."""

import subprocess
import sys

import pytest

import convwright as cw

PROGRAM = """
import sys
import convwright as cw
network = cw.network("efficientnet_b0|se:8|fit:32|scale:d=1.2")
cw.cost(cw.Network.from_json_text(network.to_json_text()))
print(*(name for name in ("torch", "torchvision", "numpy", "sklearn", "pydantic") if name in sys.modules))
"""


def test_naming_and_costing_networks_loads_no_heavy_library() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_functions_that_need_torch_are_loaded_when_used() -> None:
    assert cw.build.__module__.startswith("convwright.modules")
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = cw.nonsense
