import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.curation import neighbours
from convwright.curation.features import PIXELS
from convwright.curation.suspects import FEWEST
from convwright.data.lists import read_list
from convwright.errors import ArgumentError, UsageError

from ..photos import temple_and_flower


@pytest.fixture(scope="module")
def found(flipped):
    return cw.curate(flipped[0], features=PIXELS, folds=4)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pieces of two photographs with a test split that has a copy of a training image, and one in the wrong class."""
    root = tmp_path / "photos"
    (root / "train").mkdir(parents=True)
    temple_and_flower(root / "train")
    for name in ("temple", "flower"):
        (root / "test" / name).mkdir(parents=True)
        for index in range(16, 24):
            (root / "train" / name / f"{index}.png").rename(root / "test" / name / f"{index}.png")
    copied = Image.open(root / "train" / "temple" / "13.png")
    copied.save(root / "test" / "temple" / "copy.jpg", quality=60)
    (root / "train" / "temple" / "12.png").rename(root / "train" / "flower" / "wrong.png")
    return root


def test_wrong_labels_are_found_and_corrected(found, flipped):
    _, wrong, true = flipped
    errors = [found.pool.rows[each.position] for each in found.of("label") if each.split == "train"]
    assert wrong[errors].mean() >= 0.5
    assert wrong[errors].sum() >= 0.85 * wrong.sum()
    assert found.suspects == cw.curate(flipped[0], features=PIXELS, folds=4).suspects
    rows, labels = found.fixed("confident").of_split("train")
    still_wrong = sum(label != (str(true[row]),) for row, label in zip(rows.tolist(), labels, strict=True))
    assert still_wrong < 0.3 * wrong.sum()
    assert len(rows) > 0.97 * len(true)


def test_rules_accept_more_or_less_and_never_change_test_images(found):
    accepted = [set(found.fixed(rule).decisions) for rule in ("none", "confident", "all")]
    assert accepted[0] == set()
    assert accepted[0] < accepted[1] < accepted[2]
    tests = np.flatnonzero(found.pool.roles == 2)
    assert any(each.split == "test" for each in found.suspects)
    assert not accepted[2] & set(tests.tolist())
    assert accepted[2] == {each.position for each in found.suspects if each.split != "test"}


def test_a_note_says_that_not_all_pairs_were_compared(monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 10**6)
    found = cw.curate("digits", features=PIXELS)
    assert any("1,797 images are too many to compare all pairs" in note for note in found.notes)


def test_each_image_is_named_once_and_kinds_are_ranked(found):
    positions = [each.position for each in found.suspects]
    assert len(set(positions)) == len(positions)
    for kind in ("label", "unlike", "outlier"):
        scores = [each.score for each in found.of(kind)]
        assert scores == sorted(scores, reverse=True)
    assert json.loads(found.to_json())["counts"]["label"] == len(found.of("label"))


def test_images_in_memory_have_no_list(found, tmp_path):
    with pytest.raises(UsageError, match="no names for a list"):
        found.save_list(tmp_path / "fixed.csv")


def test_copies_across_splits_and_wrong_folders_leave_the_list(photos, tmp_path):
    before = sorted(path.read_bytes() for path in photos.rglob("*") if path.is_file())
    found = cw.curate(photos, features=PIXELS, out=tmp_path / "fixed.csv", accept="all")
    first = found.of("duplicate")[0]
    assert (first.name, first.duplicate_of) == ("train/temple/13.png", "test/temple/copy.jpg")
    assert "which is in the split test" in first.reasons
    entries = {entry.path: entry for entry in read_list(tmp_path / "fixed.csv", {}).entries}
    assert "photos/train/temple/13.png" not in entries
    assert entries["photos/test/temple/copy.jpg"].role == "test"
    wrong = entries.get("photos/train/flower/wrong.png")
    assert wrong is None or wrong.labels == ("temple",)
    assert all((tmp_path / path).is_file() for path in entries)
    assert sorted(path.read_bytes() for path in photos.rglob("*") if path.is_file()) == before


def test_a_list_keeps_paths_and_classes_that_look_like_formulas(tmp_path):
    from convwright.data.tables import read_table

    root = tmp_path / "=data"
    root.mkdir()
    temple_and_flower(root)
    (root / "temple").rename(root / "-temple, old")
    found = cw.curate(root, features=PIXELS, accept="none")
    for name in ("fixed.csv", "fixed.tsv"):
        for folder in (tmp_path, root, root / "flower"):
            found.save_list(folder / name, "none")
            table = read_table(folder / name)
            paths, labels = ([row.cells[place] for row in table.rows] for place in (0, 1))
            assert len(paths) == 48
            assert all((folder / path).is_file() for path in paths)
            assert (
                {(folder / path).resolve().parent.name for path in paths} == set(labels) == {"flower", "-temple, old"}
            )


@pytest.mark.parametrize("spec", ["digits", "photos"])
def test_a_corrected_list_is_data_that_can_be_curated_again(photos, tmp_path, spec):
    first = cw.curate(photos if spec == "photos" else spec, features=PIXELS, out=tmp_path / "fixed.csv", accept="all")
    again = cw.curate(tmp_path / "fixed.csv", features=PIXELS, out=tmp_path / "again.csv", accept="none")
    kept = first.fixed().kept
    assert len(again.pool) == len(kept) == len(read_list(tmp_path / "again.csv", {}).entries)
    data = cw.open_data(tmp_path / "again.csv")
    assert set(data.classes) <= set(first.pool.data.classes)
    assert len(data.train) + len(data.val) == int((first.pool.roles[kept] < 2).sum())


def test_decisions_of_the_page_are_applied_without_a_computation(photos, tmp_path):
    decisions = tmp_path / "decisions.csv"
    decisions.write_text(
        "path,decision,label\ntest/temple/copy.jpg,drop,\ntrain/flower/wrong.png,relabel,temple\n"
        "train/temple/00.png,keep,\n"
    )
    found = cw.curate(photos, accept=decisions, out=tmp_path / "fixed.csv", features="pixels")
    assert found.fixed().counts == {"keep": 47, "relabel": 1, "drop": 1}
    entries = {entry.path: entry for entry in read_list(tmp_path / "fixed.csv", {}).entries}
    assert "photos/test/temple/copy.jpg" not in entries
    assert entries["photos/train/flower/wrong.png"].labels == ("temple",)
    assert len(entries) == 48


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("train/none.png,keep,", "line 2: train/none.png is no image of the data"),
        ("train/temple/00.png,remove,", "line 2: the decision is 'remove'; it must be keep, relabel or drop"),
        ("train/temple/00.png,relabel,church", "line 2: there is no class 'church'; there are flower, temple"),
    ],
)
def test_wrong_decisions_are_named_by_line(photos, tmp_path, row, problem):
    (tmp_path / "decisions.csv").write_text(f"path,decision,label\n{row}\n")
    with pytest.raises(cw.ConvwrightError, match=problem):
        cw.curate(photos, accept=tmp_path / "decisions.csv")


def test_several_labels_of_an_image_have_duplicates_and_outliers_but_no_label_errors(tmp_path):
    digits = cw.open_data("digits").dataset().train
    images = np.concatenate([digits.images.numpy(), digits.images.numpy()[:1]]).transpose(0, 2, 3, 1)
    labels = np.zeros((len(images), 10), bool)
    labels[np.arange(len(images)), np.append(digits.labels.numpy(), 3)] = True
    labels[5] = True
    data = cw.open_data(images=images, labels=labels)
    found = cw.curate(data, features=PIXELS)
    assert {each.kind for each in found.suspects} <= {"duplicate", "outlier"}
    assert found.of("duplicate")
    assert any("only exact duplicates, near-duplicates and outliers" in note for note in found.notes)
    with pytest.raises(ArgumentError, match="single-label"):
        cw.curate(data, features="trained")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("features", ["pixels", "trained"])
def test_few_images_are_curated_or_refused_in_one_line(tmp_path, count, features):
    for number in range(2 * count):
        folder = tmp_path / "few" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    if count < 3:
        problem = "1 readable training image|has 4 training and validation images; .* 6 or more"
        with pytest.raises(cw.ConvwrightError, match=problem):
            cw.curate(tmp_path / "few", features=features)
        return
    found = cw.curate(tmp_path / "few", features=features)
    assert len(found.pool) == 2 * count
    assert not found.of("duplicate")
    if count < FEWEST:
        assert "a, b" in found.notes[-1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--out", "fixed.csv"], "--deep, which finds suspicious images"),
        (["--deep", "--augment"], "exclude each other"),
        (["--deep", "--features", "resnt50"], "--features: 'resnt50' is neither a run nor a network"),
        (["--deep", "--accept", "most"], "--accept: most is no file; give confident, all, none, or a file"),
        (["--deep", "--out", "fixed.json"], "--out: fixed.json: a list must be a file named .csv or .tsv"),
        (["--deep", "--folds", "1"], "--folds: must be a whole number, 2 to 20, not 1"),
    ],
)
def test_wrong_options_are_refused_before_any_work(convwright, arguments, problem):
    result = convwright("data", "digits", *arguments)
    assert result.status == 2
    assert problem in result.message


def test_the_command_prints_suspects_and_writes_list_and_page(convwright, tmp_path):
    page, fixed = tmp_path / "page.html", tmp_path / "fixed.csv"
    result = convwright("data", "digits", "--deep", "--features", "pixels", "--out", fixed, "--html", page)
    assert result.status == 0
    assert "label errors, the surest first" in result.out
    assert f"{fixed.name}: a list of" in result.out.replace("\n", " ")
    assert "digits:train/0,2,train,," in fixed.read_text().splitlines()
    assert page.stat().st_size > 10_000
