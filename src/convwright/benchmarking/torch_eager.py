"""A network in torch as it was trained: in the default memory format, channels last, compiled, or on a GPU."""

from pathlib import Path

import numpy as np
import torch

from convwright.arch.expression import load_network
from convwright.engines.card import Card
from convwright.engines.runner import Runner
from convwright.modules import build
from convwright.weights import load_weights


def eager_runner(folder: Path, engine: str, precision: str) -> tuple[Runner, Card]:
    """Build the network that `prepared` has written.

    Args:
        folder: Folder of the network.
        engine: `torch`, `torch-channels-last`, `torch-compile`, `torch-cuda` or `torch-cuda-compile`.
        precision: `f32` or `bf16`.

    Returns:
        A function that runs the network, and its card.
    """
    card = Card.from_json_text((folder / "card.json").read_text(encoding="utf-8"), folder)
    module = build(load_network(folder / "network.json"), seed=0).eval()
    load_weights(module, folder / "weights.safetensors")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    form = torch.contiguous_format if engine == "torch" else torch.channels_last
    device = torch.device("cuda" if engine.startswith("torch-cuda") else "cpu")
    module = module.to(device, dtype).to(memory_format=form)
    call = torch.compile(module) if engine.endswith("-compile") else module
    mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) * 255 for values in (card.mean, card.std))

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        normal = ((torch.from_numpy(images).to(device) - mean) / std).to(dtype=dtype, memory_format=form)
        logits: np.ndarray = call(normal).float().cpu().numpy()
        return logits

    return run, card
