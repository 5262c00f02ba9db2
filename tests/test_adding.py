"""The guide to adding a network: its code does what the page promises."""

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parent.parent / "docs" / "adding-a-network.md"

USE = """
import torch
for expression, repeats in (("tower|se:16|scale:d=2,w=1.5|fit:32", [4, 4]), ("my_network|scale:d=2,w=1.5", [4, 4])):
    network = cw.network(expression)
    module = cw.build(network, classes=10)
    assert [stage.repeats for stage in network.stages] == repeats
    assert sum(p.numel() for p in module.parameters()) == cw.cost(network, classes=10).params
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert cw.Network.from_json_text(network.to_json_text()) == network
    print(network.name, cw.cost(network).macs)
assert {each.network.name for each in cw.models("my_family")} == {"my_network"}
"""


def test_the_examples_are_networks_like_any_other(tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    (tmp_path / "tower.py").write_text(code + USE)
    done = subprocess.run([sys.executable, tmp_path / "tower.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tower|se:16|scale:d=2,w=1.5|fit:32 ")
