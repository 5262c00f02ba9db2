"""From what a user requests to a resolved configuration: sensible values for all that was left open."""

from collections.abc import Mapping
from typing import Any

from convwright.arch import Network, at, fit_resolution, regularise
from convwright.arch.cost import cost
from convwright.arch.operators import has_shortcuts
from convwright.arch.resolution import sides
from convwright.data import SOURCES, Dataset
from convwright.data.collections import absolute_path
from convwright.display.wording import counted
from convwright.training.config import Recipe, TrainConfig, checked
from convwright.training.field_errors import FieldError
from convwright.training.operators import fused_by_default
from convwright.training.optim import MUON_REST
from convwright.training.progressive import smallest
from convwright.training.recipes import RecipeName, recipe_fields

LARGEST_BATCH = 128
FEWEST_STEPS = 40
"""Smallest number of steps in an epoch, at the cost of smaller batches."""
LEAST_CROPPED = 16
"""Pixels of a side from which on images are shifted at random; smaller ones cannot spare any."""
LEAST_CROPPED_IN_SCALE = 64
"""Pixels of a side from which on the papers' recipes cut crops of random size."""
FROM_SCRATCH = {"sgd": 0.1, "adamw": 4e-3, "rmsprop": 2e-3, "muon": 0.05}
"""Highest learning rate of each optimizer, with batches of 128."""
FINE_TUNING = {"sgd": 0.02, "adamw": 4e-4, "rmsprop": 4e-4, "muon": 0.005}
"""The same for weights that are good already, where they are not frozen at first."""
COUPLED = {"sgd", "rmsprop"}
"""Optimizers that add the weight decay to the gradient, so that what suits one of them suits the other."""
MUON_DECAY = 0.005
"""Weight decay with Muon."""
FINE_TUNE: RecipeName = "fine-tune"
"""Recipe for weights that are good already, where none is named."""


def default_batch_size(images: int) -> int:
    """Return 128, or the power of two from 16 up that still gives an epoch of `images` images at least 40 steps."""
    size = LARGEST_BATCH
    while size > 16 and images // size < FEWEST_STEPS:
        size //= 2
    return size


