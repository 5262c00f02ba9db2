"""data: what is in a folder or a source, as text, JSON and a page."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image


def noise(seed, width=60, height=40, mode="RGB"):
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def messy(tmp_path):
    """Two splits of cats, dogs and a rare wolf, with all that can be wrong."""
    root = tmp_path / "pets"
    for label, (name, count) in enumerate({"cats": 30, "dogs": 25, "wolves": 4}.items()):
        for split, images in (("train", count), ("test", 3)):
            if (name, split) != ("wolves", "test"):
                (root / split / name).mkdir(parents=True)
                for i in range(images):
                    noise(1000 * label + 100 * (split == "test") + i).save(root / split / name / f"{i}.png")
    shutil.copy(root / "train/cats/0.png", root / "test/cats/leak.png")
    shutil.copy(root / "train/cats/1.png", root / "train/dogs/wrong.png")
    shutil.copy(root / "train/cats/2.png", root / "train/cats/copy.png")
    noise(9, 20, 90).convert("CMYK").save(root / "train/dogs/cmyk.jpg")
    (root / "train/dogs/empty.png").touch()
    (root / "train/dogs/cut.png").write_bytes((root / "train/dogs/0.png").read_bytes()[:3000])
    (root / "train/dogs/gone.png").symlink_to("nowhere.png")
    noise(1).save(root / "train/dogs/moving.gif", save_all=True, append_images=[noise(2)])
    return root


def test_everything_as_json(messy, convwright):
    facts = json.loads(convwright("data", messy, "--json").out)
    assert facts["images"] == 31 + 28 + 4 + 4 + 3
    assert facts["classes"] == ["cats", "dogs", "wolves"]
    assert facts["counts"] == {"train": [31, 28, 4], "test": [4, 3, 0]}
    assert facts["sizes"]["width"] == {"least": 20, "median": 60, "most": 60}
    assert facts["sizes"]["height"] == {"least": 40, "median": 40, "most": 90}
    assert facts["modes"]["CMYK"] == 1
    assert facts["formats"] == {"PNG": 68, "JPEG": 1, "GIF": 1}
    assert {line.split(": ")[0] for line in facts["unreadable"]} == {
        f"train/dogs/{name}.png" for name in ("empty", "cut", "gone")
    }
    groups = [[image["image"] for image in group] for group in facts["duplicates"]]
    assert groups == [
        ["train/cats/0.png", "test/cats/leak.png"],
        ["train/cats/1.png", "train/dogs/wrong.png"],
        ["train/cats/2.png", "train/cats/copy.png"],
    ]
    assert facts["duplicates"][1][1] == {"image": "train/dogs/wrong.png", "split": "train", "class": "dogs"}
    assert facts["imbalance"] == 7.75
    assert [problem["kind"] for problem in facts["problems"]] == [
        *("leakage", "contradiction", "copies", "unreadable", "absent", "few", "imbalance", "cropped", "frames")
    ]
    assert facts["advice"]["batch_size"] == 16


def test_everything_as_text(messy, convwright):
    answer = convwright("data", messy)
    assert answer.status == 0
    for line in (
        f"{messy}: 70 images in 3 classes (63 train, 7 test)",
        "    train/cats/0.png = test/cats/leak.png",
        "    train/dogs/empty.png: the file is empty",
        "    train/dogs/gone.png: a broken link",
        "9 problems",
    ):
        assert line in answer.out.splitlines()
    words = " ".join(answer.out.split())
    assert "1 image is in more than one split" in words
    assert "test has no images of wolves" in words
    assert "the largest class, cats, has 7.8 times the training images of wolves" in words


def test_a_page_that_needs_nothing_else(messy, convwright, tmp_path):
    (messy / "train/cats").rename(messy / "train/<b>&cats")
    (messy / "test/cats").rename(messy / "test/<b>&cats")
    page = tmp_path / "page.html"
    assert convwright("data", messy, "--html", page).status == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<img ") == 12 + 11 + 4  # one of the dogs that were chosen cannot be read
    assert 'src="data:image/png;base64,' in text
    assert "http:" not in text
    assert "https:" not in text
    assert "<b>&cats" not in text
    assert "&lt;b&gt;&amp;cats" in text


def test_sources_are_looked_over_too(convwright, tmp_path):
    page = tmp_path / "digits.html"
    facts = json.loads(convwright("data", "digits", "--html", page, "--json").out)
    assert sum(facts["counts"]["train"]) + sum(facts["counts"]["test"]) == 1797
    assert facts["modes"] == {"L": 1797}
    assert page.read_text(encoding="utf-8").count("<img ") == 120


def test_one_image_a_class(tmp_path, convwright):
    for i in range(30):
        (tmp_path / "many" / f"{i:02}").mkdir(parents=True)
        noise(i).save(tmp_path / "many" / f"{i:02}" / "only.png")
    answer = convwright("data", tmp_path / "many")
    assert answer.status == 0
    assert "30 classes have only 1 image (00, 01, 02 and 27 more), which cannot be split" in answer.out
    assert "fewer than 20" not in answer.out
    refused = convwright("train", "--data", tmp_path / "many", "--out", tmp_path / "run")
    assert refused.status == 2
    assert "has 1 readable training image and needs at least 2" in refused.message


def test_a_folder_of_unreadable_files_is_described(tmp_path, convwright):
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "1.png").touch()
    answer = convwright("data", tmp_path / "bad", "--html", tmp_path / "page.html")
    assert answer.status == 0
    text = " ".join(answer.out.split())
    assert "2 files or folders of 2 cannot be read; training is refused, since 2 of the 2 image files exceed" in text


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_no_data(path, convwright, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = convwright("data", path)
    assert answer.status == 2
    assert "no folder" in answer.message


def test_training_names_what_it_skips_unless_it_is_too_much(tmp_path, convwright, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(9):
            noise(i, 16, 16).save(tmp_path / "data" / name / f"{i}.png")
    for i in range(3):
        (tmp_path / "data/a" / f"bad{i}.png").touch()
    command = ("train", "--data", tmp_path / "data", "--network", "cifar_resnet8|scale:w=0.25", "--epochs", "1")
    command += ("--no-fused",)  # the cache of this test has no compiled kernels
    refused = convwright(*command, "--out", tmp_path / "refused")
    assert refused.status == 2
    assert refused.message.startswith("convwright: --max-bad: 3 of the 21 image files")
    assert "allows 10 %): a/bad0.png: the file is empty; " in refused.message
    assert not (tmp_path / "refused").exists()
    done = convwright(*command, "--out", tmp_path / "run", "--max-bad", "0.2", "--cache-gb", "1e-6")
    assert done.status == 0
    assert "skipped a/bad1.png: the file is empty" in done.err
    assert "decoded images take 1.61e-05 GB, more than the 1e-06 GB of the cache" in done.err
    assert "max_bad: 0.2" in (tmp_path / "run/config.yaml").read_text()


def test_what_the_network_sees_is_shown_and_needs_its_flag(tmp_path, convwright):
    page = tmp_path / "page.html"
    shown = convwright("data", "digits", "--augment", "--rotation", "9", "--count", "2", "--html", page)
    assert shown.status == 0
    assert "2 training images of digits at 8 x 8 px" in shown.out
    assert page.read_text().count("<img ") == 12
    refused = convwright("data", "digits", "--rotation", "9")
    assert refused.status == 2
    assert "--rotation needs --augment" in refused.message
