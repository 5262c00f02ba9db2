"""Losses of training: cross-entropy, and binary cross-entropy for multi-label images, with weights of images.

The weight of an image is that of its own label, never that of the classes over which its label is smoothed. It is the
product of the weight of its class (`class_weights`) and of its own weight (the weight column of a list).
"""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from convwright.training.config import Recipe

LEAST_BASE = 1e-12
"""Least base of the power of the focal loss, whose derivative at 0 is infinite for exponents below 1."""


@dataclass(frozen=True)
class Loss:
    """A loss summed over images, and the number of images that are predicted correctly.

    Labels are int64 N; N x K where images are mixed or have several labels; or N x (K + 1), where images have weights:
    the last column is the weight of each image.
    """

    multi_label: bool = False
    """Whether images have several labels: binary cross-entropy for each class, summed over the classes."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes."""
    focal: float = 0.0
    """Exponent gamma of the focal loss (Lin et al. 2017, section 3.2); 0: cross-entropy."""
    class_weights: torch.Tensor | None = None
    """Weight of an image by its class: K numbers; of several or mixed labels, their weighted mean. None: 1 for all."""

    @classmethod
    def of(cls, recipe: Recipe, *, multi_label: bool = False, class_weights: torch.Tensor | None = None) -> "Loss":
        """Return the loss of a recipe."""
        return cls(multi_label, recipe.label_smoothing, recipe.focal, class_weights)

    def to(self, device: torch.device) -> "Loss":
        """Return the loss with its class weights on a device."""
        return self if self.class_weights is None else replace(self, class_weights=self.class_weights.to(device))

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of the weighted losses of images.

        Args:
            logits: N x K.
            labels: int64 N, or N x K, or N x (K + 1) with the weight of each image in the last column.
        """
        targets, weights = _without_weights(labels, logits.shape[1])
        hard = targets.ndim == 1 and weights is None and not (self.multi_label or self.focal)
        if hard and (self.class_weights is None or not self.label_smoothing):
            # One call of torch, which does the same where nothing is smoothed.
            return functional.cross_entropy(
                logits, targets, self.class_weights, reduction="sum", label_smoothing=self.label_smoothing
            )
        losses = self._binary(logits, targets) if self.multi_label else self._categorical(logits, targets)
        return self.weighted(losses, labels, logits.shape[1]).sum()

    def weighted(self, losses: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
        """Return losses of images, each multiplied by the weight of its class and of the image.

        Args:
            losses: N.
            labels: Labels of the images, as for a call.
            classes: Number of classes, K.
        """
        targets, weights = _without_weights(labels, classes)
        for weight in (weights, self._class_weights_of(targets)):
            if weight is not None:
                losses = losses * weight.to(losses)
        return losses

    def correct(self, logits: torch.Tensor, labels: torch.Tensor) -> int:
        """Return the number of images whose likeliest class is their label, or the label with the largest share.

        Of images with several labels: the number whose likeliest class is one of them.
        """
        targets, _ = _without_weights(labels, logits.shape[1])
        likeliest = logits.detach().argmax(1)
        if self.multi_label:
            return int((targets.gather(1, likeliest[:, None]) > 0).sum())
        return int((likeliest == (targets if targets.ndim == 1 else targets.argmax(1))).sum())

    def _class_weights_of(self, targets: torch.Tensor) -> torch.Tensor | None:
        """Return the weight of each image by its labels; 1 for an image without labels."""
        if self.class_weights is None:
            return None
        if targets.ndim == 1:
            return self.class_weights[targets]
        shares = targets.to(self.class_weights)
        mass = shares.sum(1)
        return torch.where(mass > 0, (shares @ self.class_weights) / mass.clamp(min=LEAST_BASE), 1.0)

    def _categorical(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy, or focal loss, of each image."""
        if not self.focal:
            return functional.cross_entropy(logits, targets, reduction="none", label_smoothing=self.label_smoothing)
        logarithms = logits.log_softmax(1)
        shares = functional.one_hot(targets, logits.shape[1]) if targets.ndim == 1 else targets
        shares = self._smoothed(shares.to(logits))
        return -(shares * self._power(-torch.expm1(logarithms)) * logarithms).sum(1)

    def _binary(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the binary cross-entropy, or focal loss, of each image, summed over the classes."""
        shares = self._smoothed(targets.to(logits))
        present, absent = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        if self.focal:
            present, absent = present * self._power(absent.exp()), absent * self._power(present.exp())
        return -(shares * present + (1 - shares) * absent).sum(1)

    def _smoothed(self, shares: torch.Tensor) -> torch.Tensor:
        if not self.label_smoothing:
            return shares
        return shares * (1 - self.label_smoothing) + self.label_smoothing / shares.shape[1]

    def _power(self, error: torch.Tensor) -> torch.Tensor:
        """Return the factor of the focal loss of what a probability lacks."""
        return error.clamp(min=LEAST_BASE) ** self.focal


def _without_weights(labels: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return labels without the column of the images' weights, and that column, if there is one."""
    if labels.ndim == 2 and labels.shape[1] == classes + 1:
        return labels[:, :-1], labels[:, -1]
    return labels, None


def class_weights(recipe: Recipe, labels: torch.Tensor, classes: int) -> torch.Tensor | None:
    """Return the weight of each class that a recipe wants, if it wants any.

    Args:
        recipe: Its kind of weights.
        labels: Labels of the training images, int64 N or bool N x K.
        classes: Number of classes.
    """
    if recipe.class_weights == "balanced":
        return balanced(labels, classes)
    if recipe.class_weights == "effective":
        return effective(labels, classes, recipe.effective_beta)
    return None


def balanced(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return a weight for each class, inverse to its number of labels, so that the mean over labels is 1.

    Args:
        labels: int64 N, or bool N x K.
        classes: Number of classes, K.
    """
    counts = _counts(labels, classes)
    present = int((counts > 0).sum())
    return torch.where(counts > 0, int(counts.sum()) / (present * counts.clamp(min=1)), 0.0)


def effective(labels: torch.Tensor, classes: int, beta: float) -> torch.Tensor:
    """Return a weight for each class, inverse to its effective number of images, so that the mean over labels is 1.

    The effective number of n images is (1 - beta^n) / (1 - beta) (Cui et al. 2019, section 3.2).

    Args:
        labels: int64 N, or bool N x K.
        classes: Number of classes, K.
        beta: From 0, where all weights are 1, to less than 1, near which weights are inverse to the number of images.
    """
    counts = _counts(labels, classes).double()
    numbers = (1 - beta**counts) / (1 - beta)
    weights = torch.where(counts > 0, 1 / numbers.clamp(min=LEAST_BASE), 0.0)
    return (weights * counts.sum() / (weights * counts).sum()).float()


def _counts(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the number of labels of each class."""
    return torch.bincount(labels, minlength=classes) if labels.ndim == 1 else labels.sum(0)
