"""A predictor takes images in every form, alike, and says clearly what is none."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.errors import ConvwrightError, UsageError
from convwright.evaluation.assessment import in_channels
from convwright.prediction.network import Predictor, find_device
from convwright.prediction.result import Predictions


@pytest.fixture(scope="module")
def predictor():
    network = cw.at(cw.network("cifar_resnet8|scale:w=0.25"), resolution=16, channels=3, classes=4)
    return Predictor(network, cw.build(network, seed=1), "abcd", (0.5,) * 3, (0.25,) * 3)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_every_form_of_an_image_has_the_same_prediction(predictor, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "image.png")
    forms = [
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
        io.BytesIO((tmp_path / "image.png").read_bytes()),
        Image.fromarray(pixels),
        pixels,
        pixels[:, ::-1][:, ::-1],  # another stride
        torch.from_numpy(pixels).permute(2, 0, 1),
    ]
    for form in forms:
        assert torch.equal(predictor.read(form), torch.from_numpy(pixels).permute(2, 0, 1))
    first, *others = predictor.predict(forms, top=2)
    assert len(first.classes) == 2
    for other in others:
        assert other.classes == first.classes
        assert other.probabilities == pytest.approx(first.probabilities, rel=1e-5)


def test_probabilities_are_those_of_normalised_images(predictor, pixels):
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = predictor.module((images / 255 - 0.5) / 0.25).softmax(1)
    assert torch.allclose(predictor.probabilities(images), expected, atol=1e-5)
    answer = predictor.predict(images)[0]
    assert sum(answer.probabilities) == pytest.approx(1)
    assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
    assert answer.classes[0] == "abcd"[int(expected.argmax())]


@pytest.mark.parametrize("shape", [(20, 30, 3), (8, 8, 1), (16, 16), (16, 16, 4)])
def test_other_sizes_and_channels_are_made_to_fit_as_files_are(shape, predictor, tmp_path):
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(array.squeeze()).save(tmp_path / "image.png")
    expected = predictor.read(tmp_path / "image.png")
    assert torch.equal(predictor.read(array), expected)
    tensor = torch.from_numpy(array)
    assert torch.equal(predictor.read(tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((16, 16, 3)), "must be uint8, from 0 to 255, not float64"),
        (torch.zeros(3, 16, 16), "must be uint8, from 0 to 255, not float32"),
        (
            torch.zeros(16, 16, 3, dtype=torch.uint8),
            "an image as a tensor is C x H x W with 1, 3 or 4 channels, not 16 x 16 x 3",
        ),
        (np.zeros((3, 16, 16), np.uint8), "an image as an array is H x W x C with 1, 3 or 4 channels, not 3 x 16 x 16"),
        (np.zeros((1, 2, 3, 3), np.uint8), "not 1 x 2 x 3 x 3"),
        (np.zeros((), np.uint8), "not a single value"),
        (np.zeros((0, 5, 3), np.uint8), "must have pixels; this is an array of 0 x 5 x 3"),
        (b"bytes", "not bytes"),
        (None, "not NoneType"),
        ("absent.png", "cannot read absent.png: no such file"),
        (io.BytesIO(b"text"), "cannot read the image: not an image"),
    ],
)
def test_what_is_no_image(image, message, predictor):
    with pytest.raises(ConvwrightError, match=message):
        predictor.predict([image])


@pytest.mark.parametrize(
    "kind", [Image.fromarray, np.asarray, lambda pixels: torch.from_numpy(pixels.transpose(2, 0, 1))]
)
def test_one_image_gives_one_prediction(kind, predictor):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
    one = predictor.predict(kind(pixels))
    assert dataclasses.replace(one, file="image 1") == predictor.predict([kind(pixels)])[0]
    assert str(one).startswith(f"{one.label} {one.probability:.1%}")
    assert one._repr_html_() == f"<p>{one}</p>"


def test_a_file_may_stand_alone(predictor, tmp_path):
    Image.new("L", (9, 9), 120).save(tmp_path / "grey.png")
    assert predictor.predict(str(tmp_path / "grey.png")) == predictor.predict([tmp_path / "grey.png"])[0]


def test_a_number_is_no_image(predictor):
    with pytest.raises(UsageError, match="an image is a file, a Pillow image, a tensor or an array, not int"):
        predictor.predict(5)


@pytest.mark.parametrize("options", [{"top": 0}, {"batch_size": 0}, {"top": "3"}, {"top": 2.0}, {"batch_size": True}])
def test_wrong_numbers(options, predictor):
    with pytest.raises(UsageError, match="1 or more"):
        predictor.predict([], **options)


def test_long_lists_are_cut_into_batches(predictor):
    images = np.random.default_rng(2).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)
    seen = []
    hook = predictor.module.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    answers = predictor.predict((image for image in images), batch_size=4)
    hook.remove()
    assert seen == [4, 4, 3]
    alone = [predictor.predict([image])[0] for image in images]
    for answer, expected in zip(answers, alone, strict=True):
        assert answer.probabilities == pytest.approx(expected.probabilities, rel=1e-4)
    assert list(predictor.predict([])) == []


def test_several_images_give_a_result_with_the_names_of_their_files(predictor, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    file = str(tmp_path / "a.png")
    found = predictor.predict([tmp_path / "a.png", file, Image.open(file), pixels], top=2)
    assert isinstance(found, Predictions)
    assert (len(found), found[-1], len(found[1:3])) == (4, list(found)[-1], 2)
    assert [one.file for one in found] == [file, file, file, "image 4"]
    assert str(found).splitlines()[1].startswith(file)
    assert found._repr_html_().count("<img") == 4
    assert found.to_json() == json.dumps([one.to_dict() for one in found])
    assert found.to_dict() == {"predictions": [one.to_dict() for one in found]}


def test_a_predictor_returns_what_predict_returns(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    cw.train("digits", network="cifar_resnet8", epochs=0.02, out=tmp_path / "run", progress=False)
    images = [str(tmp_path / "a.png"), pixels]
    mine, expected = cw.load(tmp_path / "run").predict(images, top=3), cw.predict(tmp_path / "run", images, top=3)
    assert mine.to_dict() == expected.to_dict()
    assert (str(mine), mine._repr_html_()) == (str(expected), expected._repr_html_())


def test_devices_are_found_by_name():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        find_device("cuda:99")


def test_channels_are_converted_as_files_are(pixels):
    from convwright.data import Split

    colour = Split(torch.from_numpy(pixels).permute(2, 0, 1)[None], torch.zeros(1))
    grey = in_channels(colour, 1).images[0, 0]
    expected = torch.from_numpy(np.array(Image.fromarray(pixels).convert("L")))
    assert (grey.int() - expected.int()).abs().max() <= 1
    assert torch.equal(in_channels(Split(grey[None, None], torch.zeros(1)), 3).images[0], grey.expand(3, -1, -1))
    assert in_channels(colour, 3) is colour
    named = Split(colour.store, colour.labels, names=("a.png",), weights=torch.ones(1), groups=("g",))
    converted = in_channels(named, 1)
    assert (converted.names, converted.weights, converted.groups) == (named.names, named.weights, named.groups)


@pytest.mark.parametrize("shape", [(2, 5, 5), (2, 3, 4, 5), (2, 2, 32, 32), ()])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_probabilities_take_images_of_the_network_alone(kind, shape, predictor):
    right = (2, predictor.channels, predictor.resolution, predictor.resolution)
    assert predictor.probabilities(np.zeros(right, np.uint8)).shape == (2, len(predictor.classes))
    for images in (torch.zeros(shape, dtype=kind), torch.zeros(right)):
        with pytest.raises(UsageError, match="images: must be uint8 of N x "):
            predictor.probabilities(images)
