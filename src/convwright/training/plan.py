"""From what the user asked to a resolved configuration: sensible values for all that was left open."""

from pathlib import Path
from typing import Any

from convwright.arch import Network, at, fit_resolution, regularise
from convwright.arch.cost import cost
from convwright.arch.operators import has_shortcuts
from convwright.data import SOURCES, Dataset
from convwright.training.config import FieldError, TrainConfig, checked
from convwright.training.operators import fused_by_default
from convwright.training.progressive import smallest
from convwright.training.recipes import named

LARGEST_BATCH = 128
FEWEST_STEPS = 40
"""An epoch should have so many steps, at the cost of smaller batches."""
LEAST_CROPPED = 16
"""Pixels of a side from which on images are shifted at random; smaller ones cannot spare any."""
FINE_TUNING = 0.02
"""Learning rate of SGD for weights that are good already, with batches of 128."""


def default_batch_size(images: int) -> int:
    """Return 128, or the power of two from 16 up that still gives an epoch of so many images 40 steps."""
    size = LARGEST_BATCH
    while size > 16 and images // size < FEWEST_STEPS:
        size //= 2
    return size


def plan(
    data: Dataset,
    network: Network,
    *,
    fit: bool = True,
    name: str | None = None,
    recipe: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[TrainConfig, Network]:
    """Resolve options (fields of `TrainConfig`; None means open) for a data set.

    fit: drop the network's early strides where the images are smaller than those that it is made for. name: a recipe
    of `RECIPES`, which fields in `recipe` overrule. Returns the configuration and the network with the data's
    resolution, channels and classes, and the recipe's dropout and stochastic depth. Raises NetworkError and
    UsageError.
    """
    fits = network.resolution == data.resolution  # made for it, or fitted by the user's own measure
    given = {field: value for field, value in options.items() if value is not None}
    fit = fit and not fits and "weights" not in given  # trained weights expect the strides that they were trained with
    chosen = fit_resolution(network, data.resolution) if fit else at(network, resolution=data.resolution)
    chosen = at(chosen, channels=data.channels, classes=len(data.classes))
    batch_size = given.setdefault("batch_size", default_batch_size(len(data.train)))
    if isinstance(batch_size, int):  # what is wrong is told below
        batch_size = given["batch_size"] = min(batch_size, len(data.train))
    recipe = {field: value for field, value in (recipe or {}).items() if value is not None}
    if name is not None:
        size = batch_size if isinstance(batch_size, int) else LARGEST_BATCH
        published = named(name, size)
        if not has_shortcuts(chosen):
            published.pop("stochastic_depth", None)
        recipe = published | recipe
    frozen = bool(recipe.get("freeze"))  # then features of the same images are computed once
    recipe.setdefault("flip", data.default_flip and not frozen)
    # An eighth of the side, as 4 pixels are for CIFAR.
    recipe.setdefault("crop", data.resolution // 8 if data.resolution >= LEAST_CROPPED and not frozen else 0)
    if "learning_rate" not in recipe and recipe.get("optimizer", "sgd") == "sgd" and isinstance(batch_size, int):
        tuned = given.get("weights") is not None and not frozen
        recipe["learning_rate"] = (FINE_TUNING if tuned else 0.1) * batch_size / LARGEST_BATCH
    given.setdefault("fused", fused_by_default(given))
    config = checked(
        {"data": _found_again(data.name), "network": chosen.name, "resolution": data.resolution, "recipe": recipe}
        | given
    )
    if config.recipe.crop >= config.resolution:
        limit = f"must be less than the images' resolution, {config.resolution} px"
        raise FieldError("recipe.crop", f"{limit}, not {config.recipe.crop}")
    if config.recipe.progressive:
        cost(chosen, smallest(data.resolution))  # names the layer for which the first images are too small
    rates = config.recipe.model_dump(include={"dropout", "stochastic_depth"})
    chosen = regularise(chosen, **rates)
    return config.model_copy(update={"network": chosen.name}), chosen


def _found_again(spec: str) -> str:
    """A folder's absolute path, so that a run can be evaluated and repeated from anywhere."""
    return spec if spec in SOURCES else str(Path(spec).expanduser().absolute())
