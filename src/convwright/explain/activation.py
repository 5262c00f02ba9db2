"""Class activation maps: which parts of an image are evidence for a class.

CAM (Zhou et al. 2016) weighs the last feature maps as the linear layer behind their averages does. Grad-CAM
(Selvaraju et al. 2017) weighs any layer's maps by the mean derivative of the class's score, Grad-CAM++
(Chattopadhay et al. 2018) by a weighted mean of the positive ones.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import nn

from convwright.arch import Network
from convwright.brief import Brief
from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.explain.target import (
    Head,
    Recorded,
    class_index,
    find_layer,
    head_of,
    last_maps,
    read_target,
    recording,
    scores_of,
)
from convwright.prediction.base import AnyImage, check_many
from convwright.prediction.files import RunPredictor
from convwright.prediction.network import Predictor

Method = Literal["cam", "grad-cam", "grad-cam++"]
METHODS: tuple[str, ...] = Method.__args__  # type: ignore[attr-defined]
Subject = Predictor | nn.Module
"""A trained network, or any torch module whose output is a score for each class."""
Target = int | str | Sequence[int | str] | None
"""A class by number or name, or one for each image; None: the one that the network finds likeliest."""
BATCH = 32
EPSILON = 1e-6
"""Constant in Grad-CAM++'s denominators, as in common implementations. It damps the squared derivatives of large maps,
which are often about 1e-6 themselves; 0 gives the weights of the paper."""


@dataclass(frozen=True)
class ActivationMaps(Brief):
    """Evidence for a class in each of some images, as one network sees them."""

    method: str
    layer: str
    """The module whose feature maps are weighed."""
    raw: np.ndarray
    """N x h x w, float32: the weighted sums on the layer's own grid; negative values are evidence against the class."""
    maps: np.ndarray
    """N x H x W, float32: resized to the image and stretched to 0..1; Grad-CAM leaves negative values out."""
    targets: tuple[int, ...]
    """The class of each image's map."""
    probabilities: tuple[float, ...]
    """Probability of that class."""
    note: str = ""
    """Why the maps are of another layer than the last before pooling, where no layer was named."""

    @property
    def positive(self) -> np.ndarray:
        """N x H x W, float32: positive evidence, resized to the image but not stretched; 0 elsewhere."""
        return resized(torch.from_numpy(self.raw).relu(), self.maps.shape[1:]).numpy()

    def __len__(self) -> int:
        return len(self.targets)


