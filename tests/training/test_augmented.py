"""What a run's network sees, shown before the run."""

import json
from dataclasses import replace

import pytest
import torch

import convwright as cw
from convwright.data import Augmentation
from convwright.errors import ArgumentError
from convwright.training.preparation import training_batches

OPTIONS = {"network": "cifar_resnet8", "crop": 1, "rotation": 15, "erasing": 0.3, "mixup": 0.2, "batch_size": 16}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return cw.prepare("digits", out=tmp_path_factory.mktemp("out") / "run", progress=False, **OPTIONS)


def test_the_first_images_are_those_of_the_run_s_first_step(plan):
    shown = cw.augmented(plan, count=16, versions=2)
    batches = training_batches(plan.config, plan.data)
    pixels = torch.stack([each.versions[0] for each in shown.images])
    assert [each.name for each in shown.images] == [str(row) for row in batches.rows_at(0).tolist()]
    torch.testing.assert_close(plan.data.normalise(pixels), batches.at(0)[0], rtol=0, atol=0.5 / 255 / plan.data.std[0])
    assert not torch.equal(shown.images[0].versions[0], shown.images[0].versions[1])


def test_labels_of_mixed_images_have_their_shares(plan):
    shown = cw.augmented(plan, count=12, versions=3)
    shares = [dict(labels) for each in shown.images for labels in each.labels]
    assert all(sum(row.values()) == pytest.approx(1, abs=0.01) for row in shares)
    assert any(len(row) == 2 for row in shares)
    likeliest = [next(iter(row)) for row in shares]
    assert all(row[name] == max(row.values()) for name, row in zip(likeliest, shares, strict=True))


def test_more_images_than_a_batch_are_shown_once_each(plan):
    names = [each.name for each in cw.augmented(plan, count=40, versions=1).images]
    assert len(set(names)) == len(names) == 40


def test_without_augmentation_the_network_sees_the_originals():
    shown = cw.augmented("digits", network="cifar_resnet8", flip=False, crop=0, count=3)
    assert shown.augmentation == {}
    assert "sees the originals" in str(shown)
    assert all(torch.equal(version, each.original) for each in shown.images for version in each.versions)


def test_options_are_those_that_differ_from_no_augmentation(plan):
    shown = cw.augmented(plan, count=1)
    assert {name: OPTIONS[name] for name in shown.augmentation} == shown.augmentation
    assert shown.augmentation.keys() == {"crop", "rotation", "erasing", "mixup"}
    assert all(getattr(Augmentation(), name) != value for name, value in shown.augmentation.items())


def test_growing_images_and_frozen_epochs_are_noted(plan):
    recipe = plan.config.recipe.model_copy(update={"progressive": 0.5, "freeze_epochs": 2})
    shown = cw.augmented(replace(plan, config=plan.config.model_copy(update={"recipe": recipe})), count=1)
    assert "grow during training, from 4 x 4 px to 8 x 8 px" in str(shown)
    assert "for the first 2 epochs the images are not changed" in str(shown)


def test_it_shows_itself_as_json_page_and_figure(plan, tmp_path):
    shown = cw.augmented(plan, count=3, versions=2)
    found = json.loads(shown.to_json())
    assert [len(each["labels"]) for each in found["images"]] == [2, 2, 2]
    shown.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img ") == 3 * (1 + 2)
    assert shown._repr_html_().count("<img ") == 9


@pytest.mark.parametrize("options", [{"count": 0}, {"versions": 0}, {"rotation": 181}, {"crop_scale": -1}])
def test_wrong_values_name_the_parameter(options):
    with pytest.raises(ArgumentError) as error:
        cw.augmented("digits", **options)
    assert error.value.argument == next(iter(options))
