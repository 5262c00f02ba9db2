"""Maps as pictures."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.arch import at
from convwright.explain import activation_maps, overlays
from convwright.explain.drawing import (
    SMALL,
    TEXT,
    TILE,
    Cell,
    _cut,
    _font,
    _wrapped,
    coloured,
    figure,
    overlay,
    picture,
)
from convwright.prediction.network import Predictor


def test_the_colours_grow_lighter_from_end_to_end():
    colours = coloured(np.linspace(0, 1, 101))
    luma = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luma) > 0).all()
    assert luma[0] < 5 < 245 < luma[-1] + 10


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 28), (3, 300)])
def test_an_overlay_is_coloured_where_the_map_is_and_shows_the_image_elsewhere(channels, side):
    pixels = np.full((channels, side, side), 128, np.uint8)
    relevance = np.zeros((side, side), np.float32)
    relevance[:, side // 2 :] = 1
    laid = np.asarray(overlay(pixels, relevance)).astype(float)
    assert laid.shape == (max(TILE, side),) * 2 + (3,)
    left, right = laid[:, : len(laid) // 3], laid[:, -len(laid) // 3 :]
    assert np.abs(left - 128).max() < 20
    assert np.ptp(left, axis=2).max() < 5, "grey stays grey"
    assert right[..., 0].min() > 200
    assert right.mean() > left.mean() + 50


def test_small_images_keep_their_pixels_and_large_ones_are_smooth():
    pixels = np.zeros((1, 8, 8), np.uint8)
    pixels[0, ::2] = 255
    assert set(np.unique(np.asarray(picture(pixels, 224)))) == {0, 255}
    assert picture(pixels).size == (8, 8)
    assert picture(np.zeros((3, 100, 100), np.uint8), 224).size == (224, 224)


def test_a_figure_holds_every_picture_where_it_belongs():
    colours = [["#ff0000", "#00ff00"], ["#0000ff", "#ffff00"], ["#ff00ff", "#00ffff"]]
    cells = [[Cell(Image.new("RGB", (50, 50), colour), "a", "b") for colour in column] for column in colours]
    sheet = figure(["first", "second"], cells[0], cells[1:], "caption", tile=60)
    found = [Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for column in colours for colour in column]
    places = [np.argwhere((np.asarray(sheet) == colour).all(2)) for colour in found]
    assert all(len(place) == 58 * 58 for place in places), "all but the frame"
    lefts, tops = [place[:, 1].min() for place in places], [place[:, 0].min() for place in places]
    assert lefts[0] == lefts[1] < lefts[2] == lefts[3] < lefts[4] == lefts[5]
    assert tops[0] == tops[2] == tops[4] < tops[1] == tops[3] == tops[5]


def test_texts_fit_their_width():
    name = "efficientnet_b0|scale:d=1.2,w=1.1,r=1.15|fit:28|channels:1 " + "x" * 80
    lines = _wrapped(name, 200, TEXT)
    assert len(lines) > 2
    assert all(_font(line, TEXT).getlength(line) <= 200 for line in lines)
    assert lines[0].startswith("efficientnet_b0")
    assert _cut("short", 200, SMALL) == "short"
    assert _cut("y" * 100, 200, SMALL).endswith("y...")
    figure(["Größe 尺寸"], [Cell(Image.new("RGB", (9, 9)), "Ü")], [[Cell(Image.new("RGB", (9, 9)), "漢")]], "…")


def test_overlays_of_a_predictor_are_png_files_with_their_class():
    network = at(cw.network("cifar_resnet8|scale:w=0.25"), resolution=16, channels=1, classes=3)
    predictor = Predictor(network, cw.build(network, seed=0).eval(), ("x", "y", "z"), (0.5,), (0.25,))
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), dtype=np.uint8)
    laid = overlays(predictor, images, target="y", side=64)
    assert [one.label for one in laid] == ["y", "y"]
    assert [one.probability for one in laid] == pytest.approx(
        list(activation_maps(predictor, images, target=1).probabilities)
    )
    opened = Image.open(BytesIO(laid[0].png))
    assert (opened.format, opened.size, opened.mode) == ("PNG", (64, 64), "RGB")
    pixels = torch.from_numpy(images[1].transpose(2, 0, 1)).numpy()
    expected = overlay(pixels, activation_maps(predictor, images, target=1).maps[1], 64)
    assert np.abs(np.asarray(laid[1].picture).astype(int) - np.asarray(expected)).max() <= 1