def plan(
    data: Dataset,
    network: Network,
    *,
    fit: bool = True,
    name: RecipeName | None = None,
    recipe: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[TrainConfig, Network]:
    """Resolve what is left open of a configuration for a data set.

    Args:
        data: The data.
        network: The network, for any images and classes.
        fit: Whether to drop the network's early strides where the images are smaller than those it is made for.
        name: A recipe of `RECIPES`.
        recipe: Fields of `Recipe` that override those of the named recipe; None means open, except for
            `norm_momentum`, where it keeps that of the network.
        options: Fields of `TrainConfig`; None means open.

    Returns:
        The configuration, and the network with the data's resolution, channels and classes and the recipe's dropout
        and stochastic depth.

    Raises:
        NetworkError: The network cannot read images of this size.
        FieldError: A value that its field cannot have.
    """
    given = {field: value for field, value in options.items() if value is not None}
    chosen = _for_data(network, data, fit=fit and "weights" not in given)
    images = len(data.train)
    batch_size = given.setdefault("batch_size", min(default_batch_size(images), images))
    if isinstance(batch_size, int) and batch_size > images:  # `checked` reports other kinds
        raise FieldError("batch_size", f"must be at most the number of training images, {images:,}, not {batch_size:,}")
    suited = batch_size if isinstance(batch_size, int) and batch_size > 0 else LARGEST_BATCH  # the same here
    fields = _recipe(data, chosen, name, recipe or {}, suited, tuned="weights" in given)
    given.setdefault("fused", fused_by_default(given))
    config = checked(
        {"data": absolute_spec(data.name), "network": chosen.name, "resolution": data.resolution, "recipe": fields}
        | given
    )
    if "weight_decay" in (recipe or {}):
        _check_decay(config.recipe)
    if config.recipe.crop >= (side := min(sides(config.resolution))):
        limit = f"must be less than the images' resolution, {side} px"
        raise FieldError("recipe.crop", f"{limit}, not {config.recipe.crop}")
    if config.recipe.accumulate > (pieces := -(-config.batch_size // config.devices)):
        limit = f"must be at most the {counted(pieces, 'image')} of a batch on each device"
        raise FieldError("recipe.accumulate", f"{limit}, not {config.recipe.accumulate:,}")
    if config.recipe.progressive:
        cost(chosen, smallest(data.resolution))  # names the layer for which the first images are too small
    rates = config.recipe.model_dump(include={"dropout", "stochastic_depth"})
    chosen = regularise(chosen, **rates)
    return config.model_copy(update={"network": chosen.name}), chosen


def _check_decay(recipe: Recipe) -> None:
    """Check that learning rate times weight decay, the share of each weight that a step removes, is below 1."""
    if recipe.optimizer == "rmsprop":  # whose steps are of one size, whatever the gradient's
        return
    rate = recipe.learning_rate * (MUON_REST if recipe.optimizer == "muon" else 1.0)
    if rate * recipe.weight_decay >= 1:
        raise FieldError(
            "recipe.weight_decay",
            f"must be below {1 / rate:.3g}, not {recipe.weight_decay:g}: with this learning rate, one step would "
            "remove each weight",
        )


def _for_data(network: Network, data: Dataset, *, fit: bool) -> Network:
    """Return a network with the resolution, channels and classes of the data.

    A network that is made for the data's resolution keeps its strides, and so does one that gets trained weights.
    """
    if fit and network.resolution != data.resolution:
        network = fit_resolution(network, data.resolution)
    return at(network, resolution=data.resolution, channels=data.channels, classes=len(data.classes))


def _recipe(
    data: Dataset,
    network: Network,
    name: RecipeName | None,
    given: Mapping[str, Any],
    batch_size: int,
    *,
    tuned: bool,
) -> dict[str, Any]:
    """Return the fields of the recipe: those that were given, of the named recipe, and what suits the data."""
    # None has a meaning for this field alone: the network keeps its own momentum.
    fields = {name: value for name, value in given.items() if value is not None or name == "norm_momentum"}
    frozen = bool(fields.get("freeze"))  # then features of the same images are computed once
    if name is None and tuned and not frozen:
        name = FINE_TUNE
    if name is not None:
        published = recipe_fields(name, batch_size)
        if not has_shortcuts(network):
            published.pop("stochastic_depth", None)
        if fields.get("optimizer", own := published.get("optimizer", "sgd")) != own:
            published.pop("learning_rate", None)  # rates of one optimizer do not suit another
            if not {own, fields["optimizer"]} <= COUPLED:
                published.pop("weight_decay", None)
        if frozen or not tuned:
            published.pop("freeze_epochs", None)
            published.pop("freeze_norm", None)
        elif name == FINE_TUNE and fields.get("freeze_epochs") == 0:
            published.pop("learning_rate", None)  # which is that of the classifier
        fields = published | fields
    fields["crop_scale"] = crop_scale(data, name, given)
    fields.setdefault("flip", data.default_flip and not frozen)
    # An eighth of the side, as 4 pixels are for CIFAR.
    moved = min(data.size) >= LEAST_CROPPED and not frozen and not fields.get("crop_scale")
    fields.setdefault("crop", min(data.size) // 8 if moved else 0)
    rates = FINE_TUNING if tuned and not frozen and not fields.get("freeze_epochs") else FROM_SCRATCH
    rate = rates.get(fields.get("optimizer", "sgd"))  # `checked` reports others
    if "learning_rate" not in fields and rate is not None:
        fields["learning_rate"] = rate * batch_size / LARGEST_BATCH
    if fields.get("optimizer") == "muon":
        fields.setdefault("weight_decay", MUON_DECAY)
    return fields


def crop_scale(data: Dataset, name: RecipeName | None, given: Mapping[str, Any]) -> float:
    """Return the smallest share of an image's area that random resized crops show; 0: there are no such crops.

    The papers cut them from photographs, and shifted the small images of CIFAR instead.

    Args:
        data: The data at the resolution of the network.
        name: A recipe of `RECIPES`.
        given: Fields of `Recipe` that override those of the named recipe; None means open.
    """
    value: float | None = given.get("crop_scale")
    if value is not None:
        return value
    if name is None or given.get("freeze") or min(data.size) < LEAST_CROPPED_IN_SCALE:
        return 0.0
    published: float = recipe_fields(name, LARGEST_BATCH).get("crop_scale", 0.0)
    return published


def absolute_spec(spec: str) -> str:
    """Return data with absolute paths, so that a run can be evaluated and repeated from anywhere."""
    return spec if spec in SOURCES else absolute_path(spec)
