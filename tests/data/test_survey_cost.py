"""The survey's work grows at most linearly with images and classes: counted, not timed."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from convwright.data.images import Facts
from convwright.data.survey import Survey, SurveyedImage
from convwright.data.survey_page import write_survey_page

FACTS = Facts(32, 32, "RGB", "PNG", 1)


class CountedImages(tuple[SurveyedImage, ...]):
    """A tuple that counts the images that are read from it."""

    read = 0

    def __iter__(self) -> Iterator[SurveyedImage]:
        for image in super().__iter__():
            self.read += 1
            yield image


def survey_of(pairs: int, classes: int) -> Survey:
    """Return a survey of pairs with the same content: across splits, in two classes, and copies."""
    kinds = (("train", "test", 0), ("train", "train", 1), ("train", "train", 0))
    pixels = np.zeros((8, 8, 3), np.uint8)
    images = []
    for pair in range(pairs):
        first, second, other = kinds[pair % 3]
        digest = pair.to_bytes(8, "big")
        images += [
            SurveyedImage(f"{pair}a", first, (pair % classes,), FACTS, digest, pixels if pair < 2 * classes else None),
            SurveyedImage(f"{pair}b", second, ((pair + other) % classes,), FACTS, digest),
        ]
    names = tuple(f"class {label}" for label in range(classes))
    return Survey("data", names, ("train", "test"), CountedImages(images), ())


def calls_of_problems(pairs: int) -> int:
    survey = survey_of(pairs, 10)
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        assert {problem.kind for problem in survey.problems} >= {"leakage", "contradiction", "copies"}
    finally:
        sys.setprofile(None)
    return calls


def test_problems_take_linear_work() -> None:
    assert calls_of_problems(1200) < 4.5 * calls_of_problems(300)


def test_groups_are_in_the_kinds_that_they_belong_to() -> None:
    details = {problem.kind: problem.details for problem in survey_of(6, 2).problems}
    assert details["leakage"] == ("0a = 0b", "3a = 3b")
    assert details["contradiction"] == ("1a = 1b", "4a = 4b")
    assert details["copies"][0] == "2a = 2b"


@pytest.mark.parametrize("shown", ["page", "notebook"])
def test_pages_read_each_image_once(shown: str, tmp_path: object) -> None:
    def images_read(classes: int) -> int:
        survey = survey_of(6 * classes, classes)
        assert survey.problems
        assert survey.measures
        before = survey.images.read  # type: ignore[attr-defined]
        if shown == "page":
            write_survey_page(tmp_path / "page.html", survey)  # type: ignore[operator]
        else:
            survey._repr_html_()
        return survey.images.read - before  # type: ignore[attr-defined, no-any-return]

    assert images_read(20) <= 4.5 * images_read(5)
