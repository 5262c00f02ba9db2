"""The guide to adding a network: its code does what it says."""

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parent.parent / "docs" / "adding-a-network.md"

USE = """
import torch, convwright as cw
network = cw.network("tower|se:16|scale:d=2,w=1.5|fit:32")
cost, module = cw.cost(network), cw.build(network, classes=10)
assert [stage.repeats for stage in network.stages] == [4, 4]
assert sum(p.numel() for p in module.parameters()) == cw.cost(network, classes=10).params
assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)
print(network.name, cost.macs)
"""


def test_the_example_is_a_network_like_any_other(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "tower.py").write_text(code + USE)
    done = subprocess.run([sys.executable, tmp_path / "tower.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tower|se:16|scale:d=2,w=1.5|fit:32 ")
