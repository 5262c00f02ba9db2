"""Recipes by name: how the papers trained, and what does best in little time.

A run's length is not part of a recipe: schedules are stretched to the epochs of the run. Rates hold for a batch of
`batch`, and are scaled in proportion to the batch size of the run (Goyal et al. 2017).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from convwright.errors import ArgumentError

RecipeName = Literal["densenet", "senet", "efficientnet", "fast", "fine-tune"]


@dataclass(frozen=True)
class NamedRecipe:
    """Fields of `Recipe`, the batch that its learning rate is for, and where it was published."""

    source: str
    batch: int
    fields: Mapping[str, Any] = field(default_factory=dict)


RECIPES: dict[RecipeName, NamedRecipe] = {
    "densenet": NamedRecipe(
        "DenseNet, section 4.2: 64 images a step, rate 0.1 divided by 10 after half and three quarters of the epochs",
        64,
        {"learning_rate": 0.1, "schedule": "step", "milestones": (0.5, 0.75), "warm_up": 0.0, "weight_decay": 1e-4},
    ),
    "senet": NamedRecipe(
        "SENet, section 4: rate 0.6 for 1024 images a step, divided by 10 every 30 of 100 epochs, crops of random "
        "size of images from 64 px on",
        1024,
        {
            **{"learning_rate": 0.6, "schedule": "step", "milestones": (0.3, 0.6, 0.9), "warm_up": 0.0},
            **{"nesterov": False, "weight_decay": 1e-4, "label_smoothing": 0.1, "crop_scale": 0.08},
        },
    ),
    "efficientnet": NamedRecipe(
        "EfficientNet, section 5: RMSProp, rate 0.256 for 4096 images a step with exponential decay, weight decay "
        "1e-5, stochastic depth 0.2, AutoAugment (RandAugment here), crops of random size of images from 64 px on, and "
        "the average of weights of its code",
        4096,
        {
            **{"optimizer": "rmsprop", "learning_rate": 0.256, "schedule": "exponential", "warm_up": 5 / 350},
            **{"weight_decay": 1e-5, "label_smoothing": 0.1, "ema": 0.9999, "norm_momentum": None},
            **{"stochastic_depth": 0.2, "randaugment": 9, "crop_scale": 0.08},
        },
    ),
    "fast": NamedRecipe(
        "ours: the best accuracy in little time, chosen on validation images of Fashion-MNIST, emoji and stamps",
        128,
        {
            **{"optimizer": "muon", "learning_rate": 0.05, "schedule": "one-cycle", "warm_up": 0.2},
            **{"weight_decay": 0.005, "label_smoothing": 0.1, "progressive": 0.6},
        },
    ),
    "fine-tune": NamedRecipe(
        "ours: from pretrained weights, the classifier first and then all layers at a lower rate, chosen on validation "
        "images of emoji",
        64,
        {
            **{"optimizer": "adamw", "learning_rate": 0.004, "schedule": "one-cycle", "warm_up": 0.2},
            **{"weight_decay": 5e-4, "freeze_epochs": 20.0, "unfrozen_rate": 0.05, "freeze_norm": True},
            **{"clip_norm": 5.0, "stochastic_depth": 0.0},
        },
    ),
}
EARLIER_FIELDS: dict[str, Mapping[str, Any]] = {
    "fast": {
        **{"learning_rate": 0.2, "schedule": "one-cycle", "warm_up": 0.2, "weight_decay": 3e-4},
        **{"label_smoothing": 0.1, "progressive": 0.6},
    }
}
"""Earlier fields of recipes that have changed, for studies that did not record fields: `fast` used SGD, not Muon."""


def recorded_fields(name: str | None) -> dict[str, Any]:
    """Return the fields of a recipe as a study records them, ready for JSON; none without a recipe."""
    fields = RECIPES[name].fields if name in RECIPES else {}
    return {field: list(value) if isinstance(value, tuple) else value for field, value in fields.items()}


def earlier_fields(name: str | None) -> dict[str, Any]:
    """Return the fields that a recipe had when studies did not yet record them."""
    return dict(EARLIER_FIELDS[name]) if name in EARLIER_FIELDS else recorded_fields(name)


def recipe_fields(name: RecipeName, batch_size: int) -> dict[str, Any]:
    """Return the fields of a recipe, with the learning rate for a batch size.

    Args:
        name: A key of `RECIPES`.
        batch_size: Images in a step.

    Raises:
        ArgumentError: There is no such recipe.
    """
    if name not in RECIPES:
        raise ArgumentError("recipe", f"no recipe is named {name!r}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    return dict(recipe.fields) | {"learning_rate": recipe.fields["learning_rate"] * batch_size / recipe.batch}
