"""Images of an evaluation that the run was trained on: counted, named, and left out of a second accuracy."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.checksums import NAME as CHECKSUMS
from convwright.data import open_dataset
from convwright.errors import ConvwrightWarning, RunError
from convwright.evaluation.overlap import digests_of, overlap_of, overlap_sentence
from convwright.stats.intervals import wilson
from convwright.training.run import Run
from convwright.training.run_data import open_run_data
from convwright.training.training_images import NAME, VERSION, TrainingImages, shortened, training_images_of


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print lines that are not wrapped."""
    monkeypatch.setenv("COLUMNS", "400")


def make_folder(folder: Path, seed: int, *, grey: bool = False) -> Path:
    """Write 40 images in two classes."""
    pixels = torch.randint(256, (40, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    for number, image in enumerate(pixels):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0].numpy() if grey else image.numpy()).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("photos") / "own", 0)


@pytest.fixture(scope="module")
def run(photos: Path) -> Run:
    out = photos.parent / "the-run"
    return cw.train(photos, network="cifar_seresnet8", epochs=1, val_share=0.25, out=out, progress=False)


@pytest.fixture
def earlier(run: Run, tmp_path: Path) -> Path:
    """A run of a version that did not record the training images."""
    path = tmp_path / "earlier"
    shutil.copytree(run.path, path)
    (path / NAME).unlink()
    (path / CHECKSUMS).unlink()
    return path


def test_the_own_folder_is_evaluated_on_held_out_images(run: Run, photos: Path) -> None:
    found = cw.evaluate(run, data=str(photos))
    assert (found.split, found.images, found.overlap.images) == ("val", 10, 0)
    assert found.own_data
    assert found.accuracy == cw.evaluate(run).accuracy
    assert "trained on" not in str(found)


def test_all_of_the_own_folder_counts_the_training_images(run: Run, photos: Path) -> None:
    found = cw.evaluate(run, split="all", data=str(photos))
    assert (found.images, found.overlap.images) == (40, 30)
    val = cw.evaluate(run)
    assert f"trained on 30 of these 40 images; on the other 10: accuracy {val.accuracy:.2%} (95 % interval" in str(
        found
    )
    facts = json.loads(found.to_json())
    assert facts["training_images"] == 30
    assert facts["new_images"] == {"images": 10, "accuracy": val.accuracy, "interval": list(val.interval)}
    assert val.interval == wilson(round(10 * val.accuracy), 10)
    trained = cw.evaluate(run, split="train")
    assert "the run was trained on all of these images" in str(trained)
    assert trained.to_dict()["new_images"] is None


