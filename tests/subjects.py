"""Networks whose statistics are not those of new ones, ready to be exported."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import convwright as cw
from convwright.exporting.agreement import CheckImages
from convwright.exporting.subject import Subject
from convwright.exporting.writing import FORMATS
from convwright.extras import installed
from convwright.files import digest_of
from convwright.prediction.network import Predictor

NOT_QUICK = ("executorch", "coreml")  # Core ML packages do not run here
QUICK_FORMATS = [
    name for name in FORMATS if name not in NOT_QUICK and (name != "litert" or installed("ai_edge_litert"))
]
"""Installed formats, but for ExecuTorch, whose compiler takes many seconds; test_mobile.py has it."""


@cache
def temporary_folder():
    """Return a folder for all tests of this process, which is removed at its end."""
    return TemporaryDirectory(prefix="convwright-tests-")


@cache
def trained_run():
    """Train a small network on the digits for two epochs, once for all tests; return its directory."""
    path = Path(temporary_folder().name) / "digits"
    cw.train("digits", network="cifar_seresnet8|scale:w=0.25", epochs=2, out=path, progress=False)
    return path


def lively(module, seed=1):
    """Give normalisations factors and statistics as training would: some small, some negative, one zero."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            size = part.num_features
            part.weight.data = torch.rand(size, generator=generator) * 1.5 - 0.3
            part.weight.data[0] = 0
            part.bias.data = torch.randn(size, generator=generator) * 0.2
            part.running_mean = torch.randn(size, generator=generator) * 0.1
            part.running_var = torch.rand(size, generator=generator) + 0.5
    return module.eval()


def subject_of(described):
    """Return a network, or the network of an expression, with lively weights, ready to be exported."""
    network = described if isinstance(described, cw.Network) else cw.network(described)
    classes = [f"class {index}" for index in range(network.classes)]
    mean, std = np.linspace(0.3, 0.5, network.channels).tolist(), np.linspace(0.2, 0.3, network.channels).tolist()
    return Subject(Predictor(network, lively(cw.build(network, seed=0)), classes, mean, std), network.name)


def images_for(subject, count=3, seed=0):
    network = subject.network
    shape = (count, network.channels, network.resolution, network.resolution)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def check_of(subject, count=6):
    return CheckImages(images_for(subject, count), None, f"{count} images of noise")


def with_new_checksum(path, change):
    """Change the content of an exported file as if it had been written so: its checksum fits again."""
    from convwright.engines.card import CHECKSUM_PLACEHOLDER
    from convwright.engines.card_reading import read_card

    content = change(path.read_bytes().replace(read_card(path).checksum.encode(), CHECKSUM_PLACEHOLDER.encode()))
    path.write_bytes(content.replace(CHECKSUM_PLACEHOLDER.encode(), digest_of(content).encode()))
