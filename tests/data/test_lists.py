"""Lists of images: the same data as a folder, in every format, and clear messages about wrong rows."""

import csv
import io
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.data import Dataset, open_dataset
from convwright.data.lists import read_list
from convwright.data.survey import survey_data
from convwright.errors import ArgumentError, ConvwrightError, ConvwrightWarning, DataError

Table = list[dict[str, Any]]


def rows_of(folder: Path, start: Path) -> Table:
    """Return a row for each image of a folder of classes."""
    files = sorted(folder.rglob("*.png"))
    return [{"path": path.relative_to(start).as_posix(), "label": path.parent.name} for path in files]


def separated(table: Table, separator: str = ",", end: str = "\n") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), delimiter=separator, lineterminator=end)
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def write_parquet(path: Path, table: Table) -> None:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(table), path)


FORMATS: dict[str, tuple[str, Callable[[Path, Table], object]]] = {
    "CSV": ("list.csv", lambda path, table: path.write_text(separated(table))),
    "CSV of Windows": ("LIST.CSV", lambda path, table: path.write_bytes(separated(table, end="\r\n").encode())),
    "CSV with semicolons": ("list.csv", lambda path, table: path.write_text(separated(table, ";"))),
    "CSV with a byte-order mark": ("list.csv", lambda path, table: path.write_text(separated(table), "utf-8-sig")),
    "CSV in UTF-16": ("list.csv", lambda path, table: path.write_text(separated(table), "utf-16")),
    "TSV": ("list.tsv", lambda path, table: path.write_text(separated(table, "\t"))),
    "JSON lines": ("list.jsonl", lambda path, table: path.write_text("\n".join(map(json.dumps, table)))),
    "JSON lines in UTF-16": (
        "list.ndjson",
        lambda path, table: path.write_text("\n".join(map(json.dumps, table)), "utf-16"),
    ),
    "Parquet": ("list.parquet", write_parquet),
}


def write_list(path: Path, table: Table) -> Path:
    path.write_text(separated(table))
    return path


def parts(data: Dataset) -> Iterable[Any]:
    return data.train, data.val, *([] if data.test is None else [data.test])


@pytest.mark.parametrize("form", FORMATS)
def test_a_list_is_the_same_data_as_its_folder(form: str, cats_and_dogs: Path, tmp_path: Path) -> None:
    name, write = FORMATS[form]
    write(tmp_path / name, rows_of(cats_and_dogs, tmp_path))
    data, folder = open_dataset(str(tmp_path / name)), open_dataset(str(cats_and_dogs))
    assert data.classes == folder.classes
    assert data.fingerprint == folder.fingerprint
    assert (data.mean, data.std) == (folder.mean, folder.std)
    survey, other = survey_data(str(tmp_path / name)), survey_data(str(cats_and_dogs))
    assert survey.counts == other.counts
    assert survey.measures == other.measures
    assert sorted(image.digest for image in survey.images) == sorted(image.digest for image in other.images)


@pytest.mark.parametrize("names", [("Image Path", "Category"), ("file_name", "target"), ("IMG", "tags")])
def test_columns_are_found_by_usual_names(names: tuple[str, str], cats_and_dogs: Path, tmp_path: Path) -> None:
    table = [dict(zip(names, row.values(), strict=True)) for row in rows_of(cats_and_dogs, tmp_path)]
    assert len(open_dataset(str(write_list(tmp_path / "list.csv", table))).train) == 18


def test_named_columns(cats_and_dogs: Path, tmp_path: Path) -> None:
    table = [
        {
            "where": row["path"],
            "what": row["label"],
            "label": "no",
            "fold": "val" if row["path"][-5] == "1" else "TRAIN",
        }
        for row in rows_of(cats_and_dogs, tmp_path)
    ]
    path = write_list(tmp_path / "list.csv", table)
    data = cw.open_data(path, path_column="where", label_column="what", split_column="fold")
    assert data.classes == ("cats", "dogs")
    assert (len(data.train), len(data.val)) == (18, 2)
    assert data.survey.counts == {"train": [9, 9], "val": [1, 1]}
    with pytest.raises(ArgumentError, match=r"path_column: missing: .*list.csv has the columns where, what, label and"):
        _ = cw.open_data(path).classes
    with pytest.raises(ArgumentError, match=r"label_column: .*list.csv has no column 'kind'"):
        _ = cw.open_data(path, path_column="where", label_column="kind").classes
    with pytest.raises(ArgumentError, match=r"label_column: .*images is no list of images"):
        _ = cw.open_data(cats_and_dogs, label_column="what").classes


