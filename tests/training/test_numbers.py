"""No number of a request is changed silently: it is in the configuration, or refused by name."""

import annotated_types
import pytest
from PIL import Image

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ArgumentError
from convwright.training.config import Recipe, RunOptions, TrainConfig
from convwright.training.plan import plan

MODELS = {name: model for model in (Recipe, RunOptions, TrainConfig) for name in model.model_fields}
ELSEWHERE = {"data", "network", "resolution", "recipe", "schema_version", "split_seed"}


def numbers(name: str) -> list[float]:
    """Return the largest and smallest numbers that a field can have, and some that it cannot."""
    field = MODELS[name].model_fields[name]
    limits = [
        getattr(limit, side)
        for limit in field.metadata
        for side in ("ge", "le", "gt", "lt")
        if isinstance(limit, getattr(annotated_types, side.capitalize()))
    ]
    whole = "int" in str(field.annotation)
    near = [value for limit in limits for value in ((limit - 1, limit, limit + 1) if whole else (limit, limit * 0.99))]
    return [*near, *([0, 1, 7, 10**5, 10**9] if whole else [0.0, 1e-9, 0.3, 29.0, 1e7, 1e29])]


NUMERIC = sorted(
    name
    for name, model in MODELS.items()
    if name not in ELSEWHERE
    and ("int" in str(model.model_fields[name].annotation) or "float" in str(model.model_fields[name].annotation))
    and "tuple" not in str(model.model_fields[name].annotation)
)


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


def planned(data, name, value):
    """Return the number in the configuration, or the error about it."""
    options = {"recipe": {name: value}} if name in Recipe.model_fields else {name: value}
    try:
        config, _ = plan(data, cw.network("cifar_resnet8"), **options)
    except ArgumentError as error:
        return error
    return getattr(config.recipe if name in Recipe.model_fields else config, name)


@pytest.mark.parametrize("name", NUMERIC)
def test_a_number_is_kept_or_refused(name, digits):
    found = {value: planned(digits, name, value) for value in numbers(name)}
    refused = [error for error in found.values() if isinstance(error, ArgumentError)]
    assert [error for error in refused if error.argument != name or "\n" in str(error)] == []
    kept = {value: number for value, number in found.items() if not isinstance(number, ArgumentError)}
    assert kept
    assert {value: number for value, number in kept.items() if value != number} == {}


def test_a_few_images_are_trained_on_in_one_batch(tmp_path):
    for label in ("one", "two"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (16, 16), (20 * number, 90, 200)).save(tmp_path / "data" / label / f"{number}.png")
    plan = cw.prepare(tmp_path / "data", epochs=1, fused=False, progress=False)
    assert plan.config.batch_size == len(plan.data.train) < 10


def test_there_are_many_numbers():
    assert {"batch_size", "epochs", "accumulate", "learning_rate", "crop", "mixup", "devices"} <= {*NUMERIC}


@pytest.mark.parametrize("option", ["backbone_rate", "layer_decay", "unfrozen_rate", "freeze_epochs"])
def test_rates_of_what_is_frozen_are_refused(option):
    with pytest.raises(ArgumentError, match=f"{option}: has no effect with `freeze`"):
        cw.TrainRequest(data="digits", freeze=True, weights="pretrained", **{option: 0.5})
