import gzip
from pathlib import Path

import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100, utils

from convwright.data import SOURCES, builtin, default_source, open_dataset, sources
from convwright.data.split import stratified_split
from convwright.errors import DataError

FASHION_MNIST_IS_HERE = builtin._has_fashion_mnist(builtin.DEBIAN_FASHION_MNIST)


@pytest.fixture
def no_fashion_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(builtin, "DEBIAN_FASHION_MNIST", tmp_path / "nothing")


def write_fashion_mnist(folder: Path, count: int = 40) -> None:
    """Files in Fashion-MNIST's form, with a value of its own for each image."""
    folder.mkdir(parents=True)
    for part, names in builtin.FASHION_MNIST_FILES.items():
        labels = bytes(i % 10 for i in range(count))
        images = b"".join(bytes([i + (part == "t10k")]) * 784 for i in range(count))
        headers = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        for name, content in zip(
            names, (headers + images, b"\0\0\x08\x01" + count.to_bytes(4, "big") + labels), strict=True
        ):
            (folder / name).write_bytes(gzip.compress(content))


@pytest.mark.skipif(not FASHION_MNIST_IS_HERE, reason="the Debian package dataset-fashion-mnist is not installed")
def test_fashion_mnist() -> None:
    data = open_dataset("fashion-mnist", offline_only=True)
    assert [len(data.train), len(data.val), len(data.test or ())] == [54_000, 6_000, 10_000]
    assert (data.channels, data.resolution, data.default_flip) == (1, 28, True)
    assert data.classes[0] == "T-shirt/top"
    assert data.classes[9] == "Ankle boot"
    assert torch.bincount(data.val.labels).tolist() == [600] * 10
    assert data.mean == pytest.approx([0.2860], abs=1e-3)  # as published for the whole training set
    assert data.std == pytest.approx([0.3530], abs=1e-3)
    # Boots fill the image's lower rows, trousers its middle columns: the labels belong to the images.
    means = [data.train.images[data.train.labels == label].float().mean((0, 1)) for label in (1, 9)]
    assert means[0][:, 12:16].mean() > means[0][:, :6].mean() * 5
    assert means[1][14:].mean() > means[1][:8].mean() * 2


def test_digits() -> None:
    data = open_dataset("digits", val_share=0.2)
    assert data.test is not None
    assert len(data.train) + len(data.val) + len(data.test) == 1797
    assert (data.channels, data.resolution, data.default_flip) == (1, 8, False)
    assert data.classes == tuple("0123456789")
    assert data.train.images.max() == 255
    assert torch.bincount(data.test.labels).tolist() == pytest.approx([36] * 10, abs=2)


def test_digits_are_those_of_scikit_learn() -> None:
    raw = pytest.importorskip("sklearn.datasets").load_digits()
    found = builtin.digits()
    assert found.test is not None
    train, test = stratified_split(torch.from_numpy(raw.target), 0.2, seed=0, purpose="digits-test")
    images = torch.from_numpy((raw.images * (255 / 16)).round()).to(torch.uint8)[:, None]
    for split, rows in ((found.train, train), (found.test, test)):
        assert torch.equal(split.images, images[rows])
        assert torch.equal(split.labels, torch.from_numpy(raw.target)[rows])


