from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convwright.data import Split
from convwright.data import dataset as module
from convwright.data.dataset import Traits, channel_statistics, fingerprint
from convwright.data.packed_names import PackedNames
from convwright.data.stores import PixelStore
from convwright.errors import ConvwrightError, DataError


class Counted:
    """A store that makes its images when they are read, and counts them."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images, self.largest = images, 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return tuple(self.images.shape)  # type: ignore[return-value]

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, len(rows))
        return self.images[rows]


def images(count: int = 6, height: int = 4, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def test_a_store_that_is_read_gives_the_same_split_as_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    pixels, labels = images(), torch.arange(6)
    read = Counted(pixels)
    assert isinstance(read, PixelStore)
    known, stored = Split(pixels, labels), Split(read, labels)
    rows = torch.tensor([5, 0, 3])
    assert torch.equal(stored.take(rows), known.take(rows))
    read.largest = 0
    assert torch.equal(stored.traits().moments, Traits.of(pixels).moments)
    assert read.largest == 2
    assert channel_statistics(stored) == channel_statistics(known)
    assert fingerprint(("a",), stored) == fingerprint(("a",), known)
    part = stored.choose(rows).choose(torch.tensor([2, 1]))
    assert torch.equal(part.images, pixels[[3, 0]])
    assert torch.equal(part.labels, torch.tensor([3, 0]))


def test_images_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "available_memory", lambda: 100)
    with pytest.raises(DataError, match="6 images take"):
        _ = Split(Counted(images()), torch.arange(6)).images
    assert len(Split(Counted(images(1)), torch.arange(1)).images) == 1
    assert len(Split(images(), torch.arange(6)).images) == 6  # it is in memory already


def test_rectangular_images_have_a_size_and_no_resolution() -> None:
    split = Split(images(), torch.arange(6))
    assert split.size == (4, 5)
    assert "resolution='4x5'" in repr(split)
    with pytest.raises(ConvwrightError, match="4 x 5"):
        _ = split.resolution
    mean, _ = channel_statistics(split)
    assert mean == pytest.approx((split.images.double().mean((0, 2, 3)) / 255).tolist())


def test_weights_and_groups_follow_their_images() -> None:
    split = Split(
        images(3), torch.eye(3, dtype=torch.bool), weights=torch.tensor([1.0, 2.0, 3.0]), groups=("a", "b", "c")
    )
    assert split.multi_label
    part = split.choose(torch.tensor([2, 0]))
    assert part.weights is not None
    assert part.weights.tolist() == [3.0, 1.0]
    assert part.groups == ("c", "a")
    assert part.labels.tolist() == [[False, False, True], [True, False, False]]
    assert fingerprint(("a",), split) != fingerprint(("a",), Split(split.store, split.labels))


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=8), st.data())
def test_packed_names_are_the_names(names: list[str], data: st.DataObject) -> None:
    packed = PackedNames(names)
    assert list(packed) == names
    assert packed == tuple(names)
    assert packed[-1] == names[-1]
    assert packed[1:3] == tuple(names[1:3])
    places = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=8))
    part = packed.choose(torch.tensor(places, dtype=torch.int64))
    assert list(part) == [names[place] for place in places]
    again = torch.arange(len(places)).flip(0)
    assert list(part.choose(again)) == [names[place] for place in reversed(places)]
    with pytest.raises(IndexError):
        packed[len(names)]


def test_packed_names_keep_bytes_that_are_not_text() -> None:
    name = str(Path(b"caf\xe9.png".decode("utf-8", "surrogateescape")))
    assert list(PackedNames([name])) == [name]
