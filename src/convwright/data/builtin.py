"""The sources with a name: Fashion-MNIST, CIFAR-10 and -100, and handwritten digits."""

import contextlib
import gzip
import socket
import sys
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch

from convwright.data.dataset import Parts, Split
from convwright.data.split import stratified_split
from convwright.errors import DataError
from convwright.files import cache_folder

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_FILES = {
    part: (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")
}
FASHION_MNIST_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FASHION_MNIST_HOST = ("fashion-mnist.s3-website.eu-central-1.amazonaws.com", 80)
"""Where torchvision downloads Fashion-MNIST from."""
TIMEOUT = 20  # seconds without an answer from the network
MOST_WAITING = 3.0
"""Seconds in which that host has to answer where other data would do."""


def fashion_mnist(offline_only: bool) -> Parts:
    """Read Fashion-MNIST from the Debian package, the cache or a download, whichever exists first."""
    for folder in (DEBIAN_FASHION_MNIST, _cached_fashion_mnist()):
        if _has_fashion_mnist(folder):
            with contextlib.suppress(OSError, EOFError, ValueError, zlib.error):  # damaged: try the next
                return _read_fashion_mnist(folder)
    with _download("fashion-mnist", "install the Debian package dataset-fashion-mnist", offline_only):
        from torchvision.datasets import FashionMNIST
        from torchvision.datasets.utils import download_url

        folder = _cached_fashion_mnist()
        for name, md5 in FashionMNIST.resources:  # download_url keeps files that are complete
            download_url(FashionMNIST.mirrors[0] + name, folder, md5=md5)
        return _read_fashion_mnist(folder)


def cifar(classes: int, offline_only: bool) -> Parts:
    """Read CIFAR-10 or CIFAR-100 from the cache, else download it."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = CIFAR10 if classes == 10 else CIFAR100
    with contextlib.suppress(RuntimeError):  # not in the cache, or damaged
        return _read_cifar(source, download=False)
    with _download(f"cifar{classes}", f"place torchvision's copy in {cache_folder()}", offline_only):
        return _read_cifar(source, download=True)


def digits(offline_only: bool = True) -> Parts:
    """Read the 1,797 handwritten digits of 8 x 8 pixels that come with this package, in 17 shades of grey.

    They are the test set of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0), as in scikit-learn.
    """
    import numpy as np

    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as stored:
        shades, classes = stored["images"], stored["labels"]
    images = torch.from_numpy((shades * (255 / 16)).round()).to(torch.uint8)[:, None]
    labels = torch.from_numpy(classes).long()
    # They have no test split of their own; this one is the same in every run, whatever its seed.
    train, test = stratified_split(labels, 0.2, seed=0, purpose="digits-test")
    return Parts(tuple("0123456789"), Split(images[train], labels[train]), None, Split(images[test], labels[test]))


def default_source() -> str:
    """Name the best source that is on this machine."""
    here = any(map(_has_fashion_mnist, (DEBIAN_FASHION_MNIST, _cached_fashion_mnist())))
    return "fashion-mnist" if here else "digits"


def best_source(host: tuple[str, int] = FASHION_MNIST_HOST) -> str:
    """Name the best source that is on this machine, or that can be downloaded.

    Args:
        host: Name and port of the host that Fashion-MNIST is downloaded from.
    """
    if (source := default_source()) != "digits" or not _answers(host):
        return source
    try:
        fashion_mnist(offline_only=False)
    except DataError:
        return source
    return "fashion-mnist"


def _answers(host: tuple[str, int]) -> bool:
    """Return whether a host accepts a connection within some seconds."""
    try:
        socket.create_connection(host, timeout=MOST_WAITING).close()
    except OSError:
        return False
    return True


def _cached_fashion_mnist() -> Path:
    return cache_folder() / "FashionMNIST" / "raw"  # as torchvision lays it out


def _has_fashion_mnist(folder: Path) -> bool:
    return all((folder / name).is_file() for names in FASHION_MNIST_FILES.values() for name in names)


def _read_fashion_mnist(folder: Path) -> Parts:
    train, test = (
        Split(_read_idx(folder / images)[:, None], _read_idx(folder / labels).long())
        for images, labels in FASHION_MNIST_FILES.values()
    )
    return Parts(FASHION_MNIST_CLASSES, train, None, test)


def _read_idx(path: Path) -> torch.Tensor:
    """Read bytes in IDX form: two zeros, type 8, number of dimensions, each big-endian, then the values."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes")
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).view(shape)


def _read_cifar(source: Any, download: bool) -> Parts:
    parts = [source(cache_folder(), train=train, download=download) for train in (True, False)]
    train, test = (
        Split(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in parts
    )
    return Parts(tuple(parts[0].classes), train, None, test)


@contextlib.contextmanager
def _download(name: str, otherwise: str, offline_only: bool) -> Iterator[None]:
    """Report any failure of a download in one line that says what to do."""
    advice = f"{otherwise}, or give a network"
    if offline_only:
        raise DataError(f"{name} is not on this machine: {advice}")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints; stdout is the command's own
            yield
    except (OSError, EOFError, RuntimeError, ValueError, HTTPException, zlib.error) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} is not on this machine and could not be downloaded ({why}): {advice}") from error
    finally:
        socket.setdefaulttimeout(patience)