def activation_maps(
    subject: Subject,
    images: Iterable[AnyImage] | torch.Tensor,
    *,
    method: str | None = None,
    layer: str | None = None,
    target: Target = None,
    batch_size: int = BATCH,
    epsilon: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> ActivationMaps:
    """Map the evidence for a class in each image.

    Args:
        subject: A predictor, or any torch module.
        images: Images as `Predictor.predict` takes them; for a torch module, a float tensor N x C x H x W, normalised
            as the module expects.
        method: `cam`, `grad-cam` or `grad-cam++`. By default `cam` where the network's head is global pooling and one
            linear layer, else `grad-cam`.
        layer: Name of the module whose maps are weighed. By default the module before the pooling; where its maps have
            one pixel, the last block whose maps have more (of a foreign module, the last layer with maps).
        target: A class by number or name, or one for each image; None for the most likely class of each image.
        batch_size: Images of a batch.
        epsilon: Constant in the denominators of `grad-cam++`, 1e-6 by default; 0 gives the weights of the paper.
        progress: Function that is called with the number of images of each batch done.

    Returns:
        The maps, in the order of the images.

    Raises:
        UsageError: A layer or class does not exist, or the method does not apply to the network.
        ConvwrightError: An image cannot be read.
    """
    if epsilon is not None and method != "grad-cam++":
        raise ArgumentError("epsilon", "only grad-cam++ has this constant; give method 'grad-cam++'")
    epsilon = EPSILON if epsilon is None else epsilon
    done: list[ActivationMaps] = []
    plan: _Plan | None = None
    target = read_target(target)
    several = target if isinstance(target, list) else None
    for batch in batches(subject, images, batch_size):
        plan = plan or _Plan.of(subject, batch, method, layer, epsilon)
        done.append(plan.maps(batch, target if several is None else several[sum(map(len, done)) :]))
        if progress:
            progress(len(batch))
    if not done:
        raise UsageError("there are no images to map")
    if several is not None and len(several) != sum(map(len, done)):
        raise UsageError(f"give one class, or one for each image; these are {len(several)}")
    return _joined(done)


@dataclass(frozen=True)
class _Plan:
    """How maps of one network are computed."""

    module: nn.Module
    classes: tuple[str, ...]
    method: str
    layer: str
    linear: str | None
    epsilon: float
    note: str
    multi_label: bool = False
    """Whether probabilities are the sigmoid of each score, of a multi-label network."""
    temperature: float = 1.0
    """What scores are divided by before their softmax."""

    @classmethod
    def of(
        cls, subject: Subject, images: torch.Tensor, method: str | None, layer: str | None, epsilon: float
    ) -> "_Plan":
        """Choose method and layer. UsageError where CAM is requested for a head that it does not apply to."""
        check_method(method)
        module = module_of(subject)
        network = getattr(module, "network", None)
        head = head_of(network) if isinstance(network, Network) else None
        linear = _linear(module, head) if head and layer in (None, head.layer, head.stage) else None
        if method == "cam" and linear is None:
            raise UsageError(f"{_why_not_cam(head, layer)}; use grad-cam or grad-cam++")
        note = ""
        if layer is None:
            layer = head.layer if head else last_maps(module, images)
            if isinstance(network, Network) and method != "cam" and _is_one_pixel(module, layer, images):
                layer, linear = last_maps(module, images, _blocks(network)), None
                note = f"The maps before the pooling have one pixel; {layer} is the last block whose maps have more."
        find_layer(module, layer)
        classes = () if isinstance(subject, nn.Module) else subject.classes
        several = has_several_labels(subject)
        method = method or ("cam" if linear else "grad-cam")
        return cls(module, classes, method, layer, linear, epsilon, note, several, temperature_of(subject))

    def maps(self, images: torch.Tensor, target: int | str | list[int | str] | None) -> ActivationMaps:
        """Map normalised images."""
        with recording(self.module, self.layer, images, differentiate=self.method != "cam") as recorded:
            logits = scores_of(self.module, images)
            targets = self._targets(logits, target)
            raw = self._weighed(recorded, logits, targets).detach().float()
        if raw[0].numel() == 1:
            way = "use grad-cam" if self.method == "cam" else "name an earlier layer"
            raise UsageError(f"{self.layer} outputs 1x1 maps, which have no spatial positions; {way}")
        maps = stretched(raw if self.method == "cam" else raw.relu(), tuple(images.shape[-2:]))
        probabilities = probabilities_of(logits.detach(), self.temperature, multi_label=self.multi_label)
        probabilities = probabilities.gather(1, targets[:, None])[:, 0]
        return ActivationMaps(
            self.method,
            self.layer,
            raw.cpu().numpy(),
            maps.cpu().numpy(),
            tuple(targets.tolist()),
            tuple(probabilities.tolist()),
            self.note,
        )

    def _targets(self, logits: torch.Tensor, target: int | str | list[int | str] | None) -> torch.Tensor:
        if target is None:
            return logits.detach().argmax(1)
        wanted = [target] * len(logits) if isinstance(target, int | str) else target[: len(logits)]
        if len(wanted) < len(logits):
            raise UsageError("give one class, or one for each image; there are more images than classes")
        found = [class_index(one, self.classes, logits.shape[1]) for one in wanted]
        return torch.tensor(found, device=logits.device)

    def _weighed(self, recorded: Recorded, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return N x h x w sums of the features, each map with its weight."""
        features = recorded.features
        if self.method == "cam":
            weights = self.module.get_parameter(f"{self.linear}.weight")[targets]
        else:
            gradients = recorded.gradients(logits.gather(1, targets[:, None]))
            if self.method == "grad-cam":
                weights = gradients.mean((2, 3))
            else:
                weights = plus_plus_weights(features.detach(), gradients, self.epsilon)
        return torch.einsum("nc,nchw->nhw", weights, features)


def check_method(method: str | None) -> None:
    """Raise UsageError for an unknown method; None leaves the choice to `activation_maps`."""
    if method is not None and method not in METHODS:
        raise UsageError(f"unknown method {method!r}: the methods are {', '.join(METHODS[:-1])} and {METHODS[-1]}")


def plus_plus_weights(features: torch.Tensor, gradients: torch.Tensor, epsilon: float = EPSILON) -> torch.Tensor:
    """Return Grad-CAM++'s weights, N x C (equations 10 and 19, for the exponential of the score)."""
    squares = gradients.square()
    total = features.sum((2, 3), keepdim=True)
    denominators = 2 * squares + total * squares * gradients + epsilon
    shares = torch.where(gradients == 0, 0.0, squares / torch.where(denominators == 0, 1.0, denominators))
    return (shares * gradients.relu()).sum((2, 3))


def resized(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Resize N x h x w maps to a size."""
    return torch.nn.functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def stretched(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Resize N x h x w maps to a size and stretch each to 0..1; a constant map becomes 0."""
    large = resized(maps, size)
    low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    return torch.where(high > low, (large - low) / torch.where(high > low, high - low, 1.0), 0.0)


def module_of(subject: Subject) -> nn.Module:
    """Return the torch module of a predictor or module. UsageError for an exported file, which has none."""
    if isinstance(subject, nn.Module):
        return subject
    if not hasattr(subject, "module"):
        raise UsageError("explaining uses a network in torch: load the run instead of a file exported from it")
    return subject.module


def has_several_labels(subject: Subject) -> bool:
    """Return whether a network predicts any number of classes for an image; of a torch module, it is not known."""
    return not isinstance(subject, nn.Module) and subject.multi_label


def temperature_of(subject: Subject) -> float:
    """Return what a network's scores in torch are divided by before their softmax: 1 for a torch module."""
    if isinstance(subject, RunPredictor):
        return subject.in_torch.temperature  # the file that predicts in its place may have another one
    return 1.0 if isinstance(subject, nn.Module) else subject.temperature


def probabilities_of(scores: torch.Tensor, temperature: float, *, multi_label: bool) -> torch.Tensor:
    """Return the probability of each class, N x classes.

    Args:
        scores: N x classes.
        temperature: What they are divided by before their softmax.
        multi_label: Whether an image may have several classes.
    """
    return scores.float().sigmoid() if multi_label else (scores.float() / temperature).softmax(1)


def batches(subject: Subject, images: Iterable[AnyImage] | torch.Tensor, size: int) -> Iterable[torch.Tensor]:
    """Yield batches of images as the module reads them."""
    if size < 1:
        raise UsageError(f"the batch size is 1 or more, not {size}")
    module_of(subject)
    if isinstance(subject, nn.Module):
        if not isinstance(images, torch.Tensor) or images.ndim != 4 or not images.is_floating_point():
            raise UsageError("images for a torch module are a float tensor N x C x H x W, normalised as it expects")
        device = next((parameter.device for parameter in subject.parameters()), images.device)
        return (batch.to(device) for batch in torch.split(images, size) if len(batch))
    check_many(images)
    return (subject.normalised(torch.stack(read)) for read in _read(subject, images, size))


def _read(predictor: Predictor, images: Iterable[AnyImage], size: int) -> Iterable[list[torch.Tensor]]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        pixels = []
        for read in predictor.read_all(batch):
            if isinstance(read, ConvwrightError):
                raise read
            pixels.append(read)
        yield pixels


def _joined(parts: Sequence[ActivationMaps]) -> ActivationMaps:
    return replace(
        parts[0],
        raw=np.concatenate([part.raw for part in parts]),
        maps=np.concatenate([part.maps for part in parts]),
        targets=tuple(target for part in parts for target in part.targets),
        probabilities=tuple(probability for part in parts for probability in part.probabilities),
    )


def _linear(module: nn.Module, head: Head) -> str | None:
    """Return the linear layer that CAM reads, unless another module has replaced it."""
    return head.linear if isinstance(dict(module.named_modules()).get(head.linear), nn.Linear) else None


def _is_one_pixel(module: nn.Module, layer: str, images: torch.Tensor) -> bool:
    with recording(module, layer, images[:1]) as recorded:
        module(images[:1])
    return recorded.features[0, 0].numel() == 1


def _blocks(network: Network) -> set[str]:
    """Return the names of a network's blocks and stages."""
    return {name for placed in network.blocks() for name in (placed.stage, placed.path)}


def _why_not_cam(head: Head | None, layer: str | None) -> str:
    """Return why CAM does not apply."""
    if head is None:
        return "CAM is for networks of Convwright, whose head is known"
    if head.linear is None:
        return "CAM needs a head of global pooling and one linear layer, which this network does not have"
    if layer in (None, head.layer, head.stage):
        return f"CAM needs one linear layer behind the pooling, and {head.linear} is something else"
    return f"CAM is read at {head.layer}, before the global pooling, and not at {layer}"
