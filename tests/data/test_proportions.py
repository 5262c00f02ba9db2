"""What a centre crop removes, and when a survey says so."""

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data.proportions import removed_by_crop, usual_resolution


def folder(root, sizes):
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for index, (width, height) in enumerate(sizes):
            pixels = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("sizes", "removed", "usual"),
    [
        ([(40, 40)] * 3, 0.0, 40),
        ([(80, 40)] * 3, 0.5, (40, 80)),
        ([(40, 60)] * 3, 1 / 3, (64, 40)),
        ([(80, 40), (40, 80), (40, 40)], 1 / 3, 40),
        ([(44, 40)] * 3, 1 - 40 / 44, (40, 48)),
    ],
)
def test_the_share_that_a_square_crop_removes(tmp_path, sizes, removed, usual):
    survey = cw.survey(folder(tmp_path, sizes))
    assert removed_by_crop(survey) == pytest.approx(removed)
    assert survey.to_dict()["removed_by_crop"] == pytest.approx(removed, abs=1e-4)
    assert usual_resolution(survey, 40) == usual


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([(80, 40)] * 3, ["removes 50%", "`resize='pad'`", "`resolution='40x80'`", "removes 0%"]),
        ([(80, 40), (40, 80)] * 2, ["removes 50%", "`resize='pad'`", "`resize='squash'`"]),
        ([(48, 40)] * 3, []),
    ],
)
def test_more_than_a_fifth_is_a_problem_with_two_ways_out(tmp_path, sizes, words):
    found = [problem.text for problem in cw.survey(folder(tmp_path, sizes)).problems if problem.kind == "cropped"]
    assert len(found) == bool(words)
    assert all(word in found[0] for word in words)


def test_data_that_is_not_cropped_has_no_such_problem(tmp_path):
    root = folder(tmp_path, [(80, 40)] * 3)
    kinds = [problem.kind for problem in cw.open_data(root, resize="pad").survey.problems]
    assert "cropped" not in kinds


def test_arrays_that_are_not_square_are_surveyed():
    images = np.random.default_rng(0).integers(0, 256, (40, 20, 50), dtype=np.uint8)
    survey = cw.open_data(images=images, labels=["a", "b"] * 20).survey
    assert (survey.measures["height"].median, survey.measures["width"].median) == (20, 50)
    assert "cropped" not in [problem.kind for problem in survey.problems]
