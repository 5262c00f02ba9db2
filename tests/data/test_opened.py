"""Data and its survey from Python: fields, text, HTML, JSON, and arguments that are wrong."""

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import convwright as cw
from convwright.data import survey as surveying
from convwright.data.opened import Data
from convwright.errors import ArgumentError, ConvwrightError, DataError


def test_data_is_opened_and_surveyed_when_it_is_used(cats_and_dogs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read_facts = surveying.read_facts
    monkeypatch.setattr(surveying, "read_facts", lambda path: opened.append(path) or read_facts(path))
    data = cw.open_data(cats_and_dogs, val_share=0.3, seed=4)
    assert str(cats_and_dogs)[-20:] in repr(data)
    assert opened == []
    assert data.classes == ("cats", "dogs")
    assert (len(data.train), len(data.val), data.test) == (14, 6, None)
    assert data.dataset(8).resolution == 8
    assert data.dataset(8) is data.dataset(8)
    assert opened == []
    assert "20 images in 2 classes (20 train)" in str(data)
    assert data.to_dict()["counts"] == {"train": [10, 10]}
    assert data._repr_html_().count("<img ") == 20
    assert len(opened) == 20, "the files are opened once for all of this"


def test_a_survey_has_fields_text_html_and_json(cats_and_dogs: Path, tmp_path: Path) -> None:
    (cats_and_dogs / "cats" / "copy.png").write_bytes((cats_and_dogs / "cats" / "0.png").read_bytes())
    found = cw.survey(cats_and_dogs)
    assert found.counts == {"train": [11, 10]}
    assert [problem.kind for problem in found.problems] == ["copies", "few", "cropped"]
    assert found.problems[0].details == ("cats/0.png = cats/copy.png",)
    assert (found.measures["width"].median, found.advice.resolution, found.advice.batch_size) == (16, 12, 16)
    assert (found.modes, found.formats) == ({"L": 21}, {"PNG": 21})
    text = str(found)
    assert "3 problems" in text
    assert "    cats/0.png = cats/copy.png" in text.splitlines()
    assert text.endswith(found.advice.command())
    assert json.loads(found.to_json()) == found.to_dict()
    html = found._repr_html_()
    assert html.count("<img ") == 21
    assert [float(width) for width in re.findall(r"width:([\d.]+)em;background", html)] == [12, 11]
    assert "image-rendering:pixelated" in html
    found.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 21
    assert "<script" not in page


def test_python_and_the_command_say_the_same(
    cats_and_dogs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convwright.cli.main import run
    from convwright.cli.messages import in_command_line_words

    monkeypatch.setenv("COLUMNS", "100")
    assert run(["data", str(cats_and_dogs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == cw.survey(cats_and_dogs).to_dict()
    assert run(["data", str(cats_and_dogs)]) == 0
    assert capsys.readouterr().out == in_command_line_words(f"{cw.survey(cats_and_dogs)}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_share": 0}, "val_share: must be above 0 and below 1, not 0"),
        ({"val_share": 1.0}, "val_share: must be above 0 and below 1, not 1.0"),
        ({"max_bad": 1.5}, "max_bad: must be 0 to 1, not 1.5"),
        ({"cache_gb": -1}, "cache_gb: must be 0 to 1000000000, not -1"),
        ({"cache_gb": float("nan")}, "cache_gb: must be 0 to 1000000000, not nan"),
        (
            {"resolution": 0},
            "resolution: must be pixels, 1 or more: the side of squares such as 160, or height and width such as "
            "160x320; not 0",
        ),
        ({"seed": "one"}, f"seed: must be a whole number, -{2**63 - 1} to {2**63 - 1}, not 'one'"),
    ],
)
def test_wrong_arguments_name_the_parameter(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        cw.open_data("digits", **options)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize("opening", [cw.open_data, cw.survey])
def test_missing_data_is_reported_at_once(opening: Callable[[str], object], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^data: no folder .*gone was found"):
        opening(str(tmp_path / "gone"))
    with pytest.raises(ArgumentError, match=r"^data: must be"):
        opening(3)  # type: ignore[arg-type]


def test_too_many_unreadable_files_name_the_limit(cats_and_dogs: Path) -> None:
    (cats_and_dogs / "cats" / "empty.png").touch()
    data = cw.open_data(cats_and_dogs, max_bad=0.01, cache_gb=0)
    with pytest.raises(DataError, match=r"^max_bad: 1 of the 21 image files in .* cannot be read"):
        data.dataset()
    assert len(cw.open_data(cats_and_dogs, cache_gb=0).train) == 18
    assert issubclass(DataError, ConvwrightError)


@pytest.mark.parametrize("max_bad", [0.05, 0.01])
def test_a_survey_states_whether_unreadable_files_are_skipped(cats_and_dogs: Path, max_bad: float) -> None:
    (cats_and_dogs / "cats" / "empty.png").touch()
    data = cw.open_data(cats_and_dogs, max_bad=max_bad, cache_gb=0)
    text = next(problem.text for problem in data.survey.problems if problem.kind == "unreadable")
    if max_bad == 0.05:
        assert text.endswith("training skips them, since max_bad allows a share of 0.05 of the image files")
        assert data.dataset().skipped
    else:
        assert "training is refused, since 1 of the 21 image files exceed the share that max_bad allows (0.01)" in text
        with pytest.raises(DataError):
            data.dataset()


def test_a_class_of_one_image_cannot_be_split(cats_and_dogs: Path) -> None:
    for image in sorted((cats_and_dogs / "cats").iterdir())[1:]:
        image.unlink()
    data = cw.open_data(cats_and_dogs, cache_gb=0)
    problems = {problem.kind: problem.text for problem in data.survey.problems}
    assert problems["single"].startswith("1 class has only 1 image (cats), which cannot be split into training and")
    assert problems["few"] == "1 class has fewer than 20 training images (dogs: 10)"
    with pytest.raises(DataError, match=r"class cats .* has 1 readable training image and needs at least 2"):
        data.dataset()


def test_a_class_without_images_is_refused_for_training_only(cats_and_dogs: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(cats_and_dogs, cats_and_dogs.parent / "split" / split)
        shutil.rmtree(cats_and_dogs.parent / "split" / split / ("dogs" if split == "test" else "none"), True)
    problems = [problem.text for problem in cw.survey(cats_and_dogs.parent / "split").problems]
    assert "test has no images of dogs; their accuracy cannot be measured there" in problems
    for image in (cats_and_dogs / "dogs").iterdir():
        image.unlink()
    assert "train has no images of dogs; training is refused" in [p.text for p in cw.survey(cats_and_dogs).problems]


def test_the_largest_resolution_is_one_pixel_or_more(cats_and_dogs: Path) -> None:
    with pytest.raises(DataError, match="the largest resolution must be at least 1 pixel, not -3"):
        cw.open_data(cats_and_dogs, cache_gb=0).dataset(largest=-3)


def test_data_is_what_functions_take(cats_and_dogs: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = cw.open_data(cats_and_dogs)
        assert Data.of(data) is data
        assert Data.of(cats_and_dogs) == Data.of(str(cats_and_dogs)) == data
