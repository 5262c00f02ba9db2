"""Weights that training starts from: checkpoints of other libraries, or of earlier runs."""

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import save
from torch import nn

from convwright.arch import Network
from convwright.data import Dataset
from convwright.training.run import Run
from convwright.weights import load_matched
from convwright.weights.matching_blocks import has_some, transfer_matching_blocks, unchanged
from convwright.weights.published import Published, find
from convwright.weights.reading import Tensors, read_tensors


@dataclass(frozen=True)
class InitialWeights:
    """Weights under our names, for the channels and classes that they were trained for."""

    tensors: Tensors
    published: Published

    def load(self, module: nn.Module) -> list[str]:
        """Load them into a network, where the shapes match; return messages on what was changed or left out."""
        return load_matched(self.tensors, module)

    def normalised(self, data: Dataset) -> Dataset:
        """Return the data set with the normalisation that the weights were trained with."""
        mean, std = self.published.mean, self.published.std
        if data.channels == 1 and len(mean) > 1:
            mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
        elif len(mean) == 1:
            mean, std = mean * data.channels, std * data.channels
        return replace(data, mean=mean, std=std)


def find_initial_weights(spec: str, network: Network) -> InitialWeights:
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
    if path.name == Run.INITIAL and (path.parent / "data.json").is_file():
        published = _initial_of(Run.open(path.parent))
        if has_some(network, published.tensors):
            return InitialWeights(published.tensors, published)
    else:
        published = _of_run(path) if path.is_dir() else find(spec, unchanged(network))
    return InitialWeights(transfer_matching_blocks(network, published.tensors, published.source), published)


def initial_weights_file(weights: InitialWeights | None) -> dict[str, bytes]:
    """Return the file that keeps the given weights in a run directory."""
    if weights is None:
        return {}
    tensors = {name: tensor.contiguous() for name, tensor in weights.tensors.items()}
    return {Run.INITIAL: save(tensors, {"source": weights.published.source})}


def initial_weights_of(run: Run) -> InitialWeights | None:
    """Return the initial weights of a run, or None if they were drawn at random."""
    if not run.initial.exists():
        return None
    published = _initial_of(run)
    return InitialWeights(published.tensors, published)


def absolute_source(spec: str) -> str:
    """Return the absolute path of a file or run of weights; names of sources are returned as they are."""
    path = Path(spec).expanduser()
    return str(path.absolute()) if path.exists() else spec


def _initial_of(run: Run) -> Published:
    """Return the weights that a run started from."""
    facts = run.data
    return Published(read_tensors(run.initial), str(run.initial), facts.mean, facts.std, facts.framing)


def _of_run(path: Path) -> Published:
    run = Run.open(path)
    weights = run.existing_weights()
    facts = run.data
    return Published(
        read_tensors(weights), str(path), facts.mean, facts.std, facts.framing, facts.resolution, run.classes
    )