def test_splits_weights_and_groups(cats_and_dogs: Path, tmp_path: Path) -> None:
    table = [
        row | {"split": ("train", "validation", "testing")[number % 3], "weight": number / 2, "group": f"g{number % 5}"}
        for number, row in enumerate(rows_of(cats_and_dogs, tmp_path))
    ]
    data = open_dataset(str(write_list(tmp_path / "list.csv", table)))
    assert [len(part) for part in parts(data)] == [7, 7, 6]
    for first, part in enumerate(parts(data)):
        numbers = range(first, 20, 3)
        assert part.weights.tolist() == [number / 2 for number in numbers]
        assert list(part.groups) == [f"g{number % 5}" for number in numbers]


def test_groups_are_never_in_two_splits(cats_and_dogs: Path, tmp_path: Path) -> None:
    table = [row | {"group": row["path"][-5]} for row in rows_of(cats_and_dogs, tmp_path)]  # a cat and a dog each
    for seed in range(5):
        data = open_dataset(str(write_list(tmp_path / "list.csv", table)), seed=seed)
        assert len(data.val) == 2
        assert not set(data.train.groups or ()) & set(data.val.groups or ())


@pytest.mark.parametrize("form", ["joined", "JSON", "lists"])
def test_several_labels(form: str, cats_and_dogs: Path, tmp_path: Path) -> None:
    def labels(number: int) -> list[str]:
        return [name for name, every in (("even", 2), ("third", 3), ("fifth", 5)) if number % every == 0]

    rows = [{"path": row["path"], "labels": labels(n)} for n, row in enumerate(rows_of(cats_and_dogs, tmp_path))]
    path = tmp_path / "list.csv"
    if form == "lists":
        path = tmp_path / "list.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        write = "|".join if form == "joined" else json.dumps
        write_list(path, [row | {"labels": write(row["labels"])} for row in rows])  # type: ignore[operator]
    data = open_dataset(str(path))
    assert data.multi_label
    assert data.classes == ("even", "fifth", "third")
    names = {row["path"]: set(row["labels"]) for row in rows}
    for part in parts(data):
        assert part.labels.dtype == torch.bool
        for name, row in zip(part.names, part.labels.tolist(), strict=True):
            assert {one for one, given in zip(data.classes, row, strict=True) if given} == names[name]
    assert len(data.val) == 2
    assert survey_data(str(path)).counts == {"train": [10, 4, 7]}


@pytest.mark.parametrize("sign", ["|", ";"])
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["AC_DC", "rock", "jazz"], None),
        (["AC_DC", "Guns_Roses", "jazz"], None),
        (["cat_dog", "dog", "cat"], ("cat", "dog")),
        (["cat_dog", "dog_bird", "bird_cat"], ("bird", "cat", "dog")),
        (["cat_dog", "dog", "cat", "cat_rare"], ("cat", "dog", "rare")),
        (["cat_dog"], ("cat", "dog")),
    ],
)
def test_labels_are_split_where_their_parts_are_labels_of_other_images(
    sign: str, labels: list[str], classes: tuple[str, ...] | None, cats_and_dogs: Path, tmp_path: Path
) -> None:
    labels = [label.replace("_", sign) for label in labels]
    rows = [row | {"label": labels[n % len(labels)]} for n, row in enumerate(rows_of(cats_and_dogs, tmp_path))]
    path = write_list(tmp_path / "list.csv", rows)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = read_list(path, {})
    assert found.multi_label == (classes is not None)
    assert found.classes == (sorted(labels) if classes is None else list(classes))
    doubtful = classes is None or "rare" in classes or len(labels) == 1
    (message,) = (str(each.message) for each in warned)
    assert message.startswith(f"{path}: ")
    assert ("is read as" if doubtful else f"labels are separated by {sign}, as in") in message
    assert "`label_separator=''` keeps labels whole" in message