def test_a_copy_under_other_names_is_recognised(run: Run, photos: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", 1)
    assert cw.evaluate(run, data=other).overlap.images == 0
    for file in photos.rglob("*.png"):
        shutil.copy(file, other / file.parent.name / f"copy-{file.name}")
    found = cw.evaluate(run, data=other)
    assert (found.images, found.split, found.overlap.images) == (80, "all", 30)
    names = [
        name for (_, name), trained in zip(found.predictions.images, found.overlap.trained_on, strict=True) if trained
    ]
    assert all("copy-" in str(name) for name in names)
    compared = cw.compare(run, run, data=other)
    assert str(compared).count("was trained on 30 of these 80 images") == 2
    assert compared.to_dict()["first"]["training_images"] == 30  # type: ignore[index]


def test_grey_images_are_recognised_in_colour_and_back(tmp_path: Path) -> None:
    grey = make_folder(tmp_path / "grey", 0, grey=True)
    run = cw.train(grey, network="cifar_resnet8", epochs=1, out=tmp_path / "run", progress=False)
    assert run.network.channels == 1
    mixed = make_folder(tmp_path / "mixed", 5)
    for file in grey.rglob("*.png"):
        shutil.copy(file, mixed / file.parent.name / f"copy-{file.name}")
    assert open_run_data(run, mixed).channels == 3
    assert cw.evaluate(run, data=mixed).overlap.images == run.data.images["train"]


def test_a_run_of_an_earlier_version_opens_its_data_again(earlier: Path, photos: Path) -> None:
    with pytest.warns(ConvwrightWarning, match="has no checksums"):
        found = cw.evaluate(earlier, split="all", data=str(photos))
    assert found.overlap.images == 30


@pytest.mark.filterwarnings("ignore:.*checksums.json")
def test_without_record_and_data_the_overlap_is_unknown(earlier: Path, tmp_path: Path) -> None:
    config = earlier / "config.yaml"
    config.write_text(config.read_text().replace("/own", "/gone"))
    other = make_folder(tmp_path / "other", 1)
    found = cw.evaluate(earlier, data=other)
    assert found.overlap.trained_on is None
    assert "whether the run was trained on some of these images is unknown" in str(found)
    facts = found.to_dict()
    assert (facts["training_images"], facts["new_images"]) == (None, None)


@pytest.mark.filterwarnings("ignore:.*checksums.json", "ignore:.*has changed since training")
def test_data_that_has_changed_does_not_pass_for_that_of_the_run(earlier: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "changed", 2)
    config = earlier / "config.yaml"
    before = Run.open(earlier).config.data
    config.write_text(config.read_text().replace(before, str(other)))
    assert "is unknown" in str(cw.evaluate(earlier))


def test_the_record_is_covered_by_checksums(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    shutil.copytree(run.path, path)
    content = bytearray((path / NAME).read_bytes())
    content[-1] ^= 1
    (path / NAME).write_bytes(content)
    with pytest.raises(RunError, match=rf"{NAME}: its checksum is wrong"):
        cw.evaluate(path)


def test_a_derived_run_keeps_the_record(run: Run, tmp_path: Path) -> None:
    cw.explain.drop(run.path).save(tmp_path / "derived", step=1)
    assert (tmp_path / "derived" / NAME).read_bytes() == (run.path / NAME).read_bytes()


def test_the_record_is_eight_bytes_an_image_and_versioned() -> None:
    digits = open_dataset("digits")
    record = TrainingImages.of(digits)
    content = record.to_bytes()
    assert len(content) < 8 * len(digits.train) + 300
    again = TrainingImages.parse(content, Path("here"))
    assert again.digests.equal(record.digests)
    assert again.shape == (1, 8, 8)
    assert digits.test is not None
    known = set(map(bytes, digits.train.traits().digests.numpy()))
    expected = [bytes(one) in known for one in digits.test.traits().digests.numpy()]
    assert record.contain(digests_of(digits.test, 1)).tolist() == expected
    assert record.contain(shortened(digits.train.traits().digests)).all()
    assert record.to_bytes() == content
    version = b'schema_version\\": %d'
    later = content.replace(version % VERSION, version % 9)
    assert later != content
    with pytest.raises(RunError, match="schema_version: 9 is of a newer version"):
        TrainingImages.parse(later, Path("here"))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\0" * 40, TrainingImages(torch.zeros(0, dtype=torch.int64), (1, 8, 8)).to_bytes()]
)
def test_a_damaged_record_is_one_error(content: bytes) -> None:
    with pytest.raises(RunError, match=r"^here: "):
        TrainingImages.parse(content, Path("here"))


def test_the_record_of_every_run_is_read(run: Run) -> None:
    found = training_images_of(run)
    assert found is not None
    assert len(found.digests) == run.data.images["train"]


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with 20 test images, of which 8 are copies of training images."""
    root = tmp_path_factory.mktemp("leaking")
    make_folder(root / "data" / "train", 0)
    make_folder(root / "data" / "test", 7)
    for file in sorted((root / "data" / "test").rglob("*.png"))[::2]:
        file.unlink()
    for file in sorted((root / "data" / "train").rglob("*.png"))[:8]:
        shutil.copy(file, root / "data" / "test" / file.parent.name / f"copy-{file.name}")
    return cw.train(
        root / "data", network="cifar_seresnet8", epochs=1, val_share=0.02, out=root / "run", progress=False
    )


@pytest.mark.filterwarnings("ignore")
def test_reports_and_explanations_count_training_images(leaking: Run) -> None:
    found = cw.evaluate(leaking)
    assert found.overlap.images
    counted = f"on {found.overlap.images:,} of the {found.images} test images as well"
    report = cw.report([leaking])
    note = f"trained on {found.overlap.images} of these {found.images} images; on the other"
    assert note in str(report)
    report.save_html(leaking.path.parent / "report.html")
    assert note in (leaking.path.parent / "report.html").read_text()
    excitations = cw.explain.excitations(leaking.path, split="test")
    for result in (excitations, cw.explain.drop(leaking.path, split="test")):
        assert counted in str(result)
        assert counted in result.figures()[0].caption
    assert "as well" not in str(cw.explain.drop(leaking.path))


@pytest.mark.filterwarnings("ignore")
def test_faithfulness_counts_training_images(leaking: Run) -> None:
    folder = leaking.path.parent / "data/test"
    maps = cw.explain.cam(leaking.path, folder)
    found = cw.explain.faithfulness(None, maps, steps=4)
    copies = torch.tensor(["copy-" in name for name in maps.images.names])
    (overlap,) = found.overlaps
    assert overlap.trained_on is not None
    assert overlap.trained_on.tolist() == copies.tolist()
    count = int(copies.sum())
    (scores,) = (one.scores for one in found.networks if one.scores)
    new = scores.values()["deletion"][~copies.numpy()].mean()
    others = len(copies) - count
    note = f"was trained on {count} of these {len(copies)} images; on the other {others}: deletion {new:.3f}"
    assert note in str(found)
    assert note in found.figures()[0].caption
    assert found.to_dict()["networks"][0]["training_images"] == count  # type: ignore[index]
    fresh = cw.explain.cam(leaking.path, [file for file in folder.rglob("*.png") if "copy-" not in file.name])
    assert not cw.explain.faithfulness(None, fresh, steps=4).notes


def test_a_sentence_on_overlap_needs_some(leaking: Run) -> None:
    data = open_run_data(leaking)
    assert data.test is not None
    assert overlap_sentence(leaking, data, data.train, "training") == ""
    assert overlap_sentence(None, data, data.test, "test") == ""
    images = overlap_of(leaking, data, [data.test], own_data=True).images
    assert overlap_sentence(leaking, data, data.test, "test").startswith(
        f"The network was trained on {images} of the 28 "
    )
