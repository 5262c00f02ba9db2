"""What is exported or measured: a network with weights, classes and preprocessing."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from convwright.arch import Network
from convwright.engines.card import Card, Verification
from convwright.engines.folding import clamped, folded
from convwright.engines.lowering import lower
from convwright.engines.program import Program
from convwright.engines.runner import Runner
from convwright.modules import build
from convwright.prediction.network import Predictor
from convwright.version import __version__


@dataclass(frozen=True)
class Subject:
    """A network ready to predict, and the programs derived from it."""

    predictor: Predictor
    source: str = ""
    """The run, file or expression that the user gave."""

    @classmethod
    def untrained(cls, network: Network) -> "Subject":
        """Return a network with random weights, whose latency is that of a trained network."""
        mean, std = (0.5,) * network.channels, (0.25,) * network.channels
        classes = tuple(f"class {index}" for index in range(network.classes))
        return cls(Predictor(network, build(network, seed=0), classes, mean, std), network.name)

    @property
    def network(self) -> Network:
        """The network as data."""
        return self.predictor.network

    @cached_property
    def program(self) -> Program:
        """The operations of the network, simplified by algebra.

        Raises:
            NetworkError: The network cannot be exported.
        """
        weights = {name: tensor.cpu().numpy() for name, tensor in self.predictor.module.state_dict().items()}
        return folded(lower(self.network, weights, self.predictor.mean, self.predictor.std))

    @cached_property
    def eager_program(self) -> Program:
        """The operations of the network for engines that run them one by one."""
        return clamped(self.program)

    @property
    def card(self) -> Card:
        """The card of an exported file, without checksums and record of a verification."""
        predictor = self.predictor
        framing = predictor.framing._asdict()
        return Card(
            self.network.name,
            predictor.classes,
            predictor.channels,
            predictor.resolution,
            predictor.mean,
            predictor.std,
            framing.pop("crop"),
            framing.pop("interpolation"),
            description=self.network.to_json(),
            verified=Verification(__version__),
            thresholds=predictor.thresholds,
            **framing,
        )

    @property
    def reference(self) -> Runner:
        """The network as it was trained, in torch, without any rewriting."""
        predictor = self.predictor
        mean, std = (torch.tensor(values).view(-1, 1, 1) * 255 for values in (predictor.mean, predictor.std))

        @torch.inference_mode()
        def run(images: np.ndarray) -> np.ndarray:
            normal = ((torch.from_numpy(images) - mean) / std).to(predictor.device)
            logits: np.ndarray = predictor.module(normal).float().cpu().numpy()
            return logits

        return run
