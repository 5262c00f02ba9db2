"""One training step: a function of the weights, the optimizer's state, the configuration and the step's number."""

import copy
import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from convwright.arch import Network
from convwright.errors import UsageError
from convwright.modules import build
from convwright.modules.synchronised import synchronise
from convwright.seeds import derive
from convwright.training.allocator import keep_freed_memory, return_freed_memory
from convwright.training.backbone import Backbone, split
from convwright.training.compiling import compiled, mark_step
from convwright.training.config import TrainConfig
from convwright.training.devices import Devices
from convwright.training.ema import Average
from convwright.training.frozen import can_keep_features
from convwright.training.loss import Loss
from convwright.training.operators import check_operators
from convwright.training.optim import classifier, learning_rate, make_optimizer
from convwright.training.precision import DivergedError, Precision
from convwright.training.process_state import make_reproducible
from convwright.training.progressive import shrunk, size_at
from convwright.training.teacher import TeacherModule, divergence

if TYPE_CHECKING:
    from convwright.training.initial_weights import InitialWeights


STEP_LOCK = threading.RLock()
"""Held during a step: all networks of a process draw noise from torch's one generator, which a step seeds first."""


class Learner:
    """A network with its optimizer, on the device and in the precision of the configuration.

    class_weights: weight of the images of each class in the loss, 1 for all by default. initial: weights to start
    from instead of random ones. multi_label: whether an image has several labels. teacher: a network whose predictions
    are learnt beside the labels, once all weights are trained. `reads_features`: the backbone is frozen and sees the
    same images in every epoch, so that batches are of its features (`convwright.training.frozen`).
    """

    def __init__(
        self,
        config: TrainConfig,
        network: Network,
        class_weights: torch.Tensor | None = None,
        devices: Devices | None = None,
        initial: "InitialWeights | None" = None,
        *,
        multi_label: bool = False,
        teacher: TeacherModule | None = None,
    ) -> None:
        self.config, self.recipe = config, config.recipe
        self._initial: tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None] | None = None
        self.devices = devices or Devices(config)
        self.fabric = self.devices.fabric
        self.precision = Precision(config.precision, self.fabric.device)
        make_reproducible(self.fabric.device, tf32=config.tf32)
        check_operators(config)
        if self.fabric.device.type == "cpu" and config.memory_efficient:
            return_freed_memory()
        elif self.fabric.device.type == "cpu" and config.fused:
            keep_freed_memory()
        self.network = build(
            network,
            seed=derive(config.seed, "init"),
            fused=config.fused,
            memory_efficient=config.memory_efficient,
        )
        if initial:
            initial.load(self.network)
        self.head_only = self.recipe.freeze or self.recipe.freeze_epochs > 0
        """Whether the classifier alone is trained at present."""
        self.reads_features = can_keep_features(self.recipe) or self.recipe.freeze_epochs > 0
        self.frozen_steps = 0
        """Steps of a run until `unfreeze`, which learning rates depend on."""
        if self.head_only:
            self.network.requires_grad_(False)
            classifier(self.network).requires_grad_(True)
        for part in self.network.modules():
            if isinstance(part, nn.BatchNorm2d) and self.recipe.norm_momentum is not None:
                part.momentum = self.recipe.norm_momentum
        if self.devices.size > 1 and config.sync_norm:
            synchronise(self.network)
        # Channels last is what the fast convolutions of CPUs and GPUs read.
        self.network.to(self.fabric.device).to(memory_format=torch.channels_last)
        self.module: Any  # a module, perhaps wrapped by Fabric
        self.optimizer: torch.optim.Optimizer
        self._set_up()
        self.average = Average(self.network, self.recipe.ema) if self.recipe.ema else None
        loss = Loss.of(self.recipe, multi_label=multi_label, class_weights=class_weights)
        self.loss = loss.to(self.fabric.device)
        self.teacher = teacher.to(self.fabric.device) if teacher else None

    def save_initial_state(self) -> None:
        """Keep the present state for `restore_initial_state`."""
        self._initial = copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict(), self.precision.state()))

    def restore_initial_state(self, config: TrainConfig) -> None:
        """Go back to the remembered state, with another configuration.

        Args:
            config: Differs from the former one in rates, schedule, batch size or epochs alone.
        """
        assert self._initial is not None, "save_initial_state() comes first"
        weights, optimizer, precision = copy.deepcopy(self._initial)
        self.network.load_state_dict(weights)
        self.optimizer.load_state_dict(optimizer)
        self.precision.load_state(precision)
        self.config, self.recipe = config, config.recipe
        self.average = Average(self.network, self.recipe.ema) if self.recipe.ema else None

    def unfreeze(self) -> None:
        """Train all weights from now on, with a new optimizer, on images."""
        self.head_only = self.reads_features = False
        self.network.requires_grad_(True)
        self._set_up()

    def _set_up(self) -> None:
        """Make the module that is trained, and a new optimizer."""
        module, optimizer = self._learning(self.network), make_optimizer(self.network, self.recipe)
        if self.config.compile and not self.reads_features:
            module = compiled(module, cuda_graphs=self.config.cuda_graphs)
        self.module, self.optimizer = self.fabric.setup(module, optimizer)

    @property
    def result(self) -> nn.Module:
        """What is kept: the average of the weights, if there is one, else the weights."""
        return self.average.module if self.average else self.network

    @property
    def validated(self) -> nn.Module:
        """The part of the result that maps the batches' images, or features, to logits."""
        return self._learning(self.result)

    @property
    def backbone(self) -> Backbone:
        """All but the classifier: images to features."""
        return split(self.network)[0]

    def train(self) -> None:
        """Go into training mode; what is frozen stays in that of evaluation."""
        self.module.train()
        if self.head_only and not self.reads_features:
            self.backbone.eval()
        if self.recipe.freeze_norm:
            for part in self.network.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()

    def _learning(self, network: nn.Module) -> nn.Module:
        return split(network)[1] if self.reads_features else network

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, step: int, steps: int) -> tuple[float, int]:
        """Take step number `step` of `steps` on N x C x H x W images; return the mean loss and the number right.

        Cut into pieces (`Recipe.accumulate`), the gradient is that of the whole batch but for batch normalisation,
        whose statistics are those of a piece. In float16 a step whose gradient overflows leaves the weights as they
        are (`Precision`). Raises DivergedError, before the weights are touched, when loss or gradient are not finite.
        """
        with STEP_LOCK:
            return self._train_step(images, labels, step, steps)

    def _train_step(self, images: torch.Tensor, labels: torch.Tensor, step: int, steps: int) -> tuple[float, int]:
        # For dropout and stochastic depth.
        torch.manual_seed(derive(self.config.seed, "noise", step, self.devices.rank))
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * learning_rate(self.recipe, step, steps, self.frozen_steps)
        whole = len(labels)
        images, labels = self.devices.share(images), self.devices.share(labels)
        taught = images  # at the size that they have without progressive resizing
        if self.recipe.progressive and not self.reads_features:
            unfrozen = step - self.frozen_steps, steps - self.frozen_steps
            images = shrunk(images, size_at(self.recipe, self.config.resolution, *unfrozen))
        self.optimizer.zero_grad(set_to_none=True)
        loss, correct = 0.0, 0
        pieces = min(self.recipe.accumulate, whole // self.devices.size)  # as many in every process
        for index, (some, theirs, shown) in enumerate(
            zip(*(each.tensor_split(pieces) for each in (images, labels, taught)), strict=True)
        ):
            with self.fabric.no_backward_sync(self.module, enabled=index < pieces - 1):
                piece_loss, piece_correct = self._backward(some, theirs, shown, whole)
            loss, correct = loss + piece_loss, correct + piece_correct
        self.precision.update(self.optimizer, self.recipe.clip_norm)
        if not self.config.sync_norm:
            self.devices.average(self._running_statistics())
        if self.average:
            self.average.update(self.network, step)
        return loss, correct

    def _backward(self, images: torch.Tensor, labels: torch.Tensor, shown: torch.Tensor, of: int) -> tuple[float, int]:
        """Add the gradient of some of a step's images; return their share of its mean loss, and the number right.

        `shown` are the images that the teacher sees.

        Both are of all processes. DivergedError, in all of them, if the loss of one is not finite.
        """
        images, labels = self.fabric.to_device((images.contiguous(memory_format=torch.channels_last), labels))
        if self.config.cuda_graphs:
            mark_step()
        try:
            with self.precision.autocast():
                logits = self.module(images)
            logits = logits.float()
        except ValueError as error:  # torch's, of a normalisation that sees one value a channel
            raise UsageError(f"batches of {len(labels)} are too small for this network: {error}") from None
        # Summed here and divided by all images of the step: the mean of a piece would be that of its own weights.
        loss, right = self._loss(logits, labels, shown), self.loss.correct(logits, labels)
        value, correct = self.devices.total(loss.item() / of, right)
        if not value < float("inf"):  # NaN compares false with everything
            raise DivergedError(f"the loss became {value}")
        self.fabric.backward(self.precision.scaled(loss * (self.devices.size / of)))  # DDP takes the mean
        return value, int(correct)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Return the summed loss of labels, and of the teacher's predictions if there is one."""
        loss = self.loss(logits, labels)
        if self.teacher is None or self.reads_features:
            return loss
        with self.precision.autocast():
            taught = self.teacher(self.fabric.to_device(shown))
        parted = divergence(logits, taught, self.recipe.temperature, multi_label=self.loss.multi_label)
        share = self.recipe.distillation
        return (1 - share) * loss + share * self.loss.weighted(parted, labels, logits.shape[1]).sum()

    def _running_statistics(self) -> list[torch.Tensor]:
        """Return mean and variance of the normalisations that this step has updated, of this process's share."""
        norms = [part for part in self.network.modules() if isinstance(part, nn.BatchNorm2d) and part.training]
        pairs = ((norm.running_mean, norm.running_var) for norm in norms)
        return [value for pair in pairs for value in pair if value is not None]
