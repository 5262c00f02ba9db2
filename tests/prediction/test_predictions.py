"""Predictions from Python: images of every kind, results, and what cannot be read."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import ArgumentError, ConvwrightError, ConvwrightWarning
from convwright.prediction.network import Predictor
from convwright.training.loop import train
from convwright.training.plan import plan
from convwright.training.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8|scale:w=0.25"), epochs=0.2)
    train(config, network, data, path)
    return path


@pytest.fixture
def pixels():
    return (load_digits().images[:3] * 15.9).astype(np.uint8)


@pytest.fixture
def photos(tmp_path, pixels):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name, image in zip(("a.png", "b.png", "deep/c.png"), pixels, strict=True):
        Image.fromarray(image).save(folder / name)
    return folder


def test_images_of_every_kind_have_the_same_predictions(run, photos, pixels, monkeypatch):
    monkeypatch.chdir(photos)
    kinds = {
        "folder": photos,
        "name of a folder": str(photos),
        "pattern": "**/*.png",
        "list": [photos / "a.png", "b.png", "deep"],
        "array": pixels[..., None],
        "arrays": list(pixels),
        "tensor": torch.from_numpy(pixels)[:, None],
        "pictures": [Image.fromarray(image) for image in pixels],
    }
    expected = cw.predict(run, kinds["folder"])
    assert [one.label for one in expected] == [one.classes[0] for one in expected]
    for kind, images in kinds.items():
        found = cw.predict(Run.open(run), images)
        assert [one.classes for one in found] == [one.classes for one in expected], kind
        assert [one.probability for one in found] == pytest.approx([one.probability for one in expected], rel=1e-5)
    single = [photos / "a.png", pixels[0], torch.from_numpy(pixels[0]), Image.fromarray(pixels[0])]
    for image in single:
        assert len(cw.predict(run, image)) == 1
        assert cw.predict(run, image)[0].label == expected[0].label


def test_images_in_memory_are_named_by_their_place_or_file(run, photos, pixels):
    names = [one.file for one in cw.predict(run, [pixels[0], Image.open(photos / "a.png"), photos / "b.png"])]
    assert names == ["image 1", str(photos / "a.png"), str(photos / "b.png")]


def test_a_result_is_a_list_that_shows_itself(run, photos, convwright_lines, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # long paths would wrap the table
    found = cw.predict(run, photos, top=2)
    assert len(found) == 3
    assert found[0].file == str(photos / "a.png")
    assert [one.file for one in found[1:]] == [str(photos / name) for name in ("b.png", "deep/c.png")]
    assert json.loads(found.to_json()) == convwright_lines(run, photos, "--top", "2", "--json")
    assert found.to_dict()["predictions"] == found.json_value()
    title, *rows = str(found).splitlines()
    assert title.split() == ["file", *("class", "probability") * 2]
    assert [row.split()[1] for row in rows] == [one.label for one in found]
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["class_1"] for row in rows] == [one.label for one in found]
    html = found._repr_html_()
    assert html.count("<img") == 3
    assert "data:image/png;base64," in html


@pytest.fixture
def convwright_lines(capsys):
    """Return what the command prints as JSON, a value for each line."""
    from convwright.cli.main import run as run_command

    def lines(*arguments):
        assert run_command(["predict", *map(str, arguments)]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return lines


def test_images_that_cannot_be_read_are_left_out_with_a_warning(run, photos):
    (photos / "b.png").write_bytes(b"damaged")
    with pytest.warns(ConvwrightWarning, match=r"1 of 3 images could not be read; the first: cannot read .*b.png"):
        found = cw.predict(run, photos)
    assert [one.file for one in found] == [str(photos / "a.png"), str(photos / "deep" / "c.png")]
    assert [one.file for one in found.unreadable] == [str(photos / "b.png")]
    with pytest.warns(ConvwrightWarning, match=r"1 of the given names matched no image; .*x\*.png: no image file"):
        assert len(cw.predict(run, [photos / "a.png", str(photos / "x*.png")])) == 1
    with pytest.raises(ConvwrightError, match="1 of 1 images could not be read; the first"):
        cw.predict(run, "absent.png")


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ("nowhere*.png", {}, r"images: no images found: nowhere\*.png: no image file matches"),
        ([], {}, "images: no images found"),
        (5, {}, "images: "),
        (np.zeros((8, 8)), {}, "images: image 1: the values of an array must be uint8"),
        (b"bytes", {}, "images: image 1: an image is a file, a Pillow image, a tensor or an array, not bytes"),
        ("a.png", {"top": 0}, "top: must be a whole number, 1 to 1000000, not 0"),
        ("a.png", {"batch_size": 1.5}, "batch_size: must be a whole number"),
        ("a.png", {"device": "abacus"}, "device: no device 'abacus'"),
        ("a.png", {"engine": "openvino"}, "engine: .*an engine runs exported files"),
        ("a.png", {"files_from": "absent"}, "files_from: absent: No such file"),
    ],
)
def test_wrong_arguments_are_named(images, options, message, run):
    with pytest.raises(ArgumentError, match=message):
        cw.predict(run, images, **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_lists_of_names_are_read_with_and_without_a_byte_order_mark(encoding, end, run, photos):
    names = [str(photos / "a.png"), str(photos / "deep" / "c.png")]
    listed = photos.parent / "list.txt"
    listed.write_bytes("".join(name + end for name in names).encode(encoding))
    assert [one.file for one in cw.predict(run, files_from=listed)] == names


def test_a_network_needs_weights():
    with pytest.raises(ArgumentError, match="weights: resnet18 is a network, not a run directory"):
        cw.load("resnet18")
    with pytest.raises(ArgumentError, match="engine: an engine runs exported files"):
        cw.load("resnet18", engine="openvino", weights="pretrained")


def test_a_run_is_loaded_from_its_object_or_its_directory(run, pixels):
    for value in (run, str(run), Run.open(run)):
        predictor = cw.load(value)
        assert isinstance(predictor, Predictor)
        assert predictor.predict([pixels[0]], top=1)[0].label == cw.predict(run, pixels[0])[0].label


def test_logits_of_views_are_averaged(run):
    from convwright.training.views import View

    predictor = cw.load(run)
    images = open_dataset("digits").test.images[:5]
    both = predictor.logits(images, (View(), View(mirrored=True))).exp()
    mean = (predictor.probabilities(images) + predictor.probabilities(images.flip(-1))) / 2
    assert torch.allclose(both, mean, atol=1e-6)
