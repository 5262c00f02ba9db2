"""Write the files of this version that later versions must read.

python tests/earlier/write.py

They are kept in `tests/earlier/VERSION/`, and never written again: `tests/earlier/test_earlier.py` reads those of every
version.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import convwright as cw
from convwright.version import __version__

HERE = Path(__file__).parent
NETWORK = "cifar_seresnet8|scale:w=0.25"


def main() -> None:
    """Write a network, a request, a run, an exported file of each format, and what they predict."""
    folder = HERE / ".".join(__version__.split(".")[:2])
    folder.mkdir()
    request = cw.TrainRequest(data="digits", network=NETWORK, epochs=2, seed=1, mixup=0.1, out=folder / "run")
    cw.TrainRequest(data="digits", network=NETWORK, epochs=2, seed=1, mixup=0.1).to_yaml(folder / "request.yaml")
    run = cw.train(cw.prepare(request, progress=False), progress=False)
    shutil.rmtree(run.path / "checkpoints")
    network = cw.network("densenet_bc_l16_k8|se:4|scale:w=0.5|fit:32")
    (folder / "network.json").write_text(network.to_json_text(), encoding="utf-8")
    for suffix in ("onnx", "xml", "safetensors"):
        run.export(folder / f"digits.{suffix}")
    for card in folder.glob("*README.md"):
        card.unlink()
    shutil.rmtree(run.path / "picked", ignore_errors=True)
    study = [sys.executable, "-m", "convwright", "scale", "search", NETWORK, "--data", "digits", "--tolerance", "0.2"]
    study += ["--rungs", "1", "--epochs", "0.2", "--seeds", "1", "--step", "0.2", "--set", "progressive=0"]
    subprocess.run([*study, "--out", str(folder / "study")], check=True)
    for path in (folder / "study").iterdir():
        if path.name != "search.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for number in range(3):
        pixels = (load_digits().images[number] * 15).astype(np.uint8)
        Image.fromarray(pixels).resize((20, 20)).save(folder / f"{number}.png")
    images = sorted(folder.glob("*.png"))
    facts = {
        "predictions": [each.to_dict()["predictions"] for each in run.predict(images, top=10)],
        "test_accuracy": run.evaluate(device="cpu").accuracy,
        "network": {"params": cw.cost(network).params, "macs": cw.cost(network).macs},
        "family": [member.network.name for member in cw.family(search=folder / "study", phi=1)],
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