@pytest.mark.parametrize("separator", [",", " ", " and ", "|", "::"])
def test_a_named_separator_splits_labels_without_a_message(separator: str, cats_and_dogs: Path, tmp_path: Path) -> None:
    several = [("cat", "dog"), ("rare", "cat"), ("dog",), ()]
    rows = [
        row | {"label": separator.join(several[n % len(several)])}
        for n, row in enumerate(rows_of(cats_and_dogs, tmp_path))
    ]
    path = write_list(tmp_path / "list.csv", rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_list(path, {"label_separator": separator})
    assert found.multi_label
    assert [entry.labels for entry in found.entries] == [several[n % len(several)] for n in range(len(rows))]


def test_an_empty_separator_keeps_labels_whole(cats_and_dogs: Path, tmp_path: Path) -> None:
    labels = ["cat|dog", "cat", "dog;cat"]
    rows = [row | {"label": labels[n % 3]} for n, row in enumerate(rows_of(cats_and_dogs, tmp_path))]
    path = write_list(tmp_path / "list.csv", rows)
    with pytest.raises(DataError, match=r"joined by | in some rows and by ; in others.*`label_separator='|'`"):
        read_list(path, {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = cw.open_data(path, label_separator="")
        assert data.class_names == tuple(sorted(labels))
    assert not data.dataset().multi_label


def test_a_separator_that_no_label_has_is_reported(cats_and_dogs: Path, tmp_path: Path) -> None:
    rows = rows_of(cats_and_dogs, tmp_path)
    path = write_list(tmp_path / "list.csv", rows)
    with pytest.warns(ConvwrightWarning, match="no label has the separator ','"):
        assert read_list(path, {"label_separator": ","}).multi_label
    with pytest.raises(ArgumentError, match=r"label_separator: .* is no list of images"):
        cw.open_data(cats_and_dogs, label_separator=",").dataset()


def test_a_run_keeps_the_separator(cats_and_dogs: Path, tmp_path: Path) -> None:
    labels = ["cat,dog", "cat", "dog"]
    rows = [row | {"label": labels[n % 3]} for n, row in enumerate(rows_of(cats_and_dogs, tmp_path))]
    path = write_list(tmp_path / "list.csv", rows)
    plan = cw.prepare(data=path, label_separator=",", network="cifar_resnet8", progress=False)
    assert plan.config.label_separator == ","
    assert plan.data.classes == ("cat", "dog")
    repeated = cw.TrainRequest(**{"data": cw.open_data(path, label_separator=","), "network": "cifar_resnet8"})
    assert cw.prepare(repeated, progress=False).data.fingerprint == plan.data.fingerprint


def test_a_survey_says_how_doubtful_labels_were_read(cats_and_dogs: Path, tmp_path: Path) -> None:
    rows = [row | {"label": ("AC;DC", "b")[n % 2]} for n, row in enumerate(rows_of(cats_and_dogs, tmp_path))]
    with pytest.warns(ConvwrightWarning, match="'AC;DC' is read as one label"):
        survey_data(str(write_list(tmp_path / "list.csv", rows)))


def test_images_elsewhere(cats_and_dogs: Path, tmp_path: Path) -> None:
    """Paths are relative to the list, wherever the process is, or absolute."""
    lists = tmp_path / "lists"
    lists.mkdir()
    table = [row | {"path": f"../{row['path']}"} for row in rows_of(cats_and_dogs, tmp_path)]
    table[0]["path"] = str((lists / table[0]["path"]).resolve())
    assert (
        open_dataset(str(write_list(lists / "list.csv", table))).fingerprint
        == open_dataset(str(cats_and_dogs)).fingerprint
    )


WRONG: dict[str, tuple[list[str], str]] = {
    "no label": (["images/cats/0.png,"], "line 2 has no label"),
    "cells": (["images/cats/0.png,cats,9"], "line 2 has 3 cells, and the first line 2"),
    "no path": (["images/cats/0.png,cats", ",dogs"], "line 3 has no path"),
    "a NUL": (["images/cats/0.png,cats", "a\0.png,dogs"], "no file has a NUL character in its name"),
    "address": (["https://example.org/1.png,cats"], "line 2 https://example.org/1.png: images must be files"),
    "two labels": (
        ["images/cats/0.png,cats", "images/cats/1.png,cats", "images/cats/0.png,dogs"],
        "lines 2 and 4 name the same image, images/cats/0.png, with different labels",
    ),
    "missing file": (
        [f"images/{name}/{number}.png,{name}" for name in ("cats", "dogs") for number in (0, 1, 77)],
        "line 4: images/cats/77.png: no such file; line 7: images/dogs/77.png: no such file",
    ),
    "no rows": ([], "has no rows"),
    "one class": (["images/cats/0.png,cats", "images/cats/1.png,cats"], "has one class only, cats"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_rows_are_named(kind: str, cats_and_dogs: Path, tmp_path: Path) -> None:
    rows, message = WRONG[kind]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    with pytest.raises(DataError) as caught:
        open_dataset(str(tmp_path / "list.csv"), max_bad=0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("split", "holdout", "line 4 has the split 'holdout'; it must be train, val or test"),
        ("split", "", "line 4 has no split; it must be train, val or test"),
        ("weight", "heavy", "line 4 has the weight 'heavy'; it must be a number, 0 to 1000000"),
        ("weight", "-1", "line 4 has the weight '-1'"),
        ("weight", "nan", "line 4 has the weight 'nan'"),
    ],
)
def test_wrong_cells_are_named(column: str, cell: str, message: str, cats_and_dogs: Path, tmp_path: Path) -> None:
    usual = {"split": "train", "weight": "1"}[column]
    table = [row | {column: usual} for row in rows_of(cats_and_dogs, tmp_path)]
    table[2][column] = cell
    with pytest.raises(DataError) as caught:
        open_dataset(str(write_list(tmp_path / "list.csv", table)))
    assert message in str(caught.value)


def test_files_that_are_missing_or_listed_twice_are_counted(cats_and_dogs: Path, tmp_path: Path) -> None:
    table = rows_of(cats_and_dogs, tmp_path)
    table += [table[0], {"path": "images/cats/none.png", "label": "cats"}]
    path = str(write_list(tmp_path / "list.csv", table))
    survey = survey_data(path)
    assert {(each.suffix, each.reason, each.files) for each in survey.skipped} == {
        (".png", "listed twice", 1),
        (".png", "cannot be read", 1),
    }
    assert survey.unreadable == ("line 23: images/cats/none.png: no such file",)
    assert open_dataset(path).skipped == survey.unreadable


def test_images_of_a_source(tmp_path: Path) -> None:
    """A list may correct labels of a named source, leave images out, and split them."""
    source = open_dataset("digits", val_share=0.1)
    table = [
        {"path": f"digits:train/{n}", "label": "3" if n == 7 else str(n % 10), "split": "train"} for n in range(40)
    ]
    table += [
        {"path": f"digits:{'test' if n % 2 else 'train'}/{50 + n}", "label": "0", "split": "val"} for n in range(4)
    ]
    data = open_dataset(str(write_list(tmp_path / "list.csv", table)))
    assert data.classes == source.classes
    assert not data.default_flip
    assert (len(data.train), len(data.val), data.test) == (40, 4, None)
    assert data.train.labels[7] == 3
    assert source.test is not None
    assert torch.equal(data.val.images[[1, 3]], source.test.images[[51, 53]])
    assert sum(survey_data(str(tmp_path / "list.csv")).counts["val"]) == 4
    table[3]["path"] = "digits:train/999999"
    with pytest.raises(DataError, match=r"line 5: digits has no image train/999999; its train images are 1,438"):
        open_dataset(str(write_list(tmp_path / "list.csv", table)))


@pytest.mark.parametrize("apart", [False, True])
def test_groups_that_a_list_puts_into_several_splits_are_reported(
    cats_and_dogs: Path, tmp_path: Path, apart: bool
) -> None:
    table = rows_of(cats_and_dogs, tmp_path)
    for number, row in enumerate(table):
        row |= {"split": "test" if number % 4 == 0 else "train", "group": f"patient {number}"}
    if apart:
        table[1]["group"] = table[0]["group"]
    path = write_list(tmp_path / "list.csv", table)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_list(path, {})
    messages = [str(each.message) for each in caught if issubclass(each.category, ConvwrightWarning)]
    assert [("1 group has images in more than one split, such as patient 0" in each) for each in messages] == [
        True
    ] * apart


@pytest.mark.parametrize("use", [cw.survey, open_dataset, lambda path: cw.prepare(path, progress=False)])
def test_a_list_of_which_no_file_is_found_says_where_they_were_looked_for(
    use: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    table: Table = [{"path": f"photos/{number}.png", "label": "ab"[number % 2]} for number in range(4)]
    path = write_list(tmp_path / "lists" / "list.csv", table)
    monkeypatch.chdir(tmp_path)
    looked_for = tmp_path / "lists" / "photos" / "0.png"
    relative = "paths are relative to the list, so photos/0.png was looked for as"
    expected = f"none of its 4 images was found; {relative} {looked_for}"
    with pytest.raises(DataError if use is open_dataset else ConvwrightError) as caught:
        use(str(path))
    assert str(caught.value).endswith(expected)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").write_bytes(b"")
    with pytest.raises(ConvwrightError, match="it is there from the current folder: move the list"):
        use(str(path))


def single_in_folder(place: Path) -> Path:
    for number, label in enumerate("aaabbbc"):
        (place / label).mkdir(exist_ok=True, parents=True)
        Image.new("L", (8, 8), 20 * number).save(place / label / f"{number}.png")
    return place


def single_in_list(place: Path) -> Path:
    return write_list(place / "list.csv", rows_of(single_in_folder(place), place))


def single_in_list_of_a_source(place: Path) -> Path:
    rows: Table = [{"path": f"digits:train/{number}", "label": label} for number, label in enumerate("aaabbbc")]
    return write_list(place / "list.csv", rows)


@pytest.mark.parametrize("make", [single_in_folder, single_in_list, single_in_list_of_a_source])
def test_a_class_of_one_image_is_warned_of_in_every_form(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    found = cw.survey(path)
    problems = {problem.kind: problem.text for problem in found.problems}
    assert "1 class has only 1 image (c)" in problems["single"]
    assert "training is refused" in problems["single"]
    assert found.counts["train"] == [3, 3, 1]
    with pytest.raises(DataError, match=r"\bc\b"):
        open_dataset(str(path))