def test_the_seed_moves_the_validation_split_and_never_the_test_split() -> None:
    one, same, other = (open_dataset("digits", seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint
    assert torch.equal(one.val.images, same.val.images)
    assert one.fingerprint != other.fingerprint
    assert not torch.equal(one.val.images, other.val.images)
    assert one.test is not None
    assert other.test is not None
    assert torch.equal(one.test.images, other.test.images)


def test_sources_are_resized_smoothly_on_demand() -> None:
    native, large = open_dataset("digits"), open_dataset("digits", resolution=32)
    assert large.train.images.shape[1:] == (1, 32, 32)
    assert large.test is not None
    assert large.val.resolution == large.test.resolution == 32
    assert torch.equal(large.val.labels, native.val.labels)
    assert large.mean == pytest.approx(native.mean, abs=0.01)
    down = torch.nn.functional.avg_pool2d(large.val.images.float(), 4)
    assert (down - native.val.images.float()).abs().mean() < 16


def test_a_cached_copy_is_read(no_fashion_mnist: None) -> None:
    write_fashion_mnist(builtin._cached_fashion_mnist())
    data = open_dataset("fashion-mnist", offline_only=True)
    assert [len(data.train), len(data.val)] == [30, 10]
    assert data.test is not None
    assert data.test.images[:, 0, 0, 0].tolist() == list(range(1, 41))
    assert data.test.labels.tolist() == [i % 10 for i in range(40)]


def test_a_missing_or_damaged_copy_is_downloaded(no_fashion_mnist: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = builtin._cached_fashion_mnist()
    cached.mkdir(parents=True)
    for names in builtin.FASHION_MNIST_FILES.values():
        for name in names:
            (cached / name).write_bytes(b"half a file")
    downloaded: list[str] = []

    def download(url: str, root: Path, md5: str) -> None:
        if not downloaded:
            for path in root.iterdir():
                path.unlink()
            root.rmdir()
            write_fashion_mnist(root)
        downloaded.append(url.rsplit("/", 1)[-1])
        print("torchvision talks")

    monkeypatch.setattr(utils, "download_url", download)
    assert len(open_dataset("fashion-mnist").train) == 30
    assert sorted(downloaded) == sorted(name for names in builtin.FASHION_MNIST_FILES.values() for name in names)


def test_a_download_leaves_standard_output_alone(
    no_fashion_mnist: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(utils, "download_url", lambda *_, **__: print("torchvision talks"))
    with pytest.raises(DataError):
        open_dataset("fashion-mnist")
    assert capsys.readouterr().out == ""


ADVICE = {
    "fashion-mnist": "install the Debian package dataset-fashion-mnist, or give a network",
    "cifar10": "place torchvision's copy in",
    "cifar100": "place torchvision's copy in",
}


@pytest.mark.parametrize("name", ADVICE)
def test_without_a_network_the_message_says_what_to_do(
    name: str, no_fashion_mnist: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("<urlopen error\nno route to host>")

    monkeypatch.setattr(utils, "download_url", fail)
    for cifar in (CIFAR10, CIFAR100):
        monkeypatch.setattr(cifar, "download", fail)
    for offline_only, why in ((True, f"{name} is not on this machine: "), (False, "no route to host")):
        with pytest.raises(DataError) as caught:
            open_dataset(name, offline_only=offline_only)
        assert why in str(caught.value)
        assert ADVICE[name] in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_status == 2


def test_the_best_at_hand_needs_no_network(no_fashion_mnist: None) -> None:
    assert default_source() == "digits"
    write_fashion_mnist(builtin._cached_fashion_mnist())
    assert default_source() == "fashion-mnist"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "fashion_mnist",
            r"no folder fashion_mnist was found \(did you mean fashion-mnist\?\): give a folder, a list of images, or ",
        ),
        ("CIFAR-10", r"did you mean cifar10\?"),
        ("somewhere/else", "^no folder somewhere/else was found: .*fashion-mnist, cifar10, cifar100 or digits$"),
        ("", "no folder '' was found"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_unknown_names(spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        open_dataset(spec)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "data.zip").touch()
    with pytest.raises(DataError, match=r"data\.zip is a file: the data must be a folder"):
        open_dataset(str(tmp_path / "data.zip"))


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_validation_shares_that_mean_nothing(share: float) -> None:
    with pytest.raises(DataError, match="the validation share must lie between 0 and 1"):
        open_dataset("digits", val_share=share)


@pytest.mark.parametrize("resolution", [0, -8])
def test_resolutions_that_mean_nothing(resolution: int) -> None:
    with pytest.raises(DataError, match="the resolution must be at least 1 pixel"):
        open_dataset("digits", resolution=resolution)


def test_a_resolution_that_memory_cannot_hold_is_refused_at_once() -> None:
    with pytest.raises(DataError, match=r"1,797 images of 100000 x 100000 pixels .* would fit"):
        open_dataset("digits", resolution=100_000)


def test_every_source_is_described() -> None:
    assert list(SOURCES) == ["fashion-mnist", "cifar10", "cifar100", "digits"]
    assert all(source.description for source in sources.SOURCES.values())
