"""One preprocessing for training, evaluation, prediction and exported files, in every resize mode."""

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.data.framing import Framing
from convwright.data.images import decode
from convwright.engines.card_reading import read_card
from convwright.prediction.files import FilePredictor
from convwright.prediction.network import load
from convwright.training.run import Run
from convwright.training.run_data import open_run_data


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of colour noise in four sizes, two of them taller than wide."""
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("dark", "light")):
        for split, count in (("train", 12), ("test", 4)):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                width, height = ((50, 30), (30, 50), (40, 40), (64, 30))[index % 4]
                draw = np.random.default_rng(1000 * label + 100 * (split == "test") + index)
                pixels = draw.integers(120 * label, 120 + 120 * label, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("resolution", [16, (12, 20)])
def test_paths_evaluation_and_exported_files_have_the_same_pixels(photos, tmp_path, resize, resolution):
    run = cw.train(
        photos,
        network="cifar_resnet8",
        resolution=resolution,
        resize=resize,
        epochs=1,
        out=tmp_path / "run",
        progress=False,
    )
    assert Run.open(run.path).framing == Framing(resize=resize)
    data = open_run_data(Run.open(run.path))
    files = [photos / name for name in data.test.names]
    evaluated = data.test.images
    predictor = load(run.path)
    run.export(tmp_path / "network.onnx")
    exported = FilePredictor(tmp_path / "network.onnx")
    card = read_card(tmp_path / "network.onnx")
    for row, file in enumerate(files):
        by_card = Framing(card.crop, card.interpolation, card.resize, card.decoder)
        assert np.array_equal(decode(file, card.resolution, card.channels, by_card), evaluated[row].numpy())
        with Image.open(file) as image:
            for source in (file, image, np.asarray(image)):
                assert torch.equal(predictor.read(source), evaluated[row])
                assert np.array_equal(exported.read(source), evaluated[row].numpy())
    logits = predictor.logits(evaluated)
    torch.testing.assert_close(torch.from_numpy(exported.logits(evaluated.numpy())), logits, rtol=1e-3, atol=1e-4)
    right = float((logits.argmax(1) == data.test.labels).float().mean())
    assert cw.evaluate(run.path).accuracy == pytest.approx(right)
    predicted = [one.label for one in cw.predict(run.path, [str(file) for file in files])]
    assert predicted == [data.classes[label] for label in logits.argmax(1).tolist()]


def test_the_modes_give_different_pixels(photos):
    file = photos / "test" / "dark" / "0.png"
    made = [decode(file, 16, 3, Framing(resize=mode)) for mode in ("crop", "pad", "squash")]
    assert not any(np.array_equal(made[one], made[other]) for one, other in ((0, 1), (0, 2), (1, 2)))
