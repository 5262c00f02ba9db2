"""One training step: a function of the weights, the optimizer's state, the configuration and the step's number."""

import torch
from lightning_fabric import Fabric
from torch import nn

from convwright.arch import Network
from convwright.errors import ConvwrightError, UsageError
from convwright.modules import build
from convwright.seeds import derive
from convwright.training.config import TrainConfig
from convwright.training.optim import learning_rate, make_optimizer


class DivergedError(ConvwrightError):
    """The loss is no longer a finite number."""


class Learner:
    """A network with its optimizer, on the device and in the precision that the configuration asks for."""

    def __init__(self, config: TrainConfig, network: Network) -> None:
        self.config, self.recipe = config, config.recipe
        self.fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
        # On a GPU too, the same step must give the same weights.
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        self.network = build(network, seed=derive(config.seed, "init"))
        for part in self.network.modules():
            if isinstance(part, nn.BatchNorm2d) and self.recipe.norm_momentum is not None:
                part.momentum = self.recipe.norm_momentum
        # Channels last is what the fast convolutions of CPUs and GPUs read.
        self.network.to(memory_format=torch.channels_last)
        self.module, self.optimizer = self.fabric.setup(self.network, make_optimizer(self.network, self.recipe))

    def learn(self, images: torch.Tensor, labels: torch.Tensor, step: int, steps: int) -> tuple[float, int]:
        """Take step number `step` of `steps` on N x C x H x W images; return the mean loss and the number right.

        Raises DivergedError, before the weights are touched, when the loss is not finite.
        """
        torch.manual_seed(derive(self.config.seed, "noise", step))  # dropout and stochastic depth
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, step, steps)
        images, labels = self.fabric.to_device((images.to(memory_format=torch.channels_last), labels))
        self.optimizer.zero_grad(set_to_none=True)
        try:
            logits = self.module(images)
        except ValueError as error:  # torch's, of a normalisation that sees one value a channel
            raise UsageError(f"batches of {len(labels)} are too small for this network: {error}") from None
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        value = loss.item()
        if not value < float("inf"):  # NaN compares false with everything
            raise DivergedError(f"the loss became {value} at step {step}")
        self.fabric.backward(loss)
        if self.recipe.clip_norm:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.recipe.clip_norm)
        self.optimizer.step()
        likeliest = labels if labels.ndim == 1 else labels.argmax(1)  # of mixed images
        return value, int((logits.detach().argmax(1) == likeliest).sum())
