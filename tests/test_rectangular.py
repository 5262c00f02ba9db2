"""Images of 24 x 40 pixels from the network's cost to the exported file and the report."""

import json

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.prediction.files import FilePredictor
from convwright.prediction.network import load
from convwright.training.run import Run

SIZE = (24, 40)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of noise with lines across, lines down, and dots."""
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("across", "down", "dots")):
        for split, count in (("train", 16), ("test", 4)):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                draw = np.random.default_rng(1000 * label + 100 * (split == "test") + index)
                pixels = draw.integers(0, 120, (30 + index % 3 * 6, 52, 3), dtype=np.uint8)
                step = (slice(draw.integers(4), None, 8), slice(None))
                pixels[{"across": step, "down": step[::-1], "dots": (step[0], step[0])}[name]] = 230
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    """One run with squeeze-and-excitation, whose images grow and are cropped at random; one of a dense network."""
    folder = tmp_path_factory.mktemp("runs")
    options = {"resolution": "24x40", "epochs": 6, "batch_size": 16, "progress": False}
    se = cw.train(photos, network="cifar_seresnet8", out=folder / "se", progressive=0.5, crop_scale=0.5, **options)
    dense = cw.train(photos, network="densenet_l10_k4", out=folder / "dense", resize="pad", rotation=5, **options)
    return se, dense


@pytest.mark.parametrize("name", ["cifar_seresnet8", "efficientnet_b0", "densenet121", "resnet18"])
def test_networks_cost_and_compute_what_their_sides_say(name):
    import torch

    network = cw.network(f"{name}|resolution:96x160|classes:3")
    wide, square = cw.cost(network), cw.cost(cw.network(f"{name}|resolution:96|classes:3"))
    assert wide.params == square.params
    assert wide.macs / square.macs == pytest.approx(160 / 96, rel=0.05)
    assert cw.build(network)(torch.zeros(1, 3, 96, 160)).shape == (1, 3)
    assert cw.network(network.name) == network


def test_a_plan_keeps_the_proportions():
    plan = cw.plan("cifar_resnet20|resolution:24x40", phi=2)
    height, width = plan.network.resolution
    assert height > 24
    assert width / height == pytest.approx(40 / 24, abs=0.1)


def test_runs_train_and_can_be_opened_and_evaluated(runs):
    for run in runs:
        assert run.network.resolution == SIZE
        assert Run.open(run.path).summary.resolution == SIZE
        assert json.loads((run.path / "data.json").read_text())["resolution"] == list(SIZE)
        assert run.evaluate().accuracy > 0.5
        assert cw.resume(run.path, progress=False).finished


def test_predictions_of_files_arrays_and_images_agree(runs, photos):
    file = photos / "test" / "dots" / "1.png"
    with Image.open(file) as image:
        sources = [file, image, np.asarray(image)]
        for run in runs:
            found = [cw.predict(run.path, [source])[0].probability for source in sources]
            assert found == pytest.approx([found[0]] * 3, abs=1e-6)


def test_maps_have_the_size_of_the_images(runs, tmp_path):
    maps = cw.explain.cam(list(runs), count=2)
    for one in maps.networks:
        assert one.maps.maps.shape[1:] == SIZE
    maps.save(tmp_path / "maps")
    pictures = [Image.open(file).size for file in (tmp_path / "maps").glob("se/*.png")]
    assert len(pictures) == 2
    assert all(width / height == pytest.approx(40 / 24, abs=0.02) for width, height in pictures)
    scores = cw.explain.faithfulness(None, maps, steps=4)
    assert np.isfinite(scores.maps.networks[0].scores.values()["deletion"]).all()


def test_reuse_and_excitation(runs):
    se, dense = runs
    assert cw.explain.reuse(dense.path).to_dict()
    assert cw.explain.excitations(se.path).to_dict()


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".safetensors"])
def test_exported_files_read_images_of_these_sides(runs, photos, tmp_path, suffix):
    se, _ = runs
    se.export(tmp_path / f"network{suffix}")
    exported, own = FilePredictor(tmp_path / f"network{suffix}"), load(se.path)
    assert exported.resolution == SIZE
    file = photos / "test" / "down" / "2.png"
    assert exported.predict([file])[0].probability == pytest.approx(own.predict([file])[0].probability, abs=1e-3)


def test_bench_compare_and_report(runs, photos, tmp_path):
    assert cw.bench(runs[0].path, engine="torch", seconds=0.1).to_dict()
    assert cw.compare(*(run.path for run in runs)).to_dict()
    report = cw.report([run.path for run in runs], tmp_path / "report.html").to_dict()
    for run, network in zip(runs, report["networks"], strict=True):  # one crops the same files, the other pads them
        assert network["measures"]["loss"] == pytest.approx(run.evaluate().loss, rel=1e-6)
    assert "images of 24\u00a0×\u00a040 pixels" in (tmp_path / "report.html").read_text(encoding="utf-8")
