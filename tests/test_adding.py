"""The guide to adding a network and the tutorial on a package of one's own: their code does what the pages promise."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
GUIDE = DOCS / "adding-a-network.md"
TUTORIAL = DOCS / "tutorials" / "extending.md"

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


def blocks_of_the_tutorial(root: Path) -> list[str]:
    """Write the files that the tutorial shows, and return the rest of its code as Python, in its order."""
    code = []
    for language, block in re.findall(r"```(\w+)\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL):
        first = block.partition("\n")[0]
        if first.startswith("# stripes/"):
            with (root / first.removeprefix("# ")).open("a", encoding="utf-8") as file:
                file.write(block)
        elif language == "sh":
            lines = [shlex.split(line)[1:] for line in block.splitlines()]
            code += ["from convwright.cli.main import run", *[f"assert run({words}) == 0, {words}" for words in lines]]
        elif language == "python":
            code.append(block.replace("epochs=10", "epochs=2"))
    return code


def test_the_package_of_the_tutorial_adds_networks_data_and_an_engine(tmp_path: Path) -> None:
    for package in ("hatchling", "onnxruntime"):
        pytest.importorskip(package)
    (tmp_path / "stripes").mkdir()
    code = blocks_of_the_tutorial(tmp_path)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", "site"]
    subprocess.run([sys.executable, *install, "./stripes"], cwd=tmp_path, check=True)
    code.append("assert {each.network.name for each in cw.models('Towers')} == {'tower16', 'tower32'}")
    code.append("assert cw.load('stripes.onnx', engine='onnx-reference').predict('stripe.png')")
    code.insert(0, "from PIL import Image\nImage.new('L', (16, 16)).save('stripe.png')")
    (tmp_path / "use.py").write_text("\n".join(code).replace("'--epochs', '10'", "'--epochs', '2'"))
    paths = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "use.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "onnx-reference" in done.stdout
    assert "tower32|fit:16|taller:2" in done.stdout
