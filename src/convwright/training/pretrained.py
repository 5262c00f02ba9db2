"""Networks with pretrained weights: checkpoints of other libraries, or of our own runs."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from convwright.arch import Network, at
from convwright.data import Dataset
from convwright.data.images import Framing
from convwright.modules import build
from convwright.training.predictor import Predictor
from convwright.training.run import Run
from convwright.weights import transfer
from convwright.weights.adopt import adopt, classifier_of, first_convolution_of
from convwright.weights.published import Published, find
from convwright.weights.reading import Tensors, read_tensors


@dataclass(frozen=True)
class Start:
    """Weights under our names, for the channels and classes that they were trained for."""

    tensors: Tensors
    published: Published

    def load(self, module: nn.Module) -> list[str]:
        """Load them into a network, as far as they fit; return messages on what was changed or left out."""
        return transfer(self.tensors, module)

    def normalised(self, data: Dataset) -> Dataset:
        """Return the data set with the normalisation that the weights were trained with."""
        mean, std = self.published.mean, self.published.std
        if data.channels == 1 and len(mean) > 1:
            mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
        return replace(data, mean=mean, std=std)


def start(spec: str, network: Network) -> Start:
    """Find pretrained weights and match them with a network's layers.

    Args:
        spec: A run directory, or a source of `convwright.weights.published.find`.
        network: The network that gets the weights.

    Raises:
        UsageError: There are no such weights.
        ConvwrightError: The weights cannot be read or do not fit.
    """
    path = Path(spec).expanduser()
    if path.name == Run.WEIGHTS and (path.parent / "data.json").is_file():
        path = path.parent  # which says how its images are normalised
    published = _of_run(path) if path.is_dir() else find(spec, network)
    colour = at(network, channels=3)
    return Start(adopt(colour, published.tensors, published.source), published)


def pretrained(network: Network, spec: str = "pretrained", device: torch.device | str = "cpu") -> Predictor:
    """Return a network with published weights, ready to classify photos. Raises what `start` raises."""
    begun = start(spec, network)
    published = begun.published
    names = build(network, device="meta")
    count = begun.tensors[f"{classifier_of(names)}.weight"].shape[0]
    channels = begun.tensors[f"{first_convolution_of(names)}.weight"].shape[1]
    resolution = published.resolution or network.resolution
    network = at(network, resolution=resolution, channels=channels, classes=count)
    module = build(network, seed=0)
    begun.load(module)
    classes = published.classes or tuple(f"class {index}" for index in range(count))
    return Predictor(network, module, classes, published.mean, published.std, device, published.framing)


def initial(begun: Start | None) -> dict[str, bytes]:
    """Return the file that keeps the given weights in a run directory."""
    if begun is None:
        return {}
    tensors = {name: tensor.contiguous() for name, tensor in begun.tensors.items()}
    return {Run.INITIAL: save(tensors, {"source": begun.published.source})}


def begun(run: Run) -> Start | None:
    """Return the initial weights of a run, or None if they were drawn at random."""
    if not run.initial.exists():
        return None
    facts = run.data
    published = Published({}, str(run.initial), facts.mean, facts.std, Framing())
    return Start(read_tensors(run.initial), published)


def _of_run(path: Path) -> Published:
    run = Run.open(path)
    weights = run.existing_weights()
    facts = run.data
    return Published(read_tensors(weights), str(path), facts.mean, facts.std, Framing(), facts.resolution, run.classes)
