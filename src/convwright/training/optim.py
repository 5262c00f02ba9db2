"""Optimizers, and learning rates as a function of the step."""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from convwright.training.config import Recipe
from convwright.training.muon import Muon, matrices_of

MUON_REST = 4.0
"""Learning rate of the weights that Muon leaves to SGD, as a multiple of that of the matrices."""

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer for the weights that are not frozen.

    Weight decay applies to weights of convolutions and linear layers, not to biases or normalisation parameters. Each
    group has a `share`, the factor of the learning rate (see `rate_shares`); with Muon, groups that SGD trains have
    `MUON_REST` times that share.
    """
    groups = _groups(module, recipe)
    rate, momentum = recipe.learning_rate, recipe.momentum
    match recipe.optimizer:
        case "sgd":
            return _light(torch.optim.SGD)(groups, rate, momentum, nesterov=recipe.nesterov and momentum > 0)
        case "adamw":
            return _light(torch.optim.AdamW)(groups, rate, betas=(momentum, 0.999))
        case "rmsprop":  # decay 0.9 and epsilon 1e-3 as EfficientNet's section 5.2 and its code have them
            return _light(torch.optim.RMSprop)(groups, rate, alpha=0.9, eps=1e-3, momentum=momentum)
        case "muon":
            first_and_last = {part.weight for part in (first_convolution(module), classifier(module)) if part}
            split = _split(groups, matrices_of(module) - first_and_last)
            return _light(Muon)(split, rate, momentum, nesterov=recipe.nesterov and momentum > 0)


def _groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the weights that are not frozen, by share of the learning rate and weight decay."""
    shares = rate_shares(module, recipe)
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = []
    for share in sorted({shares[weight] for weight in weights}):
        chosen = [weight for weight in weights if shares[weight] == share]
        for decay, some in (
            (recipe.weight_decay, [weight for weight in chosen if weight.ndim > 1]),
            (0.0, [weight for weight in chosen if weight.ndim <= 1]),
        ):
            if some:
                groups.append({"params": some, "weight_decay": decay, "share": share})
    return groups


def _split(groups: list[dict[str, Any]], matrices: set[torch.Tensor]) -> list[dict[str, Any]]:
    """Return groups for Muon: those of the weights that it orthogonalises, and those of the others."""
    split = []
    for group in groups:
        for chosen, factor in ((True, 1.0), (False, MUON_REST)):
            if weights := [weight for weight in group["params"] if (weight in matrices) == chosen]:
                split.append({**group, "params": weights, "matrices": chosen, "share": factor * group["share"]})
    return split


def _light(kind: type[_Optimizer]) -> type[_Optimizer]:
    """Return an optimizer of torch without the decorators that import torch's compiler, which takes 0.8 s.

    They keep `torch.compile` out of these methods, and a step out of the gradient. Nothing here is compiled, and the
    gradient is switched off instead.
    """
    kept_out = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in kept_out}
    light: type[_Optimizer] = type(
        kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))}
    )
    return light


def rate_shares(module: nn.Module, recipe: Recipe) -> dict[nn.Parameter, float]:
    """Return the share of the learning rate of each weight.

    It is 1 for the classifier, `backbone_rate` for the other layers, and less by the factor `layer_decay` for each part
    of the network (head, stages, stem) before the last one.
    """
    shares = dict.fromkeys(classifier(module).parameters(), 1.0)
    for distance, part in enumerate(reversed(list(module.children()))):
        share = recipe.backbone_rate * recipe.layer_decay**distance
        shares |= {weight: share for weight in part.parameters() if weight not in shares}
    return shares


def classifier(module: nn.Module) -> nn.Linear:
    """Return the last linear layer."""
    return [part for part in module.modules() if isinstance(part, nn.Linear)][-1]


def first_convolution(module: nn.Module) -> nn.Conv2d | None:
    """Return the convolution that reads the images, or None where there is no convolution."""
    return next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)


def learning_rate(recipe: Recipe, step: int, steps: int, frozen_steps: int = 0) -> float:
    """Return the learning rate at a step: linear warm-up, then decay by the schedule.

    Args:
        recipe: The recipe.
        step: The step, from 0 to `steps` - 1.
        steps: Steps of the run.
        frozen_steps: Steps at the beginning in which the classifier alone is trained. They have a schedule of their
            own; after them a second one begins, of `unfrozen_rate` times the rate.
    """
    if step < frozen_steps:
        return recipe.learning_rate * _factor(recipe, step, frozen_steps)
    share = recipe.unfrozen_rate if frozen_steps else 1.0
    return share * recipe.learning_rate * _factor(recipe, step - frozen_steps, steps - frozen_steps)


def _factor(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate at a step as a share of the highest one of a schedule of some steps."""
    rising = int(recipe.warm_up * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if recipe.schedule == "step":
        return 0.1 ** sum(step >= share * steps for share in recipe.milestones)
    return _SHAPES[recipe.schedule]((step - rising) / (steps - rising))


# From 1 to 0 as the share of steps after warm-up goes from 0 to 1. One-cycle comes down in a straight line,
# as in Smith and Topin 2017. Exponential is EfficientNet's 0.97 every 2.4 of 350 epochs (section 5), stretched or
# pressed to any number of steps.
_SHAPES: dict[str, Callable[[float], float]] = {
    "one-cycle": lambda share: 1 - share,
    "cosine": lambda share: 0.5 * (1 + math.cos(math.pi * share)),
    "exponential": lambda share: 0.97 ** (share * 350 / 2.4),
    "constant": lambda _: 1.0,
}
