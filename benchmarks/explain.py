"""What the papers draw, on runs of the three families, and what follows from it.

    python benchmarks/explain.py --out runs/explain                 trains the three, then analyses them
    python benchmarks/explain.py --out runs/explain --only train    one part of it

Epochs and seed are fixed, so that the result does not depend on how busy the machine is. What is there already is
taken; a run that was stopped goes on. Every analysis leaves its JSON beside its figures in the folder of the run.
"""

import argparse
from pathlib import Path

import torch
from machine import describe

import convwright as cw
from convwright.data import Dataset, open_dataset
from convwright.training.loop import resume, train
from convwright.training.plan import plan
from convwright.training.run import Run

NETWORKS = {
    "densenet": "densenet_bc_l22_k12",
    "seresnet": "cifar_seresnet14",
    "efficientnet": "efficientnet_b0|scale:d=0.3,w=0.25",
}


def trained(name: str, path: Path, data: Dataset, epochs: float, seed: int) -> Run:
    """Train, or go on, or take what is there."""
    if (path / "config.yaml").exists():
        resume(Run.open(path), data)
    else:
        config, network = plan(data, cw.network(name), name="fast", epochs=epochs, seed=seed)
        train(config, network, data, path)
    return Run.open(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/explain"), help="folder for the runs")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=["train"], default=["train"])
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    data = open_dataset("fashion-mnist")
    for folder, name in NETWORKS.items():
        run = trained(name, options.out / folder, data, options.epochs, options.seed)
        print(f"{name}: validation accuracy {run.summary['val_accuracy']:.2%}", flush=True)


if __name__ == "__main__":
    main()
